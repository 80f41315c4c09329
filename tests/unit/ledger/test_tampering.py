"""Each change of each column is noticed, or explained; nothing that a person is shown changes."""

from pathlib import Path

import pytest

from taskpass.ledger import schema
from tests.unit.ledger.tampering import MEANING, Bench, Verdict, complaints, judged, page

DOCUMENT = Path(__file__).parents[3] / "docs/tampering.md"
Found = dict[tuple[str, str, str], set[Verdict]]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    return judged(Bench(tmp_path_factory.mktemp("tampering")), every_row=False)


def test_no_change_to_any_column_is_shown_or_stays_unexplained(found: Found) -> None:
    assert complaints(found) == []


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


def test_what_a_grants_record_says_is_found_but_for_times(found: Found) -> None:
    accepted = {
        what for (table, what, _), some in found.items() for verdict in some
        if table == "grant_state" and verdict.verify == "accepted"
    }  # fmt: skip

    assert accepted == {what for table, what in MEANING if table == "grant_state"}


def test_the_page_says_what_was_found(found: Found) -> None:
    """`python -m tests.unit.ledger.tampering` prints the tables anew."""
    assert page(found) in DOCUMENT.read_text()
