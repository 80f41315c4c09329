"""The log of a ledger's file, held against what somebody remembers of it."""

from pathlib import Path

import orjson

from taskpass.core.audit.anchor import AnchorReason, Head, compare
from taskpass.core.model.entry import PREFIX, EventType
from taskpass.ledger.log.entry_filter import Query
from taskpass.ledger.log.key_history import declared_chain
from taskpass.ledger.log.reader import LogReader, reading
from taskpass.ledger.log.signing import verify_signature
from taskpass.ledger.verify.proven import LogLocation, proven
from taskpass.tlog.checkpoint import (
    BadCheckpoint,
    PublicKey,
    open_checkpoint,
    parse_body,
    parse_note,
)
from taskpass.tlog.merkle import consistency_proof, tree_root
from taskpass.tlog.tiles import TileSubtrees


class History:
    """`ports.LogHistory` on a file that an operator writes. Every method blocks."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def compared(self, remembered: Head | None) -> tuple[Head, AnchorReason, str]:
        """See `ports.LogHistory`."""
        with reading(self._path) as log:
            head = _head(log)
            subtrees = TileSubtrees(log.size, log.tile)
            return head, *compare(remembered, head, lambda size: tree_root(size, subtrees))

    def head(self) -> Head:
        """See `ports.LogHistory`."""
        with reading(self._path) as log:
            return _head(log)

    def cosigned(self) -> str:
        """See `ports.LogHistory`."""
        with reading(self._path) as log:
            return log.cosigned()

    def consistency(self, old: int, size: int) -> list[bytes]:
        """See `ports.LogHistory`."""
        with reading(self._path) as log:
            return consistency_proof(old, size, TileSubtrees(log.size, log.tile))

    def kill_switches(self) -> dict[str, str]:
        """Return those that were activated and not lifted, of what is not pruned: name by UID."""
        open_: dict[str, str] = {}
        query = Query(type="kill_switch.")
        with proven(LogLocation(database=self._path), query, alone=True) as log:
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
        with reading(self._path) as log:
            chain = declared_chain(log)
            if not any(_signed(note, span.key) for span in chain.spans):
                raise BadCheckpoint("none of the log's keys has signed it")
            subtrees = TileSubtrees(log.size, log.tile)
            return compare(seen, _head(log), lambda size: tree_root(size, subtrees))


def _head(log: LogReader) -> Head:
    checkpoint = parse_body(parse_note(log.note)[0])
    return Head(origin=checkpoint.origin, size=log.size, root=log.root, note=log.note)


def _signed(note: str, key: PublicKey) -> bool:
    try:
        open_checkpoint(note, key, verify_signature)
    except BadCheckpoint:
        return False
    return True
