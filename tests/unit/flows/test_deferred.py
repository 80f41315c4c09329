"""What one reconcile decides and records together: nothing of it is lost, the later one counts."""

from dataclasses import replace

from taskpass.core.model.grant import GrantState
from taskpass.flows.deferred import Deferred, merged
from taskpass.ports.ledger import Batch
from tests.unit.ledger.objects import RECORD, another

HELD = replace(another(1), state=GrantState.REVOKING)
GONE = replace(HELD, state=GrantState.REVOKED)
NEXT = replace(RECORD, pod_uid="pod-2", attempt=2)


def test_of_what_is_written_whole_the_later_one_is_written() -> None:
    both = merged(Batch(grants=(HELD,), tasks=(RECORD,)), Batch(grants=(GONE,), tasks=(NEXT,)))

    assert (both.grants, both.tasks) == ((GONE,), (NEXT,))


def test_all_else_is_kept_in_its_order() -> None:
    both = merged(Batch(lifts=("a",), forgets=("t-1",)), Batch(lifts=("b",), unbinds=("p",)))

    assert (both.lifts, both.forgets, both.unbinds) == (("a", "b"), ("t-1",), ("p",))


def test_it_is_patient_only_where_both_are() -> None:
    patient, hurried = Batch(patient=True), Batch()

    assert [merged(a, b).patient for a, b in [(patient, patient), (hurried, patient)]] == [
        True,
        False,
    ]


def test_it_is_read_as_if_it_were_recorded() -> None:
    deferred = Deferred()
    deferred.add(Batch(grants=(GONE,), tasks=(NEXT,)))

    assert deferred.grants([HELD]) == []
    assert deferred.records([RECORD]) == [NEXT]
    assert deferred.bound_task("pod-2") == NEXT.task.uid
    assert deferred.bound_task("pod-1") is None


def test_what_is_forgotten_is_read_no_more() -> None:
    deferred = Deferred()
    deferred.add(Batch(forgets=(RECORD.task.uid,)))

    assert deferred.records([RECORD]) == []


def test_what_was_taken_is_not_recorded_again() -> None:
    deferred = Deferred()
    deferred.add(Batch(tasks=(NEXT,)))

    assert deferred.take(Batch(lifts=("pod-2",))) == Batch(tasks=(NEXT,), lifts=("pod-2",))
    assert deferred.batch is None
