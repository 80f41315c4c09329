"""A log in files (C2SP tlog-tiles, and what we add), wherever they come from.

checkpoint                       the signed head
tile/<L>/<N>, tile/entries/<N>   hashes and entries (tlog/tiles.py)
keys                             a line for each key: since which size, and its vkey
vkey                             the last of them, which signed `checkpoint`
handover/<SIZE>                  the checkpoint that both keys signed, where one followed another
cosigned                         the last checkpoint that witnesses have cosigned, where one is
kept/<INDEX>                     an entry outside of the bundles, as the keys follow from it
range                            "A:B" where only entries A up to B are in it
"""

import functools
import re
from collections.abc import Callable
from pathlib import Path

from taskpass.core.audit.key_history import BadChain, sizes_of
from taskpass.ledger.log.key_history import declared_chain
from taskpass.ledger.log.reader import Incomplete, LogReader, TamperEvidence
from taskpass.tlog import tiles
from taskpass.tlog.checkpoint import BadCheckpoint, parse_body, parse_note
from taskpass.tlog.merkle import TILE_WIDTH

Read = Callable[[str], bytes]
"""Returns the bytes of a path; `Absent` where there is none, `Incomplete` where it cannot."""

TRIES = 5
"""How often the head is read of a log that grows each time while it is read."""


class Absent(Incomplete):
    """There is no such file."""


class FileReader:
    """A `Source` on files."""

    def __init__(self, read: Read) -> None:
        """Read checkpoint and keys; see `Source` for what may be raised.

        A log that is served grows meanwhile: what tells of more entries than the checkpoint is
        newer, and the checkpoint is read once more. In an export it stays what it is.
        """
        self._read = read
        for _ in range(TRIES):
            self._read_head()
            if not self._is_outrun():
                break
        self.is_part = False
        """Whether it says itself that it has only some of the entries."""
        self.bodies = self._ranged()

    def _read_head(self) -> None:
        self.note = self.text("checkpoint")
        try:
            self.size = parse_body(parse_note(self.note)[0]).size
        except BadCheckpoint as error:
            raise TamperEvidence(f"the checkpoint does not hold: {error}") from error
        self.keys = self.text("keys")
        """The file `keys`."""
        self.vkey = self.text("vkey")
        """The file `vkey`."""
        try:
            self._cosigned = self.text("cosigned")
        except Absent:
            self._cosigned = ""

    def _is_outrun(self) -> bool:
        """Tell whether the other files are of more entries than the checkpoint, or of two states.

        What cannot be read is of none; whoever verifies it says so.
        """
        try:
            seen = parse_body(parse_note(self._cosigned)[0]).size if self._cosigned else 0
            sizes = sizes_of(self.keys)
        except (BadCheckpoint, BadChain):
            return False
        return max(seen, *sizes, 0) > self.size or not self.keys.endswith(f" {self.vkey}")

    def text(self, path: str) -> str:
        """Return a file that is text."""
        try:
            return self._read(path).decode()
        except UnicodeDecodeError:
            raise TamperEvidence(f"{path} is not text") from None

    def bundle(self, number: int) -> list[bytes]:
        """Return the entries of one bundle."""
        width = min(TILE_WIDTH, self.size - number * TILE_WIDTH)
        path = tiles.entries_path(number, width)
        try:
            entries = tiles.unpack(self._read(path))
        except tiles.BadBundle as error:
            raise TamperEvidence(f"{path} is damaged: {error}") from error
        return entries

    def entry(self, index: int) -> bytes:
        """Return the bytes of one entry."""
        if 0 <= index < self.size and index not in self.bodies:
            kept = self.kept().get(index)
            if kept is None:
                raise Absent(f"Entry {index} is not among those that are here")
            return kept
        number, at = divmod(index, TILE_WIDTH)
        entries = self.bundle(number) if 0 <= index < self.size else []
        if at >= len(entries):
            raise TamperEvidence(f"entry {index} is missing")
        return entries[at]

    def tile(self, level: int, number: int, width: int = TILE_WIDTH) -> bytes:
        """Return a tile of hashes."""
        return self._read(tiles.tile_path(level, number, width))

    def handovers(self) -> dict[int, str]:
        """Return the checkpoints of the handovers, by size."""
        return {size: self.text(f"handover/{size}") for size in self._sizes()}

    def kept(self) -> dict[int, bytes]:
        """Return the entries outside of `bodies` that were kept."""
        return {i: self._read(f"kept/{i}") for i in self._to_keep() if i not in self.bodies}

    def has_twice(self, path: str) -> bool:
        """Tell whether a file is an entry that was kept, and that is in its bundle as well.

        So it is where an archive's bundles were put back.
        """
        here = [i for i in self._to_keep() if i in self.bodies and path == f"kept/{i}"]
        return any(self._read(path) == self.entry(i) for i in here)

    def cosigned(self) -> str:
        """Return the last checkpoint that witnesses have cosigned; '' where there is none."""
        return self._cosigned

    def _to_keep(self) -> list[int]:
        return [0, *(size - 1 for size in self._sizes())]

    def _sizes(self) -> tuple[int, ...]:
        try:
            return sizes_of(self.keys)
        except BadChain as error:
            raise TamperEvidence(str(error)) from error

    def _ranged(self) -> range:
        """Return which entries are there: those that `range` names, else all from the first on."""
        try:
            text = self.text("range")
        except Absent:
            return range(self._first(), self.size)
        self.is_part = True
        found = re.fullmatch(r"(\d{1,15}):(\d{1,15})\n", text)
        first, end = map(int, found.groups()) if found else (1, 0)
        if first % TILE_WIDTH or (end % TILE_WIDTH and end != self.size):
            raise TamperEvidence("the file 'range' does not say which bundles are here")
        if not first <= end <= self.size:
            raise TamperEvidence("the file 'range' does not say which bundles are here")
        return range(first, end)

    def _first(self) -> int:
        """Find the first bundle: all are there, or those of a pruned log."""
        low, high = 0, self.size // TILE_WIDTH
        if high == 0 or self._has(0):
            return 0
        while low < high:  # all before the first are absent, all from it on are there
            middle = (low + high) // 2
            low, high = (low, middle) if self._has(middle) else (middle + 1, high)
        return low * TILE_WIDTH

    def _has(self, number: int) -> bool:
        try:
            self._read(tiles.entries_path(number))
        except Absent:
            return False
        return True


def in_directory(directory: Path) -> FileReader:
    """Return the log in a directory."""
    return FileReader(functools.partial(_bytes, directory))


def key_files(log: LogReader, bodies: range) -> dict[str, bytes]:
    """Return by path the files that tell of a log's keys, beside those entries of it."""
    chain = declared_chain(log)
    files = {f"handover/{size}": note.encode() for size, note in log.handovers().items()}
    files |= {f"kept/{index}": log.entry(index) for index in chain.entries if index not in bodies}
    if note := log.cosigned():
        files["cosigned"] = note.encode()
    return files | {"keys": chain.text().encode(), "vkey": f"{chain.current.vkey()}\n".encode()}


def _bytes(directory: Path, path: str) -> bytes:
    try:
        return (directory / path).read_bytes()
    except FileNotFoundError as error:
        raise Absent(f"{directory / path} cannot be read ({error.strerror})") from error
    except OSError as error:
        raise Incomplete(f"{directory / path} cannot be read ({error.strerror})") from error
