"""Erase what is known of a person from a ledger that nobody has open."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from taskpass.core.errors import StillRead
from taskpass.ledger.log.key_history import cluster_of
from taskpass.ledger.log.reader import TamperEvidence, reading
from taskpass.ledger.log.signing import Signer
from taskpass.ledger.store.sqlite import DOMAIN
from taskpass.ledger.store.transaction import Store
from taskpass.ledger.store.write_ahead import readers, wait_until_folded
from taskpass.ledger.verify.integrity import compare


def erase(
    path: Path, name: str, signer: Signer, now: datetime,
    waiting: Callable[[str], None] = lambda who: None,
) -> int:  # fmt: skip
    """Delete name and salt; return the index of the entry that says so, -1 where nothing was known.

    On return no byte of them is left in the file or beside it. `waiting` is told who keeps that
    from being done.

    Raises:
        UsageError: See `Store.erase`; nothing is deleted.
        StillRead: Somebody read an earlier state for too long.
        LedgerLocked: Somebody has the ledger open.
        LedgerError: It is not that key's, or cannot be written.
        TamperEvidence: What is noted is not what the log says; nothing is deleted.
        Incomplete: As `reading`.

    """
    with reading(path) as log:
        cluster_id = cluster_of(log)
    store = Store.open(
        path, signer=signer, domain=DOMAIN, cluster_id=cluster_id, instance="taskpass audit erase",
        now=now, fail_point=lambda _: None,
    )  # fmt: skip
    try:
        # What is noted of people and tasks is written anew, so it must be what the log says.
        if found := compare(store.freeze(), lambda: False):
            raise TamperEvidence(f"Nothing was erased: {found}")
        (index,) = store.erase(name, now).indexes
        if not wait_until_folded(store.wal.fold, store.path, waiting):
            raise StillRead(index, readers(store.path))
        return index
    finally:
        store.close()
