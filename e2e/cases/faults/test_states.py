"""What a task's conditions say where something about it fails, or is over by the clock."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from e2e.admission import GROUP, TENANT, binding, task
from e2e.cases.faults.proxy import Proxy, Rule
from e2e.cases.faults.test_clock import library, restart
from e2e.cases.faults.test_ledger_volume import audit
from e2e.impersonate import thing
from e2e.stage import Stage, condition, job, policy

ASKS = {"approverGroups": ["support-leads"]}

__all__ = ["library"]


@pytest.fixture
def itself_again(stage: Stage, proxy: Proxy) -> Iterator[None]:
    """Start the operator afterwards as it was."""
    yield
    proxy.heal()
    stage.operator.stop()
    stage.operator.start()


def test_owners_that_cannot_be_read_leave_the_pod_unproven_until_they_can(
    stage: Stage, name: str, proxy: Proxy
) -> None:
    proxy.rules.append(Rule("GET", f"/jobs/{name}$", status=500, times=1000))
    workload = {"apiGroup": "batch", "kind": "Job", "name": name}
    stage.alice.create(
        task(name, agent={"serviceAccountName": "triage-agent", "workloadRef": workload})
    )

    stage.alice.create(job(name))
    status = stage.wait_condition(name, "Attested", "Unknown", "CheckFailed")
    held = stage.secret(name)
    proxy.heal()
    stage.wait_ready(name)

    assert "the proxy says so" in condition(status, "Attested")["message"]
    assert held is None


def test_a_name_that_looks_like_a_token_keeps_nobody_from_anything_after_a_start(
    stage: Stage, name: str
) -> None:
    """The log redacts it; what is noted of the task is then not literally what the log says."""
    token_like = f"xoxb-{name}"
    stage.begin_ready(token_like)

    stage.operator.stop()
    stage.operator.start()
    stage.begin_ready(name)

    assert stage.reads(stage.token(token_like)) == 200
    assert audit(stage.operator, "verify")[0] == 0
    stage.clear(token_like)


@pytest.mark.usefixtures("itself_again")
def test_a_pod_whose_token_is_for_another_audience_gets_nothing(stage: Stage, name: str) -> None:
    """Admission puts in the audience of the chart; here the operator expects another."""
    stage.operator.stop()
    stage.operator.start(TASKPASS_AUDIENCE="another")

    stage.begin(name)
    status = stage.wait_condition(name, "Attested", "False", "AudienceMissing")

    assert (
        "must project a token with audience 'another'" in condition(status, "Attested")["message"]
    )
    assert stage.secret(name) is None
    assert stage.gated(name)


def test_a_task_is_over_only_once_its_provider_has_confirmed_it(
    stage: Stage, name: str, proxy: Proxy
) -> None:
    stage.begin_ready(name)
    token = stage.token(name)
    proxy.rules.append(Rule("DELETE", "/rolebindings/", status=500, times=1000))

    stage.end(name)
    status = stage.wait_condition(name, "Finished", "False", "RevocationPending")
    gone = stage.secret(name)
    told = stage.wait_event(name, "RevocationFailed")
    proxy.heal()
    stage.wait_finished(name, "Succeeded")

    assert "grants" in status
    assert gone is None
    assert "tried again" in told["note"]
    assert stage.reads(token) != 200
    assert not stage.accounts()


@pytest.mark.usefixtures("itself_again")
def test_an_approval_that_ends_before_it_can_be_used_says_so(
    stage: Stage, name: str, proxy: Proxy
) -> None:
    asks = policy("asks", "tickets", effect="Constrain", approval=ASKS)
    leads = ("ClusterRole/taskpass-approver", "Group/support-leads")
    bound = binding("RoleBinding", TENANT, "leads", *leads)
    for each in (asks, bound):
        stage.api.apply(each)
    try:
        stage.begin(name)
        waiting = stage.wait_condition(name, "Suspended", "True", "AwaitingApproval")
        uid = stage.task(name)["metadata"]["uid"]
        stage.operator.stop()
        ref = {
            "taskRef": {"name": name, "uid": uid},
            "digest": waiting["pendingApprovals"][0]["digest"],
        }
        word = thing(GROUP, "TaskApproval", TENANT, name, spec={**ref, "decision": "Approved"})
        stage.api.as_user("lea", "support-leads").create(word)

        restart(stage, timedelta(seconds=901), proxy)
        status = stage.wait_condition(name, "Authorized", "False", "ApprovalExpired")
    finally:
        for each in (asks, bound):
            stage.api.delete(each)

    assert status["grants"] == []
    assert stage.gated(name)
