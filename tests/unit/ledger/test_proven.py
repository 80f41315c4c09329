"""What a reader prints is proven: nothing is hidden, put in, or said of somebody else."""

import asyncio
import contextlib
import json
import shutil
import sqlite3
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from taskpass.cli.audit import audit
from taskpass.core.audit import events as entries
from taskpass.core.errors import UsageError
from taskpass.ledger.export.directory import export
from taskpass.ledger.log.entry_filter import Query
from taskpass.ledger.log.reader import TamperEvidence
from taskpass.ledger.verify.follow import Follower
from taskpass.ledger.verify.log import verify_database, verify_directory
from taskpass.ledger.verify.proven import LogLocation, proven
from taskpass.ports.ledger import Batch
from tests.unit.ledger import objects
from tests.unit.ledger.forging import empty_unique_index, execute, hide_rows
from tests.unit.ledger.objects import GRANT, NOW, entry

PEOPLE = {"requester": "jane@example.org", "sponsor": "support"}
SIZE = 300


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("original")
    asyncio.run(written(place / "ledger.db"))
    export(place / "ledger.db", place / "export")
    return place


async def written(path: Path) -> None:
    ledger = objects.opened(path)
    await objects.story(ledger)
    asked = (entries.issue_intent(objects.another(9), NOW, PEOPLE),)
    await ledger.commit(Batch(entries=asked, grants=(objects.another(9),)))
    await ledger.commit(
        Batch(
            entries=(entries.issue_intent(objects.another(8), NOW, PEOPLE),),
            grants=(objects.another(8),),
        )
    )
    await objects.filled(ledger, SIZE)
    ledger.close()


@pytest.fixture
def place(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "copy"))


@pytest.fixture
def path(place: Path) -> Path:
    return place / "ledger.db"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(audit, [str(each) for each in arguments])


def test_a_revocation_that_is_hidden_in_the_index_is_told_all_the_same(path: Path) -> None:
    before = run("timeline", GRANT.task.name, "--db", path)
    hide_rows(path, "idx_subject", 6, 7)
    with contextlib.closing(sqlite3.connect(path)) as db:
        hidden = db.execute("SELECT seq FROM idx WHERE subject = 'support/ticket-4711'").fetchall()

    after = run("timeline", GRANT.task.name, "--db", path)

    assert (6,) not in hidden
    assert "tickets is gone, proven by Kubernetes" in after.stdout
    assert after.stdout == before.stdout


def test_rows_that_are_hidden_in_an_index_are_found_by_verify(path: Path) -> None:
    hide_rows(path, "idx_subject", 6, 7)

    with pytest.raises(TamperEvidence, match="damaged: row 7 missing from index idx_subject"):
        verify_database(path)


async def test_ids_that_were_written_twice_are_found_in_both_forms(path: Path) -> None:
    """An operator whose index of ids was emptied writes what it was told before."""
    empty_unique_index(path)
    ledger = objects.opened(path)
    assert (await ledger.commit(Batch(entries=(entry(11),)))) != (11,)
    ledger.close()
    export(path, path.parent / "twice")

    with pytest.raises(TamperEvidence, match="damaged"):
        verify_database(path)
    with pytest.raises(TamperEvidence, match="two entries have the id"):
        verify_directory(path.parent / "twice")
    with (
        pytest.raises(TamperEvidence, match="two entries have the id"),
        proven(LogLocation(database=path)),
    ):
        pytest.fail("it was read")


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE person SET name = 'eve' WHERE name LIKE 'jane%'", "is not whom the log's entries"),
        ("UPDATE person SET salt = zeroblob(32)", "is not whom the log's entries mean"),
        ("DELETE FROM person WHERE name = 'support'", "is gone, and no entry says that it was"),
        ("INSERT INTO person VALUES ('p-1', 'eve', x'00')", "of whom no entry speaks"),
        ("UPDATE person SET ref = 'p-2' WHERE name = 'support'", "of whom no entry speaks"),
    ],
)
@pytest.mark.parametrize("command", [["timeline", "ticket-4711"], ["who"], ["verify"]])
def test_no_other_name_is_shown_than_the_one_that_the_log_means(
    path: Path, statement: str, said: str, command: list[str]
) -> None:
    execute(path, statement)

    done = run(*command, "--db", path)

    assert (done.exit_code, done.stdout) == (1, "")
    assert said in done.stderr


async def test_a_name_that_is_put_back_after_it_was_erased_is_found(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as db:
        row = db.execute("SELECT * FROM person WHERE name LIKE 'jane%'").fetchone()
    ledger = objects.opened(path)
    await ledger.erase("jane@example.org", NOW)
    ledger.close()
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("INSERT INTO person VALUES (?, ?, ?)", row)

    with pytest.raises(TamperEvidence, match="an entry says that it was erased"):
        verify_database(path)


FOREIGN = [
    "CREATE TRIGGER t AFTER INSERT ON entry BEGIN DELETE FROM grant_state; END",
    "CREATE VIEW held AS SELECT * FROM grant_state",
    "CREATE TABLE mine (x)",
    "CREATE INDEX more ON idx (time)",
    "DROP INDEX idx_cred",
]


@pytest.mark.parametrize("statement", FOREIGN)
def test_what_does_not_belong_into_the_file_is_found_before_anything_is_read(
    path: Path, statement: str
) -> None:
    execute(path, statement)

    for command in ("verify", "search", "stats", "who"):
        done = run(command, "--db", path)
        assert (done.exit_code, done.stdout) == (1, "")
        assert "not one that taskpass makes" in done.stderr or "is missing" in done.stderr


def test_a_view_in_the_place_of_a_table_is_found(path: Path) -> None:
    execute(
        path,
        "ALTER TABLE grant_state RENAME TO real",
        "CREATE VIEW grant_state AS SELECT * FROM real WHERE 0",
    )

    assert "TAMPER EVIDENCE" in run("verify", "--db", path).stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["timeline", "ticket-4711", "--json"], ["search", "--type", "credential.", "--json"],
        ["show", "5", "--json"], ["stats"], ["open-ops", "--json"], ["keys", "list", "--json"],
        ["tail", "-n", "3"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_an_export_answers_what_the_ledger_answers(place: Path, arguments: list[str]) -> None:
    export(place / "ledger.db", place / "log.zip")
    answers = [
        run(*arguments, option, place / name).stdout
        for option, name in (("--db", "ledger.db"), ("--dir", "export"), ("--dir", "log.zip"))
    ]

    assert answers[0]
    if arguments[0] == "stats":
        answers = [answer.replace(answer.splitlines()[1], "") for answer in answers]
    assert answers[0] == answers[1] == answers[2]


def test_people_are_references_in_an_export(place: Path) -> None:
    told = run("timeline", "ticket-4711", "--dir", place / "export").stdout

    assert "asked for by p-" in " ".join(told.split())
    assert "erased" not in told


def test_the_key_that_the_reader_knows_is_demanded(place: Path, path: Path) -> None:
    vkey = (place / "export/vkey").read_text().strip()
    known = run("search", "--db", path, "--vkey", vkey)
    head, _, _ = vkey.rpartition("+")
    other = run("search", "--db", path, "--vkey", f"{head}+{'A' * 44}")

    assert "by the log's own word" not in known.stderr
    assert (other.exit_code, other.stdout) == (2, "")


def test_a_change_to_an_entry_is_no_answer_but_evidence(path: Path) -> None:
    execute(
        path,
        "UPDATE entry SET body = CAST(replace(body, 'success', 'failure') AS BLOB)"
        f" WHERE seq = {SIZE - 1}",
    )

    for command in (["search"], ["timeline", "ticket-4711"], ["tail"], ["stats"], ["open-ops"]):
        done = run(*command, "--db", path)
        assert (done.exit_code, done.stdout) == (1, "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--type", "foo"], "There is no type 'foo' of entries; there are approval.ask,"),
        (["--type", "foo."], "There is no type 'foo.'"),
        (["--outcome", "bad"], "'bad' is not one of"),
        (["--since", "2026-11-27", "--until", "2026-11-26"], "--since must be before --until"),
    ],
)
def test_a_question_that_nothing_can_answer_is_refused(
    path: Path, arguments: list[str], said: str
) -> None:
    done = run("search", *arguments, "--db", path)

    assert done.exit_code == 2
    assert said in done.stderr


@pytest.mark.parametrize("command", ["search", "tail"])
@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["--agent", "nobody"], "; no entry at all has --agent nobody"),
        (["--task", "support/ticket-47111"], "; no entry at all has --task support/ticket-47111"),
        (
            ["--task", "support/ticket-4711", "--reason", "PodEnded", "--cred", "g-0"],
            "; no entry at all has --cred g-0 or --reason PodEnded",
        ),
        (["--outcome", "pending", "--until", "2020-01-01"], ""),
    ],
    ids=str,
)
def test_a_question_that_nothing_answers_is_told_so(
    path: Path, command: str, asked: list[str], said: str
) -> None:
    done = run(command, *asked, "--db", path)

    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr.startswith(f"No entry matches{said}\n")
    assert "Proven: every entry was hashed" in done.stderr


@pytest.mark.parametrize("command", ["search", "tail", "stats", "open-ops"])
def test_of_a_part_of_the_log_no_answer_is_whole(place: Path, tmp_path: Path, command: str) -> None:
    """A file `range` may be put into any export: it hides all the rest."""
    part = Path(shutil.copytree(place / "export", tmp_path / "part"))
    (part / "range").write_text("0:256\n")
    for name in ("tile/entries/001.p", "tile/0/001.p"):
        assert (part / name).exists()

    done = run(command, "--dir", part)

    assert done.exit_code == 3
    assert "name a ledger or an export of the whole log" in done.stderr


def test_a_wrong_path_is_no_evidence(place: Path) -> None:
    for name, said in (("export", "an export is named with --dir"), ("export/vkey", "no SQLite")):
        done = run("timeline", "x", "--db", place / name)

        assert done.exit_code == 3
        assert said in done.stderr


def test_a_database_of_others_is_no_ledger(tmp_path: Path) -> None:
    execute(tmp_path / "other.db", "CREATE TABLE x (y)")

    done = run("verify", "--db", tmp_path / "other.db")

    assert done.exit_code == 2
    assert "`taskpass audit copy` makes a whole copy" in done.stderr


def test_what_is_asked_of_an_export_of_lines_is_refused(place: Path) -> None:
    export(place / "ledger.db", place / "lines", form="jsonl")

    with (
        pytest.raises(UsageError, match="has no bundles"),
        proven(LogLocation(directory=place / "lines")),
    ):
        pytest.fail("it was read")


def following(path: Path, query: Query) -> Follower:
    with proven(LogLocation(database=path), query) as log:
        return Follower(path, query, log.replay)


async def test_what_a_log_grows_by_is_proven_as_well(path: Path) -> None:
    follower = following(path, Query(type="task."))
    assert follower.grown() == []
    ledger = objects.opened(path)
    await objects.filled(ledger, SIZE + 4)
    assert [index for index, _ in follower.grown()] == [SIZE + 1, SIZE + 2, SIZE + 3]
    await objects.filled(ledger, 700)
    ledger.close()

    assert len(follower.grown()) == 700 - SIZE - 4
    assert follower.grown() == []


async def test_a_log_that_is_another_or_shorter_meanwhile_is_told(
    original: Path, path: Path
) -> None:
    ledger = objects.opened(path)
    await objects.filled(ledger, SIZE + 9)
    ledger.close()
    follower = following(path, Query())
    shutil.copy(original / "ledger.db", path)
    with pytest.raises(TamperEvidence, match="ROLLBACK"):
        follower.grown()
    ledger = objects.opened(path)
    await ledger.commit(Batch(entries=(entry("fork"),)))
    await objects.filled(ledger, SIZE + 20)
    ledger.close()

    with pytest.raises(TamperEvidence, match="FORK"):
        follower.grown()


async def test_an_edit_of_what_a_log_grows_by_is_called_no_fork(path: Path) -> None:
    """A fork is the word of the log's own key; entries can be edited by anybody (ADR 33, 4)."""
    follower = following(path, Query())
    ledger = objects.opened(path)
    await objects.filled(ledger, SIZE + 9)
    ledger.close()
    edited = "CAST(replace(CAST(body AS TEXT), 'point', 'other') AS BLOB)"
    execute(path, f"UPDATE entry SET body = {edited} WHERE seq = {SIZE + 4}")

    with pytest.raises(TamperEvidence) as found:
        follower.grown()

    assert "FORK" not in str(found.value)


async def test_a_checkpoint_that_nobody_has_signed_is_called_no_rollback(path: Path) -> None:
    follower = following(path, Query())
    size = "replace(note, char(10) || '300' || char(10), char(10) || '7' || char(10))"
    execute(path, f"UPDATE head SET note = {size}")

    with pytest.raises(TamperEvidence) as found:
        follower.grown()

    assert "ROLLBACK" not in str(found.value)


def test_an_export_does_not_grow(place: Path) -> None:
    done = run("tail", "-f", "--dir", place / "export")

    assert (done.exit_code, done.stderr) == (
        2,
        "Error: An export does not grow; --follow needs --db\n",
    )


def test_the_answers_say_what_they_were_proven_by(path: Path) -> None:
    done = run("search", "--limit", "2", "--json", "--db", path)

    assert [json.loads(line)["index"] for line in done.stdout.splitlines()] == [298, 299]
    assert "These are the last 2; --limit shows more" in done.stderr
    assert f"under the checkpoint of size {SIZE}, which key" in done.stderr
    assert "name the one that you know with --vkey" in done.stderr
