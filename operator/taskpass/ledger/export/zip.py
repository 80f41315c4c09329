"""An export in a zip. Nothing of it is unpacked onto a disk, so no name in it leads anywhere."""

import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from taskpass.ledger.export.files import Absent, FileReader
from taskpass.ledger.export.members import check_members
from taskpass.ledger.log.reader import Incomplete, TamperEvidence
from taskpass.tlog.merkle import TILE_WIDTH

MOST_BYTES = TILE_WIDTH * (2 + 65_535)
"""Of one file but lines: a bundle of the largest entries. A zip can claim to hold anything."""


UNSIGNED = frozenset({"VERIFY.md", "policy", "SHA256SUMS"})
"""Files of an export that nothing is held against."""


@dataclass(frozen=True, slots=True)
class Archive:
    """An open zip."""

    file: zipfile.ZipFile
    files: FileReader
    read: set[str]
    """Names of the files that were read."""

    def check_all_read(self) -> None:
        """Call it when the log is verified, of which every file has to be read for that.

        Raises:
            TamperEvidence: There are more: whoever unpacks it takes them for files of the log.

        """
        names = {each.filename for each in self.file.infolist() if not each.is_dir()}
        for name in sorted(names - self.read - UNSIGNED):
            if not self.files.has_twice(name):
                raise TamperEvidence(
                    f"{self.file.filename} has the file '{name}', which is none of this log's: "
                    "nothing that was signed is held against it"
                )

    @contextmanager
    def lines(self, name: str) -> Iterator[IO[str] | None]:
        """Open a file of lines; see `lines.Lines`."""
        if name not in self.file.namelist():
            yield None
            return
        self.read.add(name)
        with self.file.open(name) as raw:
            yield io.TextIOWrapper(raw, encoding="utf-8", newline="\n")


@contextmanager
def zipped(path: Path) -> Iterator[Archive]:
    """Open an export in a zip.

    Raises:
        Incomplete: It is no zip, or cannot be read.
        TamperEvidence: As `Source`, or `check_members`.

    """
    try:
        with zipfile.ZipFile(path) as file:
            check_members(file, path)

            found: set[str] = set()

            def read(name: str) -> bytes:
                found.add(name)
                return _read(file, name)

            yield Archive(file, FileReader(read), found)
    # RuntimeError is zipfile's own, for one that is encrypted.
    except (
        zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, OSError, EOFError,
        NotImplementedError, RuntimeError,
    ) as error:  # fmt: skip
        raise Incomplete(f"{path} cannot be read as a zip ({error})") from error


def _read(file: zipfile.ZipFile, name: str) -> bytes:
    try:
        info = file.getinfo(name)
    except KeyError as error:
        raise Absent(f"{name} is not in {file.filename}") from error
    with file.open(info) as data:
        raw = data.read(MOST_BYTES + 1)
    if len(raw) > MOST_BYTES:
        raise TamperEvidence(f"{name} is larger than any file of a log")
    return raw
