"""Old entries go; what was proven stays provable, and nothing goes without the log saying so."""

import asyncio
import contextlib
import hashlib
import os
import shutil
import signal
import sqlite3
from datetime import timedelta
from multiprocessing import get_context
from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner

from taskpass.cli.audit import audit
from taskpass.core.errors import LedgerError, LedgerLocked, UsageError
from taskpass.ledger.export.directory import export
from taskpass.ledger.export.files import in_directory
from taskpass.ledger.log.proven_keys import signed_head
from taskpass.ledger.log.reader import Incomplete, Pruned, TamperEvidence, reading
from taskpass.ledger.log.signing import SeedSigner
from taskpass.ledger.maintain.prune import Limit, archived, limit_of, plan, prune
from taskpass.ledger.query.timeline import Timeline, asked_for, timeline
from taskpass.ledger.store.transaction import Store
from taskpass.ledger.verify.integrity import examine
from taskpass.ledger.verify.log import verify_database, verify_directory
from taskpass.ledger.verify.proven import LogLocation, proven
from taskpass.ports.ledger import Batch
from taskpass.tlog.merkle import (
    check_consistency,
    check_inclusion,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
)
from taskpass.tlog.tiles import TileSubtrees
from tests.unit.ledger import objects
from tests.unit.ledger.objects import NOW, SEED, entry

SIGNER, NEXT = SeedSigner(SEED), SeedSigner(bytes([8]) * 32)
SIZE = 1100
LATER = NOW + timedelta(days=500)


async def written(path: Path) -> None:
    """Write a log of two keys and 1,100 entries; the first hold the whole life of a grant."""
    ledger = objects.opened(path)
    await objects.story(ledger)
    await objects.filled(ledger, 300)
    ledger.close()
    ledger = objects.opened(path, seed=bytes([8]) * 32, previous=SIGNER)
    await objects.filled(ledger, SIZE)
    ledger.close()


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("original") / "ledger.db"
    asyncio.run(written(path))
    return path


@pytest.fixture
def path(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(original, tmp_path))


def pruned(path: Path, before: int, name: str = "archive", signer: SeedSigner = NEXT) -> int:
    archive = path.parent / name
    return prune(path, Limit(before=before), archive, signer, LATER).min_index


async def test_a_pruned_log_verifies_and_says_what_is_absent(path: Path) -> None:
    before = verify_database(path)

    assert pruned(path, 800) == 768

    after = verify_database(path, vkey=before.keys[0].vkey)
    export(path, path.parent / "export")
    assert verify_directory(path.parent / "export", vkey=before.keys[0].vkey) == after
    assert (after.pruned, after.bodies) == (768, (768, SIZE + 3))
    assert after.keys == before.keys
    assert examine(path, lambda: False) is None


async def test_the_log_itself_tells_what_went_and_where(path: Path) -> None:
    done = prune(path, Limit(days=400), path.parent / "archive", NEXT, LATER)

    with reading(path) as log:
        event = orjson.loads(log.entry(log.size - 1))
    sums = (path.parent / "archive/SHA256SUMS").read_bytes()
    assert event["type"] == "dev.taskpass.log.prune"
    assert event["data"]["min_index"] == done.min_index == 1024
    assert event["data"]["policy"] == {"older_than_days": 400}
    assert event["data"]["archive_sha256"] == hashlib.sha256(sums).hexdigest()


async def test_the_archive_verifies_by_itself_and_has_what_went(path: Path) -> None:
    with reading(path) as log:
        went = [log.entry(i) for i in range(768)]
    pruned(path, 800)
    archive = path.parent / "archive"

    report = verify_directory(archive)

    assert report.bodies == (0, 768)
    assert [e for n in range(3) for e in bundle(archive, n)] == went
    for line in (archive / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((archive / name).read_bytes()).hexdigest() == digest


def bundle(directory: Path, number: int) -> list[bytes]:
    return in_directory(directory).bundle(number)


async def test_a_receipt_from_before_is_still_proven(path: Path) -> None:
    """Somebody kept entry 5; the log has only its hash by now."""
    with reading(path) as log:
        receipt, old = log.entry(5), signed_head(log)
    pruned(path, 800)

    with reading(path) as log:
        head, subtrees = signed_head(log), TileSubtrees(log.size, log.tile)
        proof = inclusion_proof(5, log.size, subtrees)
        growth = consistency_proof(old.size, log.size, subtrees)

    check_inclusion(proof, 5, head.size, leaf_hash(receipt), head.root)
    check_consistency(growth, old.size, head.size, old.root, head.root)


async def test_checkpoints_from_before_still_hold(path: Path) -> None:
    with reading(path) as log:
        kept = [log.note, *log.handovers().values()]
    pruned(path, 800)

    assert verify_database(path, against=kept).remembered == (SIZE, 301)


async def test_a_pruned_log_goes_on_and_is_pruned_again(path: Path) -> None:
    assert pruned(path, 300, "one") == 256
    ledger = objects.opened(path, seed=bytes([8]) * 32)
    await objects.filled(ledger, 1500)
    ledger.close()
    assert pruned(path, 1400, "two") == 1280

    assert verify_directory(path.parent / "two").bodies == (256, 1280)
    report = verify_database(path)
    assert (report.pruned, report.size) == (1280, 1503)


async def test_nothing_of_a_held_grant_goes_nor_what_follows_it(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    ledger = objects.opened(path)
    await objects.filled(ledger, 300)
    await objects.issue(ledger, objects.another(7))
    await objects.filled(ledger, 1000)
    ledger.close()

    with reading(path) as log:
        planned = plan(log, Limit(before=900), LATER)

    assert (planned.min_index, planned.holding) == (256, objects.another(7).id)
    assert pruned(path, 900, signer=SIGNER) == 256
    assert verify_database(path).pruned == 256


@pytest.mark.parametrize(
    ("limit", "min_index"),
    [
        pytest.param(Limit(before=0), 0, id="nothing"),
        pytest.param(Limit(before=255), 0, id="less than a bundle"),
        pytest.param(Limit(before=256), 256, id="one bundle"),
        pytest.param(Limit(before=10**9), 1024, id="all, but for the unfinished bundle"),
        pytest.param(Limit(days=499), 1024, id="all by age"),
        pytest.param(Limit(days=501), 0, id="all too young"),
    ],
)
async def test_whole_bundles_go_and_no_more_than_was_asked(
    path: Path, limit: Limit, min_index: int
) -> None:
    with reading(path) as log:
        assert plan(log, limit, LATER).min_index == min_index


async def test_where_nothing_may_go_nothing_is_written(path: Path) -> None:
    before = path.read_bytes()

    assert pruned(path, 100) == 0

    assert path.read_bytes() == before
    assert not (path.parent / "archive").exists()


async def test_what_went_is_no_longer_in_the_file(path: Path) -> None:
    assert b"ticket-4711-x7k2p" not in path.read_bytes()  # bundles are compressed
    assert b"support/ticket-4711" in path.read_bytes()
    pruned(path, 800)
    with contextlib.closing(sqlite3.connect(path)) as db:
        subjects = db.execute("SELECT min(seq) FROM idx WHERE subject IS NOT NULL").fetchone()

    assert subjects == (768,)
    assert path.stat().st_size < 800_000


def told(path: Path, task: str) -> Timeline:
    with proven(LogLocation(database=path), asked_for(task)) as log:
        return timeline(log, task, names=True)


async def test_reading_what_went_says_so(path: Path) -> None:
    pruned(path, 800)

    with reading(path) as log:
        with pytest.raises(Pruned, match="Entry 5 is absent by policy: the log was pruned up to"):
            log.entry(5)
        with pytest.raises(Pruned):
            log.bundle(0)
        assert len(list(log.entries())) == SIZE + 3 - 768
        assert sorted(log.kept()) == [0, 300]
    with pytest.raises(Incomplete, match=r"768\.\.1102, which alone .* no task 'support/other'; "):
        told(path, "support/other")
    assert told(path, "support/ticket-4711").entries[0][0] == 768


ATTACKS = [
    pytest.param("UPDATE head SET min_index = 1024", id="more is said to be absent than was told"),
    pytest.param("UPDATE head SET min_index = 0", id="nothing is said to be absent"),
    pytest.param("DELETE FROM bundle WHERE n = 3", id="the first bundle that stayed is gone"),
    pytest.param("DELETE FROM entry WHERE seq = 0", id="the entry of the first key is gone"),
    pytest.param("DELETE FROM entry WHERE seq = 300", id="the entry of a handover is gone"),
    pytest.param(
        "UPDATE entry SET body = CAST(replace(body, 'reason', 'season') AS BLOB) WHERE seq = 300",
        id="an entry that was kept is changed",
    ),
    pytest.param("INSERT INTO entry VALUES (7, x'7b7d')", id="an entry that was not kept"),
    pytest.param(
        "INSERT INTO idx VALUES (7, x'00', 'task.phase', 'x', NULL, NULL, NULL)",
        id="the index has an entry that is absent",
    ),
    pytest.param("DELETE FROM idx WHERE seq = 0", id="the index lacks an entry that was kept"),
    pytest.param("UPDATE tile SET b = zeroblob(8192) WHERE l = 0 AND n = 0", id="absent hashes"),
    pytest.param("DELETE FROM tile WHERE l = 0 AND n = 1", id="hashes of absent entries are gone"),
]


@pytest.mark.parametrize("statement", ATTACKS)
async def test_what_is_changed_about_a_pruned_log_is_found(path: Path, statement: str) -> None:
    pruned(path, 800)
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        assert db.execute(statement).rowcount > 0

    with pytest.raises((TamperEvidence, Incomplete)):
        verify_database(path)


async def test_entries_that_were_dropped_without_a_word_are_found(path: Path) -> None:
    """Whoever can write the file drops the beginning, and sets what the head says."""
    export(path, path.parent / "export")
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        body = reading_entry(path, 0)
        db.execute("UPDATE head SET min_index = 256")
        db.execute("DELETE FROM bundle WHERE n = 0")
        db.execute("DELETE FROM idx WHERE seq BETWEEN 1 AND 255")
        db.execute("INSERT INTO entry VALUES (0, ?)", (body,))
    kept = path.parent / "export/kept"
    kept.mkdir()
    (kept / "0").write_bytes(body)
    (path.parent / "export/tile/entries/000").unlink()

    with pytest.raises(TamperEvidence, match="no entry says that they were pruned"):
        verify_database(path)
    with pytest.raises(Incomplete, match="no entry says that they were pruned"):
        verify_directory(path.parent / "export")


def reading_entry(path: Path, index: int) -> bytes:
    with reading(path) as log:
        return log.entry(index)


@pytest.mark.parametrize("text", ["", "0:768", "1:768\n", "0:700\n", "768:0\n", "0:99999\n", "x\n"])
async def test_an_archive_that_does_not_say_what_it_has_is_refused(path: Path, text: str) -> None:
    pruned(path, 800)
    (path.parent / "archive/range").write_text(text)

    with pytest.raises(TamperEvidence, match="'range'"):
        verify_directory(path.parent / "archive")


async def test_an_archive_that_lacks_what_it_says_is_incomplete(path: Path) -> None:
    pruned(path, 800)
    (path.parent / "archive/tile/entries/001").unlink()

    with pytest.raises(Incomplete, match="entries/001"):
        verify_directory(path.parent / "archive")


async def test_a_ledger_that_somebody_has_open_is_not_pruned(path: Path) -> None:
    ledger = objects.opened(path, seed=bytes([8]) * 32)

    with pytest.raises(LedgerLocked):
        pruned(path, 800)

    ledger.close()


async def test_another_key_cannot_prune(path: Path) -> None:
    with pytest.raises(LedgerError, match="is signed with the key"):
        pruned(path, 800, signer=SIGNER)


async def test_an_archive_that_cannot_be_written_leaves_everything(path: Path) -> None:
    archive = path.parent / "archive"
    archive.mkdir()
    (archive / "mine").touch()

    with pytest.raises(UsageError, match="is not empty"):
        pruned(path, 800)

    assert verify_database(path).pruned == 0


@pytest.mark.parametrize("point", ["upkeep.before-prune", "upkeep.after-prune"])
async def test_a_kill_leaves_all_or_nothing(path: Path, point: str) -> None:
    def kill(reached: str) -> None:
        if reached == point:
            os.kill(os.getpid(), signal.SIGKILL)

    def prune() -> None:
        store = Store.open(
            path, signer=NEXT, domain="d", cluster_id="3c1f0a9e", instance="x", now=LATER,
            fail_point=kill,
        )  # fmt: skip
        _, drop = archived(path, Limit(before=800), path.parent / "archive", LATER)
        store.prune(drop)

    worker = get_context("fork").Process(target=prune)
    worker.start()
    worker.join()

    assert worker.exitcode == -signal.SIGKILL
    assert verify_database(path).pruned == (0 if point == "upkeep.before-prune" else 768)


async def test_an_entry_told_again_that_was_pruned_is_not_in_the_way(path: Path) -> None:
    """Its id is gone with it. Only what is held is told again, and that never goes."""
    pruned(path, 800)
    ledger = objects.opened(path, seed=bytes([8]) * 32)
    (index,) = await ledger.commit(Batch(entries=(entry(700, time=LATER),)))
    ledger.close()

    assert index == SIZE + 4
    assert isinstance(verify_database(path).size, int)


async def test_a_timeline_says_that_its_beginning_may_be_missing(path: Path) -> None:
    pruned(path, 800)

    done = CliRunner().invoke(audit, ["timeline", "support/ticket-4711", "--db", str(path)])

    assert "Entries before 768 are absent by policy: what they told is not here." in done.output


async def test_an_operator_that_has_the_ledger_open_prunes_it_between_two_transactions(
    path: Path,
) -> None:
    ledger = objects.opened(path, seed=bytes([8]) * 32)
    archive = path.parent / "archive"
    done, drop = archived(path, limit_of({"before": "800"}), archive, LATER)
    work = [ledger.commit(Batch(entries=(entry(f"x{n}", time=LATER),))) for n in range(30)]

    *_, index = await asyncio.gather(*work, ledger.prune(drop))

    ledger.close()
    report = verify_database(path)
    assert (done.min_index, report.pruned) == (768, 768)
    with reading(path) as log:
        assert b"log.prune" in log.entry(index)
    assert verify_directory(archive).bodies == (0, 768)


@pytest.mark.parametrize(
    "request_",
    [{}, {"before": "x"}, {"before": "-1"}, {"before": "1", "older_than_days": "2"}, {"days": "1"}],
)
def test_a_request_without_one_limit_is_refused(request_: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="names one of before and older_than_days"):
        limit_of(request_)


def test_where_nothing_may_go_no_archive_is_written(path: Path) -> None:
    archive = path.parent / "archive"

    with pytest.raises(UsageError, match="There is nothing to drop"):
        archived(path, Limit(before=3), archive, LATER)

    assert not archive.exists()
