"""docs/troubleshooting.md tells of nothing that no test produces."""

import re

from e2e.demo.documents import ROOT

PAGE = (ROOT / "docs/troubleshooting.md").read_text()
CASES = re.compile(r"^\s*(?:async )?def (test_\w+)\(", re.MULTILINE)


def test_every_symptom_names_a_test_that_exists() -> None:
    sources = [*(ROOT / "tests").rglob("test_*.py"), *(ROOT / "e2e/cases").rglob("test_*.py")]
    there = {name for path in sources for name in CASES.findall(path.read_text())}

    named = set(re.findall(r"`(test_\w+)`", PAGE))

    assert named - there == set()
    assert len(named) > 25


def test_every_row_of_its_tables_names_one() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ")]
    symptoms = [row for row in rows if "seen in" not in row]

    assert symptoms
    assert [row for row in symptoms if not re.search(r"\| `test_\w+` \|$", row)] == []
