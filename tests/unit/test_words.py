"""The glossary has every term once, and the words that it turns down do not come back as names."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskpass.core.model.conditions import ConditionType
from taskpass.kube import kinds

ROOT = Path(__file__).parents[2]
OPERATOR = ROOT / "operator/taskpass"
PAGE = ROOT / "docs/glossary.md"
STANDS = {
    "held_back": {
        "core/audit/events.py",
        "flows/budgeting.py",
        "runtime/metrics.py",
    },
}
"""By word, where it is right: the entry and the metrics of a budget are called so, and are public.
Elsewhere it was the name of what is now `issuance_blocked_reason`."""


def rows(first: str) -> list[list[str]]:
    """Return the rows of the table whose first heading is `first`."""
    table = PAGE.read_text().partition(f"\n| {first} |")[2].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip().strip("|").split(" | ")] for row in table]


def unused() -> set[str]:
    """Return the words in code style of the first column; ordinary words are for readers."""
    return {word for row in rows("not") for word in re.findall(r"`(\w+)`", row[0])}


def names(tree: ast.AST) -> Iterator[str]:
    """Yield everything that a module gives a name to, or calls by one."""
    for node in ast.walk(tree):
        match node:
            case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
                yield node.name
            case ast.Name():
                yield node.id
            case ast.Attribute():
                yield node.attr
            case ast.arg() | ast.keyword():
                yield node.arg or ""
            case ast.alias():
                yield from (*node.name.split("."), node.asname or "")
            case ast.ImportFrom():
                yield from (node.module or "").split(".")
            case ast.ExceptHandler() | ast.MatchAs() | ast.MatchStar():
                yield node.name or ""
            case ast.Global() | ast.Nonlocal():
                yield from node.names
            case ast.MatchClass():
                yield from node.kwd_attrs
            case _:
                pass


def public(name: str) -> str:
    """Return a name without its underscore, but a constant's: what is private is called so too."""
    return name if name.isupper() else name.lstrip("_")


def test_no_word_that_is_not_used_is_a_name() -> None:
    words = unused()
    found: set[tuple[str, str]] = set()
    for path in OPERATOR.rglob("*.py"):
        where = path.relative_to(OPERATOR)
        here = {*names(ast.parse(path.read_text())), *where.with_suffix("").parts}
        found |= {(word, str(where)) for word in words & {public(name) for name in here}}

    assert found == {(word, where) for word, files in STANDS.items() for where in files}
    assert len(words) > 40


@pytest.mark.parametrize(
    "source",
    [
        "class Rest: ...",
        "class _Rest: ...",
        "def _tasks_ahead(): ...",
        "def tasks_ahead(): ...",
        "def f(*, tasks_ahead): ...",
        "f(tasks_ahead=1)",
        "a.tasks_ahead",
        "a.tasks_ahead = 1",
        "tasks_ahead: int = 0",
        "from a.clearing import b",
        "import a.clearing",
        "from a import b as Rest",
        "match a:\n case b(tasks_ahead=0): ...",
    ],
)
def test_a_name_is_found_wherever_it_can_stand(source: str) -> None:
    assert unused() & {public(name) for name in names(ast.parse(source))}


def test_every_term_is_there_once_in_order_and_says_where_it_is_from() -> None:
    terms = [row[0].lower() for row in rows("term")]
    sources = re.findall(r"^- ([\w -]+):", PAGE.read_text(), re.MULTILINE)

    assert terms == sorted(set(terms))
    for term, meaning, origin in rows("term"):
        assert meaning.endswith("."), term
        assert origin.startswith(("ours: ", *sources)), term


def test_every_kind_and_every_condition_is_a_term_or_in_the_sentence_of_one() -> None:
    said = " ".join(cell for row in rows("term") for cell in row[:2])
    ours = {kind.name for kind in kinds.ALL}

    missing = {name for name in {*ours, *ConditionType} if not re.search(rf"\b{name}\b", said)}

    assert missing == set()
