"""Each change of each column is noticed, or explained; nothing that a person is shown changes."""

from pathlib import Path

import pytest

from taskpass.ledger.log import schema
from tests.unit.ledger.tampering import (
    MEANING,
    Bench,
    Verdict,
    complaints,
    judged,
    page,
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
