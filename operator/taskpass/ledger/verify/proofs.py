"""Make proofs from a ledger, and check them: what somebody outside can keep or show."""

from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

from taskpass.core.audit.key_history import KeyChain
from taskpass.core.errors import UsageError
from taskpass.ledger.export.files import FileReader
from taskpass.ledger.log.entry_filter import Query
from taskpass.ledger.log.key_history import declared_chain, opened_head
from taskpass.ledger.log.proven_reads import grown_from
from taskpass.ledger.log.reader import LogReader, TamperEvidence
from taskpass.ledger.log.signing import verify_signature
from taskpass.ledger.verify.proven import VerifiedLog
from taskpass.tlog.checkpoint import (
    BadCheckpoint,
    Checkpoint,
    open_checkpoint,
    parse_body,
    parse_note,
    parse_vkey,
)
from taskpass.tlog.merkle import (
    BadProof,
    inclusion_proof,
    leaf_hash,
)
from taskpass.tlog.proof import TlogProof, parse_tlog_proof
from taskpass.tlog.tiles import TileSubtrees

MOST_DIGITS = 15


def prove_inclusion(log: LogReader | FileReader, index: int) -> TlogProof:
    """Prove that the entry is under the ledger's checkpoint; the proof is checked before it leaves.

    Raises:
        UsageError: The log has no such entry.
        TamperEvidence: It is not under the checkpoint.

    """
    if not 0 <= index < log.size:
        raise UsageError(f"The log has no entry {index}; its last is {log.size - 1}")
    opened_head(log)
    path = inclusion_proof(index, log.size, TileSubtrees(log.size, log.tile))
    proof = TlogProof(index, tuple(path), log.note)
    try:
        proof.check(leaf_hash(log.entry(index)))
    except BadProof as error:
        raise TamperEvidence(f"entry {index} is not under the checkpoint: {error}") from error
    return proof


def prove_consistency(
    log: LogReader | FileReader, kept: str
) -> tuple[Checkpoint, Checkpoint, Sequence[bytes]]:
    """Prove that the log begins with the one of a kept checkpoint; return both, and the proof.

    Raises:
        UsageError: The text is no checkpoint.
        TamperEvidence: The checkpoint is not the log's, or the log does not begin with it.

    """
    head, chain = opened_head(log), declared_chain(log)
    old = _opened(kept, chain)
    if old.size > head.size:
        raise TamperEvidence(
            f"ROLLBACK: the log has {head.size} entries, and had {old.size} when the checkpoint "
            "was kept"
        )
    before, proof = grown_from(log, old.size, head.size, head.root)
    if before != old.root:
        raise TamperEvidence(
            f"FORK: the log's first {old.size} entries are not those of the kept checkpoint"
        )
    return old, head, proof


def check_proof(text: str, entry: bytes, vkey: str) -> TlogProof:
    """Check a proof of one entry with the log's key; nothing else is needed.

    Raises:
        UsageError: The key or the text cannot be read.
        TamperEvidence: The signature is not the key's, or the entry is not under it.

    """
    try:
        key = parse_vkey(vkey)
    except BadCheckpoint as error:
        raise UsageError(f"The key cannot be read: {error}") from error
    try:
        proof = parse_tlog_proof(text)
    except BadProof as error:
        raise UsageError(f"The proof cannot be read: {error}") from error
    try:
        open_checkpoint(proof.note, key, verify_signature)
        proof.check(leaf_hash(entry))
    except (BadCheckpoint, BadProof) as error:
        raise TamperEvidence(f"the proof does not hold: {error}") from error
    return proof


def identity_asked(identity: str) -> int | Query:
    """Return the index that is named, or the question for an entry's id; `UsageError` for else."""
    if identity.isascii() and identity.isdigit():
        if len(identity) > MOST_DIGITS:
            raise UsageError(f"No log has an entry {identity[:MOST_DIGITS]}…")
        return int(identity)
    try:
        return Query(id=UUID(identity).bytes)
    except ValueError:
        raise UsageError(f"'{identity[:40]}' is neither an entry's index nor its id") from None


def only(log: VerifiedLog, identity: str) -> tuple[int, bytes]:
    """Return the one entry that was asked for; `UsageError` where there is none."""
    for found in log.entries:
        return found
    if not identity.isdigit():
        raise UsageError(f"The log has no entry of the id {identity}")
    if int(identity) >= log.report.size:
        raise UsageError(f"The log has no entry {identity}; its last is {log.report.size - 1}")
    return int(identity), log.source.entry(int(identity))


def body_of(path: Path) -> bytes:
    """Return an entry as a file holds it; the newline that an editor or `show` adds is not of it.

    Raises:
        UsageError: It cannot be read.

    """
    try:
        return path.read_bytes().removesuffix(b"\n")
    except OSError as error:
        raise UsageError(f"The entry {path} cannot be read ({error.strerror})") from error


def _opened(text: str, chain: KeyChain) -> Checkpoint:
    try:
        parse_body(parse_note(text)[0])
    except BadCheckpoint as error:
        raise UsageError(f"The kept checkpoint cannot be read: {error}") from error
    try:
        return chain.open(text, verify_signature)
    except BadCheckpoint as error:
        raise TamperEvidence(f"the kept checkpoint does not hold: {error}") from error
