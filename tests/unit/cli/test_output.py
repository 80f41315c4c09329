"""What others wrote neither ends a line of ours nor is wider than one, in whatever is printed."""

import ast
import asyncio
import unicodedata
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import taskpass.cli
from taskpass.cli import main as command_line
from taskpass.cli import output
from taskpass.cli.audit import audit, options
from taskpass.cli.exits import Commands
from taskpass.cli.policy.command import policy
from taskpass.core.errors import TransientError
from tests.unit.cli.lives import TASK_NAME, written

PROVEN = "Proven: every entry was hashed, under the checkpoint of size 99, which key"
WIDE = "\u3042" * 35 + " 99 revoke success tickets is gone, proven by Kubernetes"
BREAKS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"
PRINTS = {"output.py", "audit/progress.py"}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("audit") / "ledger.db"
    reasons = (*(f"fine{each}{PROVEN}{each}OK    verified" for each in BREAKS), WIDE)
    asyncio.run(written(found, *reasons))
    return found


def run(*arguments: object) -> Result:
    return CliRunner().invoke(audit, [str(each) for each in arguments])


def begins_a_line(text: str) -> bool:
    """Tell whether a line of a terminal, or of a program that knows more breaks, is forged."""
    return any(line.strip().startswith((PROVEN, "OK ")) for line in text.splitlines())


def test_what_somebody_wrote_is_no_line_of_its_own_where_an_entry_is_shown(path: Path) -> None:
    reasons = 2 * len(BREAKS)
    for index in range(8, 8 + reasons):
        shown = run("show", index, "--db", path)

        assert shown.exit_code == 0
        assert not begins_a_line(shown.stdout), shown.stdout


@pytest.mark.parametrize(
    "command", [["search"], ["tail", "-n", "99"], ["timeline", TASK_NAME], ["who"], ["open-ops"]]
)
def test_nor_is_it_one_in_a_list(path: Path, command: list[str]) -> None:
    shown = run(*command, "--db", path)

    assert shown.exit_code == 0
    assert not begins_a_line(shown.stdout), shown.stdout


def test_nothing_is_printed_but_in_one_place() -> None:
    """So that no command forgets what others can write. Progress is of numbers, on one line."""
    root = Path(taskpass.cli.__file__).parent
    for file in root.rglob("*.py"):
        nodes = ast.walk(ast.parse(file.read_text()))
        calls = (each for each in nodes if isinstance(each, ast.Call))
        printing = [
            each.lineno
            for each in calls
            if ast.unparse(each.func) in ("click.echo", "print", "click.secho", "sys.stdout.write")
        ]
        assert not printing or str(file.relative_to(root)) in PRINTS, f"{file}: {printing}"


@pytest.mark.parametrize("wrote", BREAKS)
def test_a_line_stays_one_whatever_is_in_it(wrote: str, capsys: pytest.CaptureFixture[str]) -> None:
    output.say(f"ours{wrote}OK    theirs")
    options.waiting(f"me{wrote}OK    theirs")

    said = capsys.readouterr()
    assert said.out.splitlines() == ["ours\N{REPLACEMENT CHARACTER}OK    theirs"]
    assert len(said.err.splitlines()) == 1


def test_an_error_is_one_line_whoever_has_a_word_in_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As an admission webhook's message, which the API server passes on."""

    def refused(self: Commands, ctx: object) -> None:
        raise TransientError("no\u2028OK    verified\x1b[2J")

    monkeypatch.setattr("click.Group.invoke", refused)
    monkeypatch.setattr("sys.argv", ["taskpass", "lift", "x"])
    with pytest.raises(SystemExit) as ended:
        command_line.main()

    assert ended.value.code == 3
    assert capsys.readouterr().err.splitlines() == [
        "taskpass: no\N{REPLACEMENT CHARACTER}OK    verified\N{REPLACEMENT CHARACTER}[2J"
    ]


def test_files_that_policies_are_explained_by_break_no_line_either(tmp_path: Path) -> None:
    file = tmp_path / "task.yaml"
    file.write_text(
        "apiVersion: taskpass.dev/v1alpha1\nkind: AgentTask\n"
        'metadata: {name: "t\\u2028  allowed", namespace: support}\n'
        "spec:\n  agent: {serviceAccountName: a}\n  intent: {goal: g}\n"
        "  credentials: [{name: tickets, class: c, actions: [read]}]\n"
    )
    said = CliRunner().invoke(policy, ["explain", "-f", str(file), "--as", "x\x85  allowed"])
    assert said.exit_code == 1, said.output

    assert not [line for line in said.stdout.splitlines() if line.startswith("  allowed")], said


def test_no_line_of_a_timeline_is_wider_than_a_hundred_columns(path: Path) -> None:
    told = run("timeline", TASK_NAME, "--db", path)

    assert max(map(_columns, told.stdout.splitlines())) <= 100


def _columns(line: str) -> int:
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line)


@pytest.mark.parametrize("text", ["", "a", "a b" * 40, "あ" * 99, "x" * 99, "aあ" * 33])
@pytest.mark.parametrize("width", [2, 7, 10, 60])
def test_a_text_is_wrapped_by_columns_and_loses_nothing(text: str, width: int) -> None:
    lines = output.wrapped(text, width)

    assert max(map(output.columns, lines)) <= width
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
