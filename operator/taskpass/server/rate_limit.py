"""How many requests a second each address gets: a bucket of its own, and a share of the whole."""

from collections import OrderedDict
from collections.abc import Callable

KEPT = 1024
"""Addresses whose buckets are remembered; what was not heard of for longest is forgotten."""
RECENT_SECONDS = 10.0
LEAST = 2.0
"""Requests a second that every address gets, however many there are."""


class FairRate:
    """Token buckets by address, filled the slower the more addresses ask."""

    def __init__(self, each: float, whole: float, monotonic: Callable[[], float]) -> None:
        """`each` is the most a second for one address, `whole` for all of them together."""
        self._each = each
        self._whole = whole
        self._monotonic = monotonic
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """What is left in each, and when it was last asked for; that longest ago first."""
        self._active = 1
        self._counted_at = float("-inf")

    def take(self, address: str) -> bool:
        """Tell whether one more request of the address is served now."""
        now = self._monotonic()
        rate = max(LEAST, min(self._each, self._whole / self._addresses(now)))
        left, at = self._buckets.pop(address, (2 * self._each, now))
        left = min(2 * self._each, left + rate * (now - at))
        served = left >= 1
        self._buckets[address] = (left - served, now)
        if len(self._buckets) > KEPT:
            self._buckets.popitem(last=False)
        return served

    def _addresses(self, now: float) -> int:
        if now - self._counted_at >= 1:
            recent = sum(now - at <= RECENT_SECONDS for _, at in self._buckets.values())
            self._active, self._counted_at = max(1, recent), now
        return self._active
