"""Find entries: by what the index knows, then by what the entries themselves say."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from taskpass.core.audit import PREFIX
from taskpass.ledger.reader import LogReader


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What is asked for; '' asks for nothing. All of it must hold."""

    type: str = ""
    """Of the entry, without `dev.taskpass.`; a trailing '.' takes all that begin so."""
    task: str = ""
    """`namespace/name`, or the task's UID."""
    cred: str = ""
    """A grant's id."""
    since: str = ""
    """A time, as the log writes times; entries from then on."""
    until: str = ""
    """Entries before it."""
    outcome: str = ""
    agent: str = ""
    """A ServiceAccount's name."""
    reason: str = ""
    """Why a credential was taken back, or a request refused."""

    def holds(self, event: dict[str, Any]) -> bool:
        """Tell whether an entry says what the index does not know of."""
        data = event["data"]
        reasons = (data.get("reason"), data.get("decision", {}).get("reason_code"))
        return (
            (not self.outcome or data.get("outcome") == self.outcome)
            and (not self.agent or data.get("task", {}).get("agent") == self.agent)
            and (not self.reason or self.reason in reasons)
        )


def search(log: LogReader, query: Query, *, after: int = -1) -> Iterator[tuple[int, bytes]]:
    """Return index and bytes of each entry that matches, oldest first, of those after an index.

    Entries that are absent by policy are passed over.
    """
    for index in _indexes(log, query, max(after, log.min_index - 1)):
        body = log.entry(index)
        if query.holds(orjson.loads(body)):
            yield index, body


def newest(log: LogReader, query: Query, limit: int) -> list[tuple[int, bytes]]:
    """Return the last matches, at most so many, oldest first."""
    found: list[tuple[int, bytes]] = []
    for index in _indexes(log, query, log.min_index - 1, backwards=True):
        body = log.entry(index)
        if query.holds(orjson.loads(body)):
            found.append((index, body))
            if len(found) == limit:
                break
    return found[::-1]


def _indexes(log: LogReader, query: Query, after: int, *, backwards: bool = False) -> Iterator[int]:
    kind = query.type.removeprefix(PREFIX)
    wanted: list[tuple[str, str | int]] = [
        ("seq > ?", after),
        ("seq < ?", log.size),
        ("cred = ?", query.cred),
        ("time >= ?", query.since),
        ("time < ?", query.until),
        ("subject = ?" if "/" in query.task else "task = ?", query.task),
        # '/' follows '.': all that begin with the text lie between the two.
        ("type > ?" if kind.endswith(".") else "type = ?", kind),
        ("type < ?", kind[:-1] + "/" if kind.endswith(".") else ""),
    ]
    asked = [(clause, value) for clause, value in wanted if value != ""]
    text = " AND ".join(clause for clause, _ in asked)
    rows = log.db.execute(
        f"SELECT seq FROM idx WHERE {text} ORDER BY seq {'DESC' if backwards else 'ASC'}",  # noqa: S608
        [value for _, value in asked],
    )
    return (int(row[0]) for row in rows)
