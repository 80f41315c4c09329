"""Each change of each column is noticed, or explained; nothing that a person is shown changes."""

from pathlib import Path

import pytest

from taskpass.ledger.log import schema
from tests.unit.ledger.tampering import (
    LEGACY,
    MEANING,
    Bench,
    Verdict,
    complaints,
    judged,
    page,
    write_legacy,
    write_pruned,
)

DOCUMENT = Path(__file__).parents[3] / "docs/tampering.md"
Found = dict[tuple[str, str, str], set[Verdict]]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    return judged(Bench(tmp_path_factory.mktemp("tampering")), every_row=False)


@pytest.fixture(scope="module")
def found_pruned(tmp_path_factory: pytest.TempPathFactory) -> Found:
    return judged(Bench(tmp_path_factory.mktemp("pruned"), write_pruned), every_row=False)


def test_no_change_to_any_column_is_shown_or_stays_unexplained(found: Found) -> None:
    assert complaints(found) == []


def test_nothing_is_believed_more_easily_once_the_entries_that_told_it_are_archived(
    found: Found, found_pruned: Found
) -> None:
    assert complaints(found_pruned) == []
    same = found.keys() & found_pruned.keys()
    assert {table for table, _, _ in same} == {table for table, _, _ in found}
    for change in same:
        assert accepted(found_pruned[change]) <= accepted(found[change]), change


def test_of_a_task_that_an_older_version_attested_it_is_known_what_is_not_found(
    tmp_path: Path,
) -> None:
    legacy = judged(Bench(tmp_path, write_legacy), every_row=False)
    accepted = {
        (table, what) for (table, what, _), some in legacy.items()
        if (table, what) not in MEANING and any(v.verify == "accepted" for v in some)
    }  # fmt: skip

    assert complaints(legacy, LEGACY) == []
    assert accepted == LEGACY.keys()


def test_every_table_and_column_of_the_schema_was_changed(found: Found) -> None:
    tables = {statement.split()[2] for statement in schema.TABLES if "CREATE TABLE" in statement}
    edited = {(table, what.partition(".")[0]) for table, what, how in found if how == "edit"}

    assert {table for table, _, _ in found} == tables
    assert {(table, "") for table in tables} <= {
        (table, "") for table, what, how in found if (what, how) == ("", "delete")
    }
    assert ("idx", "cred") in edited
    assert ("person", "name") in edited
    assert len(found) > 120


def accepted(verdicts: set[Verdict]) -> set[str]:
    return {
        word for v in verdicts for word in ("verify", "start") if getattr(v, word) == "accepted"
    }


def test_what_a_grants_record_says_is_found_but_for_times(found: Found) -> None:
    accepted = {
        what for (table, what, _), some in found.items() for verdict in some
        if table == "grant_state" and verdict.verify == "accepted"
    }  # fmt: skip

    assert accepted == {what for table, what in MEANING if table == "grant_state"}


def test_the_page_says_what_was_found(found: Found) -> None:
    """`python -m tests.unit.ledger.tampering` prints the tables anew."""
    assert page(found) in DOCUMENT.read_text()
