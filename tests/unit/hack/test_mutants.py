"""What is made of mutmut's words: the same change, however lines move, killed or explained."""

from pathlib import Path

import pytest

from hack.mutants.__main__ import EXPLAINED
from hack.mutants.changes import Change, change_of, line_of, place_of
from hack.mutants.verdict import explained_in, judge
from hack.mutants.workplace import MUTATED, ROOT, TESTS

MUTANT = "taskpass.core.policy.match.x_fits__mutmut_3"
DIFF = '''\
--- src/taskpass/core/policy/match.py
+++ src/taskpass/core/policy/match.py
@@ -1,5 +1,5 @@
 def fits(pattern: str, text: str) -> bool:
     """Tell whether the text is the pattern, or begins with what precedes its trailing `*`."""
     if pattern.endswith("*"):
-        return text.startswith(pattern[:-1])
+        return text.startswith(pattern[:-2])
     return text == pattern
'''
FITS = Change(
    file="operator/taskpass/core/policy/match.py",
    function="fits",
    removed=("return text.startswith(pattern[:-1])",),
    added=("return text.startswith(pattern[:-2])",),
)
LISTED = """\
# What a comment says is no part of it.

operator/taskpass/core/policy/match.py fits
- return text.startswith(pattern[:-1])
+ return text.startswith(pattern[:-2])
  It decides nothing
  otherwise.
"""


def test_a_mutant_is_known_by_its_function_and_its_lines_as_they_are_listed() -> None:
    assert change_of(MUTANT, DIFF) == FITS
    assert explained_in(LISTED) == {FITS: "It decides nothing otherwise."}
    assert explained_in(f"{FITS}\n  So it is.\n") == {FITS: "So it is."}


@pytest.mark.parametrize(
    ("mutant", "function"),
    [
        ("taskpass.a.b.x_fits__mutmut_1", "fits"),
        ("taskpass.a.b.x__fits__mutmut_12", "_fits"),
        ("taskpass.a.b.xǁ_Hearingǁ_no__mutmut_1", "_Hearing._no"),
    ],
)
def test_the_name_of_a_mutant_says_its_file_and_function(mutant: str, function: str) -> None:
    assert place_of(mutant) == ("operator/taskpass/a/b.py", function)


def test_the_line_is_that_of_the_file() -> None:
    lines = (ROOT / FITS.file).read_text().splitlines()

    assert lines[line_of(FITS, DIFF, ROOT) - 1].strip() == FITS.removed[0]


@pytest.mark.parametrize("text", [LISTED.replace("  It", "# It").replace("  o", "# o"), 2 * LISTED])
def test_each_change_is_on_the_list_once_and_with_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match="fits"):
        explained_in(text.replace("\n# What", "\n\n# What"))


@pytest.mark.parametrize(
    ("fate", "listed", "passes"),
    [
        ("killed", False, True),
        ("timeout", False, True),
        ("survived", False, False),
        ("no tests", False, False),
        ("survived", True, True),
        ("killed", True, False),
        ("not checked", False, False),
        ("not checked", True, False),
        ("segfault", False, False),
    ],
)
def test_a_run_passes_where_each_mutant_is_killed_or_explained_and_no_explanation_is_left(
    fate: str, listed: bool, passes: bool
) -> None:
    survivors = {MUTANT: FITS} if fate in ("survived", "no tests") else {}

    verdict = judge({MUTANT: fate, "other": "killed"}, survivors, [FITS] if listed else [])

    assert verdict.passed is passes
    assert verdict.counts["mutants"] == 2
    assert verdict.stale == ((FITS,) if listed and fate == "killed" else ())


def test_a_run_of_no_mutant_passes_nothing() -> None:
    assert not judge({}, {}, []).passed


def test_the_list_is_of_functions_that_are_mutated() -> None:
    mutated = {path for each in MUTATED for path in (ROOT / "operator/taskpass").glob(each)}

    for change in explained_in(EXPLAINED.read_text()):
        assert ROOT / change.file in mutated
        assert line_of(change, "", ROOT) > 0


def test_the_tests_that_mutants_meet_are_there() -> None:
    assert [each for each in TESTS if not Path(ROOT / each).is_file()] == []
