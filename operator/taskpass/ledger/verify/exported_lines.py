"""Lines of an export, held against the hashes that were verified under its checkpoint."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO

from taskpass.ledger.export.files import FileReader
from taskpass.ledger.export.formats import FORMATS, LineFormat
from taskpass.ledger.log.reader import Incomplete, TamperEvidence
from taskpass.tlog import tiles
from taskpass.tlog.merkle import HASH_SIZE, TILE_WIDTH, leaf_hash

MOST_CHARACTERS = 1 << 20
"""Of one line: an entry has 64 KiB at most, and is in it once or twice, escaped."""
Lines = Callable[[str], AbstractContextManager[IO[str] | None]]
"""Opens a file of lines by its name; None where there is no such file."""


def check_lines(files: FileReader, lines: Lines) -> tuple[tuple[str, int, int], ...]:
    """Hold every file of lines against the log's hashes, which are verified already.

    Return each one's name, and from where up to where it has entries: lines that are missing at its
    ends are for the reader to miss.

    Raises:
        TamperEvidence: A line is not of an entry of the log, says another thing than its entry, or
            is not where it belongs.

    """
    found = []
    for form in FORMATS.values():
        with lines(form.file) as file:
            if file is not None:
                found.append((form.file, *_check(files, form, file)))
    return tuple(found)


@contextmanager
def lines_of(directory: Path, name: str) -> Iterator[IO[str] | None]:
    """Open a file of lines in a directory."""
    try:
        file = (directory / name).open(encoding="utf-8", newline="\n")
    except FileNotFoundError:
        yield None
        return
    except OSError as error:
        raise Incomplete(f"{directory / name} cannot be read ({error.strerror})") from error
    with file:
        yield file


def _check(files: FileReader, form: LineFormat, file: IO[str]) -> tuple[int, int]:
    name, at, index = form.file, 0, -1
    leaves = _Leaves(files)
    try:
        if form.head and file.readline(MOST_CHARACTERS) != f"{form.head}\n":
            raise TamperEvidence(f"{name} does not begin with the line that names its columns")
        while line := file.readline(MOST_CHARACTERS):
            at += 1
            body = form.raw(line.removesuffix("\n")).encode()
            index = leaves.find(leaf_hash(body), index + 1, exact=at > 1)
            if f"{form.line(body, index)}\n" != line:
                raise TamperEvidence(f"line {at} of {name} says another thing than entry {index}")
    except _Missing:
        raise TamperEvidence(
            f"line {at} of {name} is not of an entry of the log, or not where it belongs"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise TamperEvidence(f"line {at} of {name} is not the line of an entry") from None
    if not at:
        raise TamperEvidence(f"{name} has no entry")
    return index + 1 - at, index + 1


class _Missing(Exception):
    """The log has no such leaf there."""


class _Leaves:
    def __init__(self, files: FileReader) -> None:
        self._files = files
        self._number = -1
        self._hashes: list[bytes] = []

    def find(self, leaf: bytes, index: int, *, exact: bool) -> int:
        """Return at which index the log has the leaf: at this one, or from it on."""
        while index < self._files.size:
            number, at = divmod(index, TILE_WIDTH)
            if number != self._number:
                self._load(number)
            if self._hashes[at] == leaf:
                return index
            if exact:
                break
            index += 1
        raise _Missing

    def _load(self, number: int) -> None:
        width = min(TILE_WIDTH, self._files.size - number * TILE_WIDTH)
        data = self._files.tile(0, number, width)
        if len(data) != width * HASH_SIZE:
            raise TamperEvidence(f"{tiles.tile_path(0, number, width)} is cut, or too long")
        self._number, self._hashes = number, tiles.hashes_of(data)
