"""`taskpass revoke` and `taskpass lift` for real, and what tenants try meanwhile."""

import re
from collections.abc import Iterator
from functools import partial

import pytest

from e2e import command
from e2e.admission import GROUP, TENANT
from e2e.command import Run
from e2e.impersonate import thing
from e2e.stage import Stage, condition, request, until

BY_TARGET = {
    "Task": lambda name: ["--task", f"{TENANT}/{name}"],
    "Agent": lambda name: ["--agent", f"{TENANT}/triage-agent"],
    "Class": lambda name: ["--class", "tickets"],
    "Namespace": lambda name: ["--namespace", TENANT],
    "All": lambda name: ["--all", "--yes"],
}


@pytest.fixture
def taskpass(stage: Stage, kubeconfig: str, name: str) -> Iterator[Run]:
    """Return how to run the command as an administrator; what it activated is lifted at the end."""
    yield partial(command.taskpass, kubeconfig)
    for each in stage.api.call("GET", "/apis/taskpass.dev/v1alpha1/killswitches")["items"]:
        stage.api.delete(thing(GROUP, "KillSwitch", "", each["metadata"]["name"]))


@pytest.mark.parametrize("target", BY_TARGET)
def test_what_it_matches_is_taken_back_and_issued_anew_once_it_is_lifted(
    stage: Stage, taskpass: Run, name: str, target: str
) -> None:
    stage.begin_ready(name)
    token = stage.token(name)

    code, said = taskpass("revoke", *BY_TARGET[target](name), "--reason", "INC-42", "--name", name)
    refused = stage.reads(token)
    status = stage.task(name)["status"]
    lifted = taskpass("lift", name)
    again = stage.wait_ready(name)

    assert code == 0, said
    assert f"KillSwitch '{name}' is active: {target}" in said
    assert re.search(r"Nothing that it matches is held; \d+ tasks? (is|are) held back", said)
    assert f"Lift it with: taskpass lift {name}" in said
    assert refused != 200
    assert status["grants"] == []
    assert lifted == (0, f"KillSwitch '{name}' is lifted\n")
    assert again["grants"]
    assert stage.reads(token) != 200
    assert stage.reads(stage.token(name)) == 200
    assert "Revoked 'tickets' because of a KillSwitch" in [s["message"] for s in again["trail"]]


def test_a_task_of_another_name_and_a_credential_of_another_class_go_on(
    other: Stage, taskpass: Run, name: str
) -> None:
    both = [request(), request("other", "other")]
    first, second = f"{name}-1", f"{name}-2"
    other.begin_ready(first, credentials=both)
    other.begin_ready(second)
    kept, taken = other.token(second), other.token(first, "other")

    assert taskpass("revoke", "--class", "other", "--reason", "INC-42", "--name", name)[0] == 0

    status = other.wait_condition(first, "Stalled", "True", "KillSwitch")
    assert [g["name"] for g in status["grants"]] == ["tickets"]
    assert other.reads(taken) != 200
    assert other.reads(other.token(first)) == 200
    assert other.reads(kept) == 200


def test_nothing_that_a_tenant_does_gets_around_it(stage: Stage, taskpass: Run, name: str) -> None:
    stage.begin_ready(name)
    taskpass("revoke", "--agent", f"{TENANT}/triage-agent", "--reason", "INC-42", "--name", name)
    another = f"{name}-another"

    stage.change(name, {"intent": {"goal": "Something else"}})
    stage.change(name, {"operatingMode": "Suspended"})
    stage.change(name, {"operatingMode": "Running"})
    stage.begin(another)

    for each in (name, another):
        status = stage.wait_condition(each, "Suspended", "True", "KillSwitch")
        assert '("INC-42")' in condition(status, "Suspended")["message"]
        assert status.get("grants", []) == []
    assert stage.gated(another)
    stage.assert_holds()


def test_one_that_is_thrown_while_no_operator_runs_counts_at_its_start(
    stage: Stage, taskpass: Run, name: str
) -> None:
    stage.begin_ready(name)
    token = stage.token(name)
    stage.operator.kill()

    code, said = taskpass(
        "revoke", "--all", "--yes", "--reason", "INC-42", "--name", name, "--within", "1"
    )
    still = stage.reads(token)
    stage.operator.start()
    until(lambda: stage.reads(token) != 200)

    assert code == 1
    assert "Not yet: the operator has said nothing of it yet; is it running?" in said
    assert still == 200
    stage.wait_condition(name, "Suspended", "True", "KillSwitch")


def test_the_log_tells_who_threw_it_and_why(stage: Stage, taskpass: Run, name: str) -> None:
    taskpass("revoke", "--task", "support/none", "--reason", "INC-42 canary", "--name", name)
    taskpass("lift", name)

    def told() -> str:
        database = str(stage.operator.ledger)
        code, said = taskpass("audit", "search", "--db", database, "--type", "kill_switch.")
        assert code == 0, said
        mine = "\n".join(line for line in said.splitlines() if f"KillSwitch {name}" in line)
        return mine if "is lifted" in mine else ""

    said = until(told)

    assert f"KillSwitch {name} stops Task support/none; asked for by " in said
    assert ': "INC-42 canary"' in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param([], "Say exactly one of --task, --agent, --class", id="nothing"),
        pytest.param(["--task", "a/b", "--all"], "Say exactly one of", id="two things"),
        pytest.param(["--task", "ticket"], "--task must be NAMESPACE/NAME", id="no namespace"),
        pytest.param(["--agent", "a/"], "--agent must be NAMESPACE/NAME", id="no name"),
    ],
)
def test_what_cannot_be_used_is_said_in_a_line(
    taskpass: Run, arguments: list[str], said: str
) -> None:
    code, text = taskpass("revoke", *arguments, "--reason", "INC-42")

    assert (code, text.count("\n")) == (2, 1)
    assert said in text


def test_the_api_servers_own_words_are_shown(taskpass: Run, name: str) -> None:
    code, said = taskpass("revoke", "--task", "a/b", "--reason", "two\nlines", "--name", name)

    assert code == 3
    assert "must not hold control characters; write the reason on one line" in said


def test_there_is_none_to_lift(taskpass: Run) -> None:
    assert taskpass("lift", "nothing") == (1, "There is no KillSwitch 'nothing'\n")
