"""One way to write an entry, and what has no way."""

from datetime import UTC, datetime

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from taskpass.core.audit.canonical import NotCanonical, canonical, entry_bytes
from taskpass.core.model.entry import Entry, EventType
from taskpass.core.model.grant import TaskRef

KEYS = st.text("abcxyz0189_.", min_size=1, max_size=8)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = st.recursive(
    TEXT | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(KEYS, VALUES, max_size=5))
def test_the_bytes_are_those_of_rfc_8785(value: dict[str, object]) -> None:
    assert canonical(value) == rfc8785.dumps(value)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(1.0, id="a float"),
        pytest.param(float("nan"), id="not a number"),
        pytest.param(None, id="null"),
        pytest.param(2**53, id="an integer that others read as another"),
        pytest.param(-(2**53), id="a negative one"),
        pytest.param("\ud800", id="a lone surrogate"),
        pytest.param({"\U0001d306": 1}, id="a key outside of ASCII"),
        pytest.param({"A": 1}, id="a key in capitals"),
        pytest.param({"": 1}, id="an empty key"),
        pytest.param({"a\n": 1}, id="a key with a newline at its end"),
        pytest.param({1: 1}, id="a key that is a number"),
        pytest.param(b"bytes", id="bytes"),
        pytest.param({"set"}, id="a set"),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(value: object) -> None:
    with pytest.raises(NotCanonical):
        canonical({"data": [value]})


def test_a_value_that_is_nested_without_end_is_refused() -> None:
    value: dict[str, object] = {}
    for _ in range(2000):
        value = {"a": value}

    with pytest.raises(NotCanonical, match="nested"):
        canonical(value)


def test_a_refusal_does_not_quote_the_value() -> None:
    with pytest.raises(NotCanonical) as refusal:
        canonical({"data": {"token": ["canary-\ud800"]}})

    assert "canary" not in str(refusal.value)


def test_an_entry_is_a_cloud_event_about_a_task() -> None:
    entry = Entry(
        id="e5a0c6a6-5f4a-5a5e-9d0e-0f6d1c0b7a11",
        type=EventType.TASK_PHASE,
        time=datetime(2026, 11, 25, 10, 0, tzinfo=UTC),
        task=TaskRef(namespace="support", name="ticket", uid="u-1"),
        data={"v": 1, "phase": "réply"},
    )

    body = entry_bytes(
        entry, source="log.example/l", time="2026-11-25T10:00:00.000000Z", adjusted=False
    )

    assert body.decode() == (
        '{"data":{"phase":"réply","task":{"uid":"u-1"},"v":1},'
        '"id":"e5a0c6a6-5f4a-5a5e-9d0e-0f6d1c0b7a11","source":"log.example/l",'
        '"specversion":"1.0","subject":"support/ticket",'
        '"time":"2026-11-25T10:00:00.000000Z","type":"dev.taskpass.task.phase"}'
    )


def test_an_entry_whose_time_was_moved_says_so() -> None:
    entry = Entry(id="x", type=EventType.LOG_OPEN, time=datetime(2026, 1, 1, tzinfo=UTC))

    body = entry_bytes(entry, source="s", time="2026-11-25T10:00:00.000000Z", adjusted=True)

    assert b'"clk":"adj"' in body
