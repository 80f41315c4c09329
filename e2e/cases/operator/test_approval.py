"""What a policy has people approve: `taskpass approve`, and who tries to get around it."""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e import command
from e2e.admission import GROUP, ROLE, TENANT, binding, remove
from e2e.command import Run
from e2e.impersonate import Api, Object, Refused, thing
from e2e.stage import Stage, condition, credential_class, job, policy, request, until

ASKS = {"approvals": 1, "approverGroups": ["support-leads"], "excludedUsernames": ["argocd"]}
OTHER = [request("tickets", "other")]


@pytest.fixture
def asking(stage: Stage) -> Iterator[Stage]:
    """Return the stage with a class 'other' whose policy asks for the approval of a lead."""
    bound = binding("RoleBinding", TENANT, "leads", "ClusterRole/taskpass-approver",
                    "Group/support-leads")  # fmt: skip
    made = [credential_class("other"), policy("other", "other", approval=ASKS), bound]
    for each in made:
        stage.api.apply(each)
    yield stage
    for each in made:
        remove(stage.api, each)


@pytest.fixture
def taskpass(kubeconfig: str, tmp_path: Any) -> Run:
    """Return how to run the command as somebody."""

    def run(user: str, *arguments: str, groups: tuple[str, ...] = ("support-leads",)) -> Any:
        config = yaml.safe_load(Path(kubeconfig).read_text())
        config["users"][0]["user"] |= {"as": user, "as-groups": list(groups)}
        path = tmp_path / f"{user}.kubeconfig"
        path.write_text(yaml.safe_dump(config))
        return command.taskpass(str(path), *arguments)

    return run


def begin(stage: Stage, name: str, **spec: Any) -> Object:
    """Begin a task that waits for approval; return what it asks for."""
    stage.begin(name, credentials=OTHER, **spec)
    return pending(stage, name)


def shown_by_events(stage: Stage, name: str) -> str:
    """Return the request as the Events have it, put together again."""
    notes = [e["note"] for e in stage.events(name) if e["reason"] == "ApprovalRequest"]
    parts = [each.split(": ", 1) for each in notes]
    return "".join(
        text for _, text in sorted(parts, key=lambda p: int(p[0].split()[1].partition("/")[0]))
    )


def pending(stage: Stage, name: str, but: str = "") -> Object:
    """Wait until a task asks for one approval, another than the one with a digest."""

    def seen() -> Object | None:
        live = stage.task(name)
        status = live.get("status", {})
        if status.get("observedGeneration") != live["metadata"]["generation"]:
            return None
        asked = status.get("pendingApprovals", [])
        return next((each for each in asked if each["digest"] != but), None)

    return until(seen, said=lambda: stage.told(name))


def word(stage: Stage, name: str, digest: str, who: Api, **spec: Any) -> Object:
    """Have somebody approve by hand."""
    uid = stage.task(name)["metadata"]["uid"]
    whole = {"taskRef": {"name": name, "uid": uid}, "digest": digest, "decision": "Approved"}
    made = thing(GROUP, "TaskApproval", TENANT, f"{name}-{os.urandom(3).hex()}")
    return who.create({**made, "spec": {**whole, **spec}})


def live(stage: Stage, each: Object) -> Object:
    meta = each["metadata"]
    return stage.api.get(each["kind"], meta.get("namespace", ""), meta["name"])


def said(stage: Stage, approval: Object, reason: str) -> str:
    """Wait until the operator has said what has become of an approval."""

    def seen() -> str:
        for each in live(stage, approval).get("status", {}).get("conditions", []):
            if each["reason"] == reason:
                return str(each["message"])
        return ""

    return until(seen, said=lambda: live(stage, approval))


def lead(stage: Stage, user: str = "lea") -> Api:
    return stage.api.as_user(user, "support-leads")


def test_a_task_gets_its_credential_on_the_word_of_a_lead(
    asking: Stage, taskpass: Run, name: str
) -> None:
    asked = begin(asking, name)
    status = asking.task(name)["status"]
    listed = taskpass("lea", "approvals", "--namespace", TENANT)
    waiting = asking.gated(name)

    code, text = taskpass("lea", "approve", f"{TENANT}/{name}", "--reason", "INC-7", "--yes")
    ready = asking.wait_ready(name)

    assert condition(status, "Authorized")["reason"] == "ApprovalRequired"
    assert condition(status, "Suspended")["reason"] == "AwaitingApproval"
    assert "one approval of group 'support-leads'" in condition(status, "Ready")["message"]
    assert (waiting, listed[0]) == (True, 0)
    assert f"{TENANT}/{name}" in listed[1]
    assert "1 of group support-leads (AgentPolicy/support/other)" in listed[1]
    assert code == 0, text
    assert asked["digest"] in text
    assert asked["digest"] == f"sha256:{hashlib.sha256(asked['request'].encode()).hexdigest()}"
    assert '"goal": ' in text
    assert condition(ready, "Authorized")["reason"] == "Approved"
    assert "pendingApprovals" not in ready
    assert asking.reads(asking.token(name)) == 200
    told = [step["reason"] for step in ready["trail"]]
    assert told[:4] == ["Attested", "ApprovalRequired", "Approved", "CredentialIssued"]
    assert asking.wait_event(name, "ApprovalRequired", kind="Pod")
    until(lambda: shown_by_events(asking, name) == asked["request"])


@pytest.mark.parametrize(
    ("user", "why"),
    [
        ("alice", "'alice' has made or changed the task"),
        ("argocd", "excludes 'argocd'"),
        (f"system:serviceaccount:{TENANT}:triage-agent", "it is the agent's own"),
        (f"system:serviceaccount:{TENANT}:another", "is a ServiceAccount"),
    ],
)
def test_whose_word_does_not_count_is_told_so(
    asking: Stage, name: str, user: str, why: str
) -> None:
    asked = begin(asking, name)
    given = word(asking, name, asked["digest"], lead(asking, user))

    assert why in said(asking, given, "NotEligible")
    assert asking.secret(name) is None
    assert asking.gated(name)


def test_who_changed_the_task_in_between_may_not_approve_it(
    asking: Stage, taskpass: Run, name: str
) -> None:
    asked = begin(asking, name)
    eve = asking.api.as_user("eve", "system:masters", "support-leads")
    eve.merge(thing(GROUP, "AgentTask", TENANT, name), {"spec": {"intent": {"goal": "Eve's"}}})
    asking.change(name, {"sponsor": "somebody-else"})
    asked = pending(asking, name, but=asked["digest"])
    given = word(asking, name, asked["digest"], eve)

    assert "'eve' has made or changed the task" in said(asking, given, "NotEligible")
    assert asking.secret(name) is None


def test_who_runs_a_template_may_not_approve_it(asking: Stage, name: str) -> None:
    """The template is alice's; who has a Job run by it, with another image, has asked as well."""
    edits = binding("RoleBinding", TENANT, "lea", "ClusterRole/edit", "User/lea")
    asking.api.apply(edits)
    lea = lead(asking)
    made = job(name)
    made["spec"]["template"]["metadata"]["labels"] = {"taskpass.dev/task-template": name}
    made["spec"]["template"]["spec"]["containers"][0]["image"] = "localhost/hers:1"
    of = {"agent": {"serviceAccountName": "triage-agent"}, "credentials": OTHER,
          "intent": {"goal": "Nightly"}}  # fmt: skip
    asking.alice.create(thing(GROUP, "AgentTaskTemplate", TENANT, name, spec=of))
    try:
        until(lambda: _made(lea, made))
        asked = pending(asking, name)
        given = word(asking, name, asked["digest"], lea)
        why = said(asking, given, "NotEligible")
    finally:
        asking.api.delete(edits)

    agent = json.loads(asked["request"])["agent"]
    assert "'lea' has started what runs in the pod" in why
    assert agent["images"] == ["localhost/hers:1"]
    assert agent["started_by"] == ["lea"]
    assert asking.secret(name) is None
    word(asking, name, asked["digest"], lead(asking, "leo"))
    assert asking.wait_ready(name)


def _made(who: Api, body: Object) -> Object | None:
    try:
        return who.create(body)
    except Refused as refused:
        if "cannot create resource" not in refused.message:
            raise
        return None  # a new RoleBinding takes a moment


def test_an_approval_of_what_was_asked_before_is_void(asking: Stage, name: str) -> None:
    before = begin(asking, name)
    asking.change(name, {"intent": {"goal": "Something else"}})
    pending(asking, name, but=before["digest"])

    given = word(asking, name, before["digest"], lead(asking))

    assert "is not asked for" in said(asking, given, "Superseded")
    assert asking.secret(name) is None


def test_an_approval_for_an_earlier_task_of_the_name_opens_nothing(
    asking: Stage, name: str
) -> None:
    begin(asking, name)
    before = asking.task(name)
    asking.clear(name)
    asked = begin(asking, name)
    made = thing(GROUP, "TaskApproval", TENANT, f"{name}-old")
    ref = {"name": name, "uid": before["metadata"]["uid"]}
    spec = {"taskRef": ref, "digest": asked["digest"], "decision": "Approved"}

    given = lead(asking).create({**made, "spec": spec})

    assert said(asking, given, "Superseded")
    assert asking.secret(name) is None


def test_deleting_an_approval_takes_back_what_it_let_be_issued(asking: Stage, name: str) -> None:
    asked = begin(asking, name)
    given = word(asking, name, asked["digest"], lead(asking))
    asking.wait_ready(name)
    token = asking.token(name)
    assert "it ends with this approval" in said(asking, given, "Used")

    lead(asking).delete(given)
    status = asking.wait_condition(name, "Suspended", "True", "AwaitingApproval")

    assert asking.reads(token) != 200
    assert status.get("grants", []) == []
    assert asking.secret(name) is None


def test_a_denial_stalls_the_task_with_its_reason(asking: Stage, taskpass: Run, name: str) -> None:
    begin(asking, name)

    code, text = taskpass(
        "lea", "approve", f"{TENANT}/{name}", "--deny", "--yes", "--reason", "wrong customer"
    )
    status = asking.wait_condition(name, "Stalled", "True", "ApprovalDenied")

    assert code == 0, text
    assert "denied by 'lea' (\"wrong customer\")" in condition(status, "Stalled")["message"]
    assert condition(status, "Authorized")["reason"] == "ApprovalDenied"
    assert asking.gated(name)


def test_a_role_that_widens_after_it_was_shown_is_asked_about_again(
    asking: Stage, name: str
) -> None:
    rbac = "rbac.authorization.k8s.io/v1"
    role = thing(rbac, "ClusterRole", "", ROLE)
    before = live(asking, role)["rules"]
    asked = begin(asking, name)
    try:
        asking.api.merge(role, {"rules": [*before, {**before[0], "resources": ["services"]}]})
        word(asking, name, asked["digest"], lead(asking))

        again = pending(asking, name, but=asked["digest"])
        assert asking.secret(name) is None
        first, second = (json.loads(each["request"])["class"] for each in (asked, again))
        assert first["reach"] != second["reach"]
        assert first["digest"] == second["digest"]
    finally:
        asking.api.merge(role, {"rules": before})


def test_a_kill_between_the_word_and_the_issue_loses_neither(asking: Stage, name: str) -> None:
    asked = begin(asking, name)
    asking.operator.kill()
    word(asking, name, asked["digest"], lead(asking))
    asking.operator.start()

    ready = asking.wait_ready(name)

    assert [step["reason"] for step in ready["trail"]].count("ApprovalRequired") == 1
    asking.assert_holds(**{name.replace("-", "_"): 1})


def test_an_approved_branch_goes_on_and_one_that_nobody_may_approve_does_not(
    asking: Stage, name: str
) -> None:
    ask = {"credentials": [request("write", "other")]}
    phases = [{"name": "read", "credentials": [request()]}, {"name": "write", **ask}]
    asking.begin(name, credentials=None, phases=phases)
    asking.wait_ready(name)
    asking.change(name, {"phase": "write"})
    asking.wait_condition(name, "Stalled", "True", "UnapprovedBranch")
    branch = pending(asking, name)
    assert branch["branch"] == "write"
    # Alice moved it: her word on that counts not.
    hers = word(asking, name, branch["digest"], lead(asking, "alice"))
    assert said(asking, hers, "NotEligible")

    word(asking, name, branch["digest"], lead(asking))
    asked = pending(asking, name, but=branch["digest"])
    assert asked["name"] == "write"
    word(asking, name, asked["digest"], lead(asking))

    assert asking.wait_ready(name)["phaseName"] == "write"


def test_the_log_tells_whose_word_it_was(asking: Stage, taskpass: Run, name: str) -> None:
    asked = begin(asking, name)
    word(asking, name, asked["digest"], lead(asking), reason="canary reason")
    asking.wait_ready(name)

    database = str(asking.operator.ledger)
    code, text = taskpass("lea", "audit", "timeline", f"{TENANT}/{name}", "--db", database)

    assert code == 0, text
    assert f"people are asked to approve tickets ({asked['digest'][:15]}" in " ".join(text.split())
    assert '; by lea: "canary reason"' in " ".join(text.split())


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        pytest.param(["ticket"], 2, "Name the task as NAMESPACE/TASK", id="no namespace"),
        pytest.param([f"{TENANT}/nothing"], 2, f"There is no AgentTask '{TENANT}/nothing'",
                     id="no task"),
    ],
)  # fmt: skip
def test_what_cannot_be_approved_is_said_in_a_line(
    asking: Stage, taskpass: Run, arguments: list[str], code: int, text: str
) -> None:
    told = taskpass("lea", "approve", *arguments, "--reason", "r", "--yes")

    assert (told[0], told[1].count("\n")) == (code, 1)
    assert text in told[1]


def test_nothing_that_waits_is_said_so(asking: Stage, taskpass: Run, name: str) -> None:
    asking.begin_ready(name)

    told = taskpass("lea", "approve", f"{TENANT}/{name}", "--reason", "r", "--yes")

    assert told == (1, f"Nothing of {TENANT}/{name} waits for approval\n")
    assert taskpass("lea", "approvals", "--namespace", TENANT) == (
        0,
        "Nothing waits for approval\n",
    )
