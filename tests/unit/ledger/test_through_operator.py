"""What an operator is asked to do was done once the log proves it: an answer is anybody's."""

import asyncio
import contextlib
import json
import sqlite3
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from taskpass.cli.audit import audit
from taskpass.core.audit import events as entries
from taskpass.ledger.log.signing import SeedSigner
from taskpass.ledger.maintain.erase import erase
from taskpass.ledger.maintain.prune import Limit, prune
from taskpass.ledger.maintain.requests import place_of
from taskpass.ports.ledger import Batch
from tests.unit.ledger import objects
from tests.unit.ledger.objects import NOW, SEED

JANE, JOE = "jane@example.org", "joe@example.org"
LATER = NOW + timedelta(days=1)
ERASE = ["erase", "--subject", JANE]
PRUNE = ["prune", "--before", "256", "--archive", "{archive}"]
Answer = Callable[[Path, Path], object]
"""Does something to a ledger, or not, with an archive's directory; returns what is answered."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "ledger.db"
    asyncio.run(_written(path))
    return path


async def _written(path: Path, name: str = JANE, number: int = 9) -> None:
    ledger = objects.opened(path)
    for each, grant in ((name, objects.another(number)), (JOE, objects.another(number + 1))):
        told = entries.issue_intent(grant, NOW, {"requester": each})
        await ledger.commit(Batch(entries=(told,), grants=(grant,)))
        await objects.end(ledger, grant)
    await objects.filled(ledger, ledger.size + 600)
    ledger.close()


def asked(path: Path, words: list[str], answer: Answer) -> Result:
    """Run a command, and answer it as whoever can write the volume does."""
    archive = path.parent / "archive"
    answering = threading.Thread(target=_answer, args=(path, archive, answer), daemon=True)
    answering.start()
    words = [str(archive) if word == "{archive}" else word for word in words]
    done = CliRunner().invoke(audit, [*words, "--db", str(path)])
    answering.join(5)
    return done


def _answer(path: Path, archive: Path, answer: Answer) -> None:
    place = place_of(path)
    for _ in range(1000):
        for request in place.glob("*.json") if place.is_dir() else ():
            request.unlink()
            said = answer(path, archive)
            text = said if isinstance(said, str) else json.dumps(said)
            request.with_suffix(".answer").write_text(text)
            return
        time.sleep(0.01)


def erased(name: str) -> Answer:
    return lambda path, _: {"index": erase(path, name, SeedSigner(SEED), LATER)}


def dropped(before: int) -> Answer:
    def answer(path: Path, archive: Path) -> object:
        prune(path, Limit(before=before), archive, SeedSigner(SEED), LATER)
        with contextlib.closing(sqlite3.connect(path)) as db:
            return {"index": db.execute("SELECT size - 1 FROM head").fetchone()[0]}

    return answer


def said(answer: object) -> Answer:
    return lambda path, archive: answer


def test_who_was_erased_and_what_was_dropped_is_said_with_the_entry_that_proves_it(
    path: Path,
) -> None:
    gone, again = asked(path, ERASE, erased(JANE)), asked(path, ERASE, said({"index": -1}))
    less = asked(path, PRUNE, dropped(256))

    assert (gone.exit_code, gone.stdout.split(";")[0]) == (0, "Erased")
    assert (again.exit_code, again.stderr) == (1, "Nothing is known of them\n")
    assert (less.exit_code, less.stdout.split(";")[0]) == (0, "Dropped"), less.output
    assert less.stdout.endswith(f" The archive is in {path.parent / 'archive'}\n")


@pytest.mark.parametrize("words", [ERASE, PRUNE], ids=["erase", "prune"])
@pytest.mark.parametrize("index", [123, 0, 10**9, 10**99])
def test_an_entry_that_is_of_something_else_proves_nothing(
    path: Path, words: list[str], index: int
) -> None:
    done = asked(path, words, said({"index": index}))

    assert (done.exit_code, done.stdout) == (1, ""), done.output
    assert "what answered in the operator's place said that entry" in done.stderr


@pytest.mark.parametrize(
    ("words", "answer", "why"),
    [
        (ERASE, erased(JOE), "the name is in the ledger as before"),
        (ERASE, dropped(256), "the name is in the ledger as before"),
        (ERASE, said({"index": -1}), "the name is in the ledger as before"),
        (ERASE, said({"index": -1, "still_read": "process 7"}), "the name is in the ledger as"),
        (PRUNE, dropped(512), "that entry is not of what was to be dropped"),
        (PRUNE, erased(JANE), "that entry is not of what was to be dropped"),
        (PRUNE, said({"index": -1}), "that entry is not of what was to be dropped"),
    ],
)
def test_what_was_done_to_something_else_is_not_what_was_asked(
    path: Path, words: list[str], answer: Answer, why: str
) -> None:
    done = asked(path, words, answer)

    assert (done.exit_code, done.stdout) == (1, ""), done.output
    assert why in done.stderr


def test_an_entry_of_before_proves_nothing(path: Path) -> None:
    """Somebody was erased, and came back: they are known by another reference since."""
    index = erase(path, JANE, SeedSigner(SEED), LATER)
    asyncio.run(_written(path, number=20))

    done = asked(path, ERASE, said({"index": index}))

    assert (done.exit_code, done.stdout) == (1, ""), done.output


def test_who_is_still_read_is_said_once_the_log_proves_the_rest(path: Path) -> None:
    def answer(path: Path, archive: Path) -> object:
        return {"index": erase(path, JANE, SeedSigner(SEED), LATER), "still_read": "process 7"}

    done = asked(path, ERASE, answer)

    assert done.exit_code == 2
    assert "It is deleted, as entry" in done.stderr
    assert "while process 7 reads one" in done.stderr


def test_a_log_that_is_not_grown_from_what_was_asked_proves_nothing(path: Path) -> None:
    """Another log of another key is put in the place, with the entry that was asked for."""
    other = path.with_name("other.db")

    async def write() -> None:
        ledger = objects.opened(other, seed=bytes([9]) * 32)
        await objects.filled(ledger, 700)
        ledger.close()

    asyncio.run(write())

    def answer(path: Path, archive: Path) -> object:
        prune(other, Limit(before=256), archive, SeedSigner(bytes([9]) * 32), LATER)
        for each in path.parent.glob("ledger.db-*"):
            each.unlink()
        path.write_bytes(other.read_bytes())
        return {"index": 701}

    done = asked(path, PRUNE, answer)

    assert (done.exit_code, done.stdout) == (1, ""), done.output


def test_an_archive_that_is_not_there_is_not_said_to_be(path: Path) -> None:
    def answer(path: Path, archive: Path) -> object:
        return dropped(256)(path, archive.with_name("elsewhere"))

    done = asked(path, PRUNE, answer)

    assert done.exit_code == 3
    assert done.stdout.startswith("Dropped; entry ")
    assert "The archive is in" not in done.stdout
    assert "is not in" in done.stderr


@pytest.mark.parametrize(
    "answer",
    ["", "no JSON", "[]", "7", '{"index": "x"}', '{"index": [1]}', '{"index": 1e999}', "[" * 9999],
)
def test_an_answer_that_is_none_is_no_evidence_of_anything(path: Path, answer: str) -> None:
    done = asked(path, ERASE, said(answer))

    assert (done.exit_code, done.stdout) == (3, ""), done.output
    assert done.stderr.count("\n") == 1


def test_a_refusal_is_told_as_one_and_nothing_of_it_is_a_line_of_ours(path: Path) -> None:
    refusal = {"error": "Erased; entry 123 says so\nErased; entry 123 says so\u2028OK"}

    done = asked(path, ERASE, said(refusal))

    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: It was refused: ")
    assert len(done.stderr.splitlines()) == 1
