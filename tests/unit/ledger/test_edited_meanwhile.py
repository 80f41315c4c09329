"""What somebody edits in the file of an open ledger is not what the operator acts on, or signs."""

import asyncio
import contextlib
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from taskpass.core.audit import events as audit
from taskpass.core.errors import EntryRefused
from taskpass.core.lifecycle.ownership import Origin
from taskpass.core.model.grant import TaskRef
from taskpass.ledger.log.reader import TamperEvidence, reading
from taskpass.ledger.log.signing import SeedSigner
from taskpass.ledger.maintain.copy import copy
from taskpass.ledger.maintain.erase import erase
from taskpass.ledger.maintain.prune import Limit, archived
from taskpass.ledger.store.sqlite import SqliteLedger
from taskpass.ledger.verify.log import verify_database
from taskpass.ledger.verify.proven import LogLocation, proven
from taskpass.ports.ledger import Batch
from tests.unit.ledger import objects
from tests.unit.ledger.forging import execute, put_copy_in_place
from tests.unit.ledger.objects import NOW, SEED, another, entry
from tests.unit.ledger.test_rotation import SEEDS, three_handovers
from tests.unit.ledger.waiting import (
    CI,
    JANE,
    LEA,
    differs,
    put,
    reference,
    started,
    waiting,
)

EVE = "eve@example.org"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


async def ask(ledger: SqliteLedger, who: str) -> None:
    """Have something issued that somebody asked for."""
    grant = another(9, task=TaskRef(namespace="support", name="other", uid="task-uid-9"))
    told = audit.issue_intent(grant, NOW, {"requester": who})
    await ledger.commit(Batch(entries=(told,), grants=(grant,)))


async def test_an_erasure_writes_what_was_believed_and_not_what_the_file_says_by_then(
    path: Path,
) -> None:
    record = await waiting(path)
    ledger = objects.opened(path)
    put(path, replace(started(record, EVE), phase="deploy"))

    await ledger.erase(LEA, NOW)

    believed = ledger.record(record.task.uid)
    ledger.close()
    assert believed is not None
    assert believed.origin is not None
    assert (believed.phase, believed.origin.names) == ("research", (JANE, CI))
    assert await differs(path) is None


async def test_whom_an_entry_is_about_is_as_it_was_read(path: Path) -> None:
    await waiting(path)
    ledger = objects.opened(path)
    lea = reference(path, LEA)
    execute(path, f"UPDATE person SET name = '{EVE}' WHERE ref = '{lea}'")

    await ask(ledger, EVE)

    found = await ledger.compare()
    ledger.close()
    assert found is None
    with proven(LogLocation(database=path)) as log:
        names = {ref: person.name for ref, person in log.people.items()}
    assert names[lea] == LEA
    assert EVE in names.values()


async def test_nobody_is_told_of_under_the_reference_of_who_was_erased(path: Path) -> None:
    await waiting(path)
    ledger = objects.opened(path)
    lea = reference(path, LEA)
    await ledger.erase(LEA, NOW)
    execute(path, f"INSERT INTO person VALUES ('{lea}', '{EVE}', zeroblob(32))")

    await ask(ledger, EVE)

    found = await ledger.compare()
    ledger.close()
    assert found is None
    with reading(path) as log:
        assert lea.encode() not in log.entry(log.size - 1)


async def test_an_entry_about_who_was_erased_before_makes_the_log_one_that_nobody_accepts(
    path: Path,
) -> None:
    await waiting(path)
    ledger = objects.opened(path)
    lea = reference(path, LEA)
    await ledger.erase(LEA, NOW)
    ledger.close()
    execute(path, f"INSERT INTO person VALUES ('{lea}', '{EVE}', zeroblob(32))")
    ledger = objects.opened(path)
    await ask(ledger, EVE)
    ledger.close()
    execute(path, f"DELETE FROM person WHERE name = '{EVE}'")

    with pytest.raises(TamperEvidence, match=f"is about {lea}, of whom .* were erased"):
        verify_database(path)


async def test_an_entry_about_who_was_erased_is_found_in_a_later_bundle_too(path: Path) -> None:
    await waiting(path)
    ledger = objects.opened(path)
    lea = reference(path, LEA)
    await ledger.erase(LEA, NOW)
    await objects.filled(ledger, 300)
    ledger.close()
    execute(path, f"INSERT INTO person VALUES ('{lea}', '{EVE}', zeroblob(32))")
    ledger = objects.opened(path)
    await ask(ledger, EVE)
    ledger.close()

    with pytest.raises(TamperEvidence, match=f"is about {lea}, of whom .* were erased"):
        verify_database(path)


async def test_who_is_erased_offline_is_who_was_asked_for_or_nobody(path: Path) -> None:
    record = await waiting(path)
    jane, lea = reference(path, JANE), reference(path, LEA)
    for name, ref in (("tmp", jane), (JANE, lea), (LEA, jane)):
        execute(path, f"UPDATE person SET name = '{name}' WHERE ref = '{ref}'")

    with pytest.raises(TamperEvidence, match=r"Nothing was erased: .*the name noted for p-"):
        erase(path, JANE, SeedSigner(SEED), NOW)

    for name, ref in (("tmp", jane), (LEA, lea), (JANE, jane)):
        execute(path, f"UPDATE person SET name = '{name}' WHERE ref = '{ref}'")
    assert await differs(path) is None
    assert erase(path, JANE, SeedSigner(SEED), NOW) > 0
    ledger = objects.opened(path)
    left = ledger.record(record.task.uid)
    ledger.close()
    assert left is not None
    assert left.origin == Origin(names=(LEA, CI), unknown=record.origin.unknown)  # type: ignore[union-attr]


async def test_what_the_keys_follow_from_is_kept_though_its_checkpoint_was_taken_away(
    path: Path,
) -> None:
    await three_handovers(path)
    ledger = objects.opened(path, seed=SEEDS[3])
    await objects.filled(ledger, 600)
    limit = Limit(before=512)
    _, drop = await asyncio.to_thread(archived, path, limit, path.with_name("archive"), NOW)
    execute(path, "UPDATE ckpt SET kept = 'x' WHERE kept = 'handover'")

    await ledger.prune(drop)

    execute(path, "UPDATE ckpt SET kept = 'handover' WHERE kept = 'x'")
    ledger.close()
    assert verify_database(path).pruned == 512


async def test_nothing_is_dropped_of_a_log_that_differs_by_then(path: Path) -> None:
    ledger = objects.opened(path)
    await objects.filled(ledger, 600)
    limit = Limit(before=512)
    _, drop = await asyncio.to_thread(archived, path, limit, path.with_name("archive"), NOW)
    execute(path, "UPDATE head SET root = zeroblob(32)")

    with pytest.raises(TamperEvidence, match="its head tells of 600 entries, and is not the one"):
        await ledger.prune(drop)

    ledger.close()
    with reading(path) as log:
        assert log.min_index == 0


async def test_an_entry_counts_as_told_only_where_the_log_has_it(path: Path) -> None:
    """An index that points to bytes which were put there would keep an entry out of the log."""
    ledger = objects.opened(path)
    await objects.filled(ledger, 10)
    elsewhere = path.with_name("elsewhere.db")
    copy(path, elsewhere)
    forged = objects.opened(elsewhere)
    (index,) = await forged.commit(Batch(entries=(entry("wanted"),)))
    forged.close()
    execute(
        path,
        f"ATTACH '{elsewhere}' AS made",
        f"UPDATE entry SET body = (SELECT body FROM made.entry WHERE seq = {index}) WHERE seq = 9",
        f"UPDATE idx SET id = (SELECT id FROM made.idx WHERE seq = {index}) WHERE seq = 9",
    )

    with pytest.raises(EntryRefused, match="entry 9 is not under the checkpoint"):
        await ledger.commit(Batch(entries=(entry("wanted"),)))
    ledger.close()


async def test_another_file_in_the_place_of_the_one_that_is_written_is_told(path: Path) -> None:
    ledger = objects.opened(path)
    await objects.filled(ledger, 10)
    put_copy_in_place(path)
    assert await ledger.compare() is None  # it is the same so far

    await objects.story(ledger)
    found = await ledger.compare()
    path.unlink()
    gone = await ledger.compare()
    ledger.close()

    assert "its head tells of 10 entries" in found
    assert "or put another file in its place" in found
    assert "There is no ledger at" in gone


async def test_what_was_put_back_before_it_was_compared_is_found(path: Path) -> None:
    record = await waiting(path)
    shutil.copy(path, path.with_name("before.db"))
    put(path, replace(record, phase="deploy"))
    ledger = objects.opened(path)
    put(path, record)

    found = await ledger.compare()

    ledger.close()
    assert "is not what the log says: phase" in found
    assert await differs(path) is None


async def test_a_move_from_a_phase_that_the_task_was_not_in_is_accepted_by_nobody(
    path: Path,
) -> None:
    record = await waiting(path)
    ledger = objects.opened(path)
    moved = audit.phase_entered(record.task, "review", "deploy", NOW, objects.notice("Moved"))
    await ledger.commit(Batch(entries=(moved,), tasks=(replace(record, phase="deploy", asked=()),)))
    ledger.close()

    with pytest.raises(TamperEvidence, match="was not in the phase that it is told to leave"):
        verify_database(path)


async def test_a_comparison_that_nobody_waits_for_any_more_holds_nothing(path: Path) -> None:
    ledger = objects.opened(path)
    await objects.filled(ledger, 300)
    for ticks in range(4):
        asking = asyncio.create_task(ledger.compare())
        for _ in range(ticks):
            await asyncio.sleep(0)
        asking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asking

    await ledger.commit(Batch(entries=(entry("next"),)))
    while_it_ends = await ledger.compare()
    ledger.close()

    assert while_it_ends is None
    assert not path.with_name("ledger.db-wal").exists()
