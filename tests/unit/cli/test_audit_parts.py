"""Where entries are absent, that nothing was found is said of those that are here."""

import asyncio
import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from taskpass.cli.audit import audit, look
from taskpass.core.errors import TaskpassError
from taskpass.ledger.export.directory import export
from taskpass.ledger.log.signing import SeedSigner
from taskpass.ledger.maintain.prune import Limit, prune
from taskpass.ports.ledger import Batch
from tests.unit.ledger import objects
from tests.unit.ledger.objects import GRANT, NOW, SEED, TASK, entry

UNKNOWN = "00000000-0000-4000-8000-000000000000"
LATER = NOW + timedelta(hours=1)
FILLED = 600


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a place with a ledger that was pruned up to 512, and an export of 0..255 of it."""
    place = tmp_path_factory.mktemp("parts")
    asyncio.run(_written(place / "ledger.db"))
    export(place / "ledger.db", place / "part", wanted=(0, 256))
    shutil.copy(place / "ledger.db", place / "whole.db")
    prune(place / "ledger.db", Limit(before=512), place / "archive", SeedSigner(SEED), LATER)
    return place


async def _written(path: Path) -> None:
    ledger = objects.opened(path)
    await objects.story(ledger)
    await objects.filled(ledger, FILLED)
    await ledger.commit(Batch(entries=(entry("later", time=LATER),)))
    ledger.close()


def run(*arguments: object) -> Result:
    return CliRunner().invoke(audit, [str(each) for each in arguments])


@pytest.mark.parametrize("command", ["search", "tail"])
def test_a_pruned_log_has_no_no_for_what_may_have_been_dropped(place: Path, command: str) -> None:
    done = run(command, "--cred", GRANT.id, "--db", place / "ledger.db")

    assert (done.exit_code, done.stdout) == (3, "")
    none = f"None of the entries 512..603 matches; none of them has --cred {GRANT.id}\n"
    assert done.stderr.startswith(none)
    assert "what is before was pruned: look in the archive that was written then" in done.stderr
    assert "none that is here and answers is left out" in done.stderr


@pytest.mark.parametrize("command", ["search", "tail"])
def test_what_a_pruned_log_has_is_an_answer(place: Path, command: str) -> None:
    done = run(command, "--task", TASK.uid, "--db", place / "ledger.db")

    assert done.exit_code == 0
    assert "Entries before 512 are absent by policy" in done.stderr


def test_what_was_dropped_cannot_be_of_later_than_what_is_left(place: Path) -> None:
    asked = ["--outcome", "denied", "--db", place / "ledger.db", "--since"]

    after = run("search", *asked, "2026-11-25T10:00:01Z")
    before = run("search", *asked, "2026-11-25T10:00:00Z")

    assert (after.exit_code, before.exit_code) == (0, 3)


def test_who_follows_a_pruned_log_waits_for_what_is_to_come(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def enough(_: float) -> None:
        raise TaskpassError("it waits")

    monkeypatch.setattr(look.time, "sleep", enough)

    done = run("tail", "-f", "--cred", GRANT.id, "--db", place / "ledger.db")

    assert done.stderr.endswith("Error: it waits\n")


@pytest.mark.parametrize(
    ("arguments", "nothing"),
    [
        (["timeline", "support/no-such-task"], "have no task 'support/no-such-task'"),
        (["show", UNKNOWN], f"have none of the id {UNKNOWN}"),
        (["prove", "inclusion", UNKNOWN, "--out", "x"], "have none of those that were asked for"),
        (["prove", "inclusion", "--cred", "g-0", "--out", "x"], "have none of those that were"),
        (["who", "p-0000000000000000"], "do not speak of p-0000000000000000"),
    ],
    ids=["timeline", "show", "prove an id", "prove a grant", "who"],
)
def test_nothing_is_said_of_the_log_where_entries_are_absent(
    place: Path, arguments: list[str], nothing: str
) -> None:
    pruned = run(*arguments, "--db", place / "ledger.db")
    whole = run(*arguments, "--db", place / "whole.db")

    assert (pruned.exit_code, pruned.stdout) == (3, "")
    assert f"The entries 512..603, which alone are here, {nothing}" in pruned.stderr
    assert whole.exit_code in (1, 2)
    if arguments[0] != "who":  # of people an export has nothing
        part = run(*arguments, "--dir", place / "part")
        assert part.exit_code == 3
        assert f"The entries 0..255, which alone are here, {nothing}" in part.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["timeline", "support/ticket-4711"], ["timeline", "support/ticket-4711", "--json"],
        ["prove", "inclusion", "--cred", GRANT.id, "--out"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_what_a_part_tells_is_not_told_as_all(
    place: Path, tmp_path: Path, arguments: list[str]
) -> None:
    where = [tmp_path / "proofs"] if arguments[-1] == "--out" else []

    part = run(*arguments, *where, "--dir", place / "part")
    whole = run(*arguments, *where, "--db", place / "whole.db")

    assert (part.exit_code, whole.exit_code) == (3, 0)
    assert part.stdout
    assert "name a ledger or an export of the whole log" in part.stderr


def test_one_entry_of_a_part_is_shown_and_proven_as_ever(place: Path, tmp_path: Path) -> None:
    shown = run("show", "3", "--dir", place / "part")
    proven = run("prove", "inclusion", "3", "--out", tmp_path, "--dir", place / "part")

    assert (shown.exit_code, proven.exit_code) == (0, 0)
