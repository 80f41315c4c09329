"""The files of a log by their path, from the ledger as it is now (C2SP tlog-tiles, and ours)."""

from pathlib import Path

from taskpass.ledger.export.files import key_files
from taskpass.ledger.export.names import tile_of
from taskpass.ledger.log.reader import LogReader, Pruned, reading
from taskpass.tlog import tiles
from taskpass.tlog.merkle import HASH_SIZE, TILE_HEIGHT, TILE_WIDTH


def served(path: Path, name: str) -> bytes | None:
    """Return a file of the log; None where it has none of that name. Blocks.

    A tile that has grown is still served as it was: whoever follows an older checkpoint finds what
    it needs.

    Raises:
        Incomplete, TamperEvidence: As `reading`.

    """
    found = tile_of(name)
    with reading(path) as log:
        if name == "checkpoint":
            return log.note.encode()
        if found is None:
            return key_files(log, log.bodies).get(name)
        try:
            return _tile(log, *found)
        except Pruned:
            return None


def is_whole(name: str) -> bool:
    """Tell whether a file of that name never changes."""
    return name.startswith("tile/") and ".p/" not in name


def _tile(log: LogReader, level: str, number: int, width: int) -> bytes | None:
    shift = 0 if level == "entries" else TILE_HEIGHT * int(level)
    here = min(TILE_WIDTH, (log.size >> shift) - number * TILE_WIDTH)
    if width > here:
        return None
    if level == "entries":
        return tiles.pack(log.bundle(number)[:width])
    return log.tile(int(level), number, here)[: width * HASH_SIZE]
