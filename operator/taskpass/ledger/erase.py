"""Erase what is known of a person from a ledger that nobody has open."""

from datetime import datetime
from pathlib import Path

from taskpass.ledger.chain import cluster_of
from taskpass.ledger.keys import Signer
from taskpass.ledger.reader import reading
from taskpass.ledger.sqlite import DOMAIN
from taskpass.ledger.store import Store


def erase(path: Path, name: str, signer: Signer, now: datetime) -> int:
    """Delete name and salt; return the index of the entry that says so, -1 where nothing was known.

    Raises:
        LedgerLocked: Somebody has the ledger open.
        LedgerError: It is not that key's, or cannot be written.
        Incomplete, TamperEvidence: As `reading`.

    """
    with reading(path) as log:
        cluster_id = cluster_of(log)
    store = Store.open(
        path, signer=signer, domain=DOMAIN, cluster_id=cluster_id, instance="taskpass audit erase",
        now=now, fail_point=lambda _: None,
    )  # fmt: skip
    try:
        return store.erase(name, now)
    finally:
        store.close()
