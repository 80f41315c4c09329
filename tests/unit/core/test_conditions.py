"""Conditions as the API has them."""

from collections.abc import Mapping
from datetime import timedelta

from taskpass.core.model.conditions import (
    ConditionType,
    Finding,
    Reason,
    conditions,
    false,
    true,
    unknown,
)
from tests.simulation.builders import T0

Findings = Mapping[str, Finding]
READY: Findings = {ConditionType.READY: true(Reason.READY, "Usable now")}
NOT_READY: Findings = {ConditionType.READY: false(Reason.DENIED, "No")}


def test_a_condition_has_all_fields_as_plain_values() -> None:
    [made] = conditions(READY, (), 3, T0)

    assert made == {
        "type": "Ready",
        "status": "True",
        "observedGeneration": 3,
        "lastTransitionTime": "2027-03-01T12:00:00Z",
        "reason": "Ready",
        "message": "Usable now",
    }
    assert type(made["type"]) is str
    assert type(made["reason"]) is str


def test_the_transition_time_stays_while_the_status_does() -> None:
    before = conditions(NOT_READY, (), 1, T0)
    other: Findings = {ConditionType.READY: false(Reason.NO_POLICY, "None")}

    [made] = conditions(other, before, 2, T0 + timedelta(hours=1))

    assert made["lastTransitionTime"] == "2027-03-01T12:00:00Z"
    assert (made["reason"], made["observedGeneration"]) == ("NoPolicy", 2)


def test_the_transition_time_changes_with_the_status() -> None:
    before = conditions(NOT_READY, (), 1, T0)

    [made] = conditions(READY, before, 1, T0 + timedelta(hours=1))

    assert made["lastTransitionTime"] == "2027-03-01T13:00:00Z"


def test_conditions_are_ordered_by_type() -> None:
    findings: Findings = {
        ConditionType.STALLED: false(Reason.NOT_STALLED, ""),
        ConditionType.ATTESTED: unknown(Reason.PENDING, ""),
    }

    assert [c["type"] for c in conditions(findings, (), 1, T0)] == ["Attested", "Stalled"]


def test_a_message_is_no_longer_than_the_schema_allows() -> None:
    [made] = conditions({ConditionType.READY: true(Reason.READY, "x" * 5000)}, (), 1, T0)

    assert len(made["message"]) == 1024
