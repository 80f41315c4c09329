"""Drop old entries, after an archive of them was written.

What stays: every hash, so that an entry that somebody has can still be proven, and any two
checkpoints can still be compared; the entries that the keys follow from; and `log.prune`, which
says under the log's own signature what is absent and where it went. What state still rests on is
told again first (`verify/retell.py`). No entry of a grant that is held is ever dropped, nor any
after it.

What is signed as absent by policy is what was there. The log is verified as it is archived, and its
own entries say which others are absent; the archive is verified as it lies; and in the transaction
that drops them (`Store.prune`) the file is held against all of that once more.
"""

import contextlib
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import orjson

from taskpass.core.audit import log_events as audit_log
from taskpass.core.audit.terms import moment
from taskpass.core.errors import LedgerError, StillRead, UsageError
from taskpass.ledger.log.key_history import cluster_of, declared_key
from taskpass.ledger.log.reader import LogReader, reading
from taskpass.ledger.log.signing import Signer
from taskpass.ledger.maintain.archive import write_archive
from taskpass.ledger.store.changes import Prune
from taskpass.ledger.store.sqlite import DOMAIN
from taskpass.ledger.store.transaction import Store
from taskpass.ledger.store.write_ahead import readers, wait_until_folded
from taskpass.ledger.verify.log import (
    Verification,
    noted_in,
    verify_noted,
)
from taskpass.ledger.verify.proven import NOTHING
from taskpass.ledger.verify.replay import Replay
from taskpass.tlog.merkle import TILE_WIDTH


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """What is asked for: one of the two."""

    before: int | None = None
    """Drop no entry from this index on."""
    days: int | None = None
    """Drop none that is younger than this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What would be dropped, or was."""

    first: int
    """The first entry that is there."""
    min_index: int
    """The first that stays."""
    first_time: str
    last_time: str
    """Of the entries that go; '' where none does."""
    holding: str
    """The grant that keeps more from going; '' where none does."""
    archive_sha256: str = ""
    """Of the archive's list of checksums, once it is written."""


def limit_of(request: Mapping[str, str]) -> Limit:
    """Return the limit of a request to the operator; `UsageError` where it has none."""
    before, days = request.get("before", ""), request.get("older_than_days", "")
    if bool(before) == bool(days) or not (before or days).isdecimal() or len(before + days) > 15:
        raise UsageError("A request to prune names one of before and older_than_days, a number")
    return Limit(before=int(before)) if before else Limit(days=int(days))


def plan(log: LogReader, limit: Limit, now: datetime) -> Plan:
    """Return what may go: whole bundles only.

    The log is verified first, and what is noted beside it. What is held, and since which entry, is
    by its entries alone.

    Raises:
        TamperEvidence, Incomplete: It is not what was signed, or what is noted is not what it says.

    """
    told = verify_noted(log, noted_in(log), lambda done, size: None)
    return _planned(log, limit, now, told)


def _planned(log: LogReader, limit: Limit, now: datetime, replay: Replay) -> Plan:
    last = log.size // TILE_WIDTH * TILE_WIDTH
    wanted = min(_wanted(log, limit, now), last)
    holding, held_at = "", wanted
    for grant, logged in sorted(replay.held.items()):
        if logged.first < held_at:
            holding, held_at = grant, logged.first
    min_index = max(held_at // TILE_WIDTH * TILE_WIDTH, log.min_index)
    some = min_index > log.min_index
    return Plan(
        first=log.min_index,
        min_index=min_index,
        first_time=_time(log, log.min_index) if some else "",
        last_time=_time(log, min_index - 1) if some else "",
        holding=holding,
    )


def prune(
    path: Path, limit: Limit, archive: Path, signer: Signer, now: datetime,
    waiting: Callable[[str], None] = lambda who: None,
) -> Plan:  # fmt: skip
    """Archive what may go, then drop it; nothing is written where nothing may.

    `waiting` is told who keeps what was dropped from being overwritten.

    The archive is durable before anything is dropped, and verifies by itself. Where this ends in
    between, the ledger is as before, and the archive is to be deleted.

    Raises:
        LedgerLocked: Somebody has the ledger open.
        LedgerError: It is not that key's, or cannot be written.
        StillRead: Somebody read an earlier state for too long.
        UsageError: The archive's directory cannot be used.
        Incomplete, TamperEvidence: As `reading`.

    """
    with reading(path) as log:
        planned = plan(log, limit, now)
        cluster_id = cluster_of(log)
    if planned.min_index == planned.first:
        return planned
    store = Store.open(
        path, signer=signer, domain=DOMAIN, cluster_id=cluster_id, instance="taskpass audit prune",
        now=now, fail_point=lambda _: None,
    )  # fmt: skip
    try:
        done, drop = archived(path, limit, archive, now)
        store.prune(drop)
        with contextlib.suppress(sqlite3.Error):  # no room for it: the space is used again
            store.db.execute("VACUUM")
        if not wait_until_folded(store.wal.fold, store.path, waiting):
            raise StillRead(store.log.size - 1, readers(store.path))
    except (sqlite3.Error, OSError) as error:
        raise LedgerError(f"The ledger {path} could not be pruned ({error})") from error
    finally:
        store.close()
    return done


def archived(path: Path, limit: Limit, archive: Path, now: datetime) -> tuple[Plan, Prune]:
    """Write the archive of what may go; return that, and what drops it.

    An operator may be writing the ledger: what may go does not change. The archive is durable on
    return, and was verified as it lies there.

    Raises:
        UsageError: Nothing may go; or the archive's directory cannot be used, or has by then
            another thing than was written.
        TamperEvidence: The log does not verify by its entries.
        Incomplete: As `reading`.

    """
    with reading(path) as log:
        verified = Verification(log, "", (), ())
        verified.walk(verified.pieces(NOTHING).all(), lambda done, size: None)
        report, told = verified.report(), verified.replay
        planned = _planned(log, limit, now, told)
        if planned.min_index == planned.first:
            held = f"; grant {planned.holding} is held" if planned.holding else ""
            raise UsageError(f"There is nothing to drop{held}")
        bodies = range(planned.first, planned.min_index)
        digest = write_archive(log, archive, bodies, report)
        origin = declared_key(log).name
    asked = {"older_than_days": limit.days} if limit.days is not None else {}
    asked |= {"before": limit.before} if limit.before is not None else {}
    entry = audit_log.pruned(origin, planned.min_index, digest, asked, now, retold=not told.untold)
    return replace(planned, archive_sha256=digest), Prune(entry, planned.min_index, told)


def _wanted(log: LogReader, limit: Limit, now: datetime) -> int:
    if limit.before is not None:
        return limit.before
    if limit.days is None:
        return log.min_index
    cut = moment(now - timedelta(days=limit.days))
    low, high = log.min_index, log.size
    while low < high:  # time never decreases in the log
        middle = (low + high) // 2
        low, high = (middle + 1, high) if _time(log, middle) < cut else (low, middle)
    return low


def _time(log: LogReader, index: int) -> str:
    return str(orjson.loads(log.entry(index))["time"])
