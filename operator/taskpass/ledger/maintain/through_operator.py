"""Have the operator erase or prune, and believe that it was done by what the log proves of it.

An answer is a file that whoever can write the volume can write as well: of itself it says nothing.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from taskpass.core.errors import StillRead, UsageError
from taskpass.core.model.entry import PREFIX, EventType
from taskpass.ledger.log.entry_filter import Query
from taskpass.ledger.log.reader import Incomplete, LogReader, TamperEvidence
from taskpass.ledger.maintain.archive import SUMS
from taskpass.ledger.maintain.prune import Limit
from taskpass.ledger.maintain.requests import Answer, ask
from taskpass.ledger.state import tables
from taskpass.ledger.verify.proven import LogLocation, VerifiedLog, proven

Waiting = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class _Before:
    """What was proven of the log before anything was asked."""

    size: int
    note: str
    refs: frozenset[str]
    """Of the person who is to be erased."""


def erase(ledger: Path, name: str, patience: float, waiting: Waiting) -> int:
    """Have a person erased; return the index of the entry that says so, -1 where none was known.

    Raises:
        Incomplete: No operator answered.
        UsageError: It refused, and says why.
        StillRead: They are erased, and somebody reads an earlier state.
        TamperEvidence: The log is not what was signed, or not what was answered.

    """
    with proven(LogLocation(database=ledger)) as log:
        before = _Before(log.report.size, log.source.note, _references(log, name))
    answer = ask(ledger, {"do": "erase", "subject": name}, patience, waiting)
    with _since(ledger, before, answer) as (log, event):
        if before.refs & _references(log, name):
            raise _not_so(answer, "the name is in the ledger as before")
        if answer.index < 0 and before.refs - log.replay.erased:
            raise _not_so(answer, "the name is gone, and no entry says that it was erased")
        if answer.index >= 0:
            _check_about(before.refs, event, answer)
    return _concluded(answer)


def prune(
    ledger: Path, limit: Limit, archive: Path, patience: float, waiting: Waiting
) -> tuple[int, bool]:
    """Have old entries archived and dropped; return the index of the entry that says so.

    And whether the archive lies where it was to go, as seen from here: an operator in another
    container writes its own disk. Raises as `erase`.
    """
    with proven(LogLocation(database=ledger)) as log:
        before = _Before(log.report.size, log.source.note, frozenset())
    asked = {"before": limit.before, "older_than_days": limit.days}
    bound = {name: value for name, value in asked.items() if value is not None}
    request = {"do": "prune", "archive": str(archive)}
    request |= {name: str(value) for name, value in bound.items()}
    answer = ask(ledger, request, patience, waiting)
    with _since(ledger, before, answer) as (log, event):
        data = event.get("data", {})
        if not _is(event, EventType.LOG_PRUNE) or data.get("policy") != bound:
            raise _not_so(answer, "that entry is not of what was to be dropped")
        if data.get("min_index") != log.report.pruned:
            raise _not_so(answer, "what that entry says is absent is not what is absent")
    return _concluded(answer), _digest(archive / SUMS) == data.get("archive_sha256")


@contextmanager
def _since(
    ledger: Path, before: _Before, answer: Answer
) -> Iterator[tuple[VerifiedLog, dict[str, Any]]]:
    """Give the log as it is now, proven to have grown, and the new entry that an answer names."""
    if answer.refused:
        raise UsageError(f"It was refused: {answer.refused}")
    asked = Query(index=answer.index) if answer.index >= 0 else Query(nothing=True)
    with proven(LogLocation(database=ledger), asked, against=(before.note,)) as log:
        if answer.index >= 0 and (answer.index < before.size or not log.entries):
            raise _not_so(answer, "the log has no such entry that was written since")
        yield log, orjson.loads(log.entries[0][1]) if log.entries else {}


def _check_about(refs: frozenset[str], event: dict[str, Any], answer: Answer) -> None:
    if not _is(event, EventType.PRIVACY_ERASE) or (refs and event["data"].get("ref") not in refs):
        raise _not_so(answer, "that entry is not about who was to be erased")
    if not refs:  # they came into the log after the first look, and nobody can tell any more
        raise Incomplete(
            f"Entry {answer.index} says that somebody was erased of whom nothing was known when "
            "this began: who that was cannot be told any more; run it again"
        )


def _concluded(answer: Answer) -> int:
    if answer.still_read:
        raise StillRead(answer.index, answer.still_read)
    return answer.index


def _references(log: VerifiedLog, name: str) -> frozenset[str]:
    """Return what the log calls somebody, also where only entries spoke of them that are gone."""
    if not isinstance(log.source, LogReader):  # never: it is a ledger's file
        raise Incomplete("An export has no names")
    return frozenset(each.ref for each in tables.people(log.source.db) if each.name == name)


def _is(event: dict[str, Any], kind: EventType) -> bool:
    return bool(event.get("type") == PREFIX + kind)


def _not_so(answer: Answer, why: str) -> TamperEvidence:
    told = f"that entry {answer.index} tells of it"
    said = told if answer.index >= 0 else "that nothing was known"
    return TamperEvidence(
        f"what answered in the operator's place said {said}, and it is not so: {why}. Whoever can "
        "write the ledger's volume can answer; see whether the operator runs, and ask again"
    )


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""
