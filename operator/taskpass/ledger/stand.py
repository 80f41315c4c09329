"""What a ledger amounts to: its size and kinds of entries, and what is still open."""

from dataclasses import dataclass
from datetime import datetime

from taskpass.core.credential import Grant, GrantState
from taskpass.ledger import state
from taskpass.ledger.reader import LogReader


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """Numbers of one state of the ledger."""

    origin: str
    entries: int
    pruned: int
    """How many of them are absent by policy."""
    bytes: int
    """Of the database file, free pages included."""
    by_type: dict[str, int]
    by_day: dict[str, int]
    """UTC days of the last thirty on which something was recorded."""
    held: int
    """Credentials that may exist at a provider."""
    owed: int
    """Those of them that are to be taken back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenOperation:
    """An operation without its last entry: something exists, may exist, or is to be taken back."""

    grant: str
    task: str
    name: str
    provider: str
    state: str
    """`Intent`: begun, and nobody knows whether it exists; `Issued`: not delivered; `Revoking`:
    owed until the provider has proven that it is gone."""
    since: str
    """When it came there, as the log writes times."""
    reason: str
    """Why it is to be taken back; '' where it is not."""
    until: str
    """When it dies by itself at the latest; '' where nobody knows."""


def stats(log: LogReader, origin: str) -> Stats:
    """Count. Reads the index, not the entries."""
    db = log.db
    pages = (
        db.execute("PRAGMA page_count").fetchone()[0] * db.execute("PRAGMA page_size").fetchone()[0]
    )
    types = db.execute("SELECT type, count(*) FROM idx GROUP BY type ORDER BY type").fetchall()
    days = db.execute(
        "SELECT substr(time, 1, 10) AS day, count(*) FROM idx"
        " GROUP BY day ORDER BY day DESC LIMIT 30"
    ).fetchall()
    held = list(state.held_grants(db))
    return Stats(
        origin=origin, entries=log.size, pruned=log.min_index, bytes=pages,
        by_type=dict(types), by_day=dict(reversed(days)), held=len(held),
        owed=sum(g.state is GrantState.REVOKING for g in held),
    )  # fmt: skip


def open_operations(log: LogReader) -> list[OpenOperation]:
    """Return what has begun and not ended, oldest first; what is in use is not of it."""
    going = [g for g in state.held_grants(log.db) if g.state is not GrantState.DELIVERED]
    return sorted((_open(grant) for grant in going), key=lambda each: each.since)


def _open(grant: Grant) -> OpenOperation:
    since = {
        GrantState.INTENT: grant.intent_at,
        GrantState.ISSUED: grant.issued_at,
        GrantState.REVOKING: grant.revoking_since,
    }.get(grant.state)
    return OpenOperation(
        grant=grant.id, task=str(grant.task), name=grant.name, provider=grant.provider,
        state=grant.state.value, since=_time(since or grant.intent_at),
        reason=grant.revoke_reason, until=_time(grant.expires_at) if grant.expires_at else "",
    )  # fmt: skip


def _time(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")
