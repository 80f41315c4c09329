"""The entries of one task, and that they are all: each from a verification of the whole log."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from taskpass.core.errors import UsageError
from taskpass.ledger.log.entry_filter import Query
from taskpass.ledger.query.part import demand_all
from taskpass.ledger.verify.proven import VerifiedLog


@dataclass(frozen=True, slots=True)
class Timeline:
    """What the log tells of a task, oldest first."""

    task: str
    """`namespace/name`."""
    entries: tuple[tuple[int, dict[str, Any]], ...]
    """Index and event."""
    people: Mapping[str, str] | None = field(default=None)
    """Names by the references that entries have; who was erased is not there. None where the names
    are not there to look at: an export has none."""


def asked_for(task: str) -> Query:
    """Return the question for a task: `namespace/name`, or a name that one namespace alone has.

    Raises:
        UsageError: None is named.

    """
    if not task:
        raise UsageError("No task was named; write it as namespace/name")
    return Query(name=task)


def timeline(log: VerifiedLog, task: str, *, names: bool) -> Timeline:
    """Return the entries of a task, of those that `asked_for` found; `names` where they are there.

    Raises:
        UsageError: The log has no such task, or several.
        Incomplete: It has none in the entries that are here, which are not all.

    """
    entries = [(index, orjson.loads(body)) for index, body in log.entries]
    subjects = sorted({event["subject"] for _, event in entries})
    if not subjects:
        demand_all(log.report, f"have no task '{task}'")
        raise UsageError(f"The log has no task '{task}'; write it as namespace/name")
    if len(subjects) > 1:
        raise UsageError(f"Several namespaces had a task '{task}': {', '.join(subjects)}; name one")
    people = {ref: person.name for ref, person in log.people.items()} if names else None
    return Timeline(subjects[0], tuple(entries), people)
