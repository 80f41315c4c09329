"""The log of a ledger's file, held against what somebody remembers of it.

Of the file only what is under the log's own head is believed: the head that the writer has in
memory where one is given, else the signed checkpoint. The file may be edited at any time, and
another may be put in its place; that is said then, and shows nothing about the log.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson

from taskpass.core.audit.anchor import AnchorReason, Head, compare
from taskpass.core.model.entry import PREFIX, EventType
from taskpass.ledger.log.entry_filter import Query
from taskpass.ledger.log.proven_keys import proven_chain, signed_head
from taskpass.ledger.log.proven_reads import grown_from
from taskpass.ledger.log.reader import LogReader, TamperEvidence, reading
from taskpass.ledger.log.signing import verify_signature
from taskpass.ledger.verify.proven import LogLocation, proven
from taskpass.tlog.checkpoint import (
    BadCheckpoint,
    PublicKey,
    open_checkpoint,
    parse_body,
    parse_note,
)
from taskpass.tlog.merkle import tree_root
from taskpass.tlog.tiles import TileSubtrees


class History:
    """`ports.LogHistory` on a file that an operator writes. Every method blocks."""

    def __init__(self, path: Path, own: Callable[[], Head] | None = None) -> None:
        """`own` returns the head that the writer of the file has in memory."""
        self._path = path
        self._own = own

    def compared(self, remembered: Head | None) -> tuple[Head, AnchorReason, str]:
        """See `ports.LogHistory`."""
        with self._held() as (log, head):
            return head, *_compared(remembered, log, head)

    def head(self) -> Head:
        """See `ports.LogHistory`."""
        if self._own is not None:
            return self._own()
        with self._held() as (_, head):
            return head

    def cosigned(self) -> str:
        """See `ports.LogHistory`."""
        with self._held() as (log, head):
            note = log.cosigned()
            try:
                kept = parse_body(parse_note(note)[0])
            except BadCheckpoint:  # there is none, or no one's
                return ""
            before = _root(log, kept.size, head) if kept.size <= head.size else b""
            return note if (kept.origin, kept.root) == (head.origin, before) else ""

    def consistency(self, old: int, size: int) -> list[bytes]:
        """See `ports.LogHistory`."""
        with self._held() as (log, head):
            root = head.root if size == head.size else _root(log, size, head)
            return grown_from(log, old, size, root)[1]

    def kill_switches(self) -> dict[str, str]:
        """Return those that were activated and not lifted, of what is not pruned: name by UID."""
        open_: dict[str, str] = {}
        query = Query(type="kill_switch.")
        own = None if self._own is None else self._own()
        with proven(LogLocation(database=self._path), query, alone=True) as log:
            if own is not None and isinstance(log.source, LogReader):
                _hold(log.source, own, self._path)
            for _, body in log.entries:
                event = orjson.loads(body)
                told = event["data"]["kill_switch"]
                if event["type"] == PREFIX + EventType.KILL_SWITCH_LIFT:
                    open_.pop(told["uid"], None)
                else:
                    open_[told["uid"]] = told["name"]
        return open_

    def judged(self, note: str) -> tuple[AnchorReason, str]:
        """See `ports.LogHistory`."""
        checkpoint = parse_body(parse_note(note)[0])
        seen = Head(origin=checkpoint.origin, size=checkpoint.size, root=checkpoint.root)
        with self._held() as (log, head):
            chain = proven_chain(log, head.size, head.root)
            if not any(_signed(note, span.key) for span in chain.spans):
                raise BadCheckpoint("none of the log's keys has signed it")
            return _compared(seen, log, head)

    @contextmanager
    def _held(self) -> Iterator[tuple[LogReader, Head]]:
        """Give the file, found to begin with the log's own head, and that."""
        own = None if self._own is None else self._own()  # before the file, which may have grown
        with reading(self._path) as log:
            head = own or _signed_head(log)
            _hold(log, head, self._path)
            yield log, head


def _hold(log: LogReader, head: Head, path: Path) -> None:
    if log.size < head.size:
        there = f"{log.size} entries"
    elif tree_root(head.size, TileSubtrees(log.size, log.tile)) != head.root:
        there = "other entries"
    else:
        return
    raise TamperEvidence(
        f"{path} is not the file that the log is written to, or was edited: it has {there}, where "
        f"{head.size} were written"
    )


def _root(log: LogReader, size: int, head: Head) -> bytes:
    return grown_from(log, size, head.size, head.root)[0]


def _compared(remembered: Head | None, log: LogReader, head: Head) -> tuple[AnchorReason, str]:
    """Compare, by roots that are proven from the log's own head: no edited tile makes a fork."""
    return compare(remembered, head, lambda size: _root(log, size, head))


def _signed_head(log: LogReader) -> Head:
    checkpoint = signed_head(log)
    return Head(origin=checkpoint.origin, size=checkpoint.size, root=checkpoint.root, note=log.note)


def _signed(note: str, key: PublicKey) -> bool:
    try:
        open_checkpoint(note, key, verify_signature)
    except BadCheckpoint:
        return False
    return True
