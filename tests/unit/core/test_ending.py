"""What goes on while nothing new can be recorded, or what is recorded may not be so."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from taskpass.core.lifecycle.delegation import Ancestor, Lineage
from taskpass.core.lifecycle.ending import ending_step
from taskpass.core.lifecycle.records import Outcome
from taskpass.core.lifecycle.snapshot import Snapshot
from taskpass.core.lifecycle.steps import Forget, Revoke, RevokeReason, Wait, Withdraw
from taskpass.core.model.grant import GrantState
from tests.simulation.builders import T0, phase, request, task
from tests.unit.core.snapshots import NEW, RUNNING, grant_of, record_of, snapshot

LATER = T0 + timedelta(seconds=10)
LAST = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
WHY = "Nothing is issued: the state differs from the log"
MODES: dict[str, dict[str, Any]] = {
    "unproven": {"unproven": True}, "revoke only": {"revoke_only": True},
    "both": {"unproven": True, "revoke_only": True},
}  # fmt: skip
PHASES = task(
    phases=[phase("a", request("tickets"), next=["b"]), phase("b"), phase("c")], phase="a"
)
modes = pytest.mark.parametrize("mode", MODES.values(), ids=MODES)


def seen(mode: dict[str, Any], **changes: Any) -> Snapshot:
    return snapshot(issuance_blocked_reason=WHY, **mode, **changes)


@modes
def test_a_move_off_the_path_takes_back_what_is_held_though_it_is_not_recorded(
    mode: dict[str, Any],
) -> None:
    moved = replace(PHASES, phase="c")
    held, record = grant_of(of=PHASES), record_of(PHASES)

    step = ending_step(seen(mode, task=moved, own_record=record, grants=(held,)), LATER).step

    assert step == Revoke(grants=((held, RevokeReason.UNAPPROVED_BRANCH),))


@modes
def test_a_step_that_waits_for_the_ledger_keeps_no_revocation_waiting(mode: dict[str, Any]) -> None:
    resumes = record_of(suspended="Suspended")
    ended = replace(RUNNING, ended="Failed")

    step = ending_step(seen(mode, own_record=resumes, pods=(ended,)), LATER).step

    assert isinstance(step, Revoke)
    assert step.grants == ((grant_of(), RevokeReason.POD_ENDED),)


@modes
def test_how_the_task_ended_is_recorded_only_where_the_state_is_proven(
    mode: dict[str, Any],
) -> None:
    ended = replace(RUNNING, ended="Succeeded")

    step = ending_step(seen(mode, pods=(ended,)), LATER).step

    assert isinstance(step, Revoke)
    kept = None if "unproven" in mode else replace(record_of(), outcome=Outcome.SUCCEEDED)
    assert step.record == kept


@modes
def test_the_secret_goes_once_nothing_is_usable(mode: dict[str, Any]) -> None:
    owed = grant_of(state=GrantState.REVOKING)
    ended = replace(RUNNING, ended="Succeeded")
    over = record_of(outcome=Outcome.SUCCEEDED)

    step = ending_step(
        seen(mode, own_record=over, pods=(ended,), grants=(owed,), unanswered=frozenset({owed.id})),
        LATER,
    ).step

    assert step == Withdraw(record=over)


@modes
def test_a_task_that_is_gone_is_forgotten_only_where_the_state_is_proven(
    mode: dict[str, Any],
) -> None:
    gone = record_of(secret_written=False)
    nothing = replace(NEW, task=None, gone_records=(gone,), issuance_blocked_reason=WHY, **mode)

    step = ending_step(nothing, LATER).step

    assert isinstance(step, Wait if "unproven" in mode else Forget)


@modes
def test_what_is_held_rests_and_nothing_new_is_begun(mode: dict[str, Any]) -> None:
    resting = ending_step(seen(mode), LATER).step
    asking = ending_step(seen(mode, grants=(), own_record=record_of(secret_written=False)), LATER)

    assert isinstance(resting, Wait)
    assert asking.step == Wait(
        until=asking.step.until,  # type: ignore[union-attr]
        waiting=WHY,
        issuance_blocked=True,
    )


def test_the_phase_that_the_task_names_counts_where_its_record_says_another() -> None:
    moved = replace(PHASES, phase="b")
    never_began = record_of(PHASES, attempt=0)
    held = grant_of(of=PHASES)
    changes: dict[str, Any] = {"task": moved, "own_record": never_began, "grants": (held,)}

    step = ending_step(seen({"unproven": True}, **changes), LATER).step

    assert step == Revoke(grants=((held, RevokeReason.PHASE_CHANGED),))


def test_one_rule_that_cannot_be_answered_keeps_no_other_from_it_and_is_told() -> None:
    """No deadline can be told of a task that began at the end of time."""
    limited = task(request("tickets"), deadline=600)
    strange = record_of(limited, started_at=LAST)
    ended = replace(RUNNING, ended="Failed")
    mode = {"unproven": True}

    ending = ending_step(seen(mode, task=limited, own_record=strange, pods=(ended,)), LATER)
    resting = ending_step(seen(mode, task=limited, own_record=strange), LATER)

    assert isinstance(ending.step, Revoke)
    assert {type(each) for each in ending.failed} == {OverflowError}
    assert isinstance(resting.step, Wait)
    assert resting.step.retry


def test_one_grant_that_cannot_be_judged_keeps_no_other_from_being_revoked() -> None:
    """Whether it outlives its parent's cannot be told, as that has no end before that of time."""
    parent = task(request("kb"), request("tickets"), name="parent", uid="task-0")
    child = task(request("kb"), request("tickets"), parent="parent")
    theirs = (grant_of(request("kb"), of=parent, expires_at=LAST),)
    above = Ancestor(task=parent, record=record_of(parent), grants=theirs)
    held, dropped = grant_of(request("kb"), of=child), grant_of(request("wiki"), of=child)

    ending = ending_step(
        seen(
            {"unproven": True}, task=child, own_record=record_of(child), grants=(held, dropped),
            lineage=Lineage(above=(above,)),
        ),
        LATER,
    )  # fmt: skip

    assert ending.step == Revoke(grants=((dropped, RevokeReason.REQUEST_CHANGED),))


def test_a_task_whose_end_was_never_shown_is_looked_at_once_its_record_is_proven() -> None:
    over = record_of(outcome=Outcome.SUCCEEDED, finished_at=T0, secret_written=False)
    resting = seen({"unproven": True}, own_record=over, grants=())
    said = {"conditions": [{"type": "Finished", "status": "True"}]}
    shown = replace(resting, task=replace(resting.live_task, status=said))

    assert ending_step(resting, LATER).step == Wait(waiting=WHY, issuance_blocked=True)
    assert ending_step(shown, LATER).step == Wait()
