"""A ledger that can be read and not written: what is held is known, and revoked, and told late."""

import errno
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import orjson
import pytest

from taskpass.core.audit import events as audit
from taskpass.core.errors import LedgerError, LedgerLocked, LedgerReadOnly, LedgerUnwritable
from taskpass.core.model.grant import GrantState
from taskpass.ledger.log import schema
from taskpass.ledger.log.reader import reading
from taskpass.ledger.log.signing import SeedSigner
from taskpass.ledger.store import lockfile, read_only
from taskpass.ledger.store.read_only import ReadOnlyLedger
from taskpass.ledger.store.sqlite import SqliteLedger
from taskpass.ledger.store.transaction import is_of_volume
from taskpass.ledger.verify.log import verify_database
from taskpass.ports.ledger import Batch
from tests.unit.ledger import objects
from tests.unit.ledger.forging import execute
from tests.unit.ledger.objects import GRANT, NOW, RECORD, notice, opened

WHY = "The ledger cannot be written (the disk is full)"
HELD = replace(GRANT, state=GrantState.DELIVERED)
OWED = replace(HELD, state=GrantState.REVOKING, revoke_reason="PodEnded", revoking_since=NOW)
GONE = replace(OWED, state=GrantState.REVOKED)


def sealed_at(
    path: Path, seed: bytes = objects.SEED, cluster_id: str = "3c1f0a9e"
) -> ReadOnlyLedger:
    return ReadOnlyLedger.open(path, signer=SeedSigner(seed), cluster_id=cluster_id, why=WHY)


async def filled(path: Path) -> SqliteLedger:
    """Return an open ledger that holds one delivered grant of one task."""
    ledger = opened(path)
    begun = (audit.attested(RECORD, NOW, notice()), audit.issue_intent(GRANT, NOW))
    await ledger.commit(Batch(entries=begun, grants=(GRANT,), tasks=(RECORD,)))
    told = audit.delivered(HELD, NOW, "secret-uid")
    await ledger.commit(Batch(entries=(told,), grants=(HELD,)))
    return ledger


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """A ledger that was closed by the book."""
    made = tmp_path / "ledger.db"
    (await filled(made)).close()
    return made


@pytest.fixture
def sealed(path: Path) -> Iterator[ReadOnlyLedger]:
    made = sealed_at(path)
    yield made
    made.close()


def test_what_is_held_and_remembered_is_known(sealed: ReadOnlyLedger) -> None:
    assert list(sealed.held()) == [HELD]
    assert list(sealed.records()) == [RECORD]
    assert sealed.bound_task(RECORD.pod_uid) == RECORD.task.uid
    assert sealed.gate_lifted(RECORD.pod_uid)
    assert not sealed.gate_lifted("pod-that-nobody-bound")


async def test_by_a_symbolic_link_nothing_of_the_write_ahead_log_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a volume that is read-only it cannot be read; then nothing is revoked by half of it."""
    live = await filled(tmp_path / "ledger.db")
    link = tmp_path / "link.db"
    link.symlink_to(tmp_path / "ledger.db")
    answers = iter([sqlite3.OperationalError("unable to open database file")])
    really = schema.version

    def version(db: sqlite3.Connection) -> int:
        for error in answers:
            raise error
        return really(db)

    monkeypatch.setattr(schema, "version", version)
    monkeypatch.setattr(lockfile, "Lock", lambda path: SimpleNamespace(release=lambda: None))

    with pytest.raises(LedgerError, match=r"Nor can it be read \(unable to open"):
        sealed_at(link)

    live.close()


async def test_what_a_crash_left_in_the_write_ahead_log_is_known(tmp_path: Path) -> None:
    live = await filled(tmp_path / "ledger.db")
    folder = tmp_path / "as a crash leaves it"
    folder.mkdir()
    for each in tmp_path.glob("ledger.db*"):
        shutil.copy(each, folder)
    live.close()
    assert (folder / "ledger.db-wal").stat().st_size

    ledger = sealed_at(folder / "ledger.db")
    held = list(ledger.held())
    ledger.close()

    assert held == [HELD]


async def test_nothing_is_written_while_it_is_sealed(path: Path, sealed: ReadOnlyLedger) -> None:
    before = path.read_bytes()

    await sealed.commit(Batch(entries=(audit.revoke_intent(OWED, NOW),), grants=(OWED,)))
    await sealed.commit(Batch(forgets=(RECORD.task.uid,)))

    assert path.read_bytes() == before
    assert list(sealed.held()) == [OWED]
    assert list(sealed.records()) == []
    assert sealed.unrecorded == 1


@pytest.mark.parametrize("state", [GrantState.INTENT, GrantState.ISSUED, GrantState.DELIVERED])
async def test_nothing_that_would_begin_is_taken_in(
    sealed: ReadOnlyLedger, state: GrantState
) -> None:
    with pytest.raises(LedgerReadOnly, match="the disk is full"):
        await sealed.commit(Batch(grants=(replace(GRANT, id="g-2", state=state),)))

    assert list(sealed.held()) == [HELD]


async def test_no_gate_is_lifted_where_that_cannot_be_recorded(sealed: ReadOnlyLedger) -> None:
    with pytest.raises(LedgerReadOnly, match="the disk is full"):
        await sealed.commit(Batch(lifts=(RECORD.pod_uid,)))
    with pytest.raises(LedgerReadOnly):
        await sealed.commit(Batch(unbinds=(RECORD.pod_uid,)))
    assert sealed.leftover_bindings("", 10) == ()


async def test_what_was_revoked_meanwhile_is_recorded_late_and_once(
    path: Path, sealed: ReadOnlyLedger
) -> None:
    later = NOW.replace(hour=12)
    indexes = await sealed.commit(Batch(entries=(audit.revoke_intent(OWED, NOW),), grants=(OWED,)))
    await sealed.commit(Batch(entries=(audit.revoke_result(GONE, NOW, None),), grants=(GONE,)))
    await sealed.commit(Batch(entries=(audit.forgotten(RECORD, 0, NOW),)))
    await sealed.commit(Batch(forgets=(RECORD.task.uid,)))

    recorded = await sealed.record_late(lambda: opened(path, now=later))

    assert indexes == (-1,)
    assert recorded == 3
    verify_database(path)
    with reading(path) as log:
        told = [orjson.loads(body)["data"] for body in log.entries()][-3:]
    assert [(t["stage"], t.get("clk")) for t in told] == [
        ("intent", "adj"), ("result", "adj"), ("point", "adj"),
    ]  # fmt: skip
    whole = opened(path)
    assert (list(whole.held()), list(whole.records())) == ([], [])
    whole.close()


async def test_it_goes_on_while_the_volume_takes_no_writes(
    path: Path, sealed: ReadOnlyLedger
) -> None:
    def refused() -> SqliteLedger:
        raise LedgerUnwritable("still full")

    assert await sealed.record_late(refused) is None

    await sealed.commit(Batch(grants=(OWED,)))
    with pytest.raises(LedgerLocked):
        opened(path)


async def test_a_ledger_that_was_recorded_late_takes_nothing_more(
    path: Path, sealed: ReadOnlyLedger
) -> None:
    await sealed.record_late(lambda: opened(path))

    with pytest.raises(LedgerError, match="closed"):
        await sealed.commit(Batch(grants=(OWED,)))


def test_of_two_one_waits(path: Path, sealed: ReadOnlyLedger) -> None:
    with pytest.raises(LedgerLocked):
        sealed_at(path)


@pytest.mark.parametrize(
    "other", [{"seed": bytes(32)}, {"cluster_id": "00000000"}], ids=["key", "cluster"]
)
def test_a_ledger_of_another_is_refused(path: Path, other: dict[str, object]) -> None:
    with pytest.raises(LedgerError, match="Nor can it be read"):
        sealed_at(path, **other)  # type: ignore[arg-type]

    opened(path).close()


def test_a_ledger_whose_entries_were_changed_is_refused(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("UPDATE entry SET body = zeroblob(100) WHERE seq = 2")
    db.close()

    with pytest.raises(LedgerError, match="Nor can it be read"):
        sealed_at(path)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(errno.ENOSPC, "full"), True),
        (OSError(errno.EROFS, "read-only"), True),
        (OSError(errno.ENOENT, "absent"), False),
        (sqlite3.DatabaseError("file is not a database"), False),
        (ValueError("no"), False),
    ],
)
def test_errors_of_the_volume_are_told_from_others(error: Exception, told: bool) -> None:
    assert is_of_volume(error) is told


async def test_nothing_is_recorded_late_where_what_was_read_is_not_what_the_log_says(
    path: Path,
) -> None:
    """What is to be recorded follows from what was read: that it is put back comes too late."""
    execute(path, "UPDATE task_record SET body = replace(body, 'research', 'deploy')")
    sealed = sealed_at(path)
    await sealed.commit(Batch(entries=(audit.revoke_intent(OWED, NOW),), grants=(OWED,)))
    size = sealed.size

    edited = await sealed.record_late(lambda: opened(path))
    execute(path, "UPDATE task_record SET body = replace(body, 'deploy', 'research')")
    put_back = await sealed.record_late(lambda: opened(path))
    sealed.close()

    assert (edited, put_back) == (None, None)
    assert sealed.why.startswith(f"{WHY}. Nothing is recorded late either: ")
    assert "what is noted of task task-uid-1 is not what the log says: phase" in sealed.why
    assert verify_database(path).size == size


async def test_what_follows_from_what_was_read_is_recorded_whatever_the_file_says_by_then(
    path: Path, sealed: ReadOnlyLedger
) -> None:
    await sealed.commit(Batch(entries=(audit.revoke_intent(OWED, NOW),), grants=(OWED,)))
    execute(path, "UPDATE task_record SET body = replace(body, 'research', 'deploy')")

    recorded = await sealed.record_late(lambda: opened(path))
    again = opened(path)
    found = await again.compare()
    again.close()

    assert recorded == 1
    assert sealed.why == WHY
    assert "what is noted of task task-uid-1 is not what the log says: phase" in (found or "")


async def test_a_volume_that_takes_no_file_is_not_compared(
    path: Path, sealed: ReadOnlyLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_only, "unwritable_reason", lambda directory: "no space left")
    monkeypatch.setattr(read_only, "compare", lambda *_: pytest.fail("it takes long"))

    assert await sealed.record_late(lambda: opened(path)) is None
