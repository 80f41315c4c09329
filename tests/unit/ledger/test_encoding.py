"""State tables hold every field of what is written whole."""

import dataclasses
from dataclasses import replace
from datetime import UTC, datetime

import orjson
import pytest

from taskpass.core.lifecycle.approval import ApprovalRequest
from taskpass.core.lifecycle.ownership import Origin
from taskpass.core.lifecycle.progress import Savepoint
from taskpass.core.lifecycle.records import Outcome, TaskRecord
from taskpass.core.model.grant import Approval, Grant, GrantState
from taskpass.ledger.state.encoding import UnknownField, decode, encode
from tests.unit.ledger.objects import GRANT, NOW, RECORD

FULL_GRANT = replace(
    GRANT,
    state=GrantState.REVOKING,
    provider_state={"n": 1, "list": ["a", {"b": False}], "none": None, "ü": "é"},
    issued_at=NOW,
    expires_at=datetime(2026, 11, 25, 10, 15, 0, 123456, tzinfo=UTC),
    fingerprint="ab",
    credential_ref="jti",
    delivered_at=NOW,
    renews="g-0",
    renewals=3,
    chain=("u-0",),
    within="g-9",
    max_depth=2,
    max_children=5,
    approval=Approval(digest="sha256:a", nonce="n", until=NOW, given_by=("a-1",)),
    revoke_reason="Finished",
    revoking_since=NOW,
    audit_index=7,
)
FULL_RECORD = replace(
    RECORD,
    service_account_uid="sa",
    workload_uid="w",
    images=("a", "b"),
    origin=Origin(names=("ada", "bob"), unknown="who made it"),
    parent_uid="u-0",
    started_at=NOW,
    secret_uid="s",
    secret_written=True,
    delivered=("g-1",),
    suspended="Requested",
    blocked_branch="b",
    renewals={"d": 1},
    asked=(ApprovalRequest(name="t", text="{}", nonce="n", since=NOW, epoch=2, noted=("a-1",)),),
    asked_at=(NOW,),
    saved=Savepoint(step="s", sha256="a", at=NOW, intent_digest="i", policies_digest="p"),
    activity="sha256:x",
    active_at=NOW,
    denial="x",
    outcome=Outcome.EXPIRED,
    finished_at=NOW,
)


def test_a_field_that_says_nothing_any_more_is_passed_over() -> None:
    stored = orjson.loads(encode(FULL_RECORD)) | {"spent": ["a use"]}

    assert decode(TaskRecord, orjson.dumps(stored).decode()) == FULL_RECORD


@pytest.mark.parametrize("value", [GRANT, FULL_GRANT, RECORD, FULL_RECORD])
def test_what_is_stored_is_read_back_equal(value: Grant | TaskRecord) -> None:
    assert decode(type(value), encode(value)) == value


def test_the_full_examples_leave_no_field_at_its_default() -> None:
    for value in (FULL_GRANT, FULL_RECORD):
        left = [
            f.name
            for f in dataclasses.fields(value)
            if f.default is not dataclasses.MISSING and getattr(value, f.name) == f.default
        ]
        assert left == []


def test_types_come_back_as_they_were() -> None:
    back = decode(Grant, encode(FULL_GRANT))

    assert type(back.state) is GrantState
    assert type(back.actions) is tuple
    assert back.expires_at is not None
    assert back.expires_at.tzinfo is not None


def test_a_field_that_an_earlier_version_did_not_write_takes_its_default() -> None:
    stored = encode(FULL_RECORD).replace('"denial":"x",', "")

    assert decode(TaskRecord, stored) == replace(FULL_RECORD, denial="")


def test_a_field_of_a_later_version_is_refused_rather_than_lost() -> None:
    stored = encode(FULL_RECORD).replace('"denial"', '"later"')

    with pytest.raises(UnknownField, match="later"):
        decode(TaskRecord, stored)
