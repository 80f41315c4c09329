"""The credentials' part of a task's life: what still holds, what is next."""

from dataclasses import replace
from datetime import timedelta

import pytest

from taskpass.core.lifecycle.credentials import use_of
from taskpass.core.lifecycle.next_step import next_step
from taskpass.core.lifecycle.steps import (
    Deliver,
    Issue,
    LiftGate,
    RefuseRequests,
    ReviewAccess,
    Revoke,
    RevokeReason,
    Wait,
)
from taskpass.core.model.conditions import false
from taskpass.core.model.grant import GrantState
from taskpass.core.policy.evaluate import Effect
from tests.simulation.builders import T0, broken, credential_class, pod, policy, request, task
from tests.unit.core.snapshots import ASKING, GATED, RUNNING, grant_of, record_of, snapshot

LATER = T0 + timedelta(seconds=10)
TWO = task(request("kb"), request("tickets"))
KB, TICKETS = grant_of(request("kb"), of=TWO), grant_of(of=TWO)
BOUND = record_of(secret_written=False, secret_uid="", delivered=())
USE = use_of(request("tickets").digest, ASKING.intent.digest)
EMPTY = snapshot(own_record=BOUND, grants=(), pods=(GATED,))
"""Bound and gated, nothing issued."""


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param(
            {"task": replace(ASKING, intent=task(goal="Else").intent)},
            RevokeReason.INTENT_CHANGED,
            id="the intent",
        ),
        pytest.param(
            {"task": replace(ASKING, credentials=(request("tickets", seconds=60),))},
            RevokeReason.REQUEST_CHANGED,
            id="the request",
        ),
        pytest.param(
            {"task": replace(ASKING, credentials=())},
            RevokeReason.REQUEST_CHANGED,
            id="the request is removed",
        ),
        pytest.param(
            {"own_record": record_of(phase="another")}, RevokeReason.PHASE_CHANGED, id="the phase"
        ),
        pytest.param({"classes": {}}, RevokeReason.CLASS_CHANGED, id="the class is gone"),
        pytest.param(
            {"classes": {"tickets-api": credential_class(default_expiration_seconds=60)}},
            RevokeReason.CLASS_CHANGED,
            id="the class",
        ),
        pytest.param({"policies": ()}, RevokeReason.POLICY_CHANGED, id="no policy"),
        pytest.param(
            {"policies": (policy(max_expiration_seconds=899),)},
            RevokeReason.POLICY_CHANGED,
            id="a lower limit",
        ),
        pytest.param(
            {
                "own_record": record_of(pod_uid="pod-other"),
                "pods": (replace(RUNNING, uid="pod-other"),),
            },
            RevokeReason.POD_ENDED,
            id="the pod",
        ),
    ],
)
def test_what_no_longer_holds_is_revoked(changes: dict[str, object], reason: RevokeReason) -> None:
    assert next_step(snapshot(**changes), LATER) == Revoke(grants=((grant_of(), reason),))


def test_a_policy_that_cannot_be_evaluated_takes_nothing_back() -> None:
    seen = snapshot(policies=(policy(), broken("freeze", Effect.DENY)))

    assert isinstance(next_step(seen, LATER), Wait)


def test_what_ran_out_in_a_running_pod_counts_as_renewed_when_it_is_issued_again() -> None:
    held = grant_of(renewals=2)

    step = next_step(snapshot(grants=(held,)), T0 + timedelta(seconds=900))

    assert step == Revoke(
        grants=((held, RevokeReason.EXPIRED),), record=record_of(renewals={USE: 3})
    )


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"pods": (GATED,)}, id="the pod is still gated"),
        pytest.param({"grants": (grant_of(state=GrantState.ISSUED),)}, id="it was not delivered"),
    ],
)
def test_what_ran_out_before_it_could_be_used_does_not_count(changes: dict[str, object]) -> None:
    step = next_step(snapshot(**changes), T0 + timedelta(seconds=900))

    assert isinstance(step, Revoke)
    assert step.record is None


@pytest.mark.parametrize(("limit", "issued"), [(None, True), (3, True), (2, False), (0, False)])
def test_what_ran_out_is_issued_again_as_often_as_policy_allows_renewals(
    limit: int | None, issued: bool
) -> None:
    kept = replace(BOUND, renewals={USE: 3})
    limited = (policy(), policy("often", effect=Effect.CONSTRAIN, max_renewals=limit))

    step = next_step(replace(EMPTY, own_record=kept, pods=(RUNNING,), policies=limited), LATER)

    assert isinstance(step, Issue) == issued
    if isinstance(step, Issue):
        assert [p.renewals for p in step.planned] == [3]


def test_what_ran_out_is_issued_from_the_start_for_another_intent() -> None:
    kept = replace(BOUND, renewals={USE: 3})
    changed = replace(ASKING, intent=task(goal="Answer ticket 4712").intent)

    seen = replace(EMPTY, task=changed, own_record=kept, policies=(policy(max_renewals=0),))

    step = next_step(replace(seen, pods=(RUNNING,)), LATER)

    assert isinstance(step, Issue)
    assert [p.renewals for p in step.planned] == [0]


def test_the_right_to_use_a_class_is_asked_for_before_policy() -> None:
    assert next_step(replace(EMPTY, may_use={}), LATER) == ReviewAccess(classes=("tickets-api",))


def test_a_class_that_does_not_exist_is_not_asked_about() -> None:
    step = next_step(replace(EMPTY, may_use={}, classes={}), LATER)

    assert isinstance(step, RefuseRequests)


def test_all_that_is_asked_for_is_planned_at_once() -> None:
    step = next_step(replace(EMPTY, task=TWO), LATER)

    assert isinstance(step, Issue)
    assert [p.request.name for p in step.planned] == ["kb", "tickets"]


def test_one_denial_keeps_everything_from_being_issued() -> None:
    asking = task(request("kb"), request("tickets", actions=["tickets.burn"]))

    step = next_step(replace(EMPTY, task=asking), LATER)

    assert isinstance(step, RefuseRequests)
    assert [d.request.name for d in step.denials] == ["tickets"]


def test_a_denial_that_was_recorded_is_only_shown_and_looked_at_again_in_a_minute() -> None:
    seen = replace(EMPTY, policies=())
    step = next_step(seen, LATER)
    assert isinstance(step, RefuseRequests)

    told = replace(seen, own_record=replace(BOUND, denial=step.refusal))

    assert next_step(told, LATER) == Wait(denials=step.denials, until=LATER + timedelta(seconds=60))


def test_a_failure_of_this_run_is_not_tried_again_in_it() -> None:
    failed = {"tickets": false("ProviderUnavailable", "no answer")}

    assert next_step(replace(EMPTY, failures=failed), LATER) == Wait(retry=True)


def test_nothing_new_is_issued_while_anything_is_owed() -> None:
    owed = replace(KB, state=GrantState.REVOKING)
    seen = replace(EMPTY, task=TWO, grants=(owed,), unanswered=frozenset({KB.id}))

    assert next_step(seen, LATER) == Wait(pending=(owed,))


def test_while_something_is_owed_it_is_taken_out_of_the_secret() -> None:
    owed = replace(KB, state=GrantState.REVOKING)
    kept = record_of(TWO, delivered=(KB.id, TICKETS.id))
    seen = snapshot(
        task=TWO, own_record=kept, grants=(owed, TICKETS), unanswered=frozenset({KB.id})
    )

    assert next_step(seen, LATER) == Deliver(grants=(TICKETS,))
    assert isinstance(next_step(replace(seen, secret_cache=frozenset()), LATER), Wait)


def test_what_is_not_known_any_more_is_renewed_when_the_secret_must_be_written() -> None:
    seen = snapshot(
        task=TWO,
        own_record=record_of(TWO),
        grants=(TICKETS,),
        secret_cache=frozenset(),
        pods=(RUNNING,),
    )

    step = next_step(seen, LATER)

    assert isinstance(step, Issue)
    assert [(p.request.name, p.renews, p.renewals) for p in step.planned] == [
        ("kb", "", 0), ("tickets", TICKETS.id, 0),
    ]  # fmt: skip


def test_the_gate_is_lifted_once_everything_is_delivered() -> None:
    issued = grant_of(state=GrantState.ISSUED)
    before = replace(EMPTY, grants=(issued,), own_record=replace(BOUND, secret_written=True))
    after = snapshot(pods=(GATED,))

    assert next_step(before, LATER) == Deliver(grants=(issued,))
    assert next_step(after, LATER) == LiftGate(pod=GATED)
    assert isinstance(next_step(replace(after, lifted=frozenset({GATED.uid})), LATER), Wait)


@pytest.mark.parametrize(
    "reader",
    [
        pytest.param(replace(pod("old"), gated=False), id="runs"),
        pytest.param(replace(pod("old"), gated=False, deleting_since=T0), id="overdue, not ended"),
    ],
)
def test_another_pod_that_reads_the_secret_holds_everything_new_back(reader: object) -> None:
    step = next_step(replace(EMPTY, pods=(GATED, reader)), LATER)  # type: ignore[arg-type]

    assert isinstance(step, Wait)
    assert "Pod 'old' still runs" in step.waiting
    assert not step.issuance_blocked


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(pod("new"), id="gated"),
        pytest.param(replace(pod("old"), gated=False, ended="Failed"), id="ended"),
    ],
)
def test_a_pod_that_cannot_read_the_secret_holds_nothing_back(other: object) -> None:
    step = next_step(replace(EMPTY, pods=(GATED, other)), LATER)  # type: ignore[arg-type]

    assert isinstance(step, Issue)


def test_what_is_held_back_is_said() -> None:
    step = next_step(replace(EMPTY, issuance_blocked_reason="The limits do not hold"), LATER)

    assert step == Wait(waiting="The limits do not hold", issuance_blocked=True)


def test_what_holds_a_renewal_back_is_said_and_what_is_held_stays() -> None:
    seen = replace(snapshot(pods=(RUNNING,)), issuance_blocked_reason="The limits do not hold")
    end = seen.grants[0].expires_at
    assert end is not None

    step = next_step(seen, end - timedelta(seconds=60))

    assert step == Wait(until=end, unrenewed="The limits do not hold", issuance_blocked=True)


def test_a_secret_that_could_not_be_written_is_tried_again_in_another_run() -> None:
    issued = grant_of(state=GrantState.ISSUED)
    taken = false("SecretNameTaken", "taken")
    seen = replace(EMPTY, grants=(issued,), delivery_failure=taken)

    assert next_step(seen, LATER) == Wait(until=issued.expires_at, retry=True)
