"""Open the ledger as far as its volume allows: to write, or else to revoke by."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from taskpass.core.errors import LedgerUnwritable
from taskpass.ledger.log.signing import Signer
from taskpass.ledger.store.read_only import ReadOnlyLedger
from taskpass.ledger.store.sqlite import SqliteLedger

logger = logging.getLogger(__name__)
AnyLedger = SqliteLedger | ReadOnlyLedger


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """How to open one ledger; every method blocks."""

    path: Path
    signer: Signer
    cluster_id: str
    instance: str
    now: Callable[[], datetime]
    fail_point: Callable[[str], None]
    previous: Signer | None = None
    """Hands over to `signer` where the log is still signed by it."""
    reason: str = ""
    """Why it does, as the log is to tell."""

    def whole(self) -> SqliteLedger:
        """Open it to read and write; see `SqliteLedger.open`."""
        return SqliteLedger.open(
            self.path,
            signer=self.signer,
            cluster_id=self.cluster_id,
            instance=self.instance,
            now=self.now(),
            fail_point=self.fail_point,
            previous=self.previous,
            reason=self.reason,
        )

    def as_far_as_possible(self) -> AnyLedger:
        """Open it to write, or else to read, where one is there.

        Raises:
            LedgerError: There is nothing that could be revoked by it either.

        """
        try:
            return self.whole()
        except LedgerUnwritable as error:
            if not self.path.exists() or not self.path.stat().st_size:
                raise
            read_only = ReadOnlyLedger.open(
                self.path, signer=self.signer, cluster_id=self.cluster_id, why=str(error),
                previous=self.previous,
            )  # fmt: skip
        logger.error(
            "The ledger cannot be written: nothing is issued, what is held is only revoked",
            extra={"why": read_only.why, "held": len(list(read_only.held()))},
        )
        return read_only
