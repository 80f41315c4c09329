"""How a log lies in files (C2SP tlog-tiles): paths, tiles of hashes, bundles of entries.

    tile/<L>/<N>[.p/<W>]         hashes: level L, number N, W of them where it is unfinished
    tile/entries/<N>[.p/<W>]     entries: each its length in two bytes, then its bytes

N is written in groups of three digits, all but the last after an x: 1234067 is x001/x234/067.
"""

import re
from collections.abc import Callable, Iterable, Iterator

from taskpass.tlog.merkle import HASH_SIZE, TILE_HEIGHT, TILE_WIDTH, subtree_root


class BadBundle(ValueError):
    """The bytes are not a bundle of entries."""


ReadTile = Callable[[int, int, int], bytes]
"""Returns the bytes of the tile of a level, number and width."""


def tile_path(level: int, number: int, width: int = TILE_WIDTH) -> str:
    """Return the path of a tile of hashes."""
    return f"tile/{level}/{_number(number)}{_width(width)}"


def entries_path(number: int, width: int = TILE_WIDTH) -> str:
    """Return the path of a bundle of entries."""
    return f"tile/entries/{_number(number)}{_width(width)}"


def is_tile_path(path: str) -> bool:
    """Tell whether a path could be that of a tile or bundle."""
    return re.fullmatch(r"tile/(entries|\d{1,2})(/x\d{3})*/\d{3}(\.p/\d{1,3})?", path) is not None


def widths(size: int, level: int) -> Iterator[tuple[int, int]]:
    """Return number and width of each tile of a level, in a tree of that size."""
    full, rest = divmod(size >> (TILE_HEIGHT * level), TILE_WIDTH)
    yield from ((number, TILE_WIDTH) for number in range(full))
    if rest:
        yield full, rest


def levels(size: int) -> int:
    """Return how many levels of tiles a tree of that size has."""
    count = 0
    while size >> (TILE_HEIGHT * count):
        count += 1
    return count


def pack(entries: Iterable[bytes]) -> bytes:
    """Return the bundle of the entries."""
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def unpack(bundle: bytes) -> list[bytes]:
    """Return the entries of a bundle.

    Raises:
        BadBundle: It ends within an entry.

    """
    entries: list[bytes] = []
    at = 0
    while at < len(bundle):
        end = at + 2 + int.from_bytes(bundle[at : at + 2], "big")
        if at + 2 > len(bundle) or end > len(bundle):
            raise BadBundle("it ends within an entry")
        entries.append(bundle[at + 2 : end])
        at = end
    return entries


def hashes_of(tile: bytes) -> list[bytes]:
    """Return the hashes of a tile."""
    return [tile[at : at + HASH_SIZE] for at in range(0, len(tile), HASH_SIZE)]


class TileSubtrees:
    """The subtrees of a tree of that size, from its tiles. What it returns is not yet proven."""

    def __init__(self, size: int, read: ReadTile) -> None:
        self._size = size
        self._read = read
        self._tiles: dict[tuple[int, int], list[bytes]] = {}

    def __call__(self, height: int, number: int) -> bytes:
        """Return the hash of the complete subtree of a height and number."""
        level, within = divmod(height, TILE_HEIGHT)
        tile, at = divmod(number << within, TILE_WIDTH)
        return subtree_root(self._hashes(level, tile)[at : at + (1 << within)])

    def _hashes(self, level: int, number: int) -> list[bytes]:
        key = (level, number)
        if key not in self._tiles:
            in_level = self._size >> (TILE_HEIGHT * level)
            width = min(TILE_WIDTH, in_level - number * TILE_WIDTH)
            self._tiles[key] = hashes_of(self._read(level, number, width))
        return self._tiles[key]


def _number(number: int) -> str:
    text = f"{number % 1000:03d}"
    while number := number // 1000:
        text = f"x{number % 1000:03d}/{text}"
    return text


def _width(width: int) -> str:
    return "" if width == TILE_WIDTH else f".p/{width}"
