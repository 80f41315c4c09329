r"""What a zip is unpacked to, by whichever program: just the files that are read of it.

Programs differ in what they make of a name: some take `./x`, `a//x` or `A\x` for another one, some
end it at a zero byte, some take it from a field beside it (Info-ZIP's Unicode path) or from the
file's own header instead of the directory at the zip's end, and those that unpack a stream take
every file that has such a header. So each name has to be of the one form that exports have, and the
same in all of these places, and nothing lies between the files.
"""

import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path
from struct import unpack

from taskpass.ledger.export.names import is_of_export
from taskpass.ledger.log.reader import TamperEvidence

_UNICODE_PATH = 0x7075
_HEADER = 30
"""Bytes of a file's own header before its name."""


def check_members(file: zipfile.ZipFile, path: Path) -> None:
    """Refuse a zip that could be unpacked to something else than what is read of it.

    Raises:
        TamperEvidence: It has two files of one name, or one that no export has.

    """
    names: set[str] = set()
    end = 0
    for info in sorted(file.infolist(), key=lambda info: info.header_offset):
        if info.orig_filename in names:
            raise TamperEvidence(f"{path} has two files of one name")
        names.add(info.orig_filename)
        if not is_of_export(info.orig_filename) or (info.is_dir() and info.file_size):
            raise TamperEvidence(
                f"{path} has a file that no export has, '{info.orig_filename[:200]}': what it is "
                "unpacked to may be something else than what can be verified"
            )
        name, extra = _own_header(file, info)
        fields = {*_fields(info.extra), *_fields(extra)}
        if name != info.orig_filename.encode() or _UNICODE_PATH in fields:
            raise TamperEvidence(f"{path} has two names for its file '{info.orig_filename}'")
        if stat.S_ISLNK(info.external_attr >> 16):
            raise TamperEvidence(f"{path} has a link in the place of '{info.orig_filename}'")
        _check_gap(end, info.header_offset, path)
        end = info.header_offset + _HEADER + len(name) + len(extra) + info.compress_size
    _check_gap(end, file.start_dir, path)


def _check_gap(end: int, start: int, path: Path) -> None:
    """Let nothing be between two files that is large enough for a third: sizes may be there."""
    if not 0 <= start - end < _HEADER:
        raise TamperEvidence(f"{path} has something between its files that its directory has not")


def _own_header(file: zipfile.ZipFile, info: zipfile.ZipInfo) -> tuple[bytes, bytes]:
    """Return name and further fields, as the file's own header has them."""
    if file.fp is None:
        raise zipfile.BadZipFile("it is closed")
    file.fp.seek(info.header_offset)
    header = file.fp.read(_HEADER)
    if len(header) != _HEADER or header[:4] != b"PK\x03\x04":
        raise zipfile.BadZipFile(f"there is no file where '{info.orig_filename}' should be")
    name, extra = unpack("<HH", header[26:])
    return file.fp.read(name), file.fp.read(extra)


def _fields(extra: bytes) -> Iterator[int]:
    while len(extra) >= 4:
        kind, length = unpack("<HH", extra[:4])
        yield kind
        extra = extra[4 + length :]
