"""Verify a log offline: every hash is computed again from the entries, and nothing else is trusted.

What holds afterwards: the entries are those that the log's key signed as this size and root, in
this order, none missing, none added. What does not: that this is the newest state, or the only one
(a rollback and a fork by whoever has the key verify). Those are excluded only against checkpoints
that were kept elsewhere (`against`).
"""

import base64
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson

from taskpass.core import tiles
from taskpass.core.audit import PREFIX, EventType
from taskpass.core.checkpoint import (
    BadCheckpoint,
    Checkpoint,
    PublicKey,
    open_checkpoint,
    parse_body,
    parse_note,
    parse_vkey,
)
from taskpass.core.errors import UsageError
from taskpass.core.merkle import TILE_WIDTH, Tile, Tree, leaf_hash
from taskpass.ledger.keys import verify_signature
from taskpass.ledger.reader import Incomplete, TamperEvidence, reading
from taskpass.ledger.verify_database import check_rows, check_state, declared_key


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was verified."""

    origin: str
    size: int
    root: str
    """In base64, as in the checkpoint."""
    vkey: str
    pinned: bool
    """Whether the caller knew the key; else the log's own word was taken for it."""
    remembered: tuple[int, ...]
    """Sizes of the kept checkpoints that the log begins with."""
    first_time: str
    last_time: str


class Walk:
    """Goes through the entries in order, and computes everything from them."""

    def __init__(self, key: PublicKey, sizes: Iterable[int]) -> None:
        """Take the key that the log declares, and the sizes at which the root is wanted."""
        self._key = key
        self._wanted = set(sizes)
        self.tree = Tree()
        self.roots: dict[int, bytes] = {0: self.tree.root()}
        self.first_time = self.last_time = ""

    def take(self, body: bytes) -> tuple[dict[str, Any], list[Tile]]:
        """Take the next entry; return what it says, and the tiles that it completes."""
        event = self._checked(body, self.tree.size)
        done = self.tree.append(leaf_hash(body))
        if self.tree.size in self._wanted:
            self.roots[self.tree.size] = self.tree.root()
        return event, done

    def conclude(self, checkpoint: Checkpoint) -> None:
        """Raise `TamperEvidence` unless all that was taken is what the checkpoint says."""
        if (self.tree.size, self.tree.root()) != (checkpoint.size, checkpoint.root):
            raise TamperEvidence("the entries are not those that the checkpoint was signed over")

    def _checked(self, body: bytes, index: int) -> dict[str, Any]:
        try:
            event = orjson.loads(body)
            UUID(event["id"])
            time, data = event["time"], event["data"]
            known = event["type"].startswith(PREFIX) and isinstance(data, dict)
        except (ValueError, TypeError, KeyError, AttributeError):
            raise TamperEvidence(f"entry {index} is not an event of ours") from None
        if not known or event["source"] != self._key.name:
            raise TamperEvidence(f"entry {index} is not of this log")
        if index == 0:
            self.first_time = time
            genesis = event["type"] == PREFIX + EventType.LOG_GENESIS
            if not genesis or data.get("vkey") != self._key.vkey():
                raise TamperEvidence("the first entry does not name the key that signed the log")
        if not isinstance(time, str) or time < self.last_time:
            raise TamperEvidence(f"the time of entry {index} is before that of the one before it")
        self.last_time = time
        return event  # type: ignore[no-any-return]


def verify_database(path: Path, *, vkey: str = "", against: Sequence[str] = ()) -> Report:
    """Verify a ledger's file; an operator may be writing it.

    `vkey` is the key to demand, `against` the texts of checkpoints that were kept.

    Raises:
        TamperEvidence: It is not what was signed, or not what was remembered.
        Incomplete: It cannot be read.
        UsageError: An argument is not what it should be.

    """
    with reading(path) as log:
        key = _key(vkey) if vkey else declared_key(log)
        head = _opened(log.note, key, "the ledger's checkpoint")
        rows = log.db.execute("SELECT note FROM ckpt ORDER BY size").fetchall()
        kept = [_opened(row[0], key, "a checkpoint that the ledger keeps") for row in rows]
        remembered = _remembered(against, key)
        walk = Walk(key, [c.size for c in (*kept, *remembered)])
        state = check_rows(log, walk.take)
        walk.conclude(head)
        if (log.size, log.root, log.frontier) != (head.size, head.root, walk.tree.frontier()):
            raise TamperEvidence("the ledger's head does not say what its checkpoint says")
        check_state(log.db, state)
    return _report(walk, head, key, bool(vkey), kept, remembered)


def verify_directory(directory: Path, *, vkey: str = "", against: Sequence[str] = ()) -> Report:
    """Verify an export; see `verify_database`."""
    note = _text(directory / "checkpoint")
    key = _key(vkey) if vkey else _declared(_text(directory / "vkey"))
    head = _opened(note, key, "the checkpoint")
    remembered = _remembered(against, key)
    walk = Walk(key, [c.size for c in remembered])
    listing = directory / "entries.jsonl"
    lines = listing.open("rb") if listing.exists() else None
    try:
        for number, width in tiles.widths(head.size, 0):
            _take_bundle(directory, walk, number, width, lines.readline if lines else None)
        if lines is not None and lines.readline():
            raise TamperEvidence("entries.jsonl has more lines than the log has entries")
    finally:
        if lines is not None:
            lines.close()
    walk.conclude(head)
    for level, partial in walk.tree.partial_tiles().items():
        width = len(partial) // 32
        number = (head.size >> (8 * level)) // TILE_WIDTH
        _compare_tile(directory, level, number, width, partial)
    return _report(walk, head, key, bool(vkey), [], remembered)


def _take_bundle(
    directory: Path, walk: Walk, number: int, width: int, line: Callable[[], bytes] | None
) -> None:
    path = tiles.entries_path(number, width)
    try:
        entries = tiles.unpack(_bytes(directory / path))
    except tiles.BadBundle as error:
        raise TamperEvidence(f"{path} is damaged: {error}") from error
    if len(entries) != width:
        raise TamperEvidence(f"{path} has {len(entries)} entries, not {width}")
    for body in entries:
        if line is not None and line() != body + b"\n":
            raise TamperEvidence("entries.jsonl does not say what the log's entries say")
        for tile in walk.take(body)[1]:
            _compare_tile(directory, tile.level, tile.number, TILE_WIDTH, tile.data)


def _compare_tile(directory: Path, level: int, number: int, width: int, data: bytes) -> None:
    path = tiles.tile_path(level, number, width)
    if _bytes(directory / path) != data:
        raise TamperEvidence(f"{path} is not what the entries hash to")


def _report(
    walk: Walk, head: Checkpoint, key: PublicKey, pinned: bool, kept: Sequence[Checkpoint],
    remembered: Sequence[Checkpoint],
) -> Report:  # fmt: skip
    for checkpoint in (*kept, *remembered):
        if checkpoint.size > head.size:
            raise TamperEvidence(
                f"ROLLBACK: the log has {head.size} entries, and had {checkpoint.size} when a "
                "checkpoint of it was kept"
            )
        if walk.roots[checkpoint.size] != checkpoint.root:
            raise TamperEvidence(
                f"FORK: the log's first {checkpoint.size} entries are not those that a kept "
                "checkpoint was signed over"
            )
    return Report(
        origin=head.origin,
        size=head.size,
        root=base64.b64encode(head.root).decode(),
        vkey=key.vkey(),
        pinned=pinned,
        remembered=tuple(c.size for c in remembered),
        first_time=walk.first_time,
        last_time=walk.last_time,
    )


def _remembered(texts: Sequence[str], key: PublicKey) -> list[Checkpoint]:
    for text in texts:
        try:
            parse_body(parse_note(text)[0])
        except BadCheckpoint as error:
            raise UsageError(f"A kept checkpoint cannot be read: {error}") from error
    return [_opened(text, key, "a kept checkpoint") for text in texts]


def _opened(text: str, key: PublicKey, what: str) -> Checkpoint:
    try:
        return open_checkpoint(text, key, verify_signature)
    except BadCheckpoint as error:
        raise TamperEvidence(f"{what} does not hold: {error}") from error


def _key(vkey: str) -> PublicKey:
    try:
        return parse_vkey(vkey)
    except BadCheckpoint as error:
        raise UsageError(f"The key to verify with cannot be read: {error}") from error


def _declared(vkey: str) -> PublicKey:
    try:
        return parse_vkey(vkey)
    except BadCheckpoint as error:
        raise TamperEvidence(f"the key that lies with the log does not hold: {error}") from error


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Incomplete(f"{path} cannot be read ({error.strerror})") from error


def _text(path: Path) -> str:
    try:
        return _bytes(path).decode()
    except UnicodeDecodeError:
        raise TamperEvidence(f"{path.name} is not text") from None
