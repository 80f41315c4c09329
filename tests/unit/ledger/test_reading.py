"""A ledger is read where an operator writes it, on a read-only volume, and after a crash."""

import asyncio
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from taskpass.core.errors import UsageError
from taskpass.ledger.log import reader
from taskpass.ledger.log.reader import Incomplete, TamperEvidence, reading
from taskpass.ledger.store.sqlite import SqliteLedger
from taskpass.ledger.verify.log import verify_database
from tests.unit.ledger import objects


def left_by_a_crash(place: Path, *, size: int = 30) -> Path:
    """Return a copy of a ledger's files as they are while it is open: with a write-ahead log."""
    ledger = objects.opened(place / "ledger.db")
    asyncio.run(_one_by_one(ledger, size))
    copy = place / "crashed"
    copy.mkdir()
    for name in ("ledger.db", "ledger.db-wal"):
        shutil.copyfile(place / name, copy / name)
    ledger.close()
    assert (copy / "ledger.db-wal").stat().st_size > 0
    return copy / "ledger.db"


async def _one_by_one(ledger: SqliteLedger, size: int) -> None:
    while ledger.size < size:
        await objects.filled(ledger, ledger.size + 1)


@pytest.fixture
def read_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make SQLite fail as it does on a read-only volume: it cannot make the files it needs."""
    really = reader._connected

    def connected(path: Path, mode: str, *rest: object) -> sqlite3.Connection:
        if mode == "mode=ro" and not str(path).startswith("/tmp/taskpass-"):
            raise sqlite3.OperationalError("unable to open database file")
        return really(path, mode, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(reader, "_connected", connected)


def test_a_ledger_left_by_a_crash_is_read_whole(tmp_path: Path) -> None:
    assert verify_database(left_by_a_crash(tmp_path)).size == 30


@pytest.mark.usefixtures("read_only")
def test_a_closed_ledger_is_read_on_a_read_only_volume(tmp_path: Path) -> None:
    objects.opened(tmp_path / "ledger.db").close()

    assert verify_database(tmp_path / "ledger.db").size == 2


@pytest.mark.usefixtures("read_only")
def test_what_is_in_the_write_ahead_log_is_not_left_out_on_a_read_only_volume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", "/tmp")
    path = left_by_a_crash(tmp_path)
    before = {p.name: p.read_bytes() for p in path.parent.iterdir()}

    assert verify_database(path).size == 30
    assert {p.name: p.read_bytes() for p in path.parent.iterdir()} == before


@pytest.mark.usefixtures("read_only")
def test_nor_where_the_ledger_is_named_by_a_symbolic_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The write-ahead log is beside the file, and nothing is beside the link."""
    monkeypatch.setenv("TMPDIR", "/tmp")
    link = tmp_path / "link.db"
    link.symlink_to(left_by_a_crash(tmp_path))

    assert verify_database(link).size == 30


def test_a_link_that_leads_nowhere_is_no_ledger(tmp_path: Path) -> None:
    link = tmp_path / "link.db"
    link.symlink_to(link)

    with pytest.raises(Incomplete):
        verify_database(link)


def test_a_file_whose_first_bytes_are_overwritten_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    objects.opened(path).close()
    path.write_bytes(bytes(16) + path.read_bytes()[16:])

    with pytest.raises(Incomplete, match="is no SQLite file"):
        verify_database(path)


OTHER_PROGRAM = """
import contextlib, sqlite3, sys
with contextlib.closing(sqlite3.connect(sys.argv[1])) as db:
    print(db.execute("SELECT size FROM head").fetchone()[0])
"""


async def test_what_is_written_after_the_writer_has_read_its_file_outlives_another_program(
    tmp_path: Path,
) -> None:
    """A file that is opened beside SQLite and closed takes SQLite's own locks with it (POSIX).

    The last program that closes a database takes its write-ahead log away: it must see that it is
    not the last.
    """
    path = tmp_path / "ledger.db"
    ledger = objects.opened(path)
    await objects.filled(ledger, 20)
    assert await ledger.compare() is None

    subprocess.run([sys.executable, "-c", OTHER_PROGRAM, str(path)], check=True)
    await objects.filled(ledger, 30)

    copy = tmp_path / "crashed"
    copy.mkdir()
    for each in tmp_path.glob("ledger.db*"):
        shutil.copy(each, copy)
    ledger.close()
    assert verify_database(copy / "ledger.db").size == 30


@pytest.mark.usefixtures("read_only")
def test_a_ledger_that_changes_while_it_is_copied_is_not_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = left_by_a_crash(tmp_path)
    wal = path.with_name("ledger.db-wal")
    copy = shutil.copyfile

    def while_written(source: Path, target: Path) -> object:
        wal.write_bytes(wal.read_bytes() + b"x")
        return copy(source, target)

    monkeypatch.setattr(reader.shutil, "copyfile", while_written)

    with pytest.raises(Incomplete, match="changes while it is copied"):
        verify_database(path)


def test_a_damaged_write_ahead_log_is_an_older_signed_state_that_only_memory_finds(
    tmp_path: Path,
) -> None:
    """SQLite drops such a tail in silence, so the documentation must not promise more."""
    path = left_by_a_crash(tmp_path)
    wal = path.with_name("ledger.db-wal")
    whole = wal.read_bytes()
    with reading(path) as log:
        newest = log.note
    sizes = set()
    for end in range(0, len(whole), len(whole) // 40):
        wal.write_bytes(whole[:end])
        path.with_name("ledger.db-shm").unlink(missing_ok=True)
        try:
            sizes.add(verify_database(path).size)
        except (TamperEvidence, UsageError):
            continue  # not even the tables are there
        with pytest.raises(TamperEvidence, match="ROLLBACK"):
            verify_database(path, against=[newest])

    assert sizes
    assert max(sizes) < 30


async def test_a_reader_keeps_its_state_while_the_writer_goes_on(tmp_path: Path) -> None:
    ledger = objects.opened(tmp_path / "ledger.db")
    await objects.filled(ledger, 10)

    with reading(tmp_path / "ledger.db") as log:
        await objects.filled(ledger, 600)
        entries = list(log.entries())

    assert len(entries) == log.size == 10
    ledger.close()
