"""The Merkle tree of RFC 6962 over SHA-256, and its proofs (RFC 9162 §2.1).

    leaf = SHA256(0x00 || entry)      node = SHA256(0x01 || left || right)
    MTH(D[0:n]) = node(MTH(D[:k]), MTH(D[k:])), k the largest power of two below n

A subtree is named by its height h and number i: it covers the leaves i*2^h up to (i+1)*2^h.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

HASH_SIZE = 32
TILE_WIDTH = 256
TILE_HEIGHT = 8
EMPTY_ROOT = hashlib.sha256().digest()

Subtrees = Callable[[int, int], bytes]
"""Returns the hash of the complete subtree of a height and number."""


class BadProof(ValueError):
    """A proof does not show what it claims."""


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of an entry as a leaf."""
    return hashlib.sha256(b"\x00" + entry).digest()


def leaf_hashes(entries: Iterable[bytes]) -> list[bytes]:
    """Return the hashes of entries as leaves; cheaper than one by one."""
    sha256 = hashlib.sha256
    return [sha256(b"\x00" + entry).digest() for entry in entries]


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of the node above two others."""
    return hashlib.sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True, slots=True)
class Tile:
    """256 hashes of one level, which never change again (C2SP tlog-tiles)."""

    level: int
    number: int
    data: bytes


class Tree:
    """The right edge of a growing tree: all that appending needs.

    Holds the hashes of each level's unfinished tile, and the roots of the complete subtrees that
    the tree consists of.
    """

    def __init__(self, partial: Sequence[Iterable[bytes]] = ()) -> None:
        """Start with the unfinished tiles, lowest level first; without any, empty."""
        self._partial = [list(level) for level in partial] or [[]]
        self._size = sum(len(level) << (TILE_HEIGHT * i) for i, level in enumerate(self._partial))
        self._subtrees: list[tuple[int, bytes]] = []
        for i in reversed(range(len(self._partial))):
            # Within one tile hashes join up; a hash of a higher level never joins one of a lower.
            for value in self._partial[i]:
                self._push(TILE_HEIGHT * i, value)

    @property
    def size(self) -> int:
        """The number of leaves."""
        return self._size

    def append(self, leaf: bytes) -> list[Tile]:
        """Add a leaf hash; return the tiles that it completes, lowest level first."""
        self._size += 1
        self._partial[0].append(leaf)
        return [tile for height, value in self._push(0, leaf) for tile in self._done(height, value)]

    def append_bundle(self, root: bytes) -> list[Tile]:
        """Add 256 leaves that begin a tile, by the root above them.

        Return the tiles that this completes, but for theirs.
        """
        if self._partial[0]:
            raise ValueError("only whole tiles can be added at once")
        self._size += TILE_WIDTH
        if len(self._partial) == 1:
            self._partial.append([])
        self._partial[1].append(root)
        joined = self._push(TILE_HEIGHT, root)
        return [tile for height, value in joined for tile in self._done(height, value)]

    def root(self) -> bytes:
        """Return the hash of the whole tree."""
        if not self._subtrees:
            return EMPTY_ROOT
        root = self._subtrees[-1][1]
        for _, value in reversed(self._subtrees[:-1]):
            root = node_hash(value, root)
        return root

    def frontier(self) -> bytes:
        """Return the roots of the complete subtrees that the tree consists of, largest first."""
        return b"".join(value for _, value in self._subtrees)

    def partial_tiles(self) -> dict[int, bytes]:
        """Return the unfinished tile of each level that has one."""
        return {i: b"".join(level) for i, level in enumerate(self._partial) if level}

    def _done(self, height: int, value: bytes) -> list[Tile]:
        """Return the tile that a subtree of this height and root is all of, if there is one."""
        level, within = divmod(height, TILE_HEIGHT)
        if within:
            return []
        done = self._partial[level - 1]
        tile = Tile(level - 1, (self._size >> height) - 1, b"".join(done))
        done.clear()
        if level == len(self._partial):
            self._partial.append([])
        self._partial[level].append(value)
        return [tile]

    def _push(self, height: int, value: bytes) -> list[tuple[int, bytes]]:
        """Put a subtree at the right; return the larger ones that it completes, smallest first."""
        joined: list[tuple[int, bytes]] = []
        while self._subtrees and self._subtrees[-1][0] == height:
            value = node_hash(self._subtrees.pop()[1], value)
            height += 1
            joined.append((height, value))
        self._subtrees.append((height, value))
        return joined


def subtree_root(hashes: Sequence[bytes]) -> bytes:
    """Return the root above a power of two of hashes."""
    level, sha256 = list(hashes), hashlib.sha256
    while len(level) > 1:
        pairs = zip(level[::2], level[1::2], strict=True)
        level = [sha256(b"\x01" + left + right).digest() for left, right in pairs]
    return level[0]


def tree_root(size: int, subtrees: Subtrees) -> bytes:
    """Return the root of the first `size` leaves."""
    return _range_root(0, size, subtrees)


def inclusion_proof(index: int, size: int, subtrees: Subtrees) -> list[bytes]:
    """Return the proof that leaf `index` is in the tree of that size, the leaf's sibling first."""
    if not 0 <= index < size:
        raise ValueError("index must be less than size")
    proof: list[bytes] = []
    low, high = 0, size
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            proof.append(_range_root(middle, high, subtrees))
            high = middle
        else:
            proof.append(_range_root(low, middle, subtrees))
            low = middle
    return proof[::-1]


def check_inclusion(
    proof: Sequence[bytes], index: int, size: int, leaf: bytes, root: bytes
) -> None:
    """Check that the leaf is in the tree with that root (RFC 9162 §2.1.3.2).

    Raises:
        BadProof: It is not shown.

    """
    if not 0 <= index < size:
        raise BadProof("the index is not in the tree")
    node, last, value = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise BadProof("the proof is too long")
        if node & 1 or node == last:
            value = node_hash(sibling, value)
            while node and not node & 1:
                node, last = node >> 1, last >> 1
        else:
            value = node_hash(value, sibling)
        node, last = node >> 1, last >> 1
    if last or value != root:
        raise BadProof("the leaf is not under the root")


def consistency_proof(old: int, size: int, subtrees: Subtrees) -> list[bytes]:
    """Return the proof that the tree of `size` begins with the tree of `old`."""
    if not 0 <= old <= size:
        raise ValueError("old must be at most size")
    if old in (0, size):
        return []
    proof: list[bytes] = []
    low, high, whole = 0, size, True
    while old != high:
        middle = low + _split(high - low)
        if old <= middle:
            proof.append(_range_root(middle, high, subtrees))
            high = middle
        else:
            proof.append(_range_root(low, middle, subtrees))
            low, whole = middle, False
    if not whole:
        proof.append(_range_root(low, high, subtrees))
    return proof[::-1]


def check_consistency(
    proof: Sequence[bytes], old: int, size: int, old_root: bytes, root: bytes
) -> None:
    """Check that the tree of `size` begins with the tree of `old` (RFC 9162 §2.1.4.2).

    Raises:
        BadProof: It is not shown.

    """
    if old > size:
        raise BadProof("the tree is smaller than it was")
    if old in (0, size):
        if proof or (old == size and old_root != root) or (old == 0 and old_root != EMPTY_ROOT):
            raise BadProof("the trees differ")
        return
    path = list(proof) if old & (old - 1) else [old_root, *proof]
    if not path:
        raise BadProof("the proof is too short")
    node, last = old - 1, size - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    old_value = value = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise BadProof("the proof is too long")
        if node & 1 or node == last:
            old_value, value = node_hash(sibling, old_value), node_hash(sibling, value)
            while node and not node & 1:
                node, last = node >> 1, last >> 1
        else:
            value = node_hash(value, sibling)
        node, last = node >> 1, last >> 1
    if last or old_value != old_root or value != root:
        raise BadProof("the trees do not have a common beginning")


def _split(size: int) -> int:
    """Return the largest power of two below `size`."""
    return 1 << ((size - 1).bit_length() - 1)


def _range_root(low: int, high: int, subtrees: Subtrees) -> bytes:
    """Return the root over the leaves from low up to high; low is a multiple of high's split."""
    if low == high:
        return EMPTY_ROOT
    size = high - low
    height = size.bit_length() - 1
    if size == 1 << height:
        return subtrees(height, low >> height)
    middle = low + _split(size)
    return node_hash(_range_root(low, middle, subtrees), _range_root(middle, high, subtrees))
