"""The right edge of a stored log, from which it goes on after a restart."""

from taskpass.ledger.log.reader import LogReader, TamperEvidence
from taskpass.tlog import tiles
from taskpass.tlog.merkle import TILE_HEIGHT, TILE_WIDTH, leaf_hash, subtree_root


def partial_tiles(stored: LogReader) -> list[list[bytes]]:
    """Return the hashes of the unfinished tiles, each computed from what lies below it.

    The bundles under the last tiles are hashed as well: those are the entries that a crash or a
    bad disk would have damaged last. `taskpass audit verify` hashes all of them.
    """
    found: list[list[bytes]] = []
    for level in range(tiles.levels(stored.size)):
        number, width = divmod(stored.size >> (TILE_HEIGHT * level), TILE_WIDTH)
        if level == 0:
            found.append([leaf_hash(entry) for entry in stored.bundle(number)])
            continue
        hashes = []
        for child in range(number * TILE_WIDTH, number * TILE_WIDTH + width):
            tile = stored.tile(level - 1, child)
            there = level == 1 and child * TILE_WIDTH in stored.bodies
            if there and tile != b"".join(map(leaf_hash, stored.bundle(child))):
                raise TamperEvidence(f"bundle {child} is not what its tile says")
            hashes.append(subtree_root(tiles.hashes_of(tile)))
        found.append(hashes)
    return found
