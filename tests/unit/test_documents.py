"""The pages say what is so. Their commands for a cluster are run by `e2e/cases/demo`."""

import ast
import itertools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from crd_validation import refusals

from e2e.demo.documents import ROOT, anchors, commands, fenced, links, pages
from taskpass.cli.main import cli
from taskpass.core.model import conditions
from taskpass.core.model.conditions import ConditionType, Reason
from taskpass.runtime.settings import PREFIX, Settings

PAGES = [pytest.param(page, id=str(page.relative_to(ROOT))) for page in pages()]
OTHERS = [ROOT / "bench/README.md", ROOT / "operator/taskpass/tlog/README.md"]
"""Pages whose commands are not for a cluster."""
WIDTH = 120
README = ROOT / "README.md"


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page

        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES)
def test_every_yaml_is_valid(page: Path) -> None:
    for block in fenced(page, "yaml"):
        for document in yaml.safe_load_all(block):
            assert refusals(document) == []


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_ours_is_one_that_exists(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    for line in commands(page):
        words = shlex.split(line)
        if words[0] == "make":
            assert re.search(rf"^{words[1].rstrip(';')}:", makefile, re.MULTILINE), line
        if "taskpass" in words and words[0] in ("taskpass", "kubectl"):
            parse(words[words.index("taskpass") + 1 :])


def parse(words: list[str]) -> None:
    """Parse a command line as `taskpass` would, without running it."""
    command: click.Command = cli
    while isinstance(command, click.Group) and words:
        command = command.commands[words[0]]
        words = words[1:]
    command.make_parser(click.Context(command)).parse_args(list(words))


@pytest.mark.parametrize(
    "page", [*PAGES, *(pytest.param(page, id=str(page.relative_to(ROOT))) for page in OTHERS)]
)
def test_prose_is_wrapped(page: Path) -> None:
    assert [line for line in prose(page.read_text()) if len(line) > WIDTH] == []


def prose(text: str) -> Iterator[str]:
    """Yield the lines that can be wrapped: no code, table, definition of a link, or single word."""
    fence, code, before = "", False, ""
    for line in text.splitlines():
        mark = line.lstrip()[:3]
        code = line.startswith("    ") and (code or not before.strip())
        before = line
        if mark in ("```", "~~~") and fence in ("", mark):
            fence = "" if fence else mark
        elif not (fence or code or re.fullmatch(r"\|.*|\[[^]]+\]: .*|[-*> ]*\S*", line)):
            yield line


def test_prose_is_told_from_what_cannot_be_wrapped() -> None:
    text = """# A page

10. one
    more of it

    a command

| a | table |
- <https://one.example/long>
[name]: https://one.example/definition
[a link](page.md) begins this

```text
code

    code
```
the end
"""

    assert list(prose(text)) == [
        "# A page", "10. one", "    more of it", "[a link](page.md) begins this", "the end",
    ]  # fmt: skip


def test_the_readme_begins_with_a_short_task_and_the_two_commands() -> None:
    (task,) = fenced(README, "yaml")

    assert task.count("\n") <= 15
    assert commands(README)[:2] == ["make demo", "make test"]


def table(page: Path, first: str) -> dict[str, list[str]]:
    """Return the rows of the table whose first heading is `first`, by their first cell's name."""
    rows = page.read_text().partition(f"\n| {first} |")[2].split("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows]
    return {row[0].strip(" |`"): [cell.strip(" |") for cell in row[1:]] for row in cells}


def described(enum: type) -> Iterator[tuple[str, str]]:
    """Yield each member's value and the sentence under it."""
    whole = ast.parse(Path(conditions.__file__).read_text())
    (body,) = [
        n.body for n in whole.body if isinstance(n, ast.ClassDef) and n.name == enum.__name__
    ]
    for name, text in itertools.pairwise(body):
        if isinstance(name, ast.Assign) and isinstance(text, ast.Expr):
            yield ast.literal_eval(name.value), ast.literal_eval(text.value).rstrip(".")


def test_every_reason_is_described_in_its_own_words() -> None:
    page = ROOT / "docs/api/agenttask.md"

    told = {reason: cells[0] for reason, cells in table(page, "reason").items()}

    assert told == dict(described(Reason))
    assert set(told) == set(Reason)


OF_APPROVALS = {Reason.ACCEPTED, Reason.NOT_ELIGIBLE, Reason.ENDED, Reason.USED, Reason.SUPERSEDED}


def test_every_condition_is_described() -> None:
    page = ROOT / "docs/api/agenttask.md"
    listed = page.read_text().partition("\n| condition | | reasons |")[2].split("\n\n")[0]

    assert set(re.findall(r"^\| `(\w+)` ", listed, re.MULTILINE)) == set(ConditionType)
    assert set(re.findall(r"`(\w+)`", listed)) - set(ConditionType) <= set(Reason)
    others = {Reason.INVALID_EXPRESSION, Reason.ENFORCED, *OF_APPROVALS}
    assert set(Reason) - set(re.findall(r"`(\w+)`", listed)) == others


def test_every_setting_is_described_with_its_default() -> None:
    told = table(ROOT / "docs/settings.md", "variable")

    assert set(told) == {PREFIX + name.upper() for name in Settings.model_fields}
    for name, field in Settings.model_fields.items():
        default = told[PREFIX + name.upper()][1]
        if field.is_required():
            assert default == "none, required"
        else:
            assert default == f"`{shown(field.get_default(call_default_factory=True))}`"  # type: ignore[call-arg]


def shown(default: Any) -> str:
    """Return a default as one would type it."""
    return {"()": "[]", "None": "none"}.get(str(default), str(default))


def test_every_flag_of_the_operator_is_described() -> None:
    text = (ROOT / "docs/settings.md").read_text()
    flags = [option for param in cli.commands["operator"].params for option in param.opts]

    assert [flag for flag in flags if f"`{flag}" not in text] == []


def test_every_test_that_the_threat_model_names_exists() -> None:
    sources = [*(ROOT / "tests").rglob("test_*.py"), *(ROOT / "e2e/cases").rglob("test_*.py")]
    there = {name for path in sources for name in re.findall(r"def (test_\w+)\(", path.read_text())}

    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs/threat-model.md").read_text()))

    assert named - there == set()
    assert len(named) > 30


def test_every_decision_is_in_the_index() -> None:
    folder = ROOT / "docs/adr"

    records = sorted(path.name for path in folder.glob("0*.md"))

    assert records == links(folder / "README.md")
    numbers = [int(name[:4]) for name in records]
    assert numbers == sorted(set(numbers)), "a number is given once"


def test_no_example_holds_what_its_orchestrator_moves() -> None:
    """Applied a second time it would lead a task back, which is off its path."""
    files = (ROOT / "examples").rglob("*.yaml")
    every = [each for file in files for each in yaml.safe_load_all(file.read_text())]
    tasks = [each for each in every if each and each.get("kind") == "AgentTask"]

    assert any("phases" in each["spec"] for each in tasks)
    assert [each["metadata"]["name"] for each in tasks if "phase" in each["spec"]] == []
