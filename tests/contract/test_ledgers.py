"""What every ledger keeps to, whatever it stores in (`ports.Ledger`, `ports.Batch`)."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from taskpass.core.audit import events as audit
from taskpass.core.errors import EntryRefused, LedgerError, PodAlreadyBound
from taskpass.core.lifecycle.records import Outcome, PodBinding, TaskRecord
from taskpass.core.model.grant import GrantState, TaskRef
from taskpass.core.model.notice import Severity
from taskpass.core.rate_limit.budget import Meter
from taskpass.ledger.store.sqlite import SqliteLedger
from taskpass.ports.ledger import Batch, Ledger
from tests.unit.ledger import objects
from tests.unit.ledger.objects import GRANT, NOW, RECORD, TASK, entry, notice

Reopen = Callable[[], Ledger]


@pytest.fixture
def reopen(tmp_path: Path) -> Iterator[Reopen]:
    """Return a function that closes the ledger, if it is open, and opens it again."""
    ledgers: list[SqliteLedger] = []

    def again() -> Ledger:
        for ledger in ledgers:
            ledger.close()
        ledgers.append(objects.opened(tmp_path / "ledger.db"))
        return ledgers[-1]

    yield again
    for ledger in ledgers:
        ledger.close()


@pytest.fixture
def ledger(reopen: Reopen) -> Ledger:
    return reopen()


def before_and_after(ledger: Ledger, reopen: Reopen) -> Iterator[Ledger]:
    """Yield the ledger as it is, then as it is after a restart."""
    yield ledger
    yield reopen()


async def test_indexes_are_those_of_the_entries_in_order(ledger: Ledger) -> None:
    first = await ledger.commit(Batch(entries=(entry(1), entry(2))))
    second = await ledger.commit(Batch(entries=(entry(3),)))

    assert first[1] == first[0] + 1
    assert second[0] == first[1] + 1


async def test_an_entry_that_is_told_again_returns_its_old_index(ledger: Ledger) -> None:
    (old,) = await ledger.commit(Batch(entries=(entry(1),)))

    again = await ledger.commit(Batch(entries=(entry(2), entry(1))))

    assert again[1] == old


async def test_an_entry_that_is_told_again_at_a_later_time_is_the_same(ledger: Ledger) -> None:
    (old,) = await ledger.commit(Batch(entries=(entry(1),)))

    later = entry(1, time=NOW + timedelta(hours=1))

    assert await ledger.commit(Batch(entries=(later,))) == (old,)


async def test_the_same_entry_a_hundred_times_at_once_is_written_once(ledger: Ledger) -> None:
    same = Batch(entries=(entry(1),))

    indexes = await asyncio.gather(*(ledger.commit(same) for _ in range(100)))

    assert len(set(indexes)) == 1


async def test_an_id_that_says_another_thing_is_refused_whole(ledger: Ledger) -> None:
    await ledger.commit(Batch(entries=(entry(1),)))
    lie = replace(entry(1), data={**entry(1).data, "outcome": "denied"})

    with pytest.raises(EntryRefused):
        await ledger.commit(Batch(entries=(entry(2), lie), grants=(GRANT,)))

    assert tuple(ledger.held()) == ()
    (index,) = await ledger.commit(Batch(entries=(entry(3),)))
    assert await ledger.commit(Batch(entries=(entry(2),))) == (index + 1,)


async def test_what_is_written_is_read_and_still_there_after_a_restart(
    ledger: Ledger, reopen: Reopen
) -> None:
    record = replace(
        RECORD, images=("a@sha256:1",), started_at=NOW, outcome=Outcome.FAILED, delivered=("g-1",)
    )
    batch = Batch(entries=(entry(1, notice=notice("Step {index}")),), grants=(GRANT,))

    (index,) = await ledger.commit(replace(batch, tasks=(record,)))

    for each in before_and_after(ledger, reopen):
        assert each.grants(TASK.key) == (GRANT,)
        assert tuple(each.held()) == (GRANT,)
        assert each.record(TASK.uid) == record
        assert tuple(each.records()) == (record,)
        assert each.records_of(TASK.key) == (record,)
        assert each.bound_task("pod-uid-1") == TASK.uid
        (item,) = each.trail(TASK.uid)
        assert (item.time, item.audit_index) == (NOW, index)
        assert item.notice == notice(f"Step {index}")


async def test_a_grant_that_becomes_issued_gets_the_index_of_its_result(ledger: Ledger) -> None:
    issued = replace(GRANT, state=GrantState.ISSUED, expires_at=NOW)
    other = replace(issued, id="g-00000000000000000000000000000002")
    entries = (
        audit.issue_result(other, NOW, notice()),
        audit.revoke_intent(issued, NOW),
        audit.issue_result(issued, NOW, notice()),
    )

    indexes = await ledger.commit(Batch(entries=entries, grants=(issued, other)))

    assert [g.audit_index for g in ledger.grants(TASK.key)] == [indexes[2], indexes[0]]


async def test_what_is_revoked_is_no_longer_held(ledger: Ledger, reopen: Reopen) -> None:
    await ledger.commit(Batch(grants=(GRANT, objects.another(2))))

    await ledger.commit(Batch(grants=(replace(GRANT, state=GrantState.REVOKED),)))

    for each in before_and_after(ledger, reopen):
        assert [g.id for g in each.held()] == [objects.another(2).id]
        assert [g.id for g in each.grants(TASK.key)] == [objects.another(2).id]


async def test_grants_of_a_name_are_those_of_every_uid_it_had(ledger: Ledger) -> None:
    old = TaskRef(namespace="support", name="ticket-4711", uid="task-uid-0")
    elsewhere = TaskRef(namespace="sales", name="ticket-4711", uid="task-uid-9")

    grants = (GRANT, objects.another(2, task=old), objects.another(3, task=elsewhere))
    await ledger.commit(Batch(grants=grants))

    assert {g.task.uid for g in ledger.grants(TASK.key)} == {"task-uid-1", "task-uid-0"}


async def test_a_pod_once_bound_is_never_bound_to_another_task(
    ledger: Ledger, reopen: Reopen
) -> None:
    await ledger.commit(Batch(tasks=(RECORD,)))
    await ledger.commit(Batch(tasks=(replace(RECORD, pod_uid="", pod_name=""),)))
    await ledger.commit(Batch(forgets=(TASK.uid,)))
    thief = TaskRecord(task=replace(TASK, uid="task-uid-2"), pod_name="pod", pod_uid="pod-uid-1")

    for each in before_and_after(ledger, reopen):
        with pytest.raises(PodAlreadyBound):
            await each.commit(Batch(entries=(entry(1),), tasks=(thief,)))

        assert each.record("task-uid-2") is None
        assert each.bound_task("pod-uid-1") == TASK.uid


async def test_that_a_pods_gate_was_lifted_outlives_its_task(
    ledger: Ledger, reopen: Reopen
) -> None:
    await ledger.commit(Batch(tasks=(RECORD,)))
    assert not ledger.gate_lifted("pod-uid-1")

    await ledger.commit(Batch(lifts=("pod-uid-1", "pod-that-nobody-bound")))
    await ledger.commit(Batch(tasks=(replace(RECORD, pod_uid="", pod_name=""),)))
    await ledger.commit(Batch(forgets=(TASK.uid,)))

    for each in before_and_after(ledger, reopen):
        assert each.gate_lifted("pod-uid-1")
        assert not each.gate_lifted("pod-that-nobody-bound")


async def test_two_tasks_of_one_batch_cannot_share_a_pod(ledger: Ledger) -> None:
    other = replace(RECORD, task=replace(TASK, uid="task-uid-2"))

    with pytest.raises(PodAlreadyBound):
        await ledger.commit(Batch(tasks=(RECORD, other)))

    assert ledger.bound_task("pod-uid-1") is None


async def test_a_trail_is_the_last_ten_notices_oldest_first(ledger: Ledger, reopen: Reopen) -> None:
    told = replace(notice("{index}"), severity=Severity.WARNING, on_pod=True)
    await ledger.commit(Batch(tasks=(RECORD,)))
    indexes = [(await ledger.commit(Batch(entries=(entry(i, notice=told),))))[0] for i in range(13)]

    for each in before_and_after(ledger, reopen):
        trail = each.trail(TASK.uid)
        assert [item.audit_index for item in trail] == indexes[-10:]
        assert [item.notice.message for item in trail] == [str(i) for i in indexes[-10:]]
        assert trail[0].notice.severity is Severity.WARNING
        assert trail[0].notice.on_pod


async def test_a_task_that_is_forgotten_leaves_its_grants_and_bindings(
    ledger: Ledger, reopen: Reopen
) -> None:
    await ledger.commit(
        Batch(entries=(entry(1, notice=notice()),), tasks=(RECORD,), grants=(GRANT,))
    )

    await ledger.commit(Batch(forgets=(TASK.uid,)))

    for each in before_and_after(ledger, reopen):
        assert each.record(TASK.uid) is None
        assert each.records_of(TASK.key) == ()
        assert each.trail(TASK.uid) == ()
        assert each.grants(TASK.key) == (GRANT,)
        assert each.bound_task("pod-uid-1") == TASK.uid


async def test_a_binding_is_left_over_once_its_task_is_forgotten(
    ledger: Ledger, reopen: Reopen
) -> None:
    other = replace(RECORD, task=replace(TASK, uid="task-uid-2"), pod_uid="pod-uid-2")
    await ledger.commit(Batch(tasks=(RECORD, other)))
    none = ledger.leftover_bindings("", 10)

    await ledger.commit(Batch(forgets=(TASK.uid,)))

    assert none == []
    left = PodBinding(
        pod_uid=RECORD.pod_uid, task_uid=TASK.uid, namespace=TASK.namespace, name=RECORD.pod_name
    )
    for each in before_and_after(ledger, reopen):
        assert each.leftover_bindings("", 10) == [left]
        assert each.leftover_bindings(RECORD.pod_uid, 10) == []
        assert each.leftover_bindings("", 0) == []


async def test_a_binding_is_dropped_when_its_task_is_forgotten_and_not_before(
    ledger: Ledger, reopen: Reopen
) -> None:
    await ledger.commit(Batch(tasks=(RECORD,)))
    drop = Batch(entries=(audit.pods_forgotten((RECORD.pod_uid,), NOW),), unbinds=(RECORD.pod_uid,))
    unknown = Batch(entries=(entry(1),), unbinds=("pod-that-nobody-bound",))

    for refused in (drop, unknown):
        with pytest.raises(EntryRefused):
            await ledger.commit(refused)
    assert ledger.bound_task(RECORD.pod_uid) == TASK.uid
    await ledger.commit(Batch(forgets=(TASK.uid,)))
    await ledger.commit(drop)

    for each in before_and_after(ledger, reopen):
        assert each.bound_task(RECORD.pod_uid) is None
        assert not each.gate_lifted(RECORD.pod_uid)
        assert each.leftover_bindings("", 10) == []


async def test_a_caller_that_is_cancelled_has_written_all_the_same(ledger: Ledger) -> None:
    commit = asyncio.ensure_future(ledger.commit(Batch(entries=(entry(1),), tasks=(RECORD,))))
    await asyncio.sleep(0)

    commit.cancel()
    await ledger.commit(Batch(entries=(entry(2),)))

    assert ledger.record(TASK.uid) == RECORD


async def test_an_entry_that_breaks_the_rules_of_the_log_is_refused(ledger: Ledger) -> None:
    for broken in (
        entry(1, x=1.5),
        entry(1, x=None),
        entry(1, x="\ud800"),
        entry(1, x="a" * 66_000),
        replace(entry(1), id="not a uuid"),
    ):
        with pytest.raises(EntryRefused):
            await ledger.commit(Batch(entries=(broken,), tasks=(RECORD,)))

    assert ledger.record(TASK.uid) is None


async def test_what_could_be_begun_can_be_told_to_its_end(ledger: Ledger) -> None:
    """A request that just fits must not lead to a revocation that cannot be written."""
    largest = 16_000
    while True:
        grant = replace(GRANT, resources=("x" * largest,))
        try:
            await ledger.commit(Batch(entries=(audit.issue_intent(grant, NOW),), grants=(grant,)))
        except EntryRefused:
            largest -= 50
            continue
        break
    assert largest > 10_000
    issued = replace(
        grant, state=GrantState.REVOKING, expires_at=NOW, fingerprint="f" * 64,
        credential_ref="c" * 4096, revoke_reason="r" * 200, location="l" * 1024,
    )  # fmt: skip

    for told in (audit.issue_result(issued, NOW, notice()), audit.revoke_intent(issued, NOW)):
        await ledger.commit(Batch(entries=(told,), grants=(issued,)))


async def test_a_grant_that_cannot_be_stored_is_refused(ledger: Ledger) -> None:
    for state in ({"x": object()}, {1: "x"}, {"x": b""}, {"x": "\ud800"}):
        with pytest.raises(EntryRefused):
            await ledger.commit(
                Batch(entries=(entry(1),), grants=(replace(GRANT, provider_state=state),))
            )

    assert tuple(ledger.held()) == ()


async def test_a_ledger_that_is_closed_takes_nothing_more(tmp_path: Path) -> None:
    ledger = objects.opened(tmp_path / "ledger.db")
    ledger.close()

    with pytest.raises(LedgerError):
        await ledger.commit(Batch(entries=(entry(1),)))


async def test_the_tasks_of_an_agent_that_hold_something_are_known_since_when(
    ledger: Ledger, reopen: Reopen
) -> None:
    agent = (objects.GRANT.task.namespace, objects.GRANT.service_account)
    later = objects.NOW + timedelta(seconds=60)
    first = objects.another(1)
    renewal = replace(objects.another(2), intent_at=later)
    other = replace(objects.another(3, task=replace(objects.TASK, uid="another")), intent_at=later)
    owed = replace(
        objects.another(4, task=replace(objects.TASK, uid="owed")), state=GrantState.REVOKING
    )
    elsewhere = replace(objects.another(5), service_account="another-agent")
    await ledger.commit(Batch(grants=(first, renewal, other, owed, elsewhere)))

    for each in before_and_after(ledger, reopen):
        assert each.holders(agent) == {objects.TASK.uid: objects.NOW, "another": later}
        whole = (agent[0], "")
        assert each.holders(whole) == {objects.TASK.uid: objects.NOW, "another": later}
    assert reopen().holders(("nowhere", "nobody")) == {}
    assert reopen().holders(("nowhere", "")) == {}


async def test_what_is_below_a_task_is_known_at_every_depth_until_it_is_gone(
    ledger: Ledger, reopen: Reopen
) -> None:
    child = replace(objects.GRANT, id="g-child", chain=("root",))
    leaf = replace(objects.GRANT, id="g-leaf", chain=("root", "middle"))
    owed = replace(objects.GRANT, id="g-owed", chain=("root",), state=GrantState.REVOKING)
    gone = replace(objects.GRANT, id="g-gone", chain=("root",), state=GrantState.REVOKED)
    await ledger.commit(Batch(grants=(child, leaf, owed, gone)))

    for each in before_and_after(ledger, reopen):
        assert {g.id for g in each.below("root")} == {"g-child", "g-leaf", "g-owed"}
        assert {g.id for g in each.below("middle")} == {"g-leaf"}
    assert list(reopen().below("nobody")) == []


async def test_each_opening_of_a_ledger_counts_on(ledger: Ledger, reopen: Reopen) -> None:
    before = ledger.epoch

    assert reopen().epoch > before


async def test_who_is_ahead_and_how_many_are_held_is_known_without_counting(
    ledger: Ledger, reopen: Reopen
) -> None:
    tasks = [replace(objects.TASK, name=f"t{n}", uid=f"uid-{n}") for n in range(6)]
    at = [objects.NOW + timedelta(seconds=s) for s in (3, 1, 2, 1, 5, 4)]
    grants = [
        replace(objects.another(n), task=tasks[n], intent_at=at[n], service_account=account)
        for n, account in enumerate(["a", "a", "b", "a", "b", "a"])
    ]
    grants[5] = replace(grants[5], state=GrantState.REVOKING, class_name="other")
    await ledger.commit(Batch(grants=tuple(grants)))
    await ledger.commit(Batch(grants=(replace(grants[1], state=GrantState.REVOKED),)))
    namespace = objects.TASK.namespace

    for each in before_and_after(ledger, reopen):
        for account in ("a", "b", ""):
            holders = each.holders((namespace, account))
            for task in tasks:
                own = holders.get(task.uid)
                counted = sum(
                    own is None or (since, uid) < (own, task.uid)
                    for uid, since in holders.items()
                    if uid != task.uid
                )
                assert each.ahead((namespace, account), task.uid) == counted
        held = list(each.held())
        assert each.tally()["Kubernetes"] == len(held) == 5
        assert each.tally(namespace=namespace)["Kubernetes"] == 5
        assert each.tally(namespace=namespace, account="a")["Kubernetes"] == 3
        assert each.tally(class_name="other")["Kubernetes"] == 1
        assert each.tally(namespace="elsewhere") == {}
        assert each.ahead(("elsewhere", ""), "uid-1") == 0


async def test_what_accounts_have_used_is_there_after_a_restart_and_goes_with_their_task(
    ledger: Ledger, reopen: Reopen
) -> None:
    meters = {f"task:{TASK.uid}": Meter(used=5, at=NOW), "namespace:support": Meter(used=7, at=NOW)}
    await ledger.commit(Batch(entries=(entry(1),), tasks=(RECORD,), meters=meters))
    assert reopen().meters() == meters

    await reopen().commit(Batch(forgets=(TASK.uid,)))

    assert reopen().meters() == {"namespace:support": Meter(used=7, at=NOW)}
