"""What is printed is what was verified, and not what lies there a moment later."""

import asyncio
import contextlib
import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from taskpass.cli.audit import audit
from taskpass.core.audit.terms import notice_digest
from taskpass.ledger.export.directory import export
from taskpass.ledger.log.reader import LogReader, TamperEvidence, reading
from taskpass.ledger.log.signing import SeedSigner
from taskpass.ledger.maintain.prune import Limit, prune
from taskpass.ledger.state.noted import Noted
from taskpass.ledger.verify import proven
from taskpass.ledger.verify.log import Report, Verification, verify_database
from tests.unit.ledger import objects
from tests.unit.ledger.objects import NOW, SEED

FORGED = b'{"data":{},"id":"00000000-0000-4000-8000-000000000000","forged":true}'


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the export of a log that was pruned up to 256."""
    place = tmp_path_factory.mktemp("original")

    async def write() -> None:
        ledger = objects.opened(place / "ledger.db")
        await objects.filled(ledger, 300)
        ledger.close()

    asyncio.run(write())
    shutil.copy(place / "ledger.db", place / "whole.db")
    prune(place / "ledger.db", Limit(before=256), place / "archive", SeedSigner(SEED), NOW)
    export(place / "ledger.db", place / "export")
    return place


@pytest.fixture
def place(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an export of which entries are exchanged as soon as it is verified."""
    place = Path(shutil.copytree(original, tmp_path / "copy"))

    def then_exchanged(*of: object, concluded: Callable[..., object] = proven.concluded) -> object:
        report = concluded(*of)
        (place / "export/kept/0").write_bytes(FORGED)
        for bundle in (place / "export/tile/entries").rglob("4*"):
            bundle.write_bytes(len(FORGED).to_bytes(2, "big") + FORGED)
        return report

    monkeypatch.setattr(proven, "concluded", then_exchanged)
    return place


def run(*arguments: object) -> Result:
    return CliRunner().invoke(audit, [str(each) for each in arguments])


@pytest.mark.parametrize("index", ["0", "257"])
def test_an_entry_that_is_exchanged_after_the_verification_is_shown_as_it_was(
    place: Path, index: str
) -> None:
    shown = run("show", index, "--dir", place / "export")

    assert shown.exit_code == 0
    assert "forged" not in shown.stdout


@pytest.mark.parametrize("index", ["0", "257"])
def test_what_is_written_with_a_proof_is_what_the_proof_is_of(place: Path, index: str) -> None:
    made = run("prove", "inclusion", index, "--out", place / "out", "--dir", place / "export")
    vkey = place / "export/vkey"
    proof, entry = (place / "out" / f"{index}.{kind}" for kind in ("tlog-proof", "json"))

    assert made.exit_code == 0
    assert run("verify-proof", proof, "--entry", entry, "--vkey", vkey).exit_code == 0


@pytest.mark.parametrize("source", [["--db", "ledger.db"], ["--dir", "export"]])
def test_an_entry_that_was_kept_when_the_log_was_pruned_is_found(
    original: Path, source: list[str]
) -> None:
    """It is here and answers, so it is not left out: by its type, its id and its index."""
    option, name = source
    listed = run("search", "--type", "log.genesis", "--json", option, original / name)
    identity = json.loads(listed.stdout)["id"]
    shown = [run("show", by, "--json", option, original / name) for by in (identity, "0")]

    assert [each.exit_code for each in (listed, *shown)] == [0, 0, 0]
    assert json.loads(shown[0].stdout)["id"] == json.loads(shown[1].stdout)["id"] == identity


def test_an_entry_that_is_absent_is_told_so(original: Path) -> None:
    shown = [run("show", "5", *at) for at in (("--db", original / "ledger.db"),)]
    shown.append(run("show", "5", "--dir", original / "export"))

    assert [each.exit_code for each in shown] == [3, 3]
    assert "absent by policy" in shown[0].stderr


@pytest.mark.parametrize("size", [20, 300])
async def test_what_people_were_told_is_held_against_the_entries_that_were_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """An item of a trail is edited, and its entry too, for as long as it is read once more."""
    path = tmp_path / "ledger.db"
    ledger = objects.opened(path)
    await objects.story(ledger)
    await objects.filled(ledger, size)
    ledger.close()
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        uid, index = db.execute("SELECT task_uid, audit_index FROM trail").fetchone()
        db.execute("UPDATE trail SET message = 'forged' WHERE audit_index = ?", (index,))
    with reading(path) as log:
        noted = Noted.read(log.db)
        (item,) = (each for each in noted.trails[uid] if each.audit_index == index)
    verified, read = [False], LogReader.bundle

    def report(self: Verification, report: Callable[..., Report] = Verification.report) -> Report:
        verified[0] = True
        return report(self)

    def bundle(self: LogReader, number: int) -> list[bytes]:
        entries = read(self, number)
        if verified[0]:
            event = json.loads(entries[index])
            event["data"]["notice"] = notice_digest(item.notice)
            entries[index] = json.dumps(event).encode()
        return entries

    monkeypatch.setattr(Verification, "report", report)
    monkeypatch.setattr(LogReader, "bundle", bundle)

    with pytest.raises(TamperEvidence, match="is not any more what was verified"):
        verify_database(path)
