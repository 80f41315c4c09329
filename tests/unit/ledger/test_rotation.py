"""From key to key: what verifies, what the owner of an old key can do, where a crash leaves it."""

import asyncio
import contextlib
import shutil
import sqlite3
from pathlib import Path

import orjson
import pytest

from taskpass.core.audit.log_events import key_rotated
from taskpass.core.errors import LedgerError, UsageError
from taskpass.ledger.export.directory import export
from taskpass.ledger.log.reader import Incomplete, TamperEvidence, reading
from taskpass.ledger.log.signing import SeedSigner
from taskpass.ledger.maintain.rotate import rotate
from taskpass.ledger.store.read_only import ReadOnlyLedger
from taskpass.ledger.verify.log import Report, verify_database, verify_directory
from taskpass.ports.ledger import Batch
from taskpass.tlog.checkpoint import Checkpoint, PublicKey, Signature, parse_vkey, signed_note
from tests.unit.ledger import objects
from tests.unit.ledger.objects import NOW, entry

SEEDS = [bytes([n]) * 32 for n in (1, 2, 3, 4)]
SIGNERS = [SeedSigner(seed) for seed in SEEDS]


async def three_handovers(path: Path) -> list[str]:
    """Write a log that four keys signed; return a checkpoint of each key's time."""
    notes = []
    for number in range(4):
        ledger = objects.opened(
            path, seed=SEEDS[number], previous=SIGNERS[number - 1] if number else None,
            reason="yearly",
        )  # fmt: skip
        await objects.filled(ledger, 100 * (number + 1))
        notes.append(ledger.note())
        ledger.close()
    return notes


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("original")
    written = asyncio.run(three_handovers(place / "ledger.db"))
    (place / "notes").write_bytes(orjson.dumps(written))
    return place


@pytest.fixture
def path(original: Path, tmp_path: Path) -> Path:
    for name in ("ledger.db", "notes"):
        shutil.copy(original / name, tmp_path)
    return tmp_path / "ledger.db"


def notes(path: Path) -> list[str]:
    found: list[str] = orjson.loads((path.parent / "notes").read_bytes())
    return found


def both(path: Path, **more: object) -> Report:
    """Verify the ledger and its export; they say the same."""
    directory = path.parent / "export"
    shutil.rmtree(directory, ignore_errors=True)
    export(path, directory)
    stored = verify_database(path, **more)  # type: ignore[arg-type]
    assert verify_directory(directory, **more) == stored  # type: ignore[arg-type]
    return stored


def vkey(path: Path, number: int) -> str:
    return PublicKey(verify_database(path).origin, SIGNERS[number].public_key).vkey()


async def test_three_handovers_verify_from_the_first_key_alone(path: Path) -> None:
    report = both(path, vkey=vkey(path, 0), against=notes(path))

    assert report.pinned
    assert report.remembered == (100, 200, 300, 400)
    assert report.vkey == vkey(path, 3)
    assert [(key.since, key.until) for key in report.keys] == [
        (0, 101), (101, 201), (201, 301), (301, None)
    ]  # fmt: skip


@pytest.mark.parametrize("number", [1, 2, 3])
async def test_any_later_key_may_be_pinned_instead(path: Path, number: int) -> None:
    assert both(path, vkey=vkey(path, number)).pinned


async def test_a_key_that_the_log_never_had_is_refused(path: Path) -> None:
    stranger = PublicKey(verify_database(path).origin, SeedSigner(bytes(32)).public_key).vkey()

    with pytest.raises(TamperEvidence, match="none that this log ever had"):
        verify_database(path, vkey=stranger)


async def test_the_entry_says_who_hands_over_to_whom_and_why(path: Path) -> None:
    with reading(path) as log:
        event = orjson.loads(log.entry(100))

    assert event["type"] == "dev.taskpass.log.key_rotate"
    assert event["data"]["prev_vkey"] == vkey(path, 0)
    assert event["data"]["vkey"] == vkey(path, 1)
    assert event["data"]["reason"] == "yearly"


async def test_a_start_with_the_new_key_needs_the_old_one_no_more(path: Path) -> None:
    ledger = objects.opened(path, seed=SEEDS[3])
    await ledger.commit(Batch(entries=(entry("after"),)))
    ledger.close()

    assert len(both(path).keys) == 4


@pytest.mark.parametrize(
    ("seed", "previous"),
    [
        pytest.param(SEEDS[2], None, id="the key before"),
        pytest.param(SEEDS[0], SIGNERS[1], id="keys of long ago"),
        pytest.param(bytes(32), SIGNERS[2], id="a new key beside one that is over"),
        pytest.param(bytes(32), None, id="a new key alone"),
    ],
)
async def test_a_start_without_the_key_of_today_is_refused_and_writes_nothing(
    path: Path, seed: bytes, previous: SeedSigner | None
) -> None:
    before = verify_database(path)

    with pytest.raises(LedgerError, match="is signed with the key") as refusal:
        objects.opened(path, seed=seed, previous=previous)

    assert "\n" not in str(refusal.value)
    assert verify_database(path) == before


@pytest.mark.parametrize("again", [0, 1])
async def test_no_key_takes_over_a_second_time_and_the_log_stays_as_it_is(
    tmp_path: Path, again: int
) -> None:
    """Each key signs for one time only; the log could never be verified any more."""
    path = tmp_path / "ledger.db"
    for number in range(3):
        previous = SIGNERS[number - 1] if number else None
        objects.opened(path, seed=SEEDS[number], previous=previous).close()

    with pytest.raises(LedgerError, match="had this key before"):
        objects.opened(path, seed=SEEDS[again], previous=SIGNERS[2])

    objects.opened(path, seed=SEEDS[2]).close()
    assert len(verify_database(path).keys) == 3


async def test_a_log_does_not_go_back_to_a_key_that_it_had(path: Path) -> None:
    with pytest.raises(UsageError, match="has or had that key"):
        rotate(path, SIGNERS[3], SIGNERS[1], reason="back", now=NOW)


def change(path: Path, statement: str, *values: object) -> None:
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        assert db.execute(statement, values).rowcount > 0


def resigned(path: Path, size: int, *numbers: int) -> str:
    """Sign the log's own root of a size with other keys of it."""
    with reading(path) as log:
        text = log.db.execute("SELECT note FROM ckpt WHERE size = ?", (size,)).fetchone()
        body = (log.note if text is None else text[0]).partition("\n\n")[0] + "\n"
    name = body.partition("\n")[0]
    keys = [PublicKey(name, SIGNERS[n].public_key) for n in numbers]
    lines = [
        Signature(name, key.id, SIGNERS[n].sign(body.encode()))
        for key, n in zip(keys, numbers, strict=True)
    ]
    return signed_note(body, *lines)


@pytest.mark.parametrize("number", [0, 1, 2])
async def test_an_old_key_that_signs_after_its_handover_is_refused(path: Path, number: int) -> None:
    """The root is right, so nothing but the rule about keys can find it."""
    change(path, "UPDATE head SET note = ?", resigned(path, 400, number))

    with pytest.raises(TamperEvidence, match="the checkpoint does not hold"):
        verify_database(path)


async def test_an_old_key_beside_the_right_one_is_refused(path: Path) -> None:
    change(path, "UPDATE head SET note = ?", resigned(path, 400, 3, 0))

    with pytest.raises(TamperEvidence, match="was to sign"):
        verify_database(path)


@pytest.mark.parametrize("left", [0, 1])
async def test_a_handover_that_lacks_a_signature_is_refused(path: Path, left: int) -> None:
    alone = resigned(path, 101, left)
    change(path, "UPDATE ckpt SET note = ? WHERE size = 101 AND kept = 'handover'", alone)

    with pytest.raises(TamperEvidence, match="does not hold: the log's key has not signed it"):
        verify_database(path)


@pytest.mark.parametrize("size", [101, 201, 301])
async def test_a_handover_without_its_checkpoint_is_refused(path: Path, size: int) -> None:
    directory = path.parent / "export"
    export(path, directory)
    change(path, "DELETE FROM ckpt WHERE size = ? AND kept = 'handover'", size)
    (directory / f"handover/{size}").unlink()

    with pytest.raises(TamperEvidence, match=f"handed over at size {size}, and no checkpoint"):
        verify_database(path)
    with pytest.raises(Incomplete):
        verify_directory(directory)


async def test_a_handover_that_no_entry_tells_of_is_refused(path: Path) -> None:
    change(path, "INSERT INTO ckpt VALUES (150, ?, 'handover')", notes(path)[0])

    with pytest.raises(TamperEvidence, match="no entry tells of a handover of keys at size 150"):
        verify_database(path)


async def test_the_checkpoint_of_another_handover_is_not_taken_for_it(path: Path) -> None:
    change(
        path,
        "UPDATE ckpt SET note = (SELECT note FROM ckpt WHERE size = 201 AND kept = 'handover')"
        " WHERE size = 101 AND kept = 'handover'",
    )

    with pytest.raises(TamperEvidence, match="handed over at size 101"):
        verify_database(path)


@pytest.mark.parametrize("name", ["keys", "vkey"])
async def test_a_list_of_keys_that_says_something_else_is_refused(path: Path, name: str) -> None:
    directory = path.parent / "export"
    export(path, directory)
    file = directory / name
    file.write_text(file.read_text().replace(vkey(path, 3), vkey(path, 2)))

    with pytest.raises(TamperEvidence, match=f"'{name}'"):
        verify_directory(directory)


async def test_a_rotation_that_was_only_written_as_an_entry_is_refused(tmp_path: Path) -> None:
    """Whoever can make the operator write an entry cannot make it hand over."""
    path = tmp_path / "ledger.db"
    ledger = objects.opened(path, seed=SEEDS[0])
    mine = PublicKey(ledger.origin, SIGNERS[1].public_key).vkey()
    ours = PublicKey(ledger.origin, SIGNERS[0].public_key).vkey()
    await ledger.commit(Batch(entries=(key_rotated(ledger.origin, ours, mine, "", NOW),)))
    ledger.close()

    with pytest.raises(TamperEvidence, match="handed over at size 3, and no checkpoint"):
        verify_database(path)


async def test_a_fork_by_a_key_that_was_not_destroyed_verifies_alone_and_is_found_with_memory(
    tmp_path: Path,
) -> None:
    """It goes on from before the handover as if there had been none: no log can find that."""
    path, fork = tmp_path / "ledger.db", tmp_path / "fork.db"
    ledger = objects.opened(path, seed=SEEDS[0])
    await objects.filled(ledger, 50)
    early = ledger.note()
    ledger.close()
    shutil.copyfile(path, fork)
    rotate(path, SIGNERS[0], SIGNERS[1], reason="yearly", now=NOW)
    handover = verify_database(path).keys[1].since
    with reading(path) as log:
        late = log.note
    ledger = objects.opened(fork, seed=SEEDS[0])
    await objects.filled(ledger, 200)
    ledger.close()

    assert verify_database(fork, vkey=vkey(path, 0), against=[early]).size == 200
    with pytest.raises(TamperEvidence, match="none that this log ever had"):
        verify_database(fork, vkey=vkey(path, 1))
    with pytest.raises(TamperEvidence):
        verify_database(fork, against=[late])
    with reading(path) as log, pytest.raises(TamperEvidence, match=r"FORK|does not hold"):
        verify_database(fork, against=[log.handovers()[handover]])


async def test_a_rollback_to_before_a_handover_is_found_by_what_a_later_key_signed(
    tmp_path: Path,
) -> None:
    path, old = tmp_path / "ledger.db", tmp_path / "old.db"
    ledger = objects.opened(path, seed=SEEDS[0])
    await objects.filled(ledger, 20)
    ledger.close()
    shutil.copyfile(path, old)
    rotate(path, SIGNERS[0], SIGNERS[1], reason="yearly", now=NOW)
    with reading(path) as log:
        note = log.note

    assert verify_database(old).size == 20
    with pytest.raises(TamperEvidence, match="ROLLBACK"):
        verify_database(old, against=[note])


@pytest.mark.parametrize("point", ["upkeep.before-handover", "upkeep.after-handover"])
async def test_a_crash_at_the_handover_leaves_the_log_with_one_key_or_the_other(
    tmp_path: Path, point: str
) -> None:
    path = tmp_path / "ledger.db"
    objects.opened(path, seed=SEEDS[0]).close()

    def crash(reached: str) -> None:
        if reached == point:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        objects.opened(path, seed=SEEDS[1], previous=SIGNERS[0], fail_point=crash)

    count = len(verify_database(path).keys)
    assert count == (1 if point == "upkeep.before-handover" else 2)
    objects.opened(path, seed=SEEDS[1], previous=SIGNERS[0]).close()
    assert len(both(path).keys) == 2


async def test_a_ledger_that_cannot_be_written_is_read_with_the_key_before(tmp_path: Path) -> None:
    """The handover waits until the volume takes writes again; what is held can be revoked."""
    path = tmp_path / "ledger.db"
    ledger = objects.opened(path, seed=SEEDS[0])
    held = await objects.issue(ledger, objects.GRANT)
    ledger.close()

    sealed = ReadOnlyLedger.open(
        path, signer=SIGNERS[1], previous=SIGNERS[0], cluster_id="3c1f0a9e", why="full"
    )

    assert list(sealed.held()) == [held]
    sealed.close()


async def test_the_last_line_of_a_handover_is_the_newest_of_the_ledger_too(tmp_path: Path) -> None:
    """A stop right after the handover: the head itself carries both signatures."""
    path = tmp_path / "ledger.db"
    objects.opened(path, seed=SEEDS[0]).close()

    def crash(reached: str) -> None:
        if reached == "upkeep.after-handover":
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        objects.opened(path, seed=SEEDS[1], previous=SIGNERS[0], fail_point=crash)

    with reading(path) as log:
        assert log.note.count("— ") == 2
    report = both(path)
    assert parse_vkey(report.vkey).raw == SIGNERS[1].public_key
    assert Checkpoint(report.origin, report.size, b"").size == 3
