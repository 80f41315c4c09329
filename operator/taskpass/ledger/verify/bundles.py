"""Read a log's bundles, one by one, and find out what each says: the work of verification.

Every bundle stands for itself, so several processes can share them (`parallel.py`). What follows
from all of them together is `replay.py`'s.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from taskpass.core.audit.grant_history import GrantAltered, GrantHistory, Step, step_of
from taskpass.core.audit.task_history import TaskStep, task_step_of
from taskpass.core.model.entry import PREFIX, EventType
from taskpass.core.model.grant import GrantState
from taskpass.ledger.log.entry_filter import Query
from taskpass.ledger.log.index import IndexRow, index_row
from taskpass.ledger.log.reader import LogReader, Source, TamperEvidence
from taskpass.tlog import tiles
from taskpass.tlog.merkle import TILE_WIDTH, leaf_hash, leaf_hashes, subtree_root

_GENESIS, _ROTATE = str(EventType.LOG_GENESIS), str(EventType.LOG_KEY_ROTATE)
_HEEDED = frozenset(
    {
        _GENESIS, _ROTATE, str(EventType.LOG_PRUNE), str(EventType.LOG_OPEN),
        str(EventType.PRIVACY_ERASE), str(EventType.WORKLOAD_FORGET), str(EventType.LOG_RETELL),
    }
)  # fmt: skip
_CREDENTIAL = "credential."
_DELIVER = str(EventType.CREDENTIAL_DELIVER)
_KEEPABLE = frozenset({_GENESIS, _ROTATE})


@dataclass(slots=True)
class Bundle:
    """What one bundle says."""

    start: int
    """Index of its first entry."""
    leaves: list[bytes]
    """Its leaf hashes; left out where `root` is enough."""
    root: bytes
    """Over all of them; empty where the bundle is not full."""
    first_time: str = ""
    last_time: str = ""
    begun: dict[str, GrantHistory] = field(default_factory=dict)
    """Grants whose intent it tells, and not their end."""
    moved: dict[str, list[Step]] = field(default_factory=dict)
    """What it tells of grants that were begun before it."""
    over: set[str] = field(default_factory=set)
    """Grants whose end it tells, and not their intent."""
    declared: dict[str, Step] = field(default_factory=dict)
    """Grants whose end nobody has proven, and the entry that says so."""
    tasks: list[TaskStep] = field(default_factory=list)
    """What it says of tasks that their records have to say as well."""
    people: dict[str, set[str]] = field(default_factory=dict)
    """Commitments to names, by reference."""
    named: dict[str, int] = field(default_factory=dict)
    """The last entry about each of them."""
    noticed: list[tuple[str, int]] = field(default_factory=list)
    """UID of the task and index, of entries with which people were told something."""
    ids: bytes = b""
    """The ids of its entries, each in 16 bytes."""
    counts: dict[tuple[str, str], int] = field(default_factory=dict)
    """How many entries it has of each type and day."""
    events: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    """What it says of the log itself."""
    found: list[tuple[int, bytes]] = field(default_factory=list)
    """Index and bytes of the entries that were asked for."""


class Bundles:
    """Reads the bundles of a source. Each method raises as `Source`, or `TamperEvidence`."""

    def __init__(
        self, source: Source, origin: str, wanted: frozenset[int], query: Query | None = None
    ) -> None:
        """Take the log's name and the sizes at which the root is wanted.

        Entries that `query` asks for are given with their bundles. Without one, the index of a
        ledger's file is compared as well.
        """
        self.source = source
        self.origin = origin
        self.wanted = wanted
        self._within = {size // TILE_WIDTH for size in wanted if size % TILE_WIDTH}
        self.query = query
        self._kept = source.kept()
        self.count = -(-source.size // TILE_WIDTH)
        """How many bundles there are."""
        self._index = source.db if isinstance(source, LogReader) and query is None else None

    def all(self) -> Iterator[Bundle]:
        """Return every bundle in order."""
        return map(self.one, range(self.count))

    def one(self, number: int) -> Bundle:
        """Return one bundle; a full one is found to be under its tile."""
        start = number * TILE_WIDTH
        width = min(TILE_WIDTH, self.source.size - start)
        if start not in self.source.bodies:
            return self._absent(number, width)
        entries = self.source.bundle(number)
        if len(entries) != width:
            raise TamperEvidence(f"bundle {number} has {len(entries)} entries, not {width}")
        leaves = leaf_hashes(entries)
        if width == TILE_WIDTH and self.source.tile(0, number) != b"".join(leaves):
            raise TamperEvidence(f"{tiles.tile_path(0, number)} is not what the entries hash to")
        piece = self._piece(number, leaves)
        rows = self._told(entries, piece)
        if self._index is not None:
            _compare(self._index, start, rows)
        return piece

    def accepted(self, number: int, piece: Bundle | None) -> Bundle:
        """Return a full bundle as another process has read it, or else read it.

        Entries that it has are hashed by whoever walks. Of a bundle that it found absent only the
        hashes are there, and nothing would show that entries are left out.
        """
        there = number * TILE_WIDTH in self.source.bodies
        if piece is None or bool(piece.first_time) is not there:
            return self.one(number)
        return piece

    def rest(self, start: int) -> Bundle:
        """Return the entries of a bundle from an index on: what it has grown by since."""
        number, before = divmod(start, TILE_WIDTH)
        entries = self.source.bundle(number)[before:]
        piece = Bundle(start, leaf_hashes(entries), b"")
        self._told(entries, piece)
        return piece

    def _piece(self, number: int, leaves: list[bytes]) -> Bundle:
        start = number * TILE_WIDTH
        if len(leaves) < TILE_WIDTH:
            return Bundle(start, leaves, b"")
        within = number in self._within
        return Bundle(start, leaves if within else [], subtree_root(leaves))

    def _told(self, entries: list[bytes], bundle: Bundle) -> list[IndexRow]:
        """Note what the entries say; return what the index is to say of them."""
        rows: list[IndexRow] = []
        index, last, query = bundle.start, "", self.query
        for body in entries:
            # Nothing of an entry is kept but its row: a million dicts at once cost more than all.
            row, event = _read(body, index, self.origin)
            time = row[2]
            if not isinstance(time, str) or time < last:
                raise TamperEvidence(f"the time of entry {index} is before that of the one before")
            last = time
            rows.append(row)
            try:
                _note(bundle, index, row, event)
            except GrantAltered as altered:
                raise altered_by(index, altered) from None
            except (ValueError, TypeError, KeyError, AttributeError):
                raise TamperEvidence(f"entry {index} is not an event of ours") from None
            if query is not None and query.wants(index, row, event):
                bundle.found.append((index, body))
            index += 1
        bundle.ids = b"".join([row[0] for row in rows])
        bundle.first_time, bundle.last_time = str(rows[0][2]), last
        return rows

    def _absent(self, number: int, width: int) -> Bundle:
        """Return a bundle of which only the hashes are there, and what its keys follow from."""
        data = self.source.tile(0, number, width)
        if len(data) != width * 32:
            raise TamperEvidence(f"{tiles.tile_path(0, number, width)} is cut, or too long")
        leaves = tiles.hashes_of(data)
        piece = self._piece(number, leaves)
        for index in sorted(i for i in self._kept if 0 <= i - piece.start < width):
            body = self._kept[index]
            if leaf_hash(body) != leaves[index - piece.start]:
                raise TamperEvidence(f"entry {index} is not what its tile says")
            row, event = _read(body, index, self.origin)
            if row[1] not in _KEEPABLE:
                raise TamperEvidence(f"entry {index} is there, though it was to be absent")
            piece.events.append((index, event))
            _count(piece, row)
            if self.query is not None and self.query.wants(index, row, event):
                piece.found.append((index, body))
        return piece


def _read(body: bytes, index: int, origin: str) -> tuple[IndexRow, dict[str, Any]]:
    try:
        event: dict[str, Any] = orjson.loads(body)
        row = index_row(event)
        ours = event["type"].startswith(PREFIX) and event["source"] == origin
    except (ValueError, TypeError, KeyError, AttributeError):
        raise TamperEvidence(f"entry {index} is not an event of ours") from None
    if not ours:
        raise TamperEvidence(f"entry {index} is not of this log")
    return row, event


def _note(bundle: Bundle, index: int, row: IndexRow, event: dict[str, Any]) -> None:
    """Note what an entry says of grants, tasks, people and the log."""
    kind, data = str(row[1]), event["data"]
    _count(bundle, row)
    if kind.startswith(_CREDENTIAL):
        step = step_of(index, event)
        if step is not None:
            _move(bundle, str(row[5]), step)
        if (kind == _DELIVER and "approval" in data["cred"]) or "finish" in data:
            _step(bundle, event)
    elif kind in _HEEDED or index == 0:
        bundle.events.append((index, event))
    else:
        _step(bundle, event)
    if "notice" in data and row[4] is not None:
        bundle.noticed.append((str(row[4]), index))
    if "by" in data:
        _meet(bundle, data["by"].values(), index)
    if "started_by" in data:
        _meet(bundle, data["started_by"], index)


def _count(bundle: Bundle, row: IndexRow) -> None:
    day = (str(row[1]), str(row[2])[:10])
    bundle.counts[day] = bundle.counts.get(day, 0) + 1


def altered_by(index: int, altered: GrantAltered) -> TamperEvidence:
    """Return what to raise of an entry that was made of an edited record."""
    return TamperEvidence(
        f"entry {index} says otherwise of its grant than the entries before: {altered}"
    )


def _step(bundle: Bundle, event: dict[str, Any]) -> None:
    moved = task_step_of(event)
    if moved is not None:
        bundle.tasks.append(moved)


def _meet(bundle: Bundle, people: Iterable[Mapping[str, Any]], index: int) -> None:
    for who in people:
        if "ref" in who:
            bundle.named[str(who["ref"])] = index
            bundle.people.setdefault(str(who["ref"]), set()).add(str(who.get("c")))


def _move(bundle: Bundle, grant: str, step: Step) -> None:
    if step.state is GrantState.INTENT:
        bundle.begun[grant] = GrantHistory(step.index, step.state, step.time, step.task, step.data)
    elif not step.state.held:
        if step.state is GrantState.DECLARED_GONE:
            bundle.declared[grant] = step
        begun = bundle.begun.pop(grant, None)
        if begun is not None:
            begun.after(step)
        else:
            bundle.moved.setdefault(grant, []).append(step)
            bundle.over.add(grant)
    elif grant in bundle.begun:
        bundle.begun[grant] = bundle.begun[grant].after(step)
    else:
        bundle.moved.setdefault(grant, []).append(step)


def _compare(db: sqlite3.Connection, start: int, told: list[IndexRow]) -> None:
    # As many rows as there are numbers in the range, so each number has its own.
    rows = db.execute(
        "SELECT id, type, time, subject, task, cred FROM idx WHERE seq >= ? AND seq < ?"
        " ORDER BY seq",
        (start, start + len(told)),
    ).fetchall()
    if rows != told:
        raise TamperEvidence(f"the index does not say of the entries from {start} on what they say")
