"""The keys of a log, as far as they are proven from one root: what lies beside it is no word of it.

An entry alone hands over nothing (`core/audit/key_history.py`): its checkpoint must be kept, signed
by both keys, and be of the very log.
"""

from taskpass.core.audit.key_history import KeyChain
from taskpass.ledger.log.key_history import chain_of
from taskpass.ledger.log.proven_reads import entry_under, grown_from
from taskpass.ledger.log.reader import LogReader, TamperEvidence
from taskpass.ledger.log.signing import verify_signature
from taskpass.tlog.checkpoint import BadCheckpoint, Checkpoint, parse_body, parse_note


def proven_chain(log: LogReader, size: int, root: bytes) -> KeyChain:
    """Return the keys of the log's first `size` entries, which have this root.

    Raises:
        TamperEvidence: What names a key is not under the root, or both keys have not signed it.

    """
    notes = {at: note for at, note in log.handovers().items() if at <= size}
    chain = chain_of(lambda index: entry_under(log, index, size, root), sorted(notes))
    for at, note in notes.items():
        try:
            handover = chain.open(note, verify_signature)
        except BadCheckpoint as error:
            raise TamperEvidence(f"the handover at size {at} does not hold: {error}") from error
        if (handover.size, handover.root) != (at, grown_from(log, at, size, root)[0]):
            raise TamperEvidence(f"the handover at size {at} is not what its keys have signed")
    return chain


def signed_head(log: LogReader) -> Checkpoint:
    """Return the log's checkpoint, signed by the key that follows from entries under it.

    Raises:
        TamperEvidence: It does not hold.

    """
    try:
        head = parse_body(parse_note(log.note)[0])
        if head.size != log.size:
            raise TamperEvidence("the ledger's head does not say what its checkpoint says")
        return proven_chain(log, head.size, head.root).open(log.note, verify_signature)
    except BadCheckpoint as error:
        raise TamperEvidence(f"the ledger's checkpoint does not hold: {error}") from error
