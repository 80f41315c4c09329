"""The write-ahead log is folded in by us: errors are errors, and what is erased is gone from it."""

import asyncio
import contextlib
import json
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from taskpass.cli.audit import audit
from taskpass.core.audit import events as entries
from taskpass.core.errors import LedgerError, StillRead
from taskpass.core.lifecycle.ownership import Origin
from taskpass.ledger.log.reader import reading
from taskpass.ledger.log.signing import SeedSigner
from taskpass.ledger.maintain.prune import Limit, archived, prune
from taskpass.ledger.maintain.requests import answer_all
from taskpass.ledger.store import write_ahead
from taskpass.ledger.store.sqlite import SqliteLedger
from taskpass.ledger.store.write_ahead import size_of
from taskpass.ledger.verify.log import verify_database
from taskpass.ports.ledger import Batch
from tests.unit.ledger import objects
from tests.unit.ledger.objects import NOW, SEED, another, entry

JANE = "jane@example.org"
READER = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("BEGIN")
db.execute("SELECT count(*) FROM person").fetchone()
print("reading", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def ledger(path: Path) -> Iterator[SqliteLedger]:
    ledger = objects.opened(path)
    yield ledger
    ledger.close()


@contextlib.contextmanager
def somebody_reads(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Have another process hold an old state of the ledger."""
    command = [sys.executable, "-c", READER, str(path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "reading\n"
        yield reader
        reader.kill()


def asked(name: str = JANE, number: int = 1) -> Batch:
    intent = entries.issue_intent(another(number), NOW, {"requester": name})
    return Batch(entries=(intent,), grants=(another(number),))


def traces(path: Path, text: str) -> list[str]:
    """Return the files in which a text can be found."""
    return [
        p.name for p in path.parent.iterdir() if p.is_file() and text.encode() in p.read_bytes()
    ]


async def test_erasing_waits_for_who_reads_an_earlier_state_and_says_for_whom(
    path: Path, ledger: SqliteLedger
) -> None:
    await ledger.commit(asked())
    waited: list[str] = []
    with somebody_reads(path) as reader:

        def waiting(who: str) -> None:
            waited.append(who)
            assert traces(path, JANE) != []
            reader.kill()
            reader.wait()

        await ledger.erase(JANE, NOW, waiting)

    assert traces(path, JANE) == []
    assert [f"process {reader.pid} (" in who for who in waited] == [True] * len(waited) != []


async def test_who_reads_for_too_long_is_named_and_what_is_left_goes_later(
    path: Path, ledger: SqliteLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write_ahead, "TURNS", 2)
    await ledger.commit(asked())
    with somebody_reads(path) as reader:
        with pytest.raises(StillRead, match=f"stay in the .* while process {reader.pid} "):
            await ledger.erase(JANE, NOW)
        await ledger.commit(Batch(entries=(entry("others go on"),)))
        await ledger.fold_where_wanted()
        assert traces(path, JANE) != []

    await ledger.fold_where_wanted()

    assert traces(path, JANE) == []


async def test_the_person_who_asks_is_told_for_whom_the_operator_waits(
    path: Path, ledger: SqliteLedger
) -> None:
    await ledger.commit(asked())
    results: list[Result] = []
    command = ["erase", "--subject", JANE, "--db", str(path)]
    asking = threading.Thread(target=lambda: results.append(CliRunner().invoke(audit, command)))
    with somebody_reads(path) as reader:

        async def do(request: object, tell: Callable[[str], None]) -> int:
            def waiting(who: str) -> None:
                tell(who)
                if asking_was_told(path):
                    reader.kill()
                    reader.wait()

            return await ledger.erase(JANE, NOW, waiting)

        asking.start()
        while asking.is_alive():
            await answer_all(path, do)
            await asyncio.sleep(0.01)

    assert results[0].exit_code == 0, results[0].output
    assert f"Waiting for process {reader.pid} (" in results[0].stderr
    assert traces(path, JANE) == []


told_before: dict[Path, int] = {}


def asking_was_told(path: Path) -> bool:
    """Tell whether who asks has had the time to read for whom is waited: three turns of it."""
    told_before[path] = told_before.get(path, 0) + 1
    return told_before[path] > 3


async def test_of_many_people_on_many_pages_nothing_is_left_of_one(
    path: Path, ledger: SqliteLedger
) -> None:
    names = [f"person-{number:04d}-{'x' * (number % 50)}@example.org" for number in range(400)]
    for number, name in enumerate(names):
        await ledger.commit(asked(name, number + 1))
    gone = names[7:400:40]
    with reading(path) as log:
        salts = dict(log.db.execute("SELECT name, salt FROM person").fetchall())

    for name in gone:
        await ledger.erase(name, NOW)

    raw = b"".join(p.read_bytes() for p in path.parent.iterdir())
    assert [name for name in gone if name.encode() in raw or salts[name] in raw] == []
    assert names[0].encode() in raw


async def test_who_started_a_pod_is_forgotten_as_well_and_then_no_approval_counts(
    path: Path, ledger: SqliteLedger
) -> None:
    joe = "joe@example.org"
    started = replace(objects.RECORD, origin=Origin(names=(JANE, joe)))
    await ledger.commit(Batch(tasks=(started,)))

    await ledger.erase(JANE, NOW)

    [kept] = ledger.records()
    raw = b"".join(p.read_bytes() for p in path.parent.iterdir())
    assert kept.origin is not None
    assert kept.origin.names == (joe,)
    assert "was erased; delete the pod" in kept.origin.unknown
    assert JANE.encode() not in raw
    assert joe.encode() in raw


async def test_what_was_pruned_is_in_no_page_of_the_file_and_not_beside_it(
    path: Path, ledger: SqliteLedger
) -> None:
    """An operator that runs has no time for a VACUUM, and its free pages are overwritten."""
    for number in range(0, 600, 20):
        some = tuple(entry(n, marked=f"mark-{n:04d}-gone") for n in range(number, number + 20))
        await ledger.commit(Batch(entries=some))
    archive = path.parent.parent / f"archive-{os.getpid()}"
    try:
        done, told = archived(path, Limit(before=512), archive, NOW)
        assert traces(path, "mark-0100-gone") != []

        await ledger.prune(told, done.min_index)
    finally:
        subprocess.run(["rm", "-r", str(archive)], check=True)

    assert [n for n in range(500) if traces(path, f"mark-{n:04d}-gone")] == []
    assert traces(path, "mark-0599-gone") == ["ledger.db"]
    assert (await ledger.compare(), await ledger.examine()) == (None, None)


async def test_it_is_folded_in_as_it_grows_and_emptied(
    path: Path, ledger: SqliteLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write_ahead, "FOLD_BYTES", 1 << 18)
    sizes = []
    while path.stat().st_size < 3 * write_ahead.FOLD_BYTES:
        await ledger.commit(
            Batch(
                entries=tuple(
                    entry(f"{len(sizes)}.{n}", x=os.urandom(2000).hex()) for n in range(10)
                )
            )
        )
        sizes.append(size_of(path))

    assert sizes.count(0) >= 2
    assert max(sizes) < 2 * write_ahead.FOLD_BYTES


async def test_one_that_grows_while_somebody_reads_is_told_with_the_reader(
    path: Path, ledger: SqliteLedger, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.setattr(write_ahead, "FOLD_BYTES", 1 << 16)
    monkeypatch.setattr(write_ahead, "LARGE_BYTES", 1 << 18)
    with somebody_reads(path) as reader:
        for number in range(40):
            await ledger.commit(Batch(entries=(entry(number, x="y" * 9000),)))

    told = [r for r in caplog.records if "write-ahead log grows" in r.message]
    assert len(told) == 1
    assert f"process {reader.pid} (" in told[0].__dict__["readers"]
    assert told[0].__dict__["bytes"] >= 1 << 18


async def test_an_error_of_the_disk_while_it_is_folded_in_ends_the_ledger(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite alone would have swallowed it, and gone on."""
    ledger = objects.opened(path)
    await objects.filled(ledger, 600)
    ledger.close()
    ledger = objects.opened(path)
    monkeypatch.setattr(write_ahead, "FOLD_BYTES", 1)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    # The file may not grow; the log beside it has room for one entry more.
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size, before[1]))
    try:
        with pytest.raises(LedgerError, match="could not make an entry durable"):
            await ledger.commit(
                Batch(entries=tuple(entry(f"e{n}", x="y" * 9000) for n in range(5)))
            )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        ledger.close()
    monkeypatch.undo()
    again = objects.opened(path)
    again.close()
    assert verify_database(path).size == 600 + 1 + 5 + 1


async def test_a_start_folds_in_what_a_crash_left(path: Path, ledger: SqliteLedger) -> None:
    await objects.filled(ledger, 30)
    assert size_of(path) > 0
    copy = path.parent / "crashed.db"
    copy.write_bytes(path.read_bytes())
    copy.with_name("crashed.db-wal").write_bytes(path.with_name("ledger.db-wal").read_bytes())

    left = objects.opened(copy)

    assert size_of(copy) == 0
    left.close()


def test_a_ledger_that_nobody_has_open_is_pruned_and_nothing_is_left(path: Path) -> None:
    async def fill() -> None:
        ledger = objects.opened(path)
        for number in range(600):
            await ledger.commit(Batch(entries=(entry(number, marked=f"mark-{number:04d}"),)))
        ledger.close()

    asyncio.run(fill())
    later = NOW + timedelta(days=1)

    prune(path, Limit(before=512), path.parent / "archive", SeedSigner(SEED), later)

    assert [n for n in range(500) if traces(path, f"mark-{n:04d}")] == []


@pytest.mark.parametrize("name", ["-", "whole.db"])
async def test_a_copy_of_a_ledger_that_is_in_use_is_whole(
    path: Path, ledger: SqliteLedger, name: str
) -> None:
    await objects.filled(ledger, 40)
    assert size_of(path) > 0
    alone = path.with_name("alone.db")
    alone.write_bytes(path.read_bytes())
    target = path.with_name("whole.db")

    done = CliRunner().invoke(
        audit, ["copy", name if name == "-" else str(target), "--db", str(path)]
    )

    assert done.exit_code == 0, done.stderr
    if name == "-":
        target.write_bytes(done.stdout_bytes)
    assert verify_database(target).size == 40
    assert not target.with_name("whole.db-wal").exists()
    assert verify_database(alone).size < 40
    assert f"size {40}" in done.stderr


def test_a_copy_overwrites_nothing(path: Path) -> None:
    objects.opened(path).close()

    done = CliRunner().invoke(audit, ["copy", str(path), "--db", str(path)])

    assert (done.exit_code, "is there already" in done.stderr) == (2, True)


async def test_an_export_can_be_taken_through_a_pipe(path: Path, ledger: SqliteLedger) -> None:
    await objects.filled(ledger, 20)

    done = CliRunner().invoke(audit, ["export", "-", "--db", str(path)])

    (path.parent / "log.zip").write_bytes(done.stdout_bytes)
    told = CliRunner().invoke(audit, ["verify", "--dir", str(path.parent / "log.zip"), "--json"])
    assert json.loads(told.stdout)["size"] == 20


def test_readers_are_known_by_their_process(path: Path) -> None:
    objects.opened(path).close()
    holding = sqlite3.connect(path)
    holding.execute("SELECT count(*) FROM entry")
    with somebody_reads(path) as reader:
        assert write_ahead.readers(path).startswith(f"process {reader.pid} ({sys.executable} -c")
    holding.close()

    assert write_ahead.readers(path) == "a process that cannot be seen from here"
