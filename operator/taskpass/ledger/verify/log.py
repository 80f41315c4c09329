"""Verify a log offline: every hash is computed again from the entries, and nothing else is trusted.

What holds afterwards: the entries are those that the log's keys signed as this size and root, in
this order, none missing, none added, each key in its time (`key_history.py`). What does not: that
this is the newest state, or the only one (a rollback and a fork by whoever has the key verify).
Those are excluded only against checkpoints that were kept elsewhere (`against`).

Where entries are absent by policy, their hashes are taken from the tiles: what is there is then
proven as before, and that the absent ones were what the tiles say, by the signed root.
"""

import base64
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from taskpass.core.audit.key_history import KeyChain
from taskpass.core.errors import UsageError
from taskpass.ledger.export.files import FileReader, in_directory
from taskpass.ledger.export.zip import zipped
from taskpass.ledger.log.entry_filter import Query
from taskpass.ledger.log.reader import Incomplete, LogReader, Source, TamperEvidence, reading
from taskpass.ledger.log.signing import verify_signature
from taskpass.ledger.state.noted import Noted
from taskpass.ledger.state.tables import StrangeRow
from taskpass.ledger.verify.bundles import Bundle, Bundles
from taskpass.ledger.verify.database import Rows, check_head, check_noted, check_structure
from taskpass.ledger.verify.exported_lines import check_lines, lines_of
from taskpass.ledger.verify.parallel import in_parallel
from taskpass.ledger.verify.replay import Replay, check_absent
from taskpass.tlog import tiles
from taskpass.tlog.checkpoint import (
    BadCheckpoint,
    Checkpoint,
    PublicKey,
    parse_body,
    parse_note,
    parse_vkey,
)
from taskpass.tlog.merkle import TILE_WIDTH

Progress = Callable[[int, int], None]
"""Told how many entries of how many are verified."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One key of the log."""

    id: str
    vkey: str
    since: int
    """Size of the handover to it; 0 for the first."""
    until: int | None
    """Size of the handover from it; None for the key of today."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was verified."""

    origin: str
    size: int
    root: str
    """In base64, as in the checkpoint."""
    vkey: str
    """Of the key that signed this size."""
    keys: tuple[Key, ...]
    """All keys, oldest first."""
    pinned: bool
    """Whether the caller knew one of them; else the log's own word was taken for it."""
    pruned: int
    """Entries before this index are absent by policy, and a signed entry says so; 0 if none is.
    Such that lie in files all the same, as an archive was put back, are not absent."""
    bodies: tuple[int, int]
    """From where up to where entries were there to be read; of the others, only hashes were."""
    remembered: tuple[int, ...]
    """Sizes of the kept checkpoints that the log begins with."""
    cosigned: str
    """The checkpoint that lies with the log for its witnesses' lines, none of which was looked at;
    '' where there is none."""
    first_time: str
    """Of the first entry that was there."""
    last_time: str
    lines: tuple[tuple[str, int, int], ...] = ()
    """Files of lines, and from where up to where each has entries; all of them were checked."""

    @property
    def is_whole(self) -> bool:
        """Whether every entry was there to be read that is not absent by policy."""
        first, end = self.bodies
        return first == self.pruned and end == self.size


def verify_database(
    path: Path, *, vkey: str = "", against: Sequence[str] = (),
    progress: Progress = lambda done, size: None,
) -> Report:  # fmt: skip
    """Verify a ledger's file; an operator may be writing it.

    `vkey` is a key to demand, of today or an earlier one: all the log's keys follow from its first
    entry. `against` are the texts of checkpoints that were kept.

    Raises:
        TamperEvidence: It is not what was signed, or not what was remembered.
        Incomplete: It cannot be read.
        UsageError: An argument is not what it should be.

    """
    with reading(path) as log:
        notes = [row[0] for row in log.db.execute("SELECT note FROM ckpt ORDER BY size, kept")]
        verified = Verification(log, vkey, against, notes)
        with in_parallel(path, verified.pieces()) as pieces:
            check_structure(log.db)
            rows = Rows(log)
            verified.walk(pieces, progress)
        return _held_against(log, rows, verified, noted_in(log))


def noted_in(log: LogReader) -> Noted:
    """Return what the tables of a file say; `TamperEvidence` where no operator writes that."""
    try:
        return Noted.read(log.db)
    except StrangeRow as error:
        raise TamperEvidence(str(error)) from error


def verify_noted(log: LogReader, noted: Noted, progress: Progress) -> Replay:
    """Verify a ledger in this process, but for what SQLite says of its structure.

    It is what an operator holds its memory against before it issues anything: as `verify_database`,
    in one reading thread; of the tables beside the log, what was read of them is verified and not
    the file. `progress` may raise to end it. What the entries come to is returned.
    """
    notes = [row[0] for row in log.db.execute("SELECT note FROM ckpt ORDER BY size, kept")]
    verified = Verification(log, "", (), notes)
    rows = Rows(log)
    verified.walk(verified.pieces().all(), progress)
    _held_against(log, rows, verified, noted)
    return verified.replay


def _held_against(log: LogReader, rows: Rows, verified: "Verification", noted: Noted) -> Report:
    """Hold every table, and what is noted, against what the entries came to."""
    report = verified.report()
    check_head(log, verified.head, verified.replay)
    rows.conclude(log.kept())
    check_noted(noted, log, verified.replay)
    return report


def verify_directory(
    directory: Path, *, vkey: str = "", against: Sequence[str] = (),
    progress: Progress = lambda done, size: None,
) -> Report:  # fmt: skip
    """Verify an export, a directory or a zip; see `verify_database`."""
    if directory.is_file():
        with zipped(directory) as archive:
            report = verify_files(archive.files, vkey=vkey, against=against, progress=progress)
            lines = check_lines(archive.files, archive.lines)
            archive.check_all_read()
            return replace(report, lines=lines)
    files = in_directory(directory)
    verified = Verification(files, vkey, against, ())
    with in_parallel(directory, verified.pieces()) as pieces:
        verified.walk(pieces, progress)
    there = functools.partial(lines_of, directory)
    return replace(concluded(files, verified), lines=check_lines(files, there))


def verify_files(
    files: FileReader, *, vkey: str = "", against: Sequence[str] = (),
    progress: Progress = lambda done, size: None,
) -> Report:  # fmt: skip
    """Verify a log in files, from wherever they are read; see `verify_database`."""
    verified = Verification(files, vkey, against, ())
    verified.walk(verified.pieces().all(), progress)
    return concluded(files, verified)


def concluded(files: FileReader, verified: "Verification") -> Report:
    """Look at what is in files only."""
    verified.compare_partial_tiles()
    if files.bodies.start > verified.replay.min_index and not files.is_part:
        raise Incomplete(
            f"Entries before {files.bodies.start} cannot be read: they are not there, and no entry "
            "says that they were pruned"
        )
    if files.keys != verified.keys.text():
        raise TamperEvidence("the file 'keys' does not say what the log's entries say")
    if files.vkey != f"{verified.keys.current.vkey()}\n":
        raise TamperEvidence("the file 'vkey' is not the key that signed the log")
    return verified.report()


class Verification:
    """One verification; each step raises what `verify_database` does."""

    def __init__(
        self, source: Source, vkey: str, against: Sequence[str], notes: Sequence[str]
    ) -> None:
        """Read what is to be held against the entries; `notes` are the source's own."""
        self._source = source
        self._pin = _key(vkey) if vkey else None
        self._handovers = source.handovers()
        self._cosigned = source.cosigned()
        own = (self._cosigned,) if self._cosigned else ()
        self._notes = (*notes, *self._handovers.values(), *own)
        self._against = against
        sizes = [_parsed(note, UsageError).size for note in against]
        sizes += [_parsed(note, TamperEvidence).size for note in self._notes]
        sizes += self._handovers
        self.head = _parsed(source.note, TamperEvidence)
        self.sizes = frozenset(sizes)
        """Sizes at which the root is wanted."""
        self._walk = Replay(self.sizes)

    @property
    def keys(self) -> KeyChain:
        """The keys that the entries name."""
        return self._walk.keys

    @property
    def replay(self) -> Replay:
        """What the entries come to."""
        return self._walk

    def pieces(self, query: Query | None = None) -> Bundles:
        """Return what reads the bundles; see `Bundles`."""
        return Bundles(self._source, self.head.origin, self.sizes, query)

    def walk(
        self, pieces: Iterator[Bundle], progress: Progress,
        found: Callable[[list[tuple[int, bytes]]], None] = lambda entries: None,
    ) -> None:  # fmt: skip
        """Take every bundle, and hold checkpoint, keys, tiles and what is absent against them.

        `found` is given the entries that were asked for, as they come; none of them is proven
        before this and `report` have returned.
        """
        walk = self._walk
        for piece in pieces:
            for tile in walk.take(piece):
                if self._source.tile(tile.level, tile.number) != tile.data:
                    path = tiles.tile_path(tile.level, tile.number)
                    raise TamperEvidence(f"{path} is not what the entries hash to")
            found(piece.found)
            progress(walk.tree.size, self.head.size)
        walk.check_ids()
        if (walk.tree.size, walk.tree.root()) != (self.head.size, self.head.root):
            raise TamperEvidence("the entries are not those that the checkpoint was signed over")
        if isinstance(self._source, LogReader):
            check_absent(self._source, walk)
        self._check_keys()

    def compare_partial_tiles(self) -> None:
        """Compare the unfinished tiles, which exist as files only."""
        for level, partial in self._walk.tree.partial_tiles().items():
            width = len(partial) // 32
            number = (self.head.size >> (8 * level)) // TILE_WIDTH
            if self._source.tile(level, number, width) != partial:
                path = tiles.tile_path(level, number, width)
                raise TamperEvidence(f"{path} is not what the entries hash to")

    def report(self) -> Report:
        """Hold every kept checkpoint against the log, and say what holds."""
        self._opened(self._source.note, "the checkpoint")
        remembered = [self._remembered(note, "a kept checkpoint") for note in self._against]
        for note in self._notes:
            self._remembered(note, "a checkpoint that lies with the log")
        if self._pin is not None and not self.keys.has(self._pin):
            raise TamperEvidence(
                f"the key {self._pin.vkey()} is of another log, or none that this log ever had"
            )
        walk, head, bodies = self._walk, self.head, self._source.bodies
        return Report(
            origin=head.origin,
            size=head.size,
            root=base64.b64encode(head.root).decode(),
            vkey=self.keys.current.vkey(),
            keys=keys_of(self.keys),
            pinned=self._pin is not None,
            pruned=min(walk.min_index, bodies.start),
            bodies=(bodies.start, bodies.stop),
            remembered=tuple(c.size for c in remembered),
            cosigned=self._cosigned,
            first_time=walk.first_time,
            last_time=walk.last_time,
        )

    def _check_keys(self) -> None:
        """Hold the handovers that lie with the log against those that its entries tell of."""
        told = self.keys.handovers
        for size in sorted({*told, *self._handovers}):
            if size not in told:
                raise TamperEvidence(f"no entry tells of a handover of keys at size {size}")
            note = self._handovers.get(size)
            if note is None or _parsed(note, TamperEvidence).size != size:
                raise TamperEvidence(
                    f"the key was handed over at size {size}, and no checkpoint of it is kept"
                )

    def _remembered(self, note: str, what: str) -> Checkpoint:
        size = _parsed(note, UsageError).size
        if size > self.head.size:
            more = f"the log has {self.head.size} entries, and had {size} when {what} was signed"
            try:
                self._opened(note, what)
            except TamperEvidence as error:
                raise TamperEvidence(f"ROLLBACK, or not this log's: {more}; but {error}") from error
            raise TamperEvidence(f"ROLLBACK: {more}")
        checkpoint = self._opened(note, what)
        if self._walk.roots[size] != checkpoint.root:
            raise TamperEvidence(
                f"FORK: the log's first {size} entries are not those that {what} was signed over"
            )
        return checkpoint

    def _opened(self, note: str, what: str) -> Checkpoint:
        try:
            return self.keys.open(note, verify_signature)
        except BadCheckpoint as error:
            raise TamperEvidence(f"{what} does not hold: {error}") from error


def keys_of(chain: KeyChain) -> tuple[Key, ...]:
    """Return the keys for a report."""
    return tuple(
        Key(id=s.key.id.hex(), vkey=s.key.vkey(), since=s.since, until=s.until) for s in chain.spans
    )


def _parsed(note: str, wrong: type[UsageError] | type[TamperEvidence]) -> Checkpoint:
    try:
        return parse_body(parse_note(note)[0])
    except BadCheckpoint as error:
        raise wrong(f"A checkpoint cannot be read: {error}") from error


def _key(vkey: str) -> PublicKey:
    try:
        return parse_vkey(vkey)
    except BadCheckpoint as error:
        raise UsageError(f"The key to verify with cannot be read: {error}") from error
