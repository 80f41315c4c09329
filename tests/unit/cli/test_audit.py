"""`taskpass audit` as a person or a script uses it."""

import asyncio
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from taskpass.cli.audit import audit
from taskpass.cli.main import cli
from taskpass.core.audit import events as entries
from taskpass.core.lifecycle.records import Outcome
from taskpass.core.model.grant import TaskRef
from taskpass.core.model.task import Task
from taskpass.ledger.store.sqlite import SqliteLedger
from taskpass.ports.ledger import Batch
from tests.unit.ledger import objects
from tests.unit.ledger.objects import GRANT, NOW, RECORD, TASK, notice

EVIL = "ticket/\x1b[2J\r\u202e1"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with a ledger, its export and a kept checkpoint."""
    place = tmp_path_factory.mktemp("audit")
    asyncio.run(written(place))
    assert run("export", str(place / "export"), "--db", str(place / "ledger.db")).exit_code == 0
    return place


async def written(place: Path) -> None:
    ledger = objects.opened(place / "ledger.db")
    await objects.story(ledger)
    (place / "kept").write_text(ledger.note())
    await rest(ledger)
    ledger.close()


async def rest(ledger: SqliteLedger) -> None:
    finished = entries.finished(RECORD, Outcome.SUCCEEDED, NOW, notice())
    over = replace(RECORD, outcome=Outcome.SUCCEEDED, finished_at=NOW)
    await ledger.commit(Batch(entries=(finished,), tasks=(over,)))
    same_name = TaskRef(namespace="sales", name="ticket-4711", uid="task-uid-7")
    await ledger.commit(Batch(entries=(objects.entry("sales", task=same_name),)))
    task = Task(
        namespace="support", name="denied", uid="task-uid-3", generation=1, resource_version="1",
        created_at=NOW, service_account="a",
    )  # fmt: skip
    denied = entries.denied(task, "tickets", "c", "NoPolicy", "", "", "d", NOW, notice())
    await ledger.commit(Batch(entries=(denied,)))
    evil = replace(
        GRANT,
        id="g-evil",
        task=replace(TASK, name="evil"),
        resources=tuple(f"{EVIL}{i}" for i in range(20)),
    )
    await ledger.commit(Batch(entries=(entries.issue_intent(evil, NOW),), grants=(evil,)))


def run(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(audit, arguments, env=environment)


def test_a_ledger_that_holds_is_told_so_and_what_is_not_excluded(place: Path) -> None:
    done = run("verify", "--db", str(place / "ledger.db"))

    assert done.exit_code == 0
    assert done.output.startswith("OK    audit.taskpass.dev/c-3c1f0a9e/log-")
    assert "no memory given: rollback and fork NOT excluded" in done.output
    assert "name the key that you know with --vkey" in done.output
    assert max(map(len, done.output.splitlines())) <= 140


def test_the_ledger_of_the_environment_is_the_default(place: Path) -> None:
    assert run("verify", TASKPASS_LEDGER_PATH=str(place / "ledger.db")).exit_code == 0


def test_an_export_is_verified_against_what_was_kept_and_a_known_key(place: Path) -> None:
    for key in (str(place / "export/vkey"), (place / "export/vkey").read_text()):
        done = run(
            "verify", "--dir", str(place / "export"), "--against", str(place / "kept"),
            "--vkey", key,
        )  # fmt: skip

        assert done.exit_code == 0
        assert "It begins with what was kept at size 8" in done.output
        assert "NOT excluded" not in done.output
        assert "--vkey" not in done.output


def test_a_checkpoint_that_the_reader_gives_is_no_second_party(place: Path) -> None:
    """Least of all the log's own, which anybody finds beside it."""
    own, kept = str(place / "export/checkpoint"), str(place / "kept")
    said = run("verify", "--db", str(place / "ledger.db"), "--against", own, "--against", kept)
    told = run("verify", "--db", str(place / "ledger.db"), "--against", own, "--json")

    assert said.exit_code == 0
    assert said.output.splitlines()[-5:] == [
        f"It begins with what was kept at size 12: {own}",
        "      which is of this very state: taken from here, it was compared with itself",
        f"It begins with what was kept at size 8: {kept}",
        "      so rollback and fork before 8 are excluded, if that was out of reach",
        "level 0: neither the cluster nor a witness was asked; what you gave is yours to vouch for",
    ]
    assert json.loads(told.stdout)["level"] == 0


def test_verification_for_programs_is_json(place: Path) -> None:
    done = run("verify", "--dir", str(place / "export"), "--json")

    report = json.loads(done.output)
    assert report["size"] == 12
    assert report["remembered"] == []
    assert report["pinned"] is False


def test_tampering_is_one_line_on_stderr_and_exit_code_1(place: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(place / "export", tmp_path / "copy")
    tile = copy / "tile/0/000.p/12"
    tile.write_bytes(tile.read_bytes()[::-1])

    done = run("verify", "--dir", str(copy))

    assert done.exit_code == 1
    assert done.stdout == ""
    assert done.stderr.startswith("TAMPER EVIDENCE: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        pytest.param(["verify"], 2, id="nothing was named"),
        pytest.param(["verify", "--nonsense"], 2, id="an unknown option"),
        pytest.param(["verify", "--db", "absent.db"], 3, id="no ledger"),
        pytest.param(["verify", "--dir", "absent"], 3, id="no export"),
        pytest.param(["verify", "--dir", "{export}", "--vkey", "absent"], 2, id="no key"),
        pytest.param(["verify", "--dir", "{export}", "--vkey", "a+b+c"], 2, id="a bad key"),
        pytest.param(["verify", "--dir", "{export}", "--against", "absent"], 2, id="no memory"),
        pytest.param(
            ["verify", "--dir", "{export}", "--against", "{export}/vkey"], 2, id="a bad memory"
        ),
        pytest.param(["timeline", "nobody", "--db", "{db}"], 2, id="an unknown task"),
        pytest.param(["timeline", "ticket-4711", "--db", "{db}"], 2, id="a name that two have"),
        pytest.param(["timeline", "x", "--db", "{export}/tile"], 3, id="a directory"),
        pytest.param(["timeline", "x", "--db", "{export}/vkey"], 3, id="no database"),
        pytest.param(["export", "{export}", "--db", "{db}"], 2, id="a directory that is full"),
        pytest.param(["export", "{export}/vkey", "--db", "{db}"], 2, id="a file"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    place: Path, arguments: list[str], code: int
) -> None:
    names = {"{export}": str(place / "export"), "{db}": str(place / "ledger.db")}
    for name, value in names.items():
        arguments = [argument.replace(name, value) for argument in arguments]

    done = run(*arguments)

    assert done.exit_code == code
    assert done.stdout == ""
    if "--nonsense" not in arguments:
        assert done.stderr.startswith("Error: " if code != 1 else "TAMPER EVIDENCE: ")
        assert done.stderr.count("\n") == 1


def test_a_timeline_tells_the_story_in_order(place: Path) -> None:
    done = run("timeline", "support/ticket-4711", "--db", str(place / "ledger.db"))

    assert done.exit_code == 0
    steps = (s for s in done.output.splitlines() if s[:6].strip().isdigit() and s[6:8] == "  ")
    rows = [step.split()[2:4] for step in steps]
    assert rows == [
        ["attest", "success"],
        ["issue", "intent"],
        ["issue", "success"],
        ["deliver", "success"],
        ["revoke", "intent"],
        ["revoke", "success"],
        ["finish", "success"],
    ]
    assert "tickets.read on ticket/4711 for 900 s" in " ".join(done.output.split())
    assert "to triage-agent, allowed by AgentPolicy/support/triage" in " ".join(done.output.split())
    assert "Proven: every entry was hashed, under the checkpoint of size 12" in done.output


def test_a_name_that_one_namespace_has_is_enough(place: Path) -> None:
    done = run("timeline", "denied", "--db", str(place / "ledger.db"))

    assert done.exit_code == 0
    assert "tickets of class c is refused: NoPolicy" in done.output


@pytest.mark.parametrize("task", ["support/ticket-4711", "support/denied", "support/evil"])
def test_a_timeline_fits_a_hundred_columns_and_moves_no_cursor(place: Path, task: str) -> None:
    done = run("timeline", task, "--db", str(place / "ledger.db"))

    assert max(map(len, done.output.splitlines())) <= 100
    assert all(c.isprintable() or c == "\n" for c in done.output)


def test_a_timeline_for_programs_is_one_json_object_a_line(place: Path) -> None:
    done = run("timeline", "support/evil", "--db", str(place / "ledger.db"), "--json")

    (told,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert told["index"] == 11
    assert told["data"]["cred"]["resources"][0] == f"{EVIL}0"
    assert "\x1b" not in done.output


def test_an_export_of_lines_has_one_entry_a_line(place: Path, tmp_path: Path) -> None:
    done = run(
        "export", str(tmp_path / "new"), "--format", "jsonl", "--range", "2:7",
        "--db", str(place / "ledger.db"),
    )  # fmt: skip

    assert done.exit_code == 0, done.output
    assert "Wrote 5 of 12 entries (2:7)" in done.output
    told = [json.loads(line) for line in (tmp_path / "new/entries.jsonl").read_text().splitlines()]
    assert len(told) == 5
    verified = run("verify", "--dir", str(tmp_path / "new"))
    assert verified.exit_code == 0, verified.output
    assert "entries.jsonl says what the log's entries 2..6 say" in verified.output
    assert "the entries are in no bundle here; their hashes are verified" in verified.output


@pytest.fixture
def part(tmp_path: Path) -> Path:
    """An export of 523 entries into which somebody has put a file that hides the last of them."""
    path = tmp_path / "ledger.db"

    async def fill() -> None:
        ledger = objects.opened(path)
        await objects.story(ledger)
        await objects.filled(ledger, 520)
        ledger.close()

    asyncio.run(fill())
    assert run("export", str(tmp_path / "new"), "--db", str(path)).exit_code == 0
    (tmp_path / "new/range").write_text("0:512\n")
    return tmp_path / "new"


@pytest.mark.parametrize("command", ["open-ops", "pending"])
def test_what_is_open_is_not_told_of_a_part_of_the_log(part: Path, command: str) -> None:
    command_of = cli if command == "pending" else audit

    done = CliRunner().invoke(command_of, [command, "--dir", str(part)])

    assert done.exit_code == 3
    assert done.stdout == ""
    assert "entries only 0..511 are here" in done.stderr


def test_who_is_not_in_a_part_of_the_log_may_be_in_the_rest(part: Path) -> None:
    unknown = run("timeline", "support/no-such-task", "--dir", str(part))
    found = run("search", "--type", "log.open", "--dir", str(part))

    assert (unknown.exit_code, "0..511, which alone are here" in unknown.stderr) == (3, True)
    assert "none that answers is left out" not in found.stderr
    assert "only a part can be read" in found.stderr


def test_the_policy_in_an_export_is_one_to_begin_with(place: Path) -> None:
    export = str(place / "export")

    done = run("verify", "--dir", export, "--policy", str(place / "export/policy"))

    assert done.exit_code == 0, done.output
    assert "--vkey" not in done.output


def test_a_zip_is_an_export_in_one_file_and_is_verified_as_it_is(
    place: Path, tmp_path: Path
) -> None:
    one, other = tmp_path / "one.zip", tmp_path / "other.zip"
    for each in (one, other):
        assert run("export", str(each), "--db", str(place / "ledger.db")).exit_code == 0

    again = run("export", str(one), "--db", str(place / "ledger.db"))

    assert one.read_bytes() == other.read_bytes()
    assert run("verify", "--dir", str(one)).exit_code == 0
    assert (again.exit_code, "is there already" in again.stderr) == (2, True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one.zip", "other.zip"]


@pytest.mark.parametrize("wanted", ["5", "a:b", "7:7", "9:3", "12:", ":0", "-1:2"])
def test_a_range_that_is_none_is_refused(place: Path, tmp_path: Path, wanted: str) -> None:
    done = run(
        "export", str(tmp_path / "new"), "--range", wanted, "--format", "csv",
        "--db", str(place / "ledger.db"),
    )  # fmt: skip

    assert done.exit_code == 2
    assert done.stderr.startswith("Error: --range ")


@pytest.mark.parametrize("command", ["verify", "timeline", "export"])
def test_every_command_has_an_example(command: str) -> None:
    assert f"Example: taskpass audit {command}" in run(command, "--help").output
