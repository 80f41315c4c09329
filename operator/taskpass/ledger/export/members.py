r"""What a zip is unpacked to, by whichever program: just the files that are read of it.

Programs differ in what they make of a name: some take `./x`, `a//x` or `A\x` for another one, some
end it at a zero byte, some take it from a field beside it (Info-ZIP's Unicode path) or from the
file's own header instead of the directory at the zip's end, and those that unpack a stream take
every file that has such a header. So each name has to be of the one form that exports have, and the
same in all of these places, and nothing lies between the files, nor within one behind the end of
what is packed in it: who reads a stream goes on there.
"""

import stat
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from struct import unpack
from typing import IO, NamedTuple

from taskpass.ledger.export.names import is_of_export
from taskpass.ledger.log.reader import Incomplete, TamperEvidence

_ZIP64, _UNICODE_PATH = 0x0001, 0x7075
_HEADER = 30
"""Bytes of a file's own header before its name."""
_ENCRYPTED, _SIZES_FOLLOW = 0x1, 0x8
_ELSEWHERE = 0xFFFFFFFF
"""In the place of a size that is in a further field."""
_BLOCK = 1 << 16


class _Own(NamedTuple):
    """A file's own header."""

    flags: int
    packed: int
    crc: int
    sizes: tuple[int, int]
    """Packed and unpacked."""
    name: bytes
    extra: bytes


def check_members(file: zipfile.ZipFile, path: Path) -> None:
    """Refuse a zip that could be unpacked to something else than what is read of it.

    Raises:
        TamperEvidence: It has two files of one name, or one that no export has.
        Incomplete: It is packed otherwise than zips of exports are.

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
        own = _own_header(file, info)
        fields = {*_fields(info.extra), *_fields(own.extra)}
        if own.name != info.orig_filename.encode() or _UNICODE_PATH in fields:
            raise TamperEvidence(f"{path} has two names for its file '{info.orig_filename}'")
        if stat.S_ISLNK(info.external_attr >> 16):
            raise TamperEvidence(f"{path} has a link in the place of '{info.orig_filename}'")
        start = info.header_offset + _HEADER + len(own.name) + len(own.extra)
        if not _is_packed_alike(info, own) or not _ends_with_its_content(file, info, start):
            raise TamperEvidence(
                f"{path} has something else in its file '{info.orig_filename}' for whoever reads "
                "it without its directory"
            )
        _check_gap(end, info.header_offset, path)
        end = start + info.compress_size
    _check_gap(end, file.start_dir, path)


def _is_packed_alike(info: zipfile.ZipInfo, own: _Own) -> bool:
    """Tell whether a file's own header says of what is packed what the directory says."""
    marks = _ENCRYPTED | _SIZES_FOLLOW
    if own.packed != info.compress_type or own.flags & marks != info.flag_bits & marks:
        return False
    there = (own.crc, own.sizes)
    return bool(own.flags & _SIZES_FOLLOW) or there == (
        info.CRC,
        (info.compress_size, info.file_size),
    )


def _ends_with_its_content(file: zipfile.ZipFile, info: zipfile.ZipInfo, start: int) -> bool:
    """Tell whether nothing lies behind what is packed in a file, up to where it is said to end."""
    if info.compress_type == zipfile.ZIP_STORED:
        return info.compress_size == info.file_size
    if info.compress_type != zipfile.ZIP_DEFLATED:
        raise Incomplete(
            f"'{info.orig_filename}' is packed in a way that is not looked into; pack it anew, as "
            "an export is"
        )
    raw, inflate = _file_of(file), zlib.decompressobj(-zlib.MAX_WBITS)
    unread, size = info.compress_size, 0
    raw.seek(start)
    while not inflate.eof and size <= info.file_size:
        block = inflate.unconsumed_tail
        if not block:
            block = raw.read(min(_BLOCK, unread))
            unread -= len(block)
        made = inflate.decompress(block, _BLOCK)
        if not (block or made):
            return False
        size += len(made)
    return not (unread or inflate.unused_data) and inflate.eof and size == info.file_size


def _check_gap(end: int, start: int, path: Path) -> None:
    """Let nothing be between two files that is large enough for a third: sizes may be there."""
    if not 0 <= start - end < _HEADER:
        raise TamperEvidence(f"{path} has something between its files that its directory has not")


def _own_header(file: zipfile.ZipFile, info: zipfile.ZipInfo) -> _Own:
    """Return what the file's own header has."""
    raw = _file_of(file)
    raw.seek(info.header_offset)
    header = raw.read(_HEADER)
    if len(header) != _HEADER or header[:4] != b"PK\x03\x04":
        raise zipfile.BadZipFile(f"there is no file where '{info.orig_filename}' should be")
    flags, packed, crc, small, large, name, extra = unpack("<6xHH4xLLLHH", header)
    named, more = raw.read(name), raw.read(extra)
    return _Own(flags, packed, crc, _sizes(small, large, more), named, more)


def _sizes(packed: int, whole: int, extra: bytes) -> tuple[int, int]:
    """Return the sizes of a header, which may be in a further field (APPNOTE, 4.5.3)."""
    for kind, value in _fields(extra).items():
        if kind == _ZIP64 and len(value) >= 16 and packed == whole == _ELSEWHERE:
            whole, packed = unpack("<QQ", value[:16])
    return packed, whole


def _file_of(file: zipfile.ZipFile) -> IO[bytes]:
    if file.fp is None:
        raise zipfile.BadZipFile("it is closed")
    return file.fp


def _fields(extra: bytes) -> Mapping[int, bytes]:
    """Return the further fields of a header, by what they are."""
    found = {}
    while len(extra) >= 4:
        kind, length = unpack("<HH", extra[:4])
        found[kind] = extra[4 : 4 + length]
        extra = extra[4 + length :]
    return found
