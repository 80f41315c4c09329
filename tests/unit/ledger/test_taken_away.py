"""Nothing is signed as absent by policy that somebody else has taken away."""

import asyncio
import base64
import contextlib
import shutil
import sqlite3
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from taskpass.cli.audit import audit
from taskpass.core.errors import TaskpassError, UsageError
from taskpass.ledger.export import directory
from taskpass.ledger.log.reader import LogReader, TamperEvidence, reading
from taskpass.ledger.maintain.prune import Limit, archived
from taskpass.ledger.store import sqlite as sqlite_store
from taskpass.ledger.verify.follow import Follower
from taskpass.ledger.verify.integrity import Frozen
from taskpass.ledger.verify.proven import NOTHING, LogLocation, proven
from taskpass.tlog import tiles
from tests.unit.ledger import objects
from tests.unit.ledger.objects import NOW, SEED


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("original")
    asyncio.run(_written(place / "ledger.db"))
    (place / "seed").touch(mode=0o600)
    (place / "seed").write_bytes(base64.b64encode(SEED))
    return place


async def _written(path: Path) -> None:
    """Write 900 entries; the first are of a task that is over, and of a credential that is held."""
    ledger = objects.opened(path)
    await objects.story(ledger)
    await objects.issue(ledger, objects.another(9, task=objects.SECOND))
    await objects.filled(ledger, 900)
    ledger.close()


@pytest.fixture
def place(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "copy"))


def first_bundle_taken_away(path: Path) -> None:
    """Take the first 256 entries, and all that is noted of them, as a prune does; no key needed."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        packed = db.execute("SELECT z FROM bundle WHERE n = 0").fetchone()[0]
        genesis = tiles.unpack(zlib.decompress(packed))[0]
        db.execute("BEGIN IMMEDIATE")
        db.execute("DELETE FROM bundle WHERE n = 0")
        db.execute("DELETE FROM idx WHERE seq BETWEEN 1 AND 255")
        db.execute("INSERT INTO entry (seq, body) VALUES (0, ?)", (genesis,))
        db.execute("UPDATE head SET min_index = 256")
        for table in ("grant_state", "task_record", "pod_binding", "trail"):
            db.execute(f"DELETE FROM {table}")
        db.execute("COMMIT")


def execute(path: Path, statement: str) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        assert db.execute(statement).rowcount > 0


def run(*arguments: object) -> Result:
    return CliRunner().invoke(audit, [str(each) for each in arguments])


def test_a_ledger_whose_beginning_was_taken_away_is_not_pruned(
    place: Path,
) -> None:
    path = place / "ledger.db"
    first_bundle_taken_away(path)
    assert run("verify", "--db", path).exit_code == 1  # it is found before

    done = run(
        "prune", "--db", path, "--before", 600, "--archive", place / "archive", "--key-file",
        place / "seed",
    )  # fmt: skip

    assert (done.exit_code, run("verify", "--db", path).exit_code) == (1, 1)


async def test_a_credential_that_is_held_is_not_forgotten_by_way_of_a_prune(place: Path) -> None:
    path = place / "ledger.db"
    first_bundle_taken_away(path)
    run(
        "prune", "--db", path, "--before", 600, "--archive", place / "archive", "--key-file",
        place / "seed",
    )  # fmt: skip

    ledger = objects.opened(path)
    told, held = await ledger.compare(), list(ledger.held())
    ledger.close()

    assert told is not None or held, "nobody tells of it, and it is never taken back"


@pytest.mark.parametrize(
    "edit", ["DELETE FROM grant_state", "UPDATE idx SET type = 'x' WHERE seq = 700"]
)
def test_a_closed_ledger_that_is_not_what_its_log_says_is_pruned_of_nothing_and_not_written(
    place: Path, edit: str
) -> None:
    path = place / "ledger.db"
    execute(path, edit)
    before = path.read_bytes()

    done = run(
        "prune", "--db", path, "--before", 600, "--archive", place / "archive", "--key-file",
        place / "seed",
    )  # fmt: skip

    assert (done.exit_code, done.stdout) == (1, "")
    assert path.read_bytes() == before


def test_a_ledger_whose_beginning_was_taken_away_is_handed_over_to_no_other_key(
    place: Path,
) -> None:
    """Whoever destroys the old key then has no way back to a copy."""
    path = place / "ledger.db"
    first_bundle_taken_away(path)
    before = path.read_bytes()

    done = run(
        "keys", "rotate", "--db", path, "--old-key-file", place / "seed", "--new-key-file",
        place / "next", "--reason", "yearly",
    )  # fmt: skip

    assert done.exit_code == 1
    assert path.read_bytes() == before


def test_a_dry_run_of_a_prune_says_nothing_of_a_log_that_does_not_verify(place: Path) -> None:
    path = place / "ledger.db"
    first_bundle_taken_away(path)

    done = run("prune", "--db", path, "--before", 600, "--dry-run")

    assert (done.exit_code, done.stdout) == (1, "")


async def test_an_operator_prunes_nothing_of_a_file_that_was_edited_after_it_was_compared(
    place: Path,
) -> None:
    """As `runtime/background.py` does it: compare, archive, prune; the edit comes in between."""
    path = place / "ledger.db"
    ledger = objects.opened(path)
    assert await ledger.compare() is None
    first_bundle_taken_away(path)

    with pytest.raises(TamperEvidence, match="no entry says that they were pruned"):
        archived(path, Limit(before=600), place / "archive", NOW)
    ledger.close()

    assert not (place / "archive").exists()
    assert run("verify", "--db", path).exit_code == 1


async def test_nor_of_one_that_was_edited_after_it_was_archived(place: Path) -> None:
    path = place / "ledger.db"
    await _taken_back(path)
    ledger = objects.opened(path)
    _, drop = archived(path, Limit(before=256), place / "archive", NOW)
    size = ledger.size
    first_bundle_taken_away(path)

    with pytest.raises(TamperEvidence, match="those before 0 are: somebody has edited it"):
        await ledger.prune(drop)

    assert ledger.size == size
    ledger.close()


async def test_what_the_writer_remembers_is_compared_where_the_file_was_put_back(
    place: Path,
) -> None:
    """What it met at its start is not what its log says, though the file is by now."""
    path = place / "ledger.db"
    with reading(path) as log:
        genesis = log.entry(0)
    execute(path, f"INSERT INTO entry (seq, body) VALUES (0, x'{genesis.hex()}')")
    execute(path, "UPDATE head SET min_index = 256")
    ledger = objects.opened(path)
    execute(path, "UPDATE head SET min_index = 0")
    execute(path, "DELETE FROM entry WHERE seq = 0")

    told = await ledger.compare()
    ledger.close()

    assert "before 0 are absent, and those before 256 are" in str(told)


async def test_an_older_plan_is_not_carried_out_once_more_was_pruned(place: Path) -> None:
    path = place / "ledger.db"
    await _taken_back(path)
    ledger = objects.opened(path)
    _, less = archived(path, Limit(before=256), place / "less", NOW)
    _, more = archived(path, Limit(before=512), place / "more", NOW)
    await ledger.prune(more)

    with pytest.raises(UsageError, match="it was pruned up to 512 meanwhile"):
        await ledger.prune(less)

    ledger.close()
    assert run("verify", "--db", path).exit_code == 0


def test_an_archive_that_was_not_written_as_it_was_read_lets_nothing_go(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be had back is looked at as it lies, before it goes."""
    path = place / "ledger.db"
    asyncio.run(_taken_back(path))
    really = directory.write

    def damaged(log: LogReader, into: Path, bodies: range, **more: str) -> None:
        really(log, into, bodies, **more)
        file = into / "tile/entries/000"
        file.write_bytes(file.read_bytes().replace(b"ticket-4711", b"ticket-4712", 1))

    monkeypatch.setattr(directory, "write", damaged)

    with pytest.raises(UsageError, match=r"is not what was read: .* the entries hash to"):
        archived(path, Limit(before=256), place / "archive", NOW)


async def _taken_back(path: Path) -> None:
    ledger = objects.opened(path)
    for grant in list(ledger.held()):
        await objects.end(ledger, grant)
    ledger.close()


async def test_who_follows_a_log_is_told_where_its_beginning_is_taken_away(place: Path) -> None:
    path = place / "ledger.db"
    with proven(LogLocation(database=path)) as log:
        follower = Follower(path, NOTHING, log.replay)
    first_bundle_taken_away(path)

    with pytest.raises(TamperEvidence, match="no entry says that they were pruned"):
        follower.grown()


async def test_an_operator_prunes_nothing_of_a_file_that_is_edited_while_it_is_compared(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The comparison reads the file as it was when it began: some 15 s for a million entries."""
    path = place / "ledger.db"
    ledger = objects.opened(path)
    really = sqlite_store.compare

    def edited_meanwhile(frozen: Frozen, ended: Callable[[], bool]) -> str | None:
        first_bundle_taken_away(path)  # by a connection of its own: nobody keeps it from that
        return really(frozen, ended)

    monkeypatch.setattr(sqlite_store, "compare", edited_meanwhile)
    assert await ledger.compare() is None

    with contextlib.suppress(TaskpassError):
        _, drop = archived(path, Limit(before=600), place / "archive", NOW)
        await ledger.prune(drop)
    ledger.close()

    assert run("verify", "--db", path).exit_code == 1
