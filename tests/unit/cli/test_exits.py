"""The exit code of tampering means tampering; what nobody expected has its own everywhere."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from taskpass.cli import main as command_line
from taskpass.cli.audit import audit, options
from taskpass.cli.exits import READER_GONE, ending_of
from taskpass.cli.main import cli
from taskpass.core.errors import LedgerError, TransientError, UsageError
from tests.unit.cli.lives import TASK_NAME, written

UNUSABLE = [
    ("timeline", ""),
    ("search", "--since", "800000d"),
    ("search", "--since", "999999999999d"),
    ("search", "--since", "9" * 5000 + "d"),
    ("search", "--since", "0001-01-01T00:00:00+14:00"),
    ("search", "--until", "9999-12-31T23:59:59-14:00"),
    ("search", "--since", "1m", "--until", "1m"),
    ("search", "--limit", "9" * 30),
    ("search", "--limit", "9" * 5000),
    ("tail", "-n", "9" * 30),
    ("show", "9" * 5000),
    ("show", ""),
    ("prove", "inclusion", "9" * 5000, "--out", "proofs"),
    ("prove", "inclusion", "", "--out", "proofs"),
    ("prune", "--older-than", "9" * 5000 + "d", "--dry-run"),
    ("export", "out.zip", "--range", "9" * 5000 + ":"),
]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("audit") / "ledger.db"
    asyncio.run(written(found))
    return found


def run(*arguments: object) -> Result:
    return CliRunner().invoke(audit, [str(each) for each in arguments])


def leaves(group: click.Group, *above: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from leaves(command, *above, name)
        else:
            yield (*above, name), command


COMMANDS = dict(leaves(cli))


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_fault_of_ours_is_one_line_and_says_nothing_of_the_log(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def wrong(ctx: click.Context) -> None:
        raise KeyError("subject\n")

    monkeypatch.setattr(COMMANDS[words], "params", [])
    monkeypatch.setattr(COMMANDS[words], "invoke", wrong)
    done = CliRunner().invoke(cli, words)
    monkeypatch.setattr(sys, "argv", ["taskpass", *words])
    with pytest.raises(SystemExit) as ended:
        command_line.main()

    assert (done.exit_code, done.stdout) == (5, "")
    assert done.stderr.startswith("taskpass: a fault of its own, which tells nothing: KeyError: ")
    assert done.stderr.count("\n") == 1
    assert ended.value.code == 5
    assert "Traceback" not in capsys.readouterr().err


def test_there_is_a_command_within_each_group() -> None:
    assert {("audit", "verify"), ("audit", "prove", "inclusion"), ("pending",)} <= COMMANDS.keys()


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (UsageError("x"), 2, ["taskpass: x"]),
        (LedgerError("x"), 3, ["taskpass: x"]),
        (PermissionError(13, "Permission denied", "f"), 3, [
            "taskpass: f cannot be used (Permission denied)"
        ]),
        (BaseExceptionGroup("", [TransientError("a"), ExceptionGroup("", [TransientError("b")])]),
         3, ["taskpass: a", "taskpass: b"]),
        (ExceptionGroup("", [TransientError("a"), ZeroDivisionError()]), 5, [
            "taskpass: a fault of its own, which tells nothing: ZeroDivisionError"
        ]),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)  # fmt: skip
def test_each_error_has_the_code_of_its_kind(
    error: BaseException, code: int, said: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    end = ending_of(error)
    end.show()

    assert end.exit_code == code
    assert capsys.readouterr().err.splitlines() == said


def test_an_operator_that_ends_by_a_fault_says_where(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(flags: object) -> None:
        raise KeyError("subject")

    monkeypatch.setattr(command_line, "load", wrong)
    done = CliRunner().invoke(cli, ["operator"])

    assert done.exit_code == 5
    assert "Traceback" in done.stderr


@pytest.mark.parametrize("arguments", UNUSABLE, ids=lambda each: " ".join(each)[:40])
def test_what_cannot_be_used_is_no_evidence_of_tampering(
    path: Path, arguments: tuple[str, ...]
) -> None:
    done = run(*arguments, "--db", path)

    assert done.exit_code == 2, repr(done.exception)
    assert done.stdout == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="NOT RUN: it gives up root's rights")
@pytest.mark.parametrize(
    ("option", "closed", "code"),
    [("--db", ".", 3), ("--dir", ".", 3), ("--db", "ledger.db-wal", 3), ("--db", "ledger.db", 2),
     ("--dir", "ledger.db", 2)],
)  # fmt: skip
def test_a_ledger_that_may_not_be_read_is_no_evidence_of_tampering(
    option: str, closed: str, code: int, path: Path
) -> None:
    place = Path(subprocess.check_output(["mktemp", "-d"], text=True).strip())
    place.chmod(0o755)
    (place / "ledger.db").write_bytes(path.read_bytes())
    (place / "ledger.db-wal").write_bytes(b"not empty")
    (place / closed).chmod(0)
    child = os.fork()
    if not child:
        os.setgid(65534)
        os.setuid(65534)
        os._exit(run("verify", option, place / "ledger.db").exit_code)
    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == code


def test_whoever_reads_no_further_is_told_nothing_of_tampering(path: Path) -> None:
    """As `| head` does: click's own exit code for it is 1."""
    command = [sys.executable, "-m", "taskpass", "audit", "timeline", TASK_NAME, "--db", str(path)]
    for more in ([], ["--json"]):
        with subprocess.Popen(
            [*command, *more], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as done:
            assert done.stdout is not None
            assert done.stderr is not None
            done.stdout.close()
            said = done.stderr.read()

        assert (done.returncode, said) == (READER_GONE, b"")


def test_a_volume_without_room_for_the_output_is_no_evidence_of_tampering(path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("NOT RUN: this system has no full device")
    command = [sys.executable, "-m", "taskpass", "audit", "timeline", TASK_NAME, "--db", str(path)]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, check=False, text=True
        )  # fmt: skip

    assert done.returncode not in (0, 1), done.stderr


def test_the_codes_of_the_audit_log_are_those_of_all_commands() -> None:
    codes = [options.Failed, options.Unknown, options.CouldNotTell, options.BelowLevel]

    assert [each.exit_code for each in codes] == [2, 1, 3, 4]
