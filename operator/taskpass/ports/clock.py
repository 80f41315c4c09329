"""The time."""

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """The only source of time. Flows take it; the core takes `now`."""

    def now(self) -> datetime:
        """Return the time in UTC."""

    def monotonic(self) -> float:
        """Return seconds that never go back."""
