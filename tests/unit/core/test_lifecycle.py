"""What comes next in the life of a task, rule by rule (`core/lifecycle/next_step.py`)."""

from dataclasses import replace
from datetime import timedelta

import pytest

from taskpass.core.lifecycle.next_step import DELETION_PATIENCE, next_step
from taskpass.core.lifecycle.records import Outcome
from taskpass.core.lifecycle.renewal import renewal_time
from taskpass.core.lifecycle.steps import (
    Block,
    Delete,
    Enter,
    Finish,
    Forget,
    Release,
    Revoke,
    RevokeReason,
    Wait,
    Withdraw,
)
from taskpass.core.model.grant import GrantState
from tests.simulation.builders import T0, phase, request, task
from tests.unit.core.snapshots import ASKING, NEW, grant_of, record_of, snapshot

LATER = T0 + timedelta(seconds=10)
OWED = grant_of(state=GrantState.REVOKING)
UNANSWERED = frozenset({"g-tickets"})


def test_a_task_at_rest_waits_until_its_credential_is_due_for_renewal() -> None:
    due = renewal_time(grant_of(), None, timedelta(), LATER)

    assert next_step(snapshot(), LATER) == Wait(until=due)
    assert due is not None
    assert due < T0 + timedelta(seconds=900)


def test_the_same_snapshot_has_the_same_next_step() -> None:
    seen = snapshot(policies=())

    assert next_step(seen, LATER) == next_step(seen, LATER)


# Rule 1: what belongs to a task that no longer lives.


def test_what_a_task_that_is_gone_holds_is_revoked() -> None:
    seen = replace(NEW, task=None, grants=(grant_of(),))

    assert next_step(seen, LATER) == Revoke(grants=((grant_of(), RevokeReason.TASK_GONE),))


def test_what_an_earlier_task_of_the_name_holds_is_revoked_before_all_else() -> None:
    old = replace(ASKING, uid="task-0")
    seen = replace(NEW, grants=(grant_of(of=old),), gone_records=(record_of(old),))

    assert next_step(seen, LATER) == Revoke(grants=((grant_of(of=old), RevokeReason.TASK_GONE),))


def test_the_secret_of_a_task_that_is_gone_is_deleted_then_its_record_dropped() -> None:
    seen = replace(NEW, task=None, gone_records=(record_of(),))
    without = record_of(secret_written=False)

    first = next_step(seen, LATER)
    second = next_step(replace(seen, gone_records=(without,)), LATER)

    assert first == Withdraw(record=record_of())
    assert second == Forget(record=without, pending=0)


def test_a_record_is_dropped_though_its_secret_may_not_be_deleted() -> None:
    seen = replace(NEW, task=None, gone_records=(record_of(),), withdrawal_failed=True)

    assert next_step(seen, LATER) == Forget(record=record_of(), pending=0)


def test_a_record_is_dropped_while_a_provider_owes() -> None:
    kept = record_of(secret_written=False)
    seen = replace(NEW, task=None, grants=(OWED,), gone_records=(kept,), unanswered=UNANSWERED)

    assert next_step(seen, LATER) == Forget(record=kept, pending=1)


def test_a_debt_of_a_task_that_is_gone_is_shown_as_owed() -> None:
    seen = replace(NEW, task=None, grants=(OWED,), unanswered=UNANSWERED)

    assert next_step(seen, LATER) == Wait(pending=(OWED,))


# Rule 2: what was half done.


@pytest.mark.parametrize(
    ("state", "known"),
    [
        pytest.param(GrantState.INTENT, True, id="an intent, whatever is known"),
        pytest.param(GrantState.ISSUED, False, id="issued, and its secret is not known any more"),
        pytest.param(GrantState.REVOKING, True, id="a revocation that began"),
    ],
)
def test_what_was_half_done_is_undone(state: GrantState, known: bool) -> None:
    half = grant_of(state=state)
    seen = snapshot(grants=(half,), secret_cache=frozenset({half.id} if known else ()))

    assert next_step(seen, LATER) == Revoke(grants=((half, RevokeReason.INTERRUPTED),))


def test_what_was_delivered_stays_though_its_secret_is_not_known_any_more() -> None:
    assert isinstance(next_step(snapshot(secret_cache=frozenset()), LATER), Wait)


# Rule 3: the task is deleted, over, or not served.


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param(
            {"task": replace(ASKING, deleting_since=T0)}, RevokeReason.TASK_DELETED, id="deleted"
        ),
        pytest.param(
            {"own_record": record_of(outcome=Outcome.FAILED)}, RevokeReason.TASK_OVER, id="over"
        ),
        pytest.param({"enrolled": False}, RevokeReason.NOT_ENROLLED, id="not enrolled"),
        pytest.param({"uninstalling": True}, RevokeReason.RELEASED, id="uninstalling"),
    ],
)
def test_the_end_revokes_all(changes: dict[str, object], reason: RevokeReason) -> None:
    step = next_step(replace(snapshot(), **changes), LATER)  # type: ignore[arg-type]

    assert step == Revoke(grants=((grant_of(), reason),))


def test_the_deadline_is_committed_with_the_first_revocation() -> None:
    seen = snapshot(task=replace(ASKING, active_deadline_seconds=5))

    assert next_step(seen, LATER) == Revoke(
        grants=((grant_of(), RevokeReason.DEADLINE),),
        record=record_of(outcome=Outcome.EXPIRED),
    )


def test_a_deadline_that_meets_a_debt_is_committed_without_finishing() -> None:
    seen = snapshot(
        task=replace(ASKING, active_deadline_seconds=5), grants=(OWED,), unanswered=UNANSWERED
    )

    assert next_step(seen, LATER) == Revoke(grants=(), record=record_of(outcome=Outcome.EXPIRED))


def test_a_task_that_is_over_and_owes_is_not_finished() -> None:
    kept = record_of(outcome=Outcome.SUCCEEDED, secret_written=False)
    seen = snapshot(own_record=kept, grants=(OWED,), unanswered=UNANSWERED)

    assert next_step(seen, LATER) == Wait(pending=(OWED,))


def test_a_deleted_task_that_holds_nothing_is_released() -> None:
    gone = replace(ASKING, deleting_since=T0)

    assert next_step(replace(NEW, task=gone), T0) == Release()


def test_a_task_is_released_once() -> None:
    gone = replace(ASKING, deleting_since=T0)

    assert next_step(replace(NEW, task=gone, released=True), T0) == Wait()


@pytest.mark.parametrize(
    ("after", "released"),
    [
        pytest.param(0, False, id="at once"),
        pytest.param(29, False, id="just before"),
        pytest.param(30, True, id="after thirty seconds"),
        pytest.param(-5, False, id="a clock that is a little behind"),
        pytest.param(-3600, True, id="a clock that is an hour behind"),
    ],
)
def test_a_deletion_waits_for_a_provider_that_is_down(after: int, released: bool) -> None:
    seen = snapshot(
        task=replace(ASKING, deleting_since=T0),
        own_record=record_of(secret_written=False),
        grants=(OWED,),
        unanswered=UNANSWERED,
    )

    step = next_step(seen, T0 + timedelta(seconds=after))

    waiting = Wait(pending=(OWED,), until=T0 + DELETION_PATIENCE)
    assert step == (Release() if released else waiting)


def test_uninstalling_releases_a_task_that_is_over() -> None:
    kept = record_of(
        outcome=Outcome.SUCCEEDED, finished_at=T0, secret_written=False, pod_uid="", pod_name=""
    )

    assert next_step(snapshot(own_record=kept, grants=(), uninstalling=True), LATER) == Release()


def test_a_finished_task_is_deleted_only_after_its_status_said_so() -> None:
    over = record_of(outcome=Outcome.SUCCEEDED, finished_at=T0, secret_written=False)
    ending = replace(ASKING, ttl_seconds_after_finished=5)
    told = replace(ending, status={"conditions": [{"type": "Finished", "status": "True"}]})
    seen = snapshot(own_record=over, grants=())

    assert next_step(replace(seen, task=ending), LATER) == Wait(until=T0 + timedelta(seconds=5))
    assert next_step(replace(seen, task=told), LATER) == Delete()
    assert next_step(replace(seen, task=told), T0) == Wait(until=T0 + timedelta(seconds=5))


# Rule 5: phases.

PHASED = task(phases=[phase("one", request("tickets"), next=["two"]), phase("two"), phase("three")])


def test_a_declared_move_revokes_then_withdraws_then_enters() -> None:
    moved = replace(PHASED, phase="two")
    seen = snapshot(task=moved, own_record=record_of(PHASED), grants=(grant_of(of=PHASED),))
    cleared = replace(seen, grants=())
    bare = replace(cleared, own_record=record_of(PHASED, secret_written=False, delivered=()))

    assert next_step(seen, LATER) == Revoke(
        grants=((grant_of(of=PHASED), RevokeReason.PHASE_CHANGED),)
    )
    assert isinstance(next_step(cleared, LATER), Withdraw)
    assert next_step(bare, LATER) == Enter(left="one", phase="two")


def test_the_next_phase_is_not_entered_while_the_last_one_owes() -> None:
    owed = grant_of(of=PHASED, state=GrantState.REVOKING)
    seen = snapshot(
        task=replace(PHASED, phase="two"),
        own_record=record_of(PHASED, secret_written=False, delivered=()),
        grants=(owed,),
        unanswered=UNANSWERED,
    )

    assert next_step(seen, LATER) == Wait(pending=(owed,))


@pytest.mark.parametrize("wanted", ["three", "nowhere"])
def test_an_undeclared_move_is_recorded_and_revokes_next(wanted: str) -> None:
    moved = replace(PHASED, phase=wanted)
    seen = snapshot(task=moved, own_record=record_of(PHASED), grants=(grant_of(of=PHASED),))
    blocked = replace(seen, own_record=record_of(PHASED, blocked_branch=wanted))

    assert next_step(seen, LATER) == Block(left="one", phase=wanted)
    assert next_step(blocked, LATER) == Revoke(
        grants=((grant_of(of=PHASED), RevokeReason.UNAPPROVED_BRANCH),)
    )


def test_a_task_that_goes_back_from_a_branch_is_cleared_first_and_then_let_go_on() -> None:
    record = record_of(PHASED, blocked_branch="three")
    back = snapshot(task=replace(PHASED, phase="one"), own_record=record, grants=())
    bare = replace(record, secret_written=False, delivered=())
    owed = grant_of(of=PHASED, state=GrantState.REVOKING)

    assert isinstance(next_step(back, LATER), Withdraw)
    assert next_step(replace(back, own_record=bare), LATER) == Enter(left="three", phase="one")
    waits = replace(back, own_record=bare, grants=(owed,), unanswered=UNANSWERED)
    assert next_step(waits, LATER) == Wait(pending=(owed,), blocked="three")


def test_a_task_that_moves_on_from_a_branch_stays_blocked() -> None:
    record = record_of(PHASED, blocked_branch="three", secret_written=False, delivered=())
    seen = snapshot(task=replace(PHASED, phase="two"), own_record=record, grants=())

    assert next_step(seen, LATER) == Wait(blocked="three")


def test_an_unset_phase_stays_where_the_task_is() -> None:
    seen = snapshot(
        task=PHASED,
        own_record=record_of(PHASED, phase="two", secret_written=False, delivered=()),
        grants=(),
    )

    assert isinstance(next_step(seen, LATER), Wait)


def test_a_task_that_never_had_a_pod_has_no_phase_to_leave() -> None:
    assert isinstance(next_step(replace(NEW, task=replace(PHASED, phase="three")), LATER), Wait)


# The Secret.


@pytest.mark.parametrize("grants", [(), (OWED,)], ids=["nothing is held", "all of it is owed"])
def test_the_secret_of_a_task_that_may_use_nothing_is_deleted(grants: tuple[object, ...]) -> None:
    seen = snapshot(grants=grants, unanswered=UNANSWERED)

    assert next_step(seen, LATER) == Withdraw(record=record_of())


def test_a_finish_follows_when_all_is_cleared() -> None:
    kept = record_of(outcome=Outcome.EXPIRED, secret_written=False)

    assert next_step(snapshot(own_record=kept, grants=()), LATER) == Finish(outcome=Outcome.EXPIRED)
