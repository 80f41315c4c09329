"""A Python package that shares no code with us (tlog-scales) reads what we export, and agrees."""

import asyncio
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from hypothesis import given
from hypothesis import strategies as st
from tlog_scales.backend import LocalBackend
from tlog_scales.reader import TilesReader
from tlog_scales.signing import Vkey
from tlog_scales.tlog import Checkpoint, ConsistencyProof, InclusionProof, InclusionProofInvalid

from taskpass.ledger.export.directory import export
from taskpass.ledger.log.reader import reading
from taskpass.tlog.merkle import (
    BadProof,
    Tree,
    check_consistency,
    check_inclusion,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
)
from taskpass.tlog.tiles import TileSubtrees
from tests.unit.ledger import objects

SIZE = 600


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with a ledger of 600 entries, and its export."""
    place = tmp_path_factory.mktemp("log")

    async def write() -> None:
        ledger = objects.opened(place / "ledger.db")
        await objects.filled(ledger, SIZE)
        ledger.close()

    asyncio.run(write())
    export(place / "ledger.db", place / "export")
    return place


@pytest.fixture
def reader(place: Path) -> TilesReader:
    made = TilesReader(LocalBackend(place / "export"))
    made.get_checkpoint()
    return made


def signed(text: str, vkey: str) -> Checkpoint:
    """Return a checkpoint once the package has verified its signature."""
    checkpoint = Checkpoint.from_text(text)
    verifier = Vkey.from_string(vkey).get_verifier()
    notes = [note for note in checkpoint.signatures if verifier.vkey.match(note)]
    assert notes, "no signature of the key"
    for note in notes:
        verifier.verify_note(note, checkpoint)
    return checkpoint


def test_its_verdict_on_the_signature_is_ours(place: Path) -> None:
    text = (place / "export/checkpoint").read_text()
    vkey = (place / "export/vkey").read_text().strip()

    assert signed(text, vkey).size == SIZE
    with pytest.raises(InvalidSignature):
        signed(text.replace(f"\n{SIZE}\n", f"\n{SIZE - 1}\n"), vkey)


def test_it_computes_the_same_root_from_the_tiles(place: Path, reader: TilesReader) -> None:
    with reading(place / "ledger.db") as log:
        assert reader.calculate_root_hash() == log.root


def test_every_entry_that_it_reads_is_ours_and_under_its_own_tile(
    place: Path, reader: TilesReader
) -> None:
    with reading(place / "ledger.db") as log:
        for index, body in enumerate(log.entries()):
            assert reader.get_entry(index) == body
            assert reader.mth(index, index + 1) == leaf_hash(body)


def test_each_makes_the_proofs_that_the_other_accepts(place: Path, reader: TilesReader) -> None:
    with reading(place / "ledger.db") as log:
        subtrees = TileSubtrees(log.size, log.tile)
        for index in range(0, SIZE, 7):
            leaf = leaf_hash(log.entry(index))
            ours = inclusion_proof(index, SIZE, subtrees)
            theirs = reader.get_inclusion_proof(index, SIZE).node_hashes
            InclusionProof(index, SIZE, ours).check(leaf, log.root)
            check_inclusion(theirs, index, SIZE, leaf, log.root)
            assert theirs == ours


@pytest.mark.parametrize("older", [1, 2, 255, 256, 257, 511, 599])
def test_each_shows_the_growth_that_the_other_accepts(
    place: Path, reader: TilesReader, older: int
) -> None:
    with reading(place / "ledger.db") as log:
        before = reader.mth(0, older)
        ours = consistency_proof(older, SIZE, TileSubtrees(log.size, log.tile))
        theirs = reader.get_consistency_proof(older, SIZE).node_hashes
        ConsistencyProof(older, SIZE, ours).check(before, log.root)
        check_consistency(theirs, older, SIZE, before, log.root)
        assert theirs == ours


@given(
    size=st.integers(1, 40), index=st.integers(0, 45), other=st.integers(0, 40),
    drop=st.integers(-1, 6), turned=st.integers(-1, 6),
)  # fmt: skip
def test_both_judge_a_proof_that_was_tampered_with_alike(
    size: int, index: int, other: int, drop: int, turned: int
) -> None:
    """Other index, other size, a hash less, a bit turned: the verdict is the same each time."""
    leaves = [leaf_hash(bytes([number])) for number in range(size)]
    tree = Tree()
    for leaf in leaves:
        tree.append(leaf)
    subtrees = TileSubtrees(size, lambda *_: b"".join(leaves))
    proof = inclusion_proof(min(other, size - 1), size, subtrees)
    proof = [hashed for at, hashed in enumerate(proof) if at != drop]
    if 0 <= turned < len(proof):
        proof[turned] = bytes([proof[turned][0] ^ 1]) + proof[turned][1:]
    leaf = leaves[min(other, size - 1)]

    def ours() -> bool:
        try:
            check_inclusion(proof, index, size, leaf, tree.root())
        except BadProof:
            return False
        return True

    def theirs() -> bool:
        try:
            InclusionProof(index, size, proof).check(leaf, tree.root())
        except InclusionProofInvalid:
            return False
        return True

    assert ours() is theirs()
