"""Write a log as files that others verify (C2SP tlog-tiles), or read line by line."""

import os
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from taskpass.core.errors import UsageError
from taskpass.ledger.export.files import key_files
from taskpass.ledger.export.formats import FORMATS, LineFormat
from taskpass.ledger.log.key_history import declared_chain
from taskpass.ledger.log.reader import LogReader, reading
from taskpass.tlog import tiles
from taskpass.tlog.merkle import TILE_WIDTH

TLOG = "tlog"
"""The format with the entries in bundles; all others are of `FORMATS`."""
_LONG_AGO = (1980, 1, 1, 0, 0, 0)
"""The time of everything in a zip: the same log gives the same file."""
Progress = Callable[[int, int], None]


def export(
    path: Path, destination: Path, *, form: str = TLOG, wanted: tuple[int, int | None] = (0, None),
    progress: Progress = lambda done, size: None,
) -> tuple[int, range]:  # fmt: skip
    """Write one state of the ledger; return its size, and which entries were written.

    Into an empty or new directory, where the checkpoint is written last: one without it is
    unfinished. Or into a new file that ends in `.zip`, which is whole or not there. `wanted` are
    the first entry and the one after the last; whole bundles are written in the format `tlog`, so
    it may be more. Nothing is verified on the way.

    Raises:
        UsageError: It is there already, or cannot be written, or there are no such entries.
        Incomplete, TamperEvidence: As `reading`.

    """
    try:
        if destination.suffix != ".zip":
            destination.mkdir(parents=True, exist_ok=True)
            if any(destination.iterdir()):
                raise UsageError(f"{destination} is not empty; name one that is, or a new one")
            return _exported(path, destination, form, wanted, progress)
        if destination.exists():
            raise UsageError(f"{destination} is there already; name a new file")
        destination.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".export-", dir=destination.parent) as place:
            done = _exported(path, Path(place), form, wanted, progress)
            _zipped(Path(place), destination)
            return done
    except OSError as error:
        raise UsageError(f"{destination} cannot be written ({error.strerror})") from error


def _exported(
    path: Path, directory: Path, form: str, wanted: tuple[int, int | None], progress: Progress
) -> tuple[int, range]:
    with reading(path) as log:
        here = _chosen(log, wanted)
        if form == TLOG:
            first = here.start // TILE_WIDTH * TILE_WIDTH
            here = range(first, min(log.size, -(-here.stop // TILE_WIDTH) * TILE_WIDTH))
            write(log, directory, here)
        else:
            _write_lines(log, directory, here, FORMATS[form], progress)
            write(log, directory, range(0), form=form)
        return log.size, here


def _chosen(log: LogReader, wanted: tuple[int, int | None]) -> range:
    first, last = wanted
    here = range(max(first, log.bodies.start), log.size if last is None else min(last, log.size))
    if not here:
        raise UsageError(
            f"--range leaves nothing: the log has the entries {log.bodies.start}:{log.size}"
        )
    return here


def write(log: LogReader, directory: Path, bodies: range, *, form: str = TLOG) -> None:
    """Write the log's tiles and keys, and the entries of `bodies`, which begins and ends a bundle.

    The directory is there. A file `range` tells where that is not all that the log has.
    """
    chain = declared_chain(log)
    for number, width in tiles.widths(log.size, 0):
        if number * TILE_WIDTH in bodies:
            _file(directory / tiles.entries_path(number, width), tiles.pack(log.bundle(number)))
    if bodies != log.bodies:
        _file(directory / "range", f"{bodies.start}:{bodies.stop}\n".encode())
    for level in range(tiles.levels(log.size)):
        for number, width in tiles.widths(log.size, level):
            data = log.tile(level, number, width)
            _file(directory / tiles.tile_path(level, number, width), data)
    for name, data in key_files(log, bodies).items():
        _file(directory / name, data)
    _file(directory / "policy", _POLICY.format(vkey=chain.spans[0].key.vkey()).encode())
    last = f"{(log.size - 1) // TILE_WIDTH}"
    guide = _GUIDE.format(
        origin=chain.current.name, size=log.size, vkey=chain.current.vkey(), last=last
    )
    if form != TLOG:
        guide += _LINES.format(file=FORMATS[form].file)
    _file(directory / "VERIFY.md", guide.encode())
    unfinished = directory / "checkpoint.unfinished"
    _file(unfinished, log.note.encode())
    os.replace(unfinished, directory / "checkpoint")


def _write_lines(
    log: LogReader, directory: Path, here: range, form: LineFormat, progress: Progress
) -> None:
    with (directory / form.file).open("w", encoding="utf-8", newline="") as file:
        if form.head:
            file.write(f"{form.head}\n")
        for number in range(here.start // TILE_WIDTH, -(-here.stop // TILE_WIDTH)):
            start = number * TILE_WIDTH
            for index, body in enumerate(log.bundle(number), start):
                if index in here:
                    file.write(f"{form.line(body, index)}\n")
            progress(min(start + TILE_WIDTH, here.stop), here.stop)


def _zipped(directory: Path, destination: Path) -> None:
    """Make one file of a directory, whole or not at all."""
    unfinished = directory.parent / f"{directory.name}.zip"
    try:
        with zipfile.ZipFile(unfinished, "x", zipfile.ZIP_DEFLATED) as file:
            for each in sorted(p for p in directory.rglob("*") if p.is_file()):
                info = zipfile.ZipInfo(each.relative_to(directory).as_posix(), _LONG_AGO)
                info.compress_type = zipfile.ZIP_DEFLATED
                info.external_attr = 0o644 << 16
                with file.open(info, "w", force_zip64=True) as into, each.open("rb") as data:
                    while block := data.read(1 << 20):
                        into.write(block)
        os.link(unfinished, destination)  # fails where somebody made it meanwhile
    finally:
        unfinished.unlink(missing_ok=True)


def _file(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


_POLICY = """\
# Whom to believe about this log (C2SP tlog-policy). The key is by the log's own word: put here the
# one that you were given by another way, and add the witnesses whose cosignatures you demand.
log {vkey}
quorum none
"""
_LINES = """
`{file}` holds entries one a line, each with the entry's own bytes and its index. The bundles of
entries are not here; `taskpass audit verify --dir .` finds each line under the checkpoint, and
that it says what the entry says. Without taskpass: SHA-256 of a zero byte and the entry's bytes is
the hash at its index in `tile/0/...`.
"""
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

or with a file that says whom you believe; `policy` is one to begin with:

    taskpass audit verify --dir . --policy policy

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
