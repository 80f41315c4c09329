"""The log of a ledger's file, held against what somebody remembers of it."""

from pathlib import Path

from taskpass.core.anchor import AnchorReason, Head, compare
from taskpass.core.checkpoint import parse_body, parse_note
from taskpass.core.merkle import tree_root
from taskpass.core.tiles import TileSubtrees
from taskpass.ledger.reader import reading


class History:
    """`ports.LogHistory` on a file that an operator writes. Both methods block."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def compared(self, remembered: Head | None) -> tuple[Head, AnchorReason, str]:
        """See `ports.LogHistory`."""
        with reading(self._path) as log:
            checkpoint = parse_body(parse_note(log.note)[0])
            head = Head(origin=checkpoint.origin, size=log.size, root=log.root, note=log.note)
            subtrees = TileSubtrees(log.size, log.tile)
            return head, *compare(remembered, head, lambda size: tree_root(size, subtrees))
