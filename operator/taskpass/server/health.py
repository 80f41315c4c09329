"""What the operator says of itself: nothing where all is well, else what is missing."""

from collections.abc import Mapping
from dataclasses import dataclass

from taskpass.server.probes import Check

REVOKING_ONLY = "revoking only: "
"""Before why, in the ledger's check."""
COMPARING = "its state is being compared with its log"
"""What the ledger's check says from its opening on, until that is done."""


@dataclass(slots=True)
class Health:
    """One sentence for each thing that readiness needs; '' once it is there."""

    ledger: str = "not open yet (the signing key is read first)"
    lease: str = "not held yet"
    caches: str = "not synced yet"
    limits: str = "not checked yet"
    watching: str = "not begun yet"
    expressions: str = "not started yet"
    """What evaluates policies. Issuing is not held back: what cannot be evaluated is not decided,
    and a policy without expressions is as good as ever."""
    anchor: str = "not compared yet"
    background: str = ""
    start: str = ""
    """What the start waits for, as the API server does not give it."""
    anchor_missing: str = ""
    """Why nothing is issued though all of the above is well: nothing there remembers the log. An
    installation makes the anchor once the operator is ready, so it cannot wait for it."""

    def checks(self) -> tuple[Mapping[str, Check], Mapping[str, Check]]:
        """Return the checks of `/livez` and of `/readyz`."""
        ready = {
            "ledger": lambda: self.ledger,
            "lease": lambda: self.lease,
            "caches": lambda: self.caches,
            "limits": lambda: self.limits,
            "watching": lambda: self.watching,
            "expressions": lambda: self.expressions,
            "anchor": lambda: self.anchor,
            "background": lambda: self.background,
            "start": lambda: self.start,
        }
        return {"process": lambda: ""}, ready
