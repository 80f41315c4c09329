"""Write a log as files that other people's programs verify (C2SP tlog-tiles)."""

import os
from pathlib import Path

from taskpass.core import tiles
from taskpass.core.errors import UsageError
from taskpass.core.merkle import TILE_WIDTH
from taskpass.ledger.chain import declared_key
from taskpass.ledger.files import key_files
from taskpass.ledger.reader import LogReader, reading


def export(path: Path, directory: Path, *, lines: bool = False) -> int:
    """Write one state of the ledger into an empty or new directory; return its size.

    `lines` adds `entries.jsonl`, one entry a line. The checkpoint is written last: a directory
    without one is unfinished. Nothing is verified on the way.

    Raises:
        UsageError: The directory is not empty, or cannot be written.
        Incomplete, TamperEvidence: As `reading`.

    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if any(directory.iterdir()):
            raise UsageError(f"{directory} is not empty; name a directory that is, or a new one")
        with reading(path) as log:
            write(log, directory, log.bodies, lines=lines)
            return log.size
    except OSError as error:
        raise UsageError(f"{directory} cannot be written ({error.strerror})") from error


def write(log: LogReader, directory: Path, bodies: range, *, lines: bool = False) -> None:
    """Write the log's tiles and keys, and the entries of `bodies`, which begins and ends a bundle.

    The directory is there. A file `range` tells where that is not all that the log has.
    """
    key = declared_key(log)
    for number, width in tiles.widths(log.size, 0):
        if number * TILE_WIDTH in bodies:
            _file(directory / tiles.entries_path(number, width), tiles.pack(log.bundle(number)))
    if bodies != log.bodies:
        _file(directory / "range", f"{bodies.start}:{bodies.stop}\n".encode())
    for level in range(tiles.levels(log.size)):
        for number, width in tiles.widths(log.size, level):
            data = log.tile(level, number, width)
            _file(directory / tiles.tile_path(level, number, width), data)
    if lines:
        with (directory / "entries.jsonl").open("wb") as file:
            for number in range(bodies.start // TILE_WIDTH, -(-bodies.stop // TILE_WIDTH)):
                file.writelines(entry + b"\n" for entry in log.bundle(number))
    for name, data in key_files(log, bodies).items():
        _file(directory / name, data)
    last = f"{(log.size - 1) // TILE_WIDTH}"
    guide = _GUIDE.format(origin=key.name, size=log.size, vkey=key.vkey(), last=last)
    _file(directory / "VERIFY.md", guide.encode())
    unfinished = directory / "checkpoint.unfinished"
    _file(unfinished, log.note.encode())
    os.replace(unfinished, directory / "checkpoint")


def _file(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


_GUIDE = """\
# How to verify this log

Log `{origin}`, {size} entries. Its key, as this export declares it:

    {vkey}

Compare it with the key that you were given by another way: a key that comes with a log says
nothing about who wrote the log. Keep the file `checkpoint` where nobody who can write the log can
change it: without a kept checkpoint, nobody can tell this log from an older copy of it, or from
another one that the same key has signed.

Where the log went over from one key to another, `keys` has a line for each: the size from which on
it signs, and the key. Each handover is told by the entry before that size; its checkpoint, which
both keys signed, is `handover/SIZE`. `vkey` is the last of them, which signed `checkpoint`.
Entries that are absent by policy are in no bundle; `kept/INDEX` holds those of them that the keys
follow from, and an entry of type `dev.taskpass.log.prune` says what is absent.

With taskpass (any of the log's keys will do; the others follow from the entries):

    taskpass audit verify --dir . --vkey VKEY --against KEPT_CHECKPOINT

With a program of 200 lines on Go's own checksum-database packages (`hack/tpverify` of the sources):

    go run . EXPORT_DIRECTORY VKEY_FILE KEPT_CHECKPOINT

The signature alone, with OpenSSL 3 (the body is all up to the empty line; the key's last 32 bytes
are the public key, the signature line's last 64 the signature):

    sed '/^$/,$d' checkpoint > body
    sed -n '$s/.* //p' checkpoint | base64 -d | tail -c 64 > signature
    printf '\\060\\052\\060\\005\\006\\003\\053\\145\\160\\003\\041\\000' > key
    cut -d+ -f3- vkey | base64 -d | tail -c 32 >> key
    openssl pkeyutl -verify -pubin -inkey key -keyform DER -rawin -in body -sigfile signature

The files follow C2SP tlog-tiles, tlog-checkpoint and signed-note, so any program for those reads
them too: `tile/entries/...` holds the entries (each its length in two bytes, then its bytes), the
other tiles hold the hashes of RFC 6962.
"""
