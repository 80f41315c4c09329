"""The list of what is tried, and the threat model, name tests that are there; none is left out."""

import re
from pathlib import Path

import pytest

from taskpass.core.model.conditions import ConditionType, Reason

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/what-is-tried.md"
LIFE = ROOT / "docs/life.md"
THREATS = ROOT / "docs/threat-model.md"
LISTED = [
    "e2e/cases/attacks",
    "e2e/cases/input",
    "e2e/cases/operator/test_attacks.py",
    "e2e/cases/operator/test_bad_input.py",
]
"""Where every test is a case of the list."""


def rows(page: Path) -> list[list[str]]:
    """Return the cells of every row of every table that ends in a column of tests."""
    found: list[list[str]] = []
    wanted = False
    for line in page.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip().removesuffix("|").split("|")[1:]]
        if not line.startswith("|"):
            wanted = False
        elif cells[-1] == "test":
            wanted = True
        elif wanted and set(line) != set("|-"):
            found.append(cells)
    return found


def cases_in(path: Path) -> set[str]:
    return set(re.findall(r"def (test_\w+)\(", path.read_text()))


def named(page: Path = PAGE) -> set[tuple[str, str]]:
    return set(re.findall(r"`([\w/]+\.py)::(test_\w+)`", page.read_text()))


@pytest.mark.parametrize("row", rows(PAGE), ids=lambda row: str(row[0][:60]))
def test_every_case_says_what_is_seen_and_by_which_test(row: list[str]) -> None:
    case, seen, tests = row

    assert case
    assert seen
    assert re.fullmatch(r"(`[\w/]+\.py::test_\w+` ?)+", tests)


@pytest.mark.parametrize("row", rows(LIFE), ids=lambda row: "-".join(row[:3])[:60])
def test_every_row_of_a_tasks_life_names_its_test_or_says_that_it_is_not_there(
    row: list[str],
) -> None:
    *said, tests = row

    missing = any("**not there yet**" in cell for cell in said)
    assert re.fullmatch(r"(`[\w/]+\.py::test_\w+` ?)+", tests) or (missing and tests == "none")


def test_every_reason_of_a_task_has_a_row() -> None:
    told = {(row[0].strip("`"), row[2].strip("`")) for row in rows(LIFE)}
    reasons = {reason for condition, reason in told if condition in set(ConditionType)}

    elsewhere = {
        Reason.FINISHED, Reason.NOT_STALLED,  # each in every state
        Reason.ENFORCED, Reason.INVALID_EXPRESSION,  # of other kinds
        Reason.ACCEPTED, Reason.NOT_ELIGIBLE, Reason.ENDED, Reason.USED, Reason.SUPERSEDED,
    }  # fmt: skip
    assert reasons == set(Reason) - elsewhere


@pytest.mark.parametrize("page", [PAGE, LIFE], ids=lambda page: page.stem)
def test_every_test_that_is_named_exists(page: Path) -> None:
    missing = {
        f"{file}::{name}"
        for file, name in named(page)
        if not (ROOT / file).is_file() or name not in cases_in(ROOT / file)
    }

    assert missing == set()
    assert len(named(page)) > 30


@pytest.mark.parametrize("place", LISTED)
def test_every_such_test_is_in_the_list(place: str) -> None:
    path = ROOT / place
    files = [path] if path.is_file() else sorted(path.glob("test_*.py"))

    there = {(str(file.relative_to(ROOT)), name) for file in files for name in cases_in(file)}

    assert files
    assert there - named() == set()


@pytest.mark.parametrize("row", rows(THREATS), ids=lambda row: str(row[0][:60]))
def test_every_threat_has_a_target_an_invariant_a_mitigation_and_a_test(row: list[str]) -> None:
    threat, target, invariant, mitigation, tests = row

    assert threat
    assert target
    assert invariant or "**not defended**" in mitigation
    assert mitigation
    assert re.fullmatch(r"`test_\w+`(, `test_\w+`)*", tests)
