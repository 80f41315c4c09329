"""Make proofs from a log that was verified, and check them: what somebody can keep or show.

Entries and keys are those of the verification; of what is read once more, only what is under its
checkpoint counts. The files may be others by then.
"""

from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

from taskpass.core.audit.key_history import KeyChain
from taskpass.core.errors import UsageError
from taskpass.ledger.log.entry_filter import Query
from taskpass.ledger.log.proven_reads import grown_from
from taskpass.ledger.log.reader import Incomplete, TamperEvidence
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


def prove_inclusion(log: VerifiedLog, index: int, body: bytes) -> TlogProof:
    """Prove that an entry is under the log's checkpoint; the proof is checked before it leaves.

    Raises:
        TamperEvidence: It is not: what lies there is not any more what was verified.

    """
    source, size = log.source, log.report.size
    try:
        path = inclusion_proof(index, size, TileSubtrees(size, source.tile))
        proof = TlogProof(index, tuple(path), source.note)
        proof.check(leaf_hash(body))
    except (BadProof, IndexError, ValueError) as error:  # or a tile is cut
        raise TamperEvidence(f"entry {index} is not under the checkpoint: {error}") from error
    return proof


def prove_consistency(
    log: VerifiedLog, kept: str
) -> tuple[Checkpoint, Checkpoint, Sequence[bytes]]:
    """Prove that the log begins with the one of a kept checkpoint; return both, and the proof.

    Raises:
        UsageError: The text is no checkpoint.
        TamperEvidence: The checkpoint is not the log's, or the log does not begin with it.

    """
    head, old = parse_body(parse_note(log.source.note)[0]), _opened(kept, log.replay.keys)
    if old.size > head.size:
        raise TamperEvidence(
            f"ROLLBACK: the log has {head.size} entries, and had {old.size} when the checkpoint "
            "was kept"
        )
    before, proof = grown_from(log.source, old.size, head.size, head.root)
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
    """Return the one entry that was asked for, as it was when the log was verified.

    Raises:
        UsageError: The log has none.
        Incomplete: It is absent.

    """
    for found in log.entries:
        return found
    if not identity.isdigit():
        raise UsageError(f"The log has no entry of the id {identity}")
    if int(identity) >= log.report.size:
        raise UsageError(f"The log has no entry {identity}; its last is {log.report.size - 1}")
    log.source.entry(int(identity))  # says why it is absent
    raise Incomplete(f"Entry {identity} was not there when the log was verified")


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
