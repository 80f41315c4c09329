"""Hand a ledger that nobody has open over to another key."""

from datetime import datetime
from pathlib import Path

from taskpass.core.audit.key_history import KeyChain
from taskpass.core.errors import UsageError
from taskpass.ledger.log.key_history import cluster_of, declared_chain, signer_of
from taskpass.ledger.log.reader import reading
from taskpass.ledger.log.signing import Signer
from taskpass.ledger.store.sqlite import DOMAIN
from taskpass.ledger.store.transaction import Store
from taskpass.ledger.verify.log import verify_database


def rotate(path: Path, old: Signer, new: Signer, *, reason: str, now: datetime) -> KeyChain:
    """Let `new` sign from here on; both sign the handover. Return the keys as they are then.

    The ledger is verified first: the old key is destroyed afterwards, and with it goes the way back
    to a copy of before.

    Raises:
        LedgerLocked: Somebody has the ledger open.
        LedgerError: It is not signed by `old`, or cannot be written.
        UsageError: The new key is one that the log has or had.
        TamperEvidence: It is not what its log says; nothing is written.
        Incomplete: As `reading`.

    """
    verify_database(path)
    with reading(path) as log:
        chain, cluster_id = declared_chain(log), cluster_of(log)
        signer_of(log, old)
        if any(span.key.raw == new.public_key for span in chain.spans):
            raise UsageError("The log has or had that key already; make a new one")
    Store.open(
        path, signer=new, previous=old, reason=reason, domain=DOMAIN, cluster_id=cluster_id,
        instance="taskpass audit keys rotate", now=now, fail_point=lambda _: None,
    ).close()  # fmt: skip
    with reading(path) as log:
        return declared_chain(log)
