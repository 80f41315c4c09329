"""The operator's clock: steady, and moved only where two of three clocks say so.

The three are this one, which goes on by the machine's monotonic clock; the machine's wall clock;
and the API server's, which every answer has (RFC 9110, section 6.6.1): by it tokens expire.
"""

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

logger = logging.getLogger(__name__)
EVERY_SECONDS = 1.0
TOLERANCE = timedelta(seconds=5)
HALF_A_SECOND = timedelta(seconds=0.5)
"""A `Date` says whole seconds, and is behind by half of one on average."""


class SystemClock:
    """`ports.Clock` of commands that talk to no API server, or only once."""

    def now(self) -> datetime:
        """Return the time in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return time.monotonic()


class SteadyClock:
    """`ports.Clock`.

    A wall clock that is set to another year is outvoted, and so is an API server whose clock is
    wrong. After a machine has slept its monotonic clock is behind, and is outvoted by the others.
    """

    def __init__(
        self, wall: Callable[[], datetime], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """`wall` is what the machine's clock says, in UTC."""
        self._wall = wall
        self._monotonic = monotonic
        self._base, self._since = wall(), monotonic()
        self._heard: float | None = None

    def now(self) -> datetime:
        """Return the time in UTC."""
        return self._base + timedelta(seconds=self._monotonic() - self._since)

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return self._monotonic()

    def heard(self, date: str) -> None:
        """Take the `Date` of an answer of the API server; the first sets the clock."""
        moment = self._monotonic()
        if self._heard is not None and moment - self._heard < EVERY_SECONDS:
            return
        try:
            told = parsedate_to_datetime(date).replace(tzinfo=UTC) + HALF_A_SECOND
        except ValueError:
            return
        steady, machine = self.now(), self._wall()
        # At the start this clock is the machine's, and would be a second vote for it.
        agreed = told if self._heard is None else sorted((steady, machine, told))[1]
        self._heard = moment
        if abs(agreed - steady) <= TOLERANCE:
            return
        logger.warning(
            "The clock was moved",
            extra={"before": steady, "after": agreed, "machine": machine, "api_server": told},
        )
        self._base, self._since = agreed, moment
