"""One step as people read it."""

import enum
from dataclasses import dataclass


class Severity(enum.StrEnum):
    """An Event's type."""

    NORMAL = "Normal"
    WARNING = "Warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One step as people read it: an Event on the task, and a line of `status.trail`."""

    reason: str
    message: str
    severity: Severity = Severity.NORMAL
    on_pod: bool = False
    """Whether it is also told on the pod, where a person would look first."""
