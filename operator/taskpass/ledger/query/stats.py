"""What a log amounts to: its size and kinds of entries, and what is still open, by its entries."""

from dataclasses import dataclass

from taskpass.core.audit.grant_history import GrantHistory
from taskpass.core.model.grant import GrantState
from taskpass.ledger.verify.proven import VerifiedLog

MOST_DAYS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """Numbers of one state of the ledger."""

    origin: str
    entries: int
    pruned: int
    """How many of them are absent by policy; what the keys follow from was kept."""
    bytes: int
    """On disk."""
    by_type: dict[str, int]
    by_day: dict[str, int]
    """The last thirty UTC days on which something was recorded."""
    days: int
    """On how many days something was recorded."""
    held: int
    """Credentials that may exist at a provider."""
    owed: int
    """Those of them that are to be taken back."""
    declared_gone: int
    """Credentials whose end nobody has proven: the settings said that their issuer is gone."""


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


def stats(log: VerifiedLog, size: int) -> Stats:
    """Count what was verified; `size` is what it takes on disk."""
    types: dict[str, int] = {}
    days: dict[str, int] = {}
    for (kind, day), count in sorted(log.replay.counts.items()):
        types[kind] = types.get(kind, 0) + count
        days[day] = days.get(day, 0) + count
    held, pruned = log.replay.held.values(), log.report.pruned
    kept = sum(index < pruned for index in log.source.kept())
    return Stats(
        origin=log.report.origin, entries=log.report.size, pruned=pruned - kept, bytes=size,
        by_type=types, by_day={day: days[day] for day in sorted(days)[-MOST_DAYS:]},
        days=len(days), held=len(held),
        owed=sum(each.state is GrantState.REVOKING for each in held),
        declared_gone=len(log.replay.declared),
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredEnd:
    """A credential that nobody tries any more to take back, by the word of an administrator."""

    grant: str
    task: str
    name: str
    since: str
    reason: str
    """Theirs."""


def declared_ends(log: VerifiedLog) -> list[DeclaredEnd]:
    """Return what was declared gone, and proven by nobody, oldest first."""
    found = sorted(log.replay.declared.items(), key=lambda each: each[1].index)
    return [
        DeclaredEnd(
            grant=grant,
            task=step.task,
            name=step.data["cred"]["name"],
            since=_seconds(step.time),
            reason=str(step.data.get("declared", {}).get("reason", "")),
        )
        for grant, step in found
    ]


def open_operations(log: VerifiedLog) -> list[OpenOperation]:
    """Return what has begun and not ended, oldest first; what is in use is not of it."""
    going = sorted(log.replay.held.items(), key=lambda each: each[1].first)
    found = [_open(grant, each) for grant, each in going if each.state is not GrantState.DELIVERED]
    return sorted(found, key=lambda each: each.since)


def _open(grant: str, logged: GrantHistory) -> OpenOperation:
    cred = logged.data["cred"]
    return OpenOperation(
        grant=grant, task=logged.task, name=cred["name"], provider=cred["provider"],
        state=logged.state.value, since=_seconds(logged.since),
        reason=logged.data.get("reason", ""), until=_seconds(cred.get("exp", "")),
    )  # fmt: skip


def _seconds(time: str) -> str:
    return f"{time[:19]}Z" if time else ""
