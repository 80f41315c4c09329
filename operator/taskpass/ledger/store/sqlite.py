"""The ledger on one SQLite file: `ports.Ledger` over a thread that does all the writing.

Commits that come in while a transaction is being made durable share the next one; what is patient
waits up to 0.25 s for one to share. Whatever goes wrong in a transaction ends the ledger: its
callers, and every later one, get `LedgerError`, and nothing is tried again on a file that may be
broken.
"""

import asyncio
import collections
import contextlib
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Self

from taskpass.core.audit.anchor import Head
from taskpass.core.errors import LedgerError, MustEnd, StillRead, TaskpassError
from taskpass.core.rate_limit.budget import Meter
from taskpass.ledger.log.signing import Signer
from taskpass.ledger.state.noted import Written
from taskpass.ledger.store import write_ahead
from taskpass.ledger.store.changes import (
    Change,
    Cosigned,
    Erase,
    Fold,
    Freeze,
    Outcome,
    Prune,
    Upkeep,
)
from taskpass.ledger.store.read_model import LiveReads, Mirror
from taskpass.ledger.store.transaction import Store, describe_error
from taskpass.ledger.store.write_ahead import readers
from taskpass.ledger.verify.integrity import compare, differs, examine
from taskpass.ports.ledger import Batch

DOMAIN = "audit.taskpass.dev"
PATIENCE_SECONDS = 0.25
"""How long a patient batch waits for another."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Waiting:
    change: Change | Upkeep
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[tuple[int, ...]]
    since: float = field(default_factory=time.monotonic)

    @property
    def patient(self) -> bool:
        """Whether it may wait for another."""
        return isinstance(self.change, Batch) and self.change.patient


class SqliteLedger(LiveReads):
    """`ports.Ledger` on one file. Use it from one event loop."""

    def __init__(self, store: Store) -> None:
        """Take an open store; callers use `open`."""
        self._store = store
        self._path = store.path
        self._mirror = Mirror(store.noted)
        self._meters = store.noted.meters
        self._head = store.log.head
        self._changed = threading.Condition()
        self._queue: collections.deque[_Waiting] = collections.deque()
        self._closing = False
        self._ended = False
        self._failure: LedgerError | None = None
        self._unfolded = False
        """Whether something was erased that may still be in the write-ahead log."""
        self._watchers: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = []
        self.on_append: Callable[[float], None] = lambda seconds: None
        """Told how long each transaction took until it was durable, in the writer's thread."""
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)
        self._thread.start()

    @classmethod
    def open(
        cls, path: Path, *, signer: Signer, cluster_id: str, instance: str, now: datetime,
        domain: str = DOMAIN, fail_point: Callable[[str], None] = lambda _: None,
        previous: Signer | None = None, reason: str = "",
    ) -> Self:  # fmt: skip
        """Open the ledger, or make one; blocks while it is checked.

        `cluster_id` tells this cluster from others and becomes part of the log's name; `instance`
        names this process in the entry that tells of the start. `fail_point` is called in the
        writer's thread before and after each commit, for tests of crashes. `previous` and `reason`
        are for another key than the log's: see `Store.open`.

        Raises:
            LedgerLocked: Another process has it.
            LedgerError: It cannot be used, or does not hold together.

        """
        store = Store.open(
            path, signer=signer, domain=domain, cluster_id=cluster_id, instance=instance,
            now=now, fail_point=fail_point, previous=previous, reason=reason,
        )  # fmt: skip
        return cls(store)

    @property
    def size(self) -> int:
        """How many entries are durable."""
        return self._head.size

    @property
    def root(self) -> bytes:
        """The hash over them."""
        return self._head.root

    @property
    def epoch(self) -> int:
        """See `ports.Ledger`."""
        return self._store.log.epoch

    @property
    def origin(self) -> str:
        """The log's name."""
        return self._store.log.origin

    def note(self) -> str:
        """Return the current signed checkpoint."""
        return self._head.note

    def head(self) -> Head:
        """Return what is durable, as this process wrote it: no file is read. Any thread may ask."""
        return self._head

    async def commit(self, batch: Batch) -> tuple[int, ...]:
        """See `ports.Ledger`. A caller that is cancelled meanwhile has written all the same.

        Raises:
            PodAlreadyBound: See `ports.Batch`; nothing of it is written.
            EntryRefused: An entry breaks the log's rules; nothing of it is written.
            LedgerError: The ledger is at its end.

        """
        return await self._written(batch)

    async def keep_cosigned(self, size: int, note: str) -> None:
        """Make a checkpoint durable that witnesses have cosigned, instead of the one before."""
        await self._written(Cosigned(size, note))

    async def erase(
        self, name: str, now: datetime, waiting: Callable[[str], None] = lambda who: None
    ) -> int:
        """See `Store.erase`; on return no byte of the name is left.

        `waiting` is told who keeps that from being done, for as long as somebody does.

        Raises:
            UsageError: See `Store.erase`; nothing is deleted.
            StillRead: It is deleted, but somebody reads a state in which it was there.

        """
        (index,) = await self._written(Erase(name, now))
        await self._folded(index, waiting)
        return index

    async def prune(self, asked: Prune, waiting: Callable[[str], None] = lambda who: None) -> int:
        """See `Store.prune`: of what goes there is an archive. Else as `erase`."""
        (index,) = await self._written(asked)
        await self._folded(index, waiting)
        return index

    async def fold_where_wanted(self) -> None:
        """Try again what an `erase` or `prune` could not end."""
        if self._unfolded and await self._written(Fold()) == (1,):
            self._unfolded = False

    async def _folded(self, index: int, waiting: Callable[[str], None]) -> None:
        self._unfolded = True
        for _ in range(write_ahead.TURNS):
            await self.fold_where_wanted()
            if not self._unfolded:
                return
            waiting(readers(self._path))
            await asyncio.sleep(write_ahead.PAUSE_SECONDS)
        raise StillRead(index, readers(self._path))

    def meters(self) -> Mapping[str, Meter]:
        """See `ports.Ledger`."""
        return self._meters

    async def compare(self) -> str | None:
        """Hold what is believed against the log; return in a sentence what differs, if anything.

        What is believed is in memory, and so are size and root of the log: it is held against what
        the file's entries come to, which takes some fifteen seconds for a million of them, beside
        everything else. Another file in the place of the one that is written differs as well.
        """
        asked = Freeze()
        try:
            await self._written(asked)
        except MustEnd:
            if self._closing:
                return None
            raise
        except TaskpassError as error:
            return differs(self._path, error)
        assert asked.frozen is not None  # noqa: S101
        return await asyncio.to_thread(compare, asked.frozen, lambda: self._closing)

    async def examine(self) -> str | None:
        """Have SQLite look at all of the file; return what is wrong in a sentence, None if well."""
        return await asyncio.to_thread(examine, self._path, lambda: self._closing)

    async def watch_failure(self) -> None:
        """Return once the ledger is closed.

        Raises:
            LedgerError: It failed instead; the process must end.

        """
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        with self._changed:
            if self._ended:
                waiter.set_result(None)
            else:
                self._watchers.append((loop, waiter))
        await waiter
        if self._failure is not None:
            raise LedgerError(str(self._failure)) from self._failure

    def close(self) -> None:
        """Make durable what waits, and give the file back. Blocks; a second time does nothing."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()
        try:
            if self._failure is None and not self._store.wal.fold():
                logger.warning(
                    "The ledger's write-ahead log is still needed beside the file",
                    extra={"readers": readers(self._path)},
                )
            self._store.close()
        except (sqlite3.Error, OSError) as error:
            logger.error(
                "The ledger could not be closed whole", extra={"error": describe_error(error)}
            )

    async def _written(self, change: Change | Upkeep) -> tuple[int, ...]:
        loop = asyncio.get_running_loop()
        waiting = _Waiting(change, loop, loop.create_future())
        with self._changed:
            if self._failure is not None:
                raise LedgerError(str(self._failure)) from self._failure
            if self._closing:
                raise LedgerError("The ledger is closed: the process is ending")
            self._queue.append(waiting)
            self._changed.notify()
        return await waiting.answer

    def _run(self) -> None:
        """Write what comes in, until closed or broken. Runs in the writer's thread."""
        try:
            while (first := self._next(wait=True)) is not None:
                self._write(first)
        finally:
            if self._failure is not None:
                with contextlib.suppress(sqlite3.Error, OSError):
                    self._store.close()
            self._tell_watchers()

    def _write(self, first: _Waiting) -> None:
        taken = [first]

        def more() -> Change | None:
            waiting = self._next(wait=False)
            if waiting is None:
                return None
            taken.append(waiting)
            assert not isinstance(waiting.change, Upkeep)  # noqa: S101 (`_next` leaves it)
            return waiting.change

        began = time.monotonic()
        try:
            if isinstance(first.change, Upkeep):
                outcomes = [self._store.keep_up(first.change)]
            else:
                outcomes = self._store.write(first.change, more)
            self.on_append(time.monotonic() - began)
            head = self._store.log.head
        except BaseException as error:
            self._fail(error, taken)
            return
        by_loop: dict[asyncio.AbstractEventLoop, list[tuple[_Waiting, Outcome]]] = {}
        for waiting, outcome in zip(taken, outcomes, strict=True):
            by_loop.setdefault(waiting.loop, []).append((waiting, outcome))
        for loop, answers in by_loop.items():
            _call(loop, self._finish, answers, head)

    def _finish(self, answers: list[tuple[_Waiting, Outcome]], head: Head) -> None:
        """Let reads see what is durable, then answer. Runs in the event loop."""
        self._head = head
        for _, outcome in answers:
            if isinstance(outcome, Written):
                self._mirror.apply(outcome)
        for waiting, outcome in answers:
            if waiting.answer.done():  # the caller was cancelled
                if isinstance(waiting.change, Freeze) and waiting.change.frozen is not None:
                    waiting.change.frozen.held.close()
                continue
            if isinstance(outcome, TaskpassError):
                waiting.answer.set_exception(outcome)
            else:
                waiting.answer.set_result(outcome.indexes)

    def _fail(self, error: BaseException, taken: list[_Waiting]) -> None:
        failure = LedgerError(
            f"The ledger could not make an entry durable ({describe_error(error)}); nothing is "
            "retried, the operator ends and starts again from what is durable. See to the volume's "
            "space and health if this repeats"
        )
        failure.__cause__ = error
        with self._changed:
            self._failure = failure
            self._closing = True
            taken += self._queue
            self._queue.clear()
        for waiting in taken:
            _call(waiting.loop, _refuse, waiting.answer, failure)

    def _next(self, *, wait: bool) -> _Waiting | None:
        with self._changed:
            while wait and (pause := self._pause()) != 0.0:
                self._changed.wait(pause)
            if not self._queue or (not wait and isinstance(self._queue[0].change, Upkeep)):
                return None
            return self._queue.popleft()

    def _pause(self) -> float | None:
        """Return for how many seconds to wait for more; None: until something comes."""
        if self._closing:
            return 0.0
        if not self._queue:
            return None
        if not all(waiting.patient for waiting in self._queue):
            return 0.0
        return max(0.0, self._queue[0].since + PATIENCE_SECONDS - time.monotonic())

    def _tell_watchers(self) -> None:
        with self._changed:
            self._ended = True
            watchers, self._watchers = self._watchers, []
        for loop, waiter in watchers:
            _call(loop, _resolve, waiter)


def _call(loop: asyncio.AbstractEventLoop, function: Callable[..., None], *args: object) -> None:
    """Call a function in a loop; one that is closed has nobody who waits."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(function, *args)


def _refuse(answer: asyncio.Future[tuple[int, ...]], failure: LedgerError) -> None:
    if not answer.done():
        answer.set_exception(LedgerError(str(failure)))


def _resolve(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
