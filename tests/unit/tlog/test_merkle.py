"""Trees against the definition in RFC 6962, for every size around the edges of tiles."""

import base64
import hashlib
from collections.abc import Sequence
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskpass.tlog.merkle import (
    EMPTY_ROOT,
    BadProof,
    Tree,
    check_consistency,
    check_inclusion,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    subtree_root,
)
from taskpass.tlog.tiles import TileSubtrees

FIVE = [b'{"i":%d}' % i for i in range(5)]
SIZES = [0, 1, 2, 3, 7, 8, 255, 256, 257, 511, 513, 1000]
MOST = 65_537 + 300


def b64(text: str) -> list[bytes]:
    return [base64.b64decode(part) for part in text.split()]


def by_definition(leaves: Sequence[bytes]) -> bytes:
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return node_hash(by_definition(leaves[:split]), by_definition(leaves[split:]))


@cache
def leaves() -> list[bytes]:
    return [leaf_hash(i.to_bytes(4, "big")) for i in range(MOST)]


@cache
def tiles_of(size: int) -> TileSubtrees:
    """Return the subtrees of the first leaves, by way of tiles."""
    tree, kept = Tree(), {}
    for leaf in leaves()[:size]:
        for tile in tree.append(leaf):
            kept[tile.level, tile.number] = tile.data
    for level, data in tree.partial_tiles().items():
        kept[level, (size >> (8 * level)) // 256] = data

    def read(level: int, number: int, width: int) -> bytes:
        data = kept[level, number]
        assert len(data) == 32 * width
        return data

    return TileSubtrees(size, read)


def test_the_published_vectors_hold() -> None:
    tree = Tree()
    for entry in FIVE:
        tree.append(leaf_hash(entry))

    assert base64.b64encode(EMPTY_ROOT) == b"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
    assert leaf_hash(FIVE[0]).hex() == (
        "d829edd0713a1bb05e3cd0616924a4c5bde21e36e537149a20239edafa8825f1"
    )
    assert base64.b64encode(tree.root()) == b"OWzC8+pXpLvOMYsH2CT91q0pLUsT6Q9WrpQRsWTbETY="


def test_the_published_proofs_are_made_and_hold() -> None:
    hashes = [leaf_hash(entry) for entry in FIVE]
    inclusion = b64(
        "gR+MJClAf/75fl1Ogf+IsSZJHIFQFu7+yHl8q59j0SU= jXl7tY1h9ngEf9+So5ARexbYcYuVcwOpIxo2z24MX3U="
        " VAZmcWJr+jVQiIzLFHPW+pMPjB8FUW32AfrPCRRf+CE="
    )
    consistency = b64(
        "3t8ellaME6WCe7y4TZIK2yHZibXaT2Hea9Bg5SeS2pE= gR+MJClAf/75fl1Ogf+IsSZJHIFQFu7+yHl8q59j0SU="
        " jXl7tY1h9ngEf9+So5ARexbYcYuVcwOpIxo2z24MX3U= VAZmcWJr+jVQiIzLFHPW+pMPjB8FUW32AfrPCRRf+CE="
    )

    def subtrees(height: int, number: int) -> bytes:
        return by_definition(hashes[number << height : (number + 1) << height])

    assert inclusion_proof(2, 5, subtrees) == inclusion
    assert consistency_proof(3, 5, subtrees) == consistency
    check_inclusion(inclusion, 2, 5, hashes[2], by_definition(hashes))
    check_consistency(consistency, 3, 5, by_definition(hashes[:3]), by_definition(hashes))


@pytest.mark.parametrize("size", [*SIZES, 65_535, 65_536, 65_537])
def test_the_root_is_that_of_the_definition(size: int) -> None:
    tree = Tree()
    for leaf in leaves()[:size]:
        tree.append(leaf)

    assert tree.size == size
    assert tree.root() == by_definition(leaves()[:size])


def test_every_finished_tile_is_the_roots_of_what_is_below_it() -> None:
    tree, seen = Tree(), []
    for leaf in leaves():
        for tile in tree.append(leaf):
            covered = 256**tile.level
            first = tile.number * 256 * covered
            if tile.level == 0 and tile.number % 50:
                continue  # enough of them
            seen.append((tile.level, tile.number))
            assert tile.data == b"".join(
                subtree_root(leaves()[at : at + covered])
                for at in range(first, first + 256 * covered, covered)
            )

    assert (1, 0) in seen


@pytest.mark.parametrize("size", [1, 255, 256, 257, 65_537])
def test_a_tree_goes_on_from_its_edge_as_if_it_had_never_stopped(size: int) -> None:
    whole = Tree()
    for leaf in leaves()[:size]:
        whole.append(leaf)
    edge: list[list[bytes]] = []
    for level, data in whole.partial_tiles().items():
        edge += [[]] * (level - len(edge))
        edge.append([data[i : i + 32] for i in range(0, len(data), 32)])

    resumed = Tree(edge)

    assert (resumed.size, resumed.root()) == (size, whole.root())
    assert resumed.frontier() == whole.frontier()
    for leaf in leaves()[size : size + 260]:
        assert resumed.append(leaf) == whole.append(leaf)
    assert resumed.root() == whole.root()


@pytest.mark.parametrize("size", [s for s in SIZES if s])
def test_inclusion_is_proven_for_every_leaf_and_for_no_other(size: int) -> None:
    root = by_definition(leaves()[:size])
    for index in range(0, size, max(1, size // 40)):
        proof = inclusion_proof(index, size, tiles_of(size))

        check_inclusion(proof, index, size, leaves()[index], root)
        with pytest.raises(BadProof):
            check_inclusion(proof, index, size, leaf_hash(b"another"), root)
        with pytest.raises(BadProof):
            check_inclusion([*proof, root], index, size, leaves()[index], root)
        if proof:
            with pytest.raises(BadProof):
                check_inclusion(proof[:-1], index, size, leaves()[index], root)


@pytest.mark.parametrize("size", SIZES)
def test_consistency_is_proven_for_every_older_tree_and_for_no_other(size: int) -> None:
    root = by_definition(leaves()[:size])
    for old in range(0, size + 1, max(1, size // 40)):
        old_root = by_definition(leaves()[:old])
        proof = consistency_proof(old, size, tiles_of(size))

        check_consistency(proof, old, size, old_root, root)
        with pytest.raises(BadProof):
            check_consistency(proof, old, size, leaf_hash(b"another"), root)
        with pytest.raises(BadProof):
            check_consistency([*proof, root], old, size, old_root, root)


def test_a_tree_that_shrank_is_not_consistent() -> None:
    with pytest.raises(BadProof, match="smaller"):
        check_consistency([], 5, 3, EMPTY_ROOT, EMPTY_ROOT)


@given(st.lists(st.binary(min_size=32, max_size=32), max_size=12), st.integers(0, 9))
def test_an_invented_proof_never_holds(proof: list[bytes], index: int) -> None:
    with pytest.raises(BadProof):
        check_inclusion(proof, index, 9, leaf_hash(b"another"), by_definition(leaves()[:9]))
    with pytest.raises(BadProof):
        check_consistency(
            proof, 1 + index % 8, 9, leaf_hash(b"another"), by_definition(leaves()[:9])
        )


@pytest.mark.parametrize("bundles", [1, 2, 256, 257])
def test_whole_bundles_at_once_are_the_same_as_their_leaves_one_by_one(bundles: int) -> None:
    at_once, singly = Tree(), Tree()

    for number in range(bundles):
        leaves = [leaf_hash(f"{number}.{i}".encode()) for i in range(256)]
        told = at_once.append_bundle(subtree_root(leaves))
        wanted = [tile for leaf in leaves for tile in singly.append(leaf)]
        assert told == [tile for tile in wanted if tile.level > 0]

    assert (at_once.size, at_once.root()) == (singly.size, singly.root())
    assert at_once.frontier() == singly.frontier()
    assert at_once.partial_tiles() == singly.partial_tiles()
    assert at_once.append(leaf_hash(b"")) == singly.append(leaf_hash(b""))
    assert at_once.root() == singly.root()


def test_a_bundle_at_once_is_refused_where_it_would_not_begin_a_tile() -> None:
    tree = Tree()
    tree.append(leaf_hash(b""))

    with pytest.raises(ValueError, match="whole tiles"):
        tree.append_bundle(bytes(32))
