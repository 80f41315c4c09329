"""How many may wait for something slow at a time: a few of each tenant, and not too many in all.

Whoever waits holds memory and a call. Where there is much waiting, all who wait share alike, so
that however many wait of one tenant, another one's first still may.
"""

import contextlib
from collections import Counter
from collections.abc import Iterator

OF_ONE = 256
IN_ALL = 1024


class Room:
    """Who waits now. Those that have begun when it becomes full go on."""

    def __init__(self, of_one: int = OF_ONE, in_all: int = IN_ALL) -> None:
        self._of_one = of_one
        self._in_all = in_all
        self._waiting: Counter[str] = Counter()

    def __len__(self) -> int:
        """Return how many wait."""
        return self._waiting.total()

    def has_room(self, tenant: str) -> bool:
        """Tell whether one more of a tenant may begin to wait."""
        its, tenants = self._waiting[tenant], len(self._waiting.keys() | {tenant})
        share = min(self._of_one, self._in_all // tenants)
        return its == 0 or (its < share and len(self) < self._in_all)

    @contextlib.contextmanager
    def taken(self, tenant: str) -> Iterator[None]:
        """Count one as waiting."""
        self._waiting[tenant] += 1
        try:
            yield
        finally:
            self._waiting[tenant] -= 1
            if not self._waiting[tenant]:
                del self._waiting[tenant]
