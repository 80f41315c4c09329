"""Verification finds what an attacker changes, and says what it cannot find."""

import asyncio
import contextlib
import shutil
import sqlite3
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from taskpass.core.audit import events as audit
from taskpass.core.errors import UsageError
from taskpass.core.model.grant import GrantState
from taskpass.ledger.export.directory import export
from taskpass.ledger.log.reader import Incomplete, TamperEvidence
from taskpass.ledger.log.signing import SeedSigner
from taskpass.ledger.verify.log import Report, verify_database, verify_directory
from taskpass.ports.ledger import Batch
from taskpass.tlog import tiles
from taskpass.tlog.checkpoint import Checkpoint, PublicKey, Signature, parse_vkey, signed_note
from taskpass.tlog.merkle import leaf_hash
from tests.unit.ledger import objects
from tests.unit.ledger.objects import GRANT, NOW, RECORD, entry

SIZE = 270
"""One finished bundle and tile, and an unfinished one of each level."""


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with a ledger, its export, and a checkpoint from the way there."""
    place = tmp_path_factory.mktemp("original")
    asyncio.run(_written(place))
    export(place / "ledger.db", place / "export")
    return place


async def _written(place: Path) -> None:
    ledger = objects.opened(place / "ledger.db")
    await objects.story(ledger)
    await objects.issue(ledger, objects.another(2))
    await objects.filled(ledger, 100)
    (place / "kept").write_text(ledger.note())
    await objects.filled(ledger, SIZE)
    ledger.close()


@pytest.fixture
def copy(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "copy"))


def test_what_was_written_is_verified_in_both_forms(original: Path) -> None:
    kept = (original / "kept").read_text()

    stored = verify_database(original / "ledger.db", against=[kept])
    exported = verify_directory(original / "export", against=[kept])

    assert stored == exported
    assert (stored.size, stored.remembered, stored.pinned) == (SIZE, (100,), False)
    assert verify_directory(original / "export", vkey=stored.vkey).pinned


async def test_a_ledger_is_verified_while_it_is_written(tmp_path: Path) -> None:
    ledger = objects.opened(tmp_path / "ledger.db")
    for size in (3, 255, 256, 257, 520):
        await objects.filled(ledger, size)

        assert verify_database(tmp_path / "ledger.db").size == size
    ledger.close()


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("INSERT INTO pod_binding (pod_uid, task_uid) VALUES ('pod-uid-1', 'task-uid-1')",
         "the log says it is gone"),
        ("INSERT INTO pod_binding (pod_uid, task_uid) VALUES ('pod-uid-3', 'task-uid-1')",
         "no entry tells of it"),
        ("DELETE FROM pod_binding WHERE pod_uid = 'pod-uid-2'", "is not noted as the one of"),
        ("UPDATE pod_binding SET name = 'another'", "is not noted as the one of"),
        ("UPDATE pod_binding SET name = ''", "is not noted as the one of"),
        ("UPDATE pod_binding SET namespace = 'another'", "is not noted as the one of"),
    ],
)  # fmt: skip
async def test_a_binding_goes_by_an_entry_alone(tmp_path: Path, statement: str, said: str) -> None:
    path = tmp_path / "ledger.db"
    ledger = objects.opened(path)
    second = replace(RECORD, attempt=2, pod_uid="pod-uid-2")
    for record in (RECORD, second):
        attested = audit.attested(record, NOW, objects.notice("Attested"))
        await ledger.commit(Batch(entries=(attested,), tasks=(record,)))
    await ledger.commit(Batch(entries=(audit.forgotten(second, 0, NOW),)))
    await ledger.commit(Batch(forgets=(RECORD.task.uid,)))
    gone = (RECORD.pod_uid,)
    await ledger.commit(Batch(entries=(audit.pods_forgotten(gone, NOW),), unbinds=gone))
    ledger.close()
    verify_database(path)

    with contextlib.closing(sqlite3.connect(path)) as other, other:
        other.execute(statement)

    with pytest.raises(TamperEvidence, match=said):
        verify_database(path)


def test_every_flipped_bit_of_the_files_that_carry_the_log_is_found(copy: Path) -> None:
    """One bit of every byte of checkpoint and key, and of a sample of all else."""
    accepted = []
    for file in sorted((copy / "export").rglob("*")):
        if not file.is_file() or file.name in ("VERIFY.md", "policy"):
            continue
        raw = file.read_bytes()
        step = 1 if file.name in ("checkpoint", "vkey") else max(1, len(raw) // 120)
        for at in range(0, len(raw), step):
            bit = 1 << (at * 7 + len(raw)) % 8
            file.write_bytes(raw[:at] + bytes([raw[at] ^ bit]) + raw[at + 1 :])
            with contextlib.suppress(TamperEvidence, Incomplete):
                verify_directory(copy / "export")
                accepted.append((file.name, at, bit))
        file.write_bytes(raw)

    assert accepted == [], "accepted although a bit was flipped"
    verify_directory(copy / "export")


def swap(place: Path, one: str, other: str) -> None:
    a, b = (place / one).read_bytes(), (place / other).read_bytes()
    (place / one).write_bytes(b)
    (place / other).write_bytes(a)


def append(file: Path, data: bytes) -> None:
    file.write_bytes(file.read_bytes() + data)


def edit_bundle(place: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    path = place / "tile/entries/000"
    path.write_bytes(tiles.pack(change(tiles.unpack(path.read_bytes()))))


def edit_with_tile(place: Path) -> None:
    edit_bundle(place, lambda e: [*e[:5], e[5].replace(b"success", b"failure"), *e[6:]])
    entries = tiles.unpack((place / "tile/entries/000").read_bytes())
    (place / "tile/0/000").write_bytes(b"".join(map(leaf_hash, entries)))


STRUCTURE = [
    pytest.param(lambda d: edit_bundle(d, lambda e: e[::-1]), id="reordered"),
    pytest.param(lambda d: edit_bundle(d, lambda e: [e[0], e[2], e[1], *e[3:]]), id="two swapped"),
    pytest.param(lambda d: edit_bundle(d, lambda e: e[:9] + e[10:]), id="one dropped"),
    pytest.param(lambda d: edit_bundle(d, lambda e: e[:9] + e[8:9] + e[10:]), id="one doubled"),
    pytest.param(lambda d: edit_bundle(d, lambda e: [*e, e[-1]]), id="one added"),
    pytest.param(lambda d: edit_bundle(d, lambda e: e[:-1]), id="the last cut off"),
    pytest.param(lambda d: edit_bundle(d, lambda e: [*e[:-1], e[-1][:-1]]), id="the last cut"),
    pytest.param(edit_with_tile, id="an entry changed together with its tile"),
    pytest.param(lambda d: swap(d, "tile/entries/000", "tile/entries/001.p/14"), id="bundles"),
    pytest.param(lambda d: swap(d, "tile/0/000", "tile/0/001.p/14"), id="tiles swapped"),
    pytest.param(lambda d: append(d / "tile/entries/000", b"\0"), id="a byte after the end"),
    pytest.param(lambda d: append(d / "tile/0/000", bytes(32)), id="a hash after the end"),
]


@pytest.mark.parametrize("change", STRUCTURE)
def test_an_export_that_was_rearranged_is_refused(
    copy: Path, change: Callable[[Path], object]
) -> None:
    change(copy / "export")

    with pytest.raises(TamperEvidence):
        verify_directory(copy / "export")


@pytest.mark.parametrize(
    "name", ["checkpoint", "vkey", "tile/0/000", "tile/1/000.p/1", "tile/entries/001.p/14"]
)
def test_an_export_that_lacks_a_file_is_incomplete(copy: Path, name: str) -> None:
    (copy / "export" / name).unlink()

    with pytest.raises(Incomplete, match="cannot be read"):
        verify_directory(copy / "export")


ROWS = [
    "UPDATE entry SET body = CAST(replace(body, 'success', 'failure') AS BLOB) WHERE seq = 260",
    "UPDATE entry SET seq = 1000 WHERE seq = 260",
    "DELETE FROM entry WHERE seq = 269",
    "INSERT INTO entry VALUES (270, x'7b7d')",
    "INSERT INTO entry VALUES (5, x'7b7d')",
    "DELETE FROM bundle",
    "INSERT INTO bundle VALUES (1, x'00')",
    "UPDATE bundle SET z = substr(z, 1, 100)",
    "UPDATE bundle SET z = CAST(z || x'00' AS BLOB)",
    "DELETE FROM tile",
    "UPDATE tile SET b = zeroblob(8192)",
    "INSERT INTO tile VALUES (1, 0, zeroblob(8192))",
    "UPDATE idx SET subject = 'support/other' WHERE seq = 2",
    "UPDATE idx SET time = '2020' WHERE seq = 2",
    "UPDATE idx SET type = 'task.phase' WHERE seq = 3",
    "UPDATE idx SET task = 'another' WHERE seq = 3",
    "UPDATE idx SET cred = NULL WHERE seq = 4",
    "UPDATE idx SET id = zeroblob(16) WHERE seq = 4",
    "DELETE FROM idx WHERE seq = 3",
    "INSERT INTO idx VALUES (270, zeroblob(16), 'x', 'x', NULL, NULL, NULL)",
    "UPDATE head SET size = 256",
    "UPDATE head SET root = zeroblob(32)",
    "UPDATE head SET frontier = zeroblob(64)",
    "UPDATE head SET note = replace(note, '270', '269')",
    "DELETE FROM head",
    "UPDATE grant_state SET body = replace(body, '\"Delivered\"', '\"Revoked\"')",
    "UPDATE grant_state SET body = '{}'",
    "UPDATE grant_state SET id = 'g-another'",
    "DELETE FROM grant_state",
    'INSERT INTO grant_state VALUES (\'g-invented\', \'{"id": "g-invented", "state": "Issued"}\')',
    "INSERT INTO grant_state SELECT cred, json_object('id', cred, 'state', 'Delivered') FROM idx"
    " WHERE type = 'credential.revoke' ORDER BY seq LIMIT 1",
    "DROP TABLE idx",
]


@pytest.mark.parametrize("statement", ROWS)
def test_a_ledger_whose_rows_were_changed_is_refused(copy: Path, statement: str) -> None:
    with contextlib.closing(sqlite3.connect(copy / "ledger.db")) as db, db:
        db.execute(statement)

    with pytest.raises(TamperEvidence):
        verify_database(copy / "ledger.db")


def test_a_bundle_that_was_written_anew_is_refused(copy: Path) -> None:
    with contextlib.closing(sqlite3.connect(copy / "ledger.db")) as db, db:
        ((stored,),) = db.execute("SELECT z FROM bundle")
        entries = tiles.unpack(zlib.decompress(stored))
        entries[9] = entries[9].replace(b"success", b"failure")
        db.execute("UPDATE bundle SET z = ?", (zlib.compress(tiles.pack(entries)),))

    with pytest.raises(TamperEvidence):
        verify_database(copy / "ledger.db")


def test_flipped_bits_of_the_file_are_found_or_harmless(copy: Path) -> None:
    """Free space of a page may change; what is read from the file then must be the same."""
    path = copy / "ledger.db"
    raw = path.read_bytes()
    good = verify_database(path)
    found = 0
    for at in range(0, len(raw), len(raw) // 300):
        path.write_bytes(raw[:at] + bytes([raw[at] ^ 1 << at % 8]) + raw[at + 1 :])
        try:
            assert verify_database(path) == good
        except (TamperEvidence, Incomplete, UsageError):
            found += 1

    assert found > 50


def test_a_pinned_key_that_did_not_sign_is_refused(original: Path) -> None:
    report = verify_database(original / "ledger.db")
    key = parse_vkey(report.vkey)
    other = PublicKey(key.name, SeedSigner(bytes([8]) * 32).public_key).vkey()
    renamed = PublicKey("audit.taskpass.dev/other", key.raw).vkey()

    for vkey in (other, renamed):
        with pytest.raises(TamperEvidence):
            verify_database(original / "ledger.db", vkey=vkey)
        with pytest.raises(TamperEvidence):
            verify_directory(original / "export", vkey=vkey)


def test_arguments_that_cannot_be_used_are_no_evidence(original: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        verify_database(original / "ledger.db", vkey="nonsense")
    with pytest.raises(UsageError):
        verify_database(original / "ledger.db", against=["nonsense"])
    with pytest.raises(Incomplete):
        verify_database(tmp_path / "absent.db")
    with pytest.raises(Incomplete):
        verify_directory(tmp_path)


async def test_an_older_copy_verifies_without_memory_and_is_found_with_it(tmp_path: Path) -> None:
    """A rollback by whoever has the disk: no log can find it in itself."""
    path, old = tmp_path / "ledger.db", tmp_path / "old.db"
    ledger = objects.opened(path)
    await objects.filled(ledger, 10)
    ledger.close()
    shutil.copyfile(path, old)
    ledger = objects.opened(path)
    await objects.filled(ledger, 20)
    note = ledger.note()
    ledger.close()

    assert verify_database(old).size == 10
    with pytest.raises(TamperEvidence, match="ROLLBACK"):
        verify_database(old, against=[note])


async def test_a_fork_by_whoever_has_the_key_verifies_without_memory_and_is_found_with_it(
    tmp_path: Path,
) -> None:
    path, fork = tmp_path / "ledger.db", tmp_path / "fork.db"
    ledger = objects.opened(path)
    await objects.filled(ledger, 10)
    ledger.close()
    shutil.copyfile(path, fork)
    notes: dict[Path, str] = {}
    for each, told in ((path, "true"), (fork, "false")):
        ledger = objects.opened(each)
        await ledger.commit(Batch(entries=(entry(50, told=told),)))
        await objects.filled(ledger, 30)
        notes[each] = ledger.note()
        ledger.close()

    for each, other in ((path, fork), (fork, path)):
        assert verify_database(each).remembered == ()
        assert verify_database(each, against=[notes[each]]).remembered == (30,)
        with pytest.raises(TamperEvidence, match="FORK"):
            verify_database(each, against=[notes[other]])


async def test_a_log_made_anew_is_not_the_one_that_was_remembered(
    original: Path, tmp_path: Path
) -> None:
    ledger = objects.opened(tmp_path / "new.db")
    await objects.filled(ledger, 200)
    ledger.close()

    with pytest.raises(TamperEvidence, match="another log"):
        verify_database(tmp_path / "new.db", against=[(original / "kept").read_text()])


async def test_a_kept_checkpoint_in_the_ledger_itself_is_held_against_it(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    for size in (10, 20):
        ledger = objects.opened(path)
        await objects.filled(ledger, size)
        ledger.close()
    objects.opened(path).close()
    key = parse_vkey(verify_database(path).vkey)
    lie = Checkpoint(key.name, 7, bytes(32)).body()
    signature = Signature(key.name, key.id, SeedSigner(objects.SEED).sign(lie.encode()))
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("INSERT INTO ckpt VALUES (7, ?, 'x')", (signed_note(lie, signature),))

    with pytest.raises(TamperEvidence, match="FORK"):
        verify_database(path)


async def test_a_failed_issue_is_over_only_once_it_is_revoked(tmp_path: Path) -> None:
    ledger = objects.opened(tmp_path / "ledger.db")
    back = replace(GRANT, state=GrantState.REVOKING)
    entries = (audit.issue_intent(GRANT, NOW), audit.issue_interrupted(GRANT, NOW))
    await ledger.commit(Batch(entries=(*entries, audit.revoke_intent(back, NOW)), grants=(back,)))
    assert isinstance(verify_database(tmp_path / "ledger.db"), Report)

    over = replace(GRANT, state=GrantState.REVOKED)
    await ledger.commit(Batch(grants=(over,)))
    with pytest.raises(TamperEvidence, match=f"the log says that grant {GRANT.id} is held"):
        verify_database(tmp_path / "ledger.db")

    await ledger.commit(Batch(entries=(audit.revoke_result(over, NOW, None),), grants=(over,)))
    ledger.close()
    assert isinstance(verify_database(tmp_path / "ledger.db"), Report)
