"""What the operator says of itself: nothing where all is well, else what is missing."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from taskpass.core.model.problem import Problem
from taskpass.server.probes import Check


class LedgerReason(enum.StrEnum):
    """Why nothing is issued by the ledger."""

    NOT_OPEN = "not open"
    """Nothing is done before it is."""
    COMPARING = "comparing"
    """It is open, and what is held is revoked where that is due."""
    REVOKING_ONLY = "revoking only"
    """It cannot be written, or does not hold together."""


NOT_OPEN = Problem(LedgerReason.NOT_OPEN, "not open yet (the signing key is read first)")
COMPARING = Problem(LedgerReason.COMPARING, "its state is being compared with its log")
"""From its opening on, until that is done."""


@dataclass(slots=True)
class Health:
    """One sentence for each thing that readiness needs; None once it is there."""

    ledger: Problem[LedgerReason] | None = NOT_OPEN
    lease: str | None = "not held yet"
    caches: str | None = "not synced yet"
    limits: str | None = "not checked yet"
    watching: str | None = "not begun yet"
    expressions: str | None = "not started yet"
    """What evaluates policies. Issuing is not held back: what cannot be evaluated is not decided,
    and a policy without expressions is as good as ever."""
    anchor: str | None = "not compared yet"
    background: str | None = None
    start: str | None = None
    """What the start waits for, as the API server does not give it."""
    anchor_missing: str | None = None
    """Why nothing is issued though all of the above is well: nothing there remembers the log. An
    installation makes the anchor once the operator is ready, so it cannot wait for it."""

    def checks(self) -> tuple[Mapping[str, Check], Mapping[str, Check]]:
        """Return the checks of `/livez` and of `/readyz`."""
        ready = {
            "ledger": self._ledger,
            "lease": lambda: self.lease,
            "caches": lambda: self.caches,
            "limits": lambda: self.limits,
            "watching": lambda: self.watching,
            "expressions": lambda: self.expressions,
            "anchor": lambda: self.anchor,
            "background": lambda: self.background,
            "start": lambda: self.start,
        }
        return {"process": lambda: None}, ready

    def _ledger(self) -> str | None:
        problem = self.ledger
        if problem is None:
            return None
        said = problem.message
        revoking_only = problem.reason is LedgerReason.REVOKING_ONLY
        return f"{problem.reason}: {said}" if revoking_only else said
