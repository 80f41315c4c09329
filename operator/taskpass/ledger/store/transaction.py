"""The ledger's file: opened, checked, and written by one thread, one transaction at a time."""

import contextlib
import errno
import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from taskpass.core.audit.pseudonyms import is_person
from taskpass.core.errors import (
    EntryRefused,
    LedgerError,
    LedgerUnwritable,
    MustEnd,
    PodAlreadyBound,
    TaskpassError,
    UsageError,
)
from taskpass.core.lifecycle.ownership import mentions
from taskpass.core.lifecycle.records import TrailItem, forgotten_in, names_in_asked
from taskpass.core.model.entry import Entry, EventType, Result, Stage
from taskpass.core.model.grant import Grant
from taskpass.core.rate_limit.budget import Meter, account_of_task
from taskpass.ledger.log import schema
from taskpass.ledger.log.proven_reads import entry_under
from taskpass.ledger.log.reader import (
    COSIGNED,
    Incomplete,
    LogReader,
    TamperEvidence,
    located,
    reading,
)
from taskpass.ledger.log.signing import Signer
from taskpass.ledger.log.writer import Log
from taskpass.ledger.state import tables as state
from taskpass.ledger.state.noted import Noted, Written
from taskpass.ledger.store import lockfile
from taskpass.ledger.store.changes import (
    Change,
    Cosigned,
    Fold,
    Freeze,
    Outcome,
    Prune,
    Upkeep,
)
from taskpass.ledger.store.recover import open_or_recover
from taskpass.ledger.store.write_ahead import WriteAheadLog
from taskpass.ledger.verify.follow import caught_up
from taskpass.ledger.verify.integrity import Frozen, check_is_written
from taskpass.ledger.verify.proven import NOTHING
from taskpass.ledger.verify.retell import retellings
from taskpass.ports.ledger import Batch
from taskpass.tlog.merkle import TILE_WIDTH

MAX_ENTRIES = 256
"""What one transaction takes at most of what waits; it always takes one batch whole."""
ERASED_SECONDS = 600.0
"""Longer than any decision on a task takes that began before somebody was erased."""
_AT_ONCE = 10_000
"""Free pages that are overwritten by one row."""
NO_WRITES = frozenset(
    (sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)
)
NO_WRITES_HERE = frozenset(
    (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM)
)


class Store:
    """Owns the connection. After any exception but an `Outcome` it must not be used again."""

    def __init__(
        self, path: Path, db: sqlite3.Connection, lock: lockfile.Lock, log: Log, noted: Noted,
        fail_point: Callable[[str], None],
    ) -> None:  # fmt: skip
        self.path = path
        self.db = db
        self.wal = WriteAheadLog(db, path)
        self.log = log
        self.noted = noted
        """As the open transaction leaves it. Only the writer's thread may use it."""
        self._lock = lock
        self._fail_point = fail_point
        self._grants: dict[str, tuple[Grant, str]] = {}
        """What the transaction makes of grants: the last of each counts."""
        self._schema = self._schema_version()
        self._meters: dict[str, Meter] = {}
        """The same of meters."""
        self._erased: dict[str, float] = {}
        """Who was erased a moment ago, and until when records may still be written that were read
        before."""

    @classmethod
    def open(
        cls, path: Path, *, signer: Signer, domain: str, cluster_id: str, instance: str,
        now: datetime, fail_point: Callable[[str], None], previous: Signer | None = None,
        reason: str = "",
    ) -> "Store":  # fmt: skip
        """Take the file over, make it if there is none, and check that it holds together.

        Head, signature and right edge are checked, not all of the file: `examine.py` does that.
        Where `previous` has the log's key, it hands over to `signer` first, for that `reason`.

        Raises:
            LedgerLocked: Another process has it.
            LedgerUnwritable: The volume takes no writes.
            LedgerError: It cannot be used; the message says why, and what to do.

        """
        path = located(path)
        if not path.parent.is_dir():
            raise LedgerError(f"There is no directory {path.parent} for the ledger; mount a volume")
        lockfile.refuse_network(path)
        db = lock = None
        try:
            lock = lockfile.Lock(path)
            if other := lockfile.other_name(path):
                raise LedgerUnwritable(other)
            db = schema.connect(path)
            log = open_or_recover(
                db, signer=signer, previous=previous, reason=reason, domain=domain,
                cluster_id=cluster_id, instance=instance, now=now, fail_point=fail_point,
            )  # fmt: skip
            store = cls(path, db, lock, log, _noted(db, log), fail_point)
            store.wal.fold()
        except BaseException as error:
            if db is not None:
                db.close()
            if lock is not None:
                lock.release()
            if is_of_volume(error):
                raise LedgerUnwritable(
                    f"The ledger {path} cannot be written ({describe_error(error)}); see to its "
                    "volume's space and health"
                ) from error
            # SQLite's own words about a damaged file need not be UTF-8.
            if isinstance(error, _UNUSABLE):
                raise LedgerError(
                    f"The ledger {path} cannot be opened ({describe_error(error)}); check its "
                    "volume, or restore a copy that `taskpass audit verify` accepts"
                ) from error
            raise
        return store

    def write(self, first: Change, more: Callable[[], Change | None]) -> list[Outcome]:
        """Make `first`, and what `more` returns until it returns None, durable together."""
        taken = [first]
        ids = _ids(first)
        while len(ids) < MAX_ENTRIES and (change := more()) is not None:
            taken.append(change)
            ids += _ids(change)
        self._begin()
        self.log.expect(ids)
        outcomes = [self._apply(change) for change in taken]
        state.write_grants(self.db, self._grants)
        self._grants.clear()
        state.write_meters(self.db, self._meters)
        self._meters.clear()
        self.log.sign_checkpoint()
        self._fail_point("ledger.before-commit")
        self.db.execute("COMMIT")
        self._fail_point("ledger.after-commit")
        self.wal.fold_where_due()
        return outcomes

    def keep_up(self, upkeep: Upkeep) -> Outcome:
        """Do it durably; its index is of the entry that tells of it, -1 where there is none."""
        if isinstance(upkeep, Fold):
            return Written(indexes=(int(self.wal.fold()),))
        if isinstance(upkeep, Freeze):
            try:
                upkeep.frozen = self.freeze()
            except MustEnd:
                raise
            except TaskpassError as error:  # what lies at the path is no ledger, or damaged
                return error
            except _UNUSABLE as error:
                return Incomplete(f"it cannot be read: {describe_error(error)}")
            return Written()
        try:
            if isinstance(upkeep, Prune):
                return Written(indexes=(self.prune(upkeep),), pruned=upkeep.min_index)
            return self.erase(upkeep.name, upkeep.now)
        except UsageError as refusal:
            return refusal
        except (EntryRefused, TamperEvidence, Incomplete) as refusal:  # nothing was written
            self.db.execute("ROLLBACK")
            self.db.execute("PRAGMA secure_delete = OFF")
            if isinstance(refusal, TamperEvidence):
                return refusal
            return UsageError(f"It cannot be done: {refusal}")

    def freeze(self) -> Frozen:
        """Return the file, read anew by its path, and the memory, of one moment.

        Raises:
            Incomplete, TamperEvidence, UsageError: As `reading`.

        """
        with contextlib.ExitStack() as stack:
            log = stack.enter_context(reading(self.path))
            noted = self.noted.copy(self.log.people)
            return Frozen(self.path, log, self.log.head, self.log.min_index, noted, stack.pop_all())

    def erase(self, name: str, now: datetime) -> Written:
        """Delete what is known of a person, and write the entry that says so, durably.

        Its index is -1 where nothing was known. Once `wal.fold` has returned True as well, no byte
        of the name is left in the file or beside it.

        Raises:
            UsageError: It is no person; or a task that is there names them, in its trail or in an
                approval that it waits for. Nothing is written.

        """
        if not is_person(name):
            raise UsageError(
                f"'{name}' is a user of the cluster's own, whom the log names as they are; people "
                "can be erased"
            )
        records = tuple(self.noted.records.values())
        if waiting := sorted(str(r.task) for r in records if names_in_asked(r, name)):
            raise UsageError(
                f"AgentTask {waiting[0]} waits for an approval that names them (of {len(waiting)} "
                "such tasks): have it approved, or delete the task, and erase them then"
            )
        told_of = {
            uid
            for uid, items in self.noted.trails.items()
            if any(mentions(item.notice.message, name) for item in items)
        }
        if trails := sorted(str(r.task) for r in records if r.task.uid in told_of):
            raise UsageError(
                f"The trail of AgentTask {trails[0]} names them (of {len(trails)} such tasks), and "
                "goes with the task: delete it, and erase them then"
            )
        named = tuple(r for r in records if r.origin is not None and r.origin.mentions(name))
        left = tuple(forgotten_in(record, name, None) for record in named)
        self.db.execute("PRAGMA secure_delete = ON")
        self._begin()
        index = self.log.erase(name, now, known=bool(left))
        state.write_records(self.db, left, state.encoded(left))
        self._rewrite("task_record")
        self._overwrite_free_pages()
        self.log.sign_checkpoint()
        self.db.execute("COMMIT")
        self.db.execute("PRAGMA secure_delete = OFF")
        if index >= 0:
            self._erased[name] = time.monotonic() + ERASED_SECONDS
        written = Written(indexes=(index,), tasks=left)
        self.noted.apply(written)
        return written

    def _without_erased(self, change: Batch) -> Batch:
        """Return a batch whose records do not bring back who was erased after they were read.

        Who decides on a task meanwhile holds its record as it was, and writes it whole. A pod that
        is attested anew names whoever started it, as its entry does.
        """
        now = time.monotonic()
        self._erased = {name: until for name, until in self._erased.items() if until > now}
        if not self._erased:
            return change
        anew = {
            entry.task.uid
            for entry in change.entries
            if entry.type is EventType.WORKLOAD_ATTEST
            and entry.task
            and entry.data.get("outcome") == Result.SUCCESS
        }
        tasks = []
        for record in change.tasks:
            if record.origin is not None and record.task.uid not in anew:
                stored = self.noted.records.get(record.task.uid)
                for name in self._erased:
                    record = forgotten_in(record, name, stored)
            tasks.append(record)
        return replace(change, tasks=tuple(tasks))

    def prune(self, asked: Prune) -> int:
        """Write the entry that tells of it, and drop the entries before `min_index`, in one.

        Return the entry's index.

        Their hashes stay, and so do the entries that the keys follow from. What state still rests
        on is told again before. Items of trails go with their entries. Once `wal.fold` has returned
        True as well, nothing of what is dropped is left in the file or beside it.

        What the entries came to was read before, and by its path. So it is looked at again here:
        the file is the one that is written, it lacks no entry that it had not lacked, and what was
        read has grown to just the head that this process has.

        Raises:
            TamperEvidence: It is not so. Nothing is written.
            Incomplete: More was pruned meanwhile.

        """
        entry, min_index = asked.entry, asked.min_index
        self.db.execute("PRAGMA secure_delete = ON")
        self._begin()
        stored, head = LogReader(self.db), self.log.head
        check_is_written(stored, head, self.log.min_index)
        caught_up(asked.replay, stored, NOTHING)
        if min_index < stored.min_index:
            raise Incomplete(f"it was pruned up to {stored.min_index} meanwhile")
        kept = [i for i in asked.replay.keys.entries if i < min_index]
        bodies = [(i, entry_under(stored, i, head.size, head.root)) for i in kept]
        again = retellings(asked.replay, min_index, self.log.origin, entry.time)
        admitted = self.log.admit((*again, entry))
        index = [self.log.append(each) for each in admitted][-1]
        self.db.execute("DELETE FROM trail WHERE audit_index < ?", (min_index,))
        self.db.execute("UPDATE head SET min_index = ? WHERE k = 1", (min_index,))
        self.db.execute("DELETE FROM bundle WHERE n < ?", (min_index // TILE_WIDTH,))
        self.db.execute("DELETE FROM entry WHERE seq < ?", (min_index,))
        self.db.executemany("INSERT INTO entry (seq, body) VALUES (?, ?)", bodies)
        marks = ", ".join("?" * len(kept))
        self.db.execute(
            f"DELETE FROM idx WHERE seq < ? AND seq NOT IN ({marks})",  # noqa: S608 (marks only)
            (min_index, *kept),
        )
        self.log.sign_checkpoint()
        self._rewrite("entry")
        self._overwrite_free_pages()
        self._fail_point("upkeep.before-prune")
        self.db.execute("COMMIT")
        self._fail_point("upkeep.after-prune")
        self.db.execute("PRAGMA secure_delete = OFF")
        self.log.min_index = min_index
        self.noted.apply(Written(pruned=min_index))
        return index

    def close(self) -> None:
        """Give the file back; it is whole by itself then, unless somebody reads an old state."""
        try:
            self.db.close()
        finally:
            self._lock.release()

    def _rewrite(self, table: str) -> None:
        """Write a small table anew, with `secure_delete` on.

        Where SQLite moved rows from page to page, their bytes stayed behind in what a page does not
        use. Pages that are given up are overwritten.
        """
        rows = self.db.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608 (ours)
        self.db.execute(f"DELETE FROM {table}")  # noqa: S608 (ours)
        if rows:
            marks = ", ".join("?" * len(rows[0]))
            self.db.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)  # noqa: S608 (ours)

    def _overwrite_free_pages(self) -> None:
        """Take every free page of the file for zeros, and give it back."""
        free = self.db.execute("PRAGMA freelist_count").fetchone()[0]
        size = self.db.execute("PRAGMA page_size").fetchone()[0]
        for done in range(0, free, _AT_ONCE):
            row = (-1 - done, min(_AT_ONCE, free - done) * size)
            self.db.execute("INSERT INTO bundle (n, z) VALUES (?, zeroblob(?))", row)
        self.db.execute("DELETE FROM bundle WHERE n < 0")

    def _begin(self) -> None:
        """Begin a transaction; `LedgerError` where somebody has changed the tables meanwhile."""
        self.db.execute("BEGIN IMMEDIATE")
        if self._schema_version() != self._schema:
            raise LedgerError("Another process has changed the ledger's tables")

    def _schema_version(self) -> int:
        return int(self.db.execute("PRAGMA schema_version").fetchone()[0])

    def _apply(self, change: Change) -> Outcome:
        if isinstance(change, Cosigned):
            self.db.execute("DELETE FROM ckpt WHERE kept = ?", (COSIGNED,))
            row = (change.size, change.note, COSIGNED)
            self.db.execute("INSERT INTO ckpt (size, note, kept) VALUES (?, ?, ?)", row)
            return Written()
        change = self._without_erased(change)
        try:
            # All that can refuse the batch comes before its first write: nothing is to be undone.
            self.noted.check_bindings(change.tasks)
            self.noted.check_unbound(change.unbinds)
            bodies = state.encoded(change.grants)
            records = state.encoded(change.tasks)
            admitted = self.log.admit(change.entries, change.hide)
        except (EntryRefused, PodAlreadyBound) as refusal:
            return refusal
        indexes = tuple(self.log.append(one) for one in admitted)
        grants = tuple(_with_index(g, change.entries, indexes) for g in change.grants)
        if grants != change.grants:
            bodies = state.encoded(grants)
        self._meters |= change.meters
        self._grants |= {g.id: (g, body) for g, body in zip(grants, bodies, strict=True)}
        bound = self.noted.newly_bound(change.tasks)
        if change.tasks:
            state.write_records(self.db, change.tasks, records)
        if bound:
            state.write_bindings(self.db, bound)
        if change.lifts:
            state.write_lifts(self.db, change.lifts)
        if change.unbinds:
            state.drop_bindings(self.db, change.unbinds)
        trail = tuple(
            _trail_item(entry, index)
            for entry, index, one in zip(change.entries, indexes, admitted, strict=True)
            if entry.notice is not None and entry.task is not None and one.index < 0
        )
        for uid, item in trail:
            state.write_trail(self.db, uid, item)
        for uid in change.forgets:
            self._meters.pop(account_of_task(uid), None)
            state.forget(self.db, uid)
        written = Written(
            indexes=indexes, grants=grants, tasks=change.tasks, trail=trail, bound=bound,
            lifted=change.lifts, forgotten=change.forgets, unbound=change.unbinds,
        )  # fmt: skip
        self.noted.apply(written)
        return written


def _noted(db: sqlite3.Connection, log: Log) -> Noted:
    try:
        return Noted.read(db, log.people)
    except (sqlite3.Error, ValueError, TypeError, OverflowError, MemoryError) as error:
        raise LedgerError(
            f"The ledger's state cannot be read ({error.__cause__ or error}); run the version of "
            "taskpass that wrote it, or restore a copy that verifies"
        ) from error


_UNUSABLE = (
    sqlite3.Error, OSError, TamperEvidence, ValueError, TypeError, OverflowError, MemoryError,
)  # fmt: skip
"""What comes of a damaged file, or one with values of no kind that is written."""


def _ids(change: Change) -> list[str]:
    return [entry.id for entry in change.entries] if isinstance(change, Batch) else []


def describe_error(error: BaseException) -> str:
    """Return what an error of the disk, of SQLite or of ours says, in a few words."""
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return f"{error}" if isinstance(error, sqlite3.Error | TaskpassError) else type(error).__name__


def is_of_volume(error: BaseException) -> bool:
    """Tell whether an error says that the volume takes no writes."""
    if isinstance(error, OSError):
        return error.errno in NO_WRITES_HERE
    if isinstance(error, sqlite3.Error):
        # The low byte is the kind; the rest says where.
        return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF in NO_WRITES
    return False


def _with_index(grant: Grant, entries: Sequence[Entry], indexes: Sequence[int]) -> Grant:
    """Note where the log tells of its issue; it may be on its way back by the same batch."""
    if grant.audit_index >= 0:
        return grant
    for entry, index in zip(entries, indexes, strict=True):
        if (
            entry.grant_id == grant.id
            and entry.type is EventType.CREDENTIAL_ISSUE
            and entry.data.get("stage") == Stage.RESULT
            and entry.data.get("outcome") == Result.SUCCESS
        ):
            return replace(grant, audit_index=index)
    return grant


def _trail_item(entry: Entry, index: int) -> tuple[str, TrailItem]:
    assert entry.notice is not None  # noqa: S101
    assert entry.task is not None  # noqa: S101
    return entry.task.uid, TrailItem(time=entry.time, notice=entry.notice, audit_index=index)
