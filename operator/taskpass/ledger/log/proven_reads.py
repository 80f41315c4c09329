"""Read of a log only what is under a root that is known: of its other parts nothing is believed."""

from typing import Protocol

from taskpass.ledger.log.reader import LogReader, TamperEvidence
from taskpass.tlog.merkle import (
    TILE_WIDTH,
    BadProof,
    check_consistency,
    check_inclusion,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    tree_root,
)
from taskpass.tlog.tiles import TileSubtrees


def entry_under(log: LogReader, index: int, size: int, root: bytes) -> bytes:
    """Return an entry that is under the root of the log's first `size` entries.

    Raises:
        TamperEvidence: What lies there is not.
        Pruned: It is absent by policy.

    """
    body = log.entry(index)
    proof = inclusion_proof(index, size, TileSubtrees(log.size, log.tile))
    try:
        check_inclusion(proof, index, size, leaf_hash(body), root)
    except BadProof as error:
        raise TamperEvidence(f"entry {index} is not under the checkpoint: {error}") from error
    return body


class Tiles(Protocol):
    """A log whose tiles can be read."""

    size: int

    def tile(self, level: int, number: int, width: int = TILE_WIDTH) -> bytes:
        """Return a tile of hashes."""


def grown_from(log: Tiles, old: int, size: int, root: bytes) -> tuple[bytes, list[bytes]]:
    """Return the root that the log had at a size, and the proof that the one at `size` grew of it.

    Raises:
        TamperEvidence: The tiles do not hash to that one; of what was before, they show nothing.

    """
    subtrees = TileSubtrees(log.size, log.tile)
    try:
        before, proof = tree_root(old, subtrees), consistency_proof(old, size, subtrees)
        check_consistency(proof, old, size, before, root)
    except (BadProof, IndexError, ValueError) as error:  # or a tile is cut
        raise TamperEvidence(f"its tiles are not what its entries hash to: {error}") from error
    return before, proof
