"""`ports.Ledger` on a file that can be read and not written: so that what is held can be revoked.

Revocation never waits for the audit log. Where the volume is full or read-only, a start does not
end the operator: it reads from the file what is held, revokes it when its reason goes, and keeps in
memory what is to be recorded of that. Once the file can be written again, and its state is what
its log says, all of it is recorded, late, and the process ends; the next one is whole again. If it
ends before, the next start finds the reasons still gone, and revokes and records anew: a revocation
of what is gone is success.

Nothing that would let a credential come into being can be recorded here, so none does.
"""

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self
from urllib.parse import quote

from taskpass.core.audit.anchor import Head
from taskpass.core.errors import (
    LedgerError,
    LedgerReadOnly,
    LedgerUnwritable,
    TaskpassError,
)
from taskpass.core.lifecycle.records import PodBinding
from taskpass.core.model.grant import GrantState
from taskpass.core.rate_limit.budget import Meter
from taskpass.ledger.log import schema
from taskpass.ledger.log.key_history import signer_of
from taskpass.ledger.log.reader import LogReader, TamperEvidence, located, reading
from taskpass.ledger.log.signing import Signer
from taskpass.ledger.log.writer import Log
from taskpass.ledger.state.noted import Noted, Written
from taskpass.ledger.store import lockfile
from taskpass.ledger.store.read_model import LiveReads, Mirror
from taskpass.ledger.store.recover import origin_of
from taskpass.ledger.store.sqlite import SqliteLedger
from taskpass.ledger.store.transaction import describe_error
from taskpass.ledger.store.volume import unwritable_reason
from taskpass.ledger.verify.integrity import Frozen, compare, differs
from taskpass.ports.ledger import Batch
from taskpass.tlog.checkpoint import PublicKey

UNRECORDED = -1
"""The index of an entry that is in no log yet."""
ENDING = (GrantState.REVOKING, GrantState.REVOKED, GrantState.DECLARED_GONE)
logger = logging.getLogger(__name__)


class ReadOnlyLedger(LiveReads):
    """What is held as of the last commit, and what was revoked since. Use it from one loop."""

    def __init__(
        self,
        path: Path,
        db: sqlite3.Connection,
        lock: lockfile.Lock,
        head: Head,
        min_index: int,
        why: str,
    ) -> None:
        """Take an open file; callers use `open`."""
        self.origin = head.origin
        """The log's name."""
        self.size = head.size
        """How many entries are durable."""
        self._head = head
        self._min_index = min_index
        self.why = why
        """Why it cannot be written, in a sentence."""
        self._unwritable = why
        self._path = path
        self._db = db
        self._lock: lockfile.Lock | None = lock
        self._noted = noted = Noted.read(db)
        self._mirror = Mirror(noted)
        self._meters = noted.meters
        self._waiting: list[Batch] = []
        self._closed = False

    @classmethod
    def open(
        cls, path: Path, *, signer: Signer, cluster_id: str, why: str,
        previous: Signer | None = None,
    ) -> Self:  # fmt: skip
        """Read a ledger that is there; nothing is written. Blocks while it is checked.

        Raises:
            LedgerLocked: Another process has it.
            LedgerError: It cannot be read, or does not hold together: nothing can be revoked by it.

        """
        path = located(path)
        lock = lockfile.Lock(path)
        db = None
        try:
            db = _connected(path)
            if schema.version(db) != schema.VERSION:
                raise LedgerError("it is of another version, or no ledger")
            if damage := schema.damage(db, quick=True):
                raise LedgerError(damage)
            stored = LogReader(db)
            origin = origin_of(stored, cluster_id)
            signs = signer_of(stored, signer, previous)
            log = Log(db, PublicKey(origin, signs.public_key), signs, 0)
            log.resume(stored)
            return cls(path, db, lock, log.head, log.min_index, why)
        except BaseException as error:
            if db is not None:
                db.close()
            lock.release()
            # SQLite's own words about a damaged file need not be UTF-8.
            kinds = (sqlite3.Error, OSError, TamperEvidence, ValueError, TypeError, LedgerError)
            if isinstance(error, kinds):
                raise LedgerError(f"{why}. Nor can it be read ({describe_error(error)})") from error
            raise

    @property
    def unrecorded(self) -> int:
        """How many entries wait for a file that can be written."""
        return sum(len(c.entries) for c in self._waiting if isinstance(c, Batch))

    async def commit(self, batch: Batch) -> tuple[int, ...]:
        """Take in what ends something; see `ports.Ledger`. It is durable once it is recorded.

        Raises:
            LedgerSealed: It would begin something.

        """
        if batch.lifts or batch.unbinds or any(grant.state not in ENDING for grant in batch.grants):
            raise LedgerReadOnly(self.why)
        self._add(batch)
        self._mirror.apply(Written(grants=batch.grants, tasks=batch.tasks, forgotten=batch.forgets))
        return (UNRECORDED,) * len(batch.entries)

    @property
    def epoch(self) -> int:
        """See `ports.Ledger`. It was not opened for writing: nothing is asked for."""
        return 0

    def meters(self) -> Mapping[str, Meter]:
        """See `ports.Ledger`."""
        return self._meters

    def gate_lifted(self, pod_uid: str) -> bool:
        """See `ports.Ledger`. Nothing is issued here: whoever is bound counts as let go."""
        return self.bound_task(pod_uid) is not None

    def head(self) -> Head:
        """Return what was durable when it was opened: no file is read."""
        return self._head

    def leftover_bindings(self, after: str, most: int) -> Sequence[PodBinding]:
        """See `ports.Ledger`. None can be dropped here."""
        return ()

    async def watch_failure(self) -> None:
        """Wait for ever: there is nothing that could fail but reads."""
        await asyncio.Event().wait()

    async def record_late(self, reopen: Callable[[], SqliteLedger]) -> int | None:
        """Try to open the file for writing, and record what waits; None where that does not work.

        What waits follows from what the file said at the start. So its state is held against its
        log before anything is written, and where they differ nothing is (`why` says it then).

        On return of a number, of entries, this ledger is closed; the process is to end.

        Raises:
            LedgerError: It could be opened, and failed while it was written.

        """
        self.why = self._unwritable
        if await asyncio.to_thread(unwritable_reason, self._path.parent):
            return None  # to hold the state against the log takes long
        if differs := await asyncio.to_thread(self._differs):
            self.why = f"{self._unwritable}. Nothing is recorded late either: {differs}"
            return None
        self._let_go()
        try:
            ledger = await asyncio.to_thread(reopen)
        except LedgerUnwritable as error:
            self._lock = lockfile.Lock(self._path)
            logger.debug("The ledger cannot be written yet", extra={"error": str(error)})
            return None
        recorded = 0
        try:
            while self._waiting:
                recorded += await _recorded(ledger, self._waiting.pop(0))
            self._closed = True
        finally:
            await asyncio.to_thread(ledger.close)
        return recorded

    def close(self) -> None:
        """Give the file back; a second time does nothing."""
        self._closed = True
        self._db.close()
        self._let_go()

    def _differs(self) -> str | None:
        """Return what of that which was read at the start is not what the log says."""
        held = contextlib.ExitStack()
        try:
            log = held.enter_context(reading(self._path))
        except (TaskpassError, sqlite3.Error) as error:
            return differs(self._path, error)
        frozen = Frozen(self._path, log, self._head, self._min_index, self._noted, held)
        return compare(frozen, lambda: self._closed)

    def _add(self, change: Batch) -> None:
        if self._closed:
            raise LedgerError("The ledger is closed: the process is ending")
        self._waiting.append(change)

    def _let_go(self) -> None:
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.release()


async def _recorded(ledger: SqliteLedger, change: Batch) -> int:
    """Record one change; return how many entries that were."""
    try:
        return len(await ledger.commit(change))
    except LedgerError:
        raise
    except TaskpassError as error:
        # It can never be written. The next start finds the same reasons, and records them anew.
        logger.error("Failed to record late", extra={"error": str(error)})
        return 0


def _connected(path: Path) -> sqlite3.Connection:
    """Open the file for reading, with what its write-ahead log holds."""
    uri = f"file:{quote(str(path))}?mode=ro"
    db = schema.connect_reader(uri)
    try:
        schema.version(db)
    except sqlite3.Error:
        db.close()
        log = path.with_name(path.name + "-wal")
        if log.exists() and log.stat().st_size:
            raise
        # Closed by the book, so all is in the file itself; SQLite would only make its index now.
        return schema.connect_reader(f"{uri}&immutable=1")
    return db
