"""The status of a task: what it says in each state."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from taskpass.core.lifecycle.next_step import next_step
from taskpass.core.lifecycle.records import Outcome, TrailItem
from taskpass.core.lifecycle.snapshot import Snapshot
from taskpass.core.lifecycle.status import findings, status_of
from taskpass.core.lifecycle.steps import Denial, Wait
from taskpass.core.model.conditions import Finding, Reason, false
from taskpass.core.model.grant import GrantState
from taskpass.core.model.notice import Notice
from taskpass.core.policy.evaluate import Decision, DecisionReason
from taskpass.flows.task.status import difference
from tests.simulation.builders import T0, phase, request, task
from tests.unit.core.snapshots import ASKING, GATED, NEW, grant_of, record_of, snapshot

LATER = T0 + timedelta(seconds=10)
BARE = record_of(secret_written=False, delivered=())
OWED = grant_of(state=GrantState.REVOKING)
MISSING = false(Reason.POD_MISSING, "Waiting for a pod")


def denied(reason: DecisionReason) -> Wait:
    decision = Decision(allowed=False, reason=reason, message="AgentPolicy 'a/b' denies it")
    return Wait(denials=(Denial(request=request("tickets"), decision=decision),))


STATES: list[Any] = [
    pytest.param(
        snapshot(), Wait(),
        "Attested=True/PodVerified Authorized=True/Allowed CredentialsIssued=True/Issued "
        "Finished=False/Running Ready=True/Ready Stalled=False/NotStalled "
        "Suspended=False/Running",
        id="usable",
    ),
    pytest.param(
        NEW, Wait(attested=MISSING),
        "Attested=False/PodMissing Authorized=Unknown/Pending CredentialsIssued=False/Pending "
        "Finished=False/Running Ready=False/PodMissing Stalled=False/NotStalled "
        "Suspended=False/Running",
        id="no pod yet",
    ),
    pytest.param(
        snapshot(own_record=BARE, grants=()), denied(DecisionReason.NO_POLICY),
        "Attested=True/PodVerified Authorized=False/NoPolicy CredentialsIssued=False/Pending "
        "Finished=False/Running Ready=False/NoPolicy Stalled=True/NoPolicy "
        "Suspended=False/Running",
        id="denied",
    ),
    pytest.param(
        snapshot(own_record=BARE, grants=()), denied(DecisionReason.EVALUATION_FAILED),
        "Attested=True/PodVerified Authorized=Unknown/EvaluationFailed "
        "CredentialsIssued=False/Pending Finished=False/Running Ready=False/EvaluationFailed "
        "Stalled=False/NotStalled "
        "Suspended=False/Running",
        id="cannot be decided",
    ),
    pytest.param(
        snapshot(
            own_record=BARE, grants=(),
            failures={"tickets": false(Reason.PROVIDER_UNAVAILABLE, "no answer")},
        ),
        Wait(retry=True),
        "Attested=True/PodVerified Authorized=True/Allowed "
        "CredentialsIssued=False/ProviderUnavailable Finished=False/Running "
        "Ready=False/ProviderUnavailable Stalled=False/NotStalled "
        "Suspended=False/Running",
        id="the provider does not answer",
    ),
    pytest.param(
        snapshot(delivery_failure=false(Reason.SECRET_NAME_TAKEN, "taken")), Wait(retry=True),
        "Attested=True/PodVerified Authorized=True/Allowed CredentialsIssued=False/SecretNameTaken "
        "Finished=False/Running Ready=False/SecretNameTaken Stalled=True/SecretNameTaken "
        "Suspended=False/Running",
        id="the Secret's name is taken",
    ),
    pytest.param(
        snapshot(own_record=BARE, grants=()), Wait(blocked="close"),
        "Attested=True/PodVerified Authorized=False/UnapprovedBranch "
        "CredentialsIssued=False/Pending Finished=False/Running Ready=False/UnapprovedBranch "
        "Stalled=True/UnapprovedBranch "
        "Suspended=False/Running",
        id="left its path",
    ),
    pytest.param(
        snapshot(task=replace(ASKING, operating_mode="Suspended"), own_record=BARE, grants=()),
        Wait(suspended=True),
        "Attested=True/PodVerified Authorized=Unknown/Pending CredentialsIssued=False/Revoked "
        "Finished=False/Running Ready=False/Suspended Stalled=False/NotStalled "
        "Suspended=True/Requested",
        id="suspended",
    ),
    pytest.param(
        snapshot(own_record=BARE, grants=()), Wait(enrolled=False),
        "Attested=Unknown/NotEnrolled Authorized=Unknown/Pending CredentialsIssued=False/Pending "
        "Finished=False/Running Ready=False/NotEnrolled Stalled=False/NotStalled "
        "Suspended=False/Running",
        id="not enrolled",
    ),
    pytest.param(
        snapshot(own_record=BARE, grants=()), Wait(waiting="Pod 'old' still runs"),
        "Attested=True/PodVerified Authorized=Unknown/Pending CredentialsIssued=False/Pending "
        "Finished=False/Running Ready=False/Pending Stalled=False/NotStalled "
        "Suspended=False/Running",
        id="something must come first",
    ),
    pytest.param(
        snapshot(own_record=replace(BARE, renewals={"a use": 1}), grants=()), Wait(),
        "Attested=True/PodVerified Authorized=True/Allowed CredentialsIssued=False/Revoked "
        "Finished=False/Running Ready=False/Revoked Stalled=False/NotStalled "
        "Suspended=False/Running",
        id="ran out",
    ),
    pytest.param(
        snapshot(own_record=replace(BARE, outcome=Outcome.FAILED), grants=(OWED,)),
        Wait(pending=(OWED,)),
        "Attested=False/Finished Authorized=False/Finished CredentialsIssued=False/Revoking "
        "Finished=False/RevocationPending Ready=False/Finished Stalled=False/NotStalled "
        "Suspended=False/Finished",
        id="over, and something is owed",
    ),
    pytest.param(
        snapshot(
            own_record=replace(BARE, outcome=Outcome.EXPIRED, finished_at=T0), grants=()
        ),
        Wait(),
        "Attested=False/Finished Authorized=False/Finished CredentialsIssued=False/Revoked "
        "Finished=True/Expired Ready=False/Finished Stalled=False/NotStalled "
        "Suspended=False/Finished",
        id="finished",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("seen", "rest", "said"), STATES)
def test_every_condition_is_said_in_every_state(seen: Snapshot, rest: Wait, said: str) -> None:
    made = status_of(seen, rest, (), LATER)["conditions"]

    shown = " ".join(f"{c['type']}={c['status']}/{c['reason']}" for c in made)
    assert shown == said
    assert all(c["message"] for c in made)


@pytest.mark.parametrize(("seen", "rest", "said"), STATES)
def test_ready_is_true_only_if_everything_before_it_is(
    seen: Snapshot, rest: Wait, said: str
) -> None:
    made = findings(seen, rest, T0)

    ready = made["Ready"].status == "True"
    before = [made[k].status for k in ("Attested", "Authorized", "CredentialsIssued")]
    assert ready == (before == ["True"] * 3)


def test_while_issuing_waits_policy_is_not_said_to_have_allowed_anything() -> None:
    seen = findings(snapshot(own_record=BARE, grants=()), Wait(waiting="Pod 'old' still runs"), T0)

    assert seen["Authorized"].message == "Policy decides once what CredentialsIssued says is over"
    assert seen["Ready"].message == seen["CredentialsIssued"].message == "Pod 'old' still runs"


def test_a_status_shows_what_is_held_and_until_when() -> None:
    status = status_of(snapshot(), Wait(), (), LATER)

    assert status["grants"] == [
        {
            "id": "g-tickets",
            "name": "tickets",
            "classRef": {"name": "tickets-api"},
            "issuedTime": "2027-03-01T12:00:00Z",
            "expirationTime": "2027-03-01T12:15:00Z",
            "auditIndex": 5,
        }
    ]
    assert status["podRef"] == {"name": "agent", "uid": "pod-agent"}
    assert status["startTime"] == "2027-03-01T12:00:00Z"
    assert status["expirationTime"] == "2027-03-01T12:15:00Z"


def test_what_is_owed_is_not_shown_as_held() -> None:
    status = status_of(snapshot(grants=(OWED,)), Wait(pending=(OWED,)), (), LATER)

    assert status["grants"] == []
    assert "expirationTime" not in status


def test_a_trail_item_is_shown_with_its_index() -> None:
    item = TrailItem(
        time=T0, notice=Notice(reason="Attested", message="Pod 'agent' is the agent"), audit_index=7
    )

    assert status_of(snapshot(), Wait(), [item], LATER)["trail"] == [
        {
            "time": "2027-03-01T12:00:00Z",
            "reason": "Attested",
            "message": "Pod 'agent' is the agent",
            "auditIndex": 7,
        }
    ]


PHASED = task(phases=[phase("one", request("tickets")), phase("two")])


@pytest.mark.parametrize(
    ("rest", "changes", "shown"),
    [
        pytest.param(Wait(), {}, "one", id="at rest"),
        pytest.param(denied(DecisionReason.DENIED), {}, "one", id="denied: that is decided"),
        pytest.param(Wait(pending=(OWED,)), {}, "before", id="something is owed"),
        pytest.param(Wait(waiting="x"), {}, "before", id="something must come first"),
        pytest.param(
            Wait(), {"failures": {"kb": false("ProviderRefused", "no")}}, "before",
            id="issuing failed",
        ),
        pytest.param(
            Wait(), {"failures": {"tickets": false("ProviderRefused", "no")}}, "one",
            id="renewing failed",
        ),
        pytest.param(
            Wait(), {"delivery_failure": false("SecretNameTaken", "no")}, "before",
            id="delivery failed",
        ),
    ],
)  # fmt: skip
def test_a_phase_is_said_once_it_has_settled(
    rest: Wait, changes: dict[str, Any], shown: str
) -> None:
    before = replace(PHASED, status={"phaseName": "before"})
    seen = snapshot(
        task=before, own_record=record_of(PHASED), grants=(grant_of(of=PHASED),), **changes
    )

    assert status_of(seen, rest, (), LATER)["phaseName"] == shown


def test_a_task_that_is_as_its_status_says_needs_no_patch() -> None:
    seen = snapshot()
    status = status_of(seen, Wait(), (), T0)
    again = replace(seen, task=replace(ASKING, status=status))

    later = status_of(again, Wait(), (), LATER)

    assert difference(later, status) == {}


def test_a_patch_says_what_changed_and_removes_what_is_no_more() -> None:
    now = {"phaseName": "one", "podRef": {"name": "agent"}, "grants": []}

    patch = difference({"phaseName": "two", "grants": []}, now)

    assert patch == {"phaseName": "two", "podRef": None}


def test_the_status_of_a_gated_pod_at_rest_follows_from_the_next_step() -> None:
    seen = snapshot(pods=(GATED,), lifted=frozenset({GATED.uid}))
    step = next_step(seen, LATER)

    assert isinstance(step, Wait)
    assert findings(seen, step, T0)["Ready"] == Finding(
        status="True", reason="Ready", message="Every credential of the phase can be used now"
    )
