"""Is the log what was remembered of it, grown? A log alone cannot tell, nor can its key's holder.

What is remembered outside (docs/api/auditanchor.md) is one checkpoint: origin, size and root. A log
that is shorter was rolled back; one whose first entries hash to another root, or that has another
name, is another log. Either may be the work of whoever has the volume or the key.
"""

import enum
from collections.abc import Callable
from dataclasses import dataclass

from taskpass.core.model.conditions import Finding
from taskpass.core.model.problem import Problem


class AnchorReason(enum.StrEnum):
    """Reasons of the AuditAnchor's condition `Ready`."""

    ANCHORED = "Anchored"
    """The log begins with what was remembered."""
    FIRST_MEMORY = "FirstMemory"
    """Nothing was remembered; what the log says now is believed, and remembered from here on."""
    AUDIT_ROLLBACK = "AuditRollback"
    """The log is shorter than it was."""
    AUDIT_FORK = "AuditFork"
    """The log's first entries are not those that were remembered, or it is another log."""
    LEDGER_VOLUME_TIGHT = "LedgerVolumeTight"
    """The ledger's volume is nearly full."""
    LEDGER_VOLUME_FULL = "LedgerVolumeFull"
    """So full that what is left is kept for revocations."""


GOOD = (AnchorReason.ANCHORED, AnchorReason.FIRST_MEMORY, AnchorReason.LEDGER_VOLUME_TIGHT)
"""The log itself is well, and issuing goes on."""
GROWING = (*GOOD, AnchorReason.LEDGER_VOLUME_FULL)
"""The log is remembered as it grows."""
PROVEN = (AnchorReason.AUDIT_ROLLBACK, AnchorReason.AUDIT_FORK)
"""The log is not what somebody else has seen of it."""
IntegrityAlert = Problem[AnchorReason]
"""What is to be said of the log, or of its volume, though it is what was remembered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What a log was at a size."""

    origin: str
    size: int
    root: bytes
    note: str = ""
    """The signed checkpoint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnchorReset:
    """What a person had the cluster forget, and why."""

    reason: str
    head: Head


def compare(
    remembered: Head | None, head: Head, root_at: Callable[[int], bytes]
) -> tuple[AnchorReason, str]:
    """Return what is true of the log, and a sentence for people.

    `root_at` computes the log's root at a size up to its own.
    """
    if remembered is None:
        return (
            AnchorReason.FIRST_MEMORY,
            f"Nothing was remembered; the log's {head.size} entries are believed, and remembered "
            "from here on",
        )
    if remembered.origin != head.origin:
        return (
            AnchorReason.AUDIT_FORK,
            f"The log is '{head.origin}', and '{remembered.origin}' is remembered. {REMEDY}",
        )
    if head.size < remembered.size:
        return (
            AnchorReason.AUDIT_ROLLBACK,
            f"The log has {head.size} entries, and had {remembered.size}: an older copy is in its "
            f"place. {REMEDY}",
        )
    if root_at(remembered.size) != remembered.root:
        return (
            AnchorReason.AUDIT_FORK,
            f"The log's first {remembered.size} entries are not those that are remembered: it was "
            f"written anew. {REMEDY}",
        )
    return AnchorReason.ANCHORED, f"The log has grown from the {remembered.size} entries remembered"


def finding_of(reason: AnchorReason, message: str) -> Finding:
    """Return the condition `Ready`."""
    good = reason in (AnchorReason.ANCHORED, AnchorReason.FIRST_MEMORY)
    return Finding(status="True" if good else "False", reason=reason.value, message=message)


REMEDY = (
    "Nothing is issued. Put the ledger's volume back as it was; or find out why it is not, keep "
    "both, and let `taskpass audit re-origin --reason …` forget what was"
)
