"""Who is next where many tenants wait: each in turn, and each tenant's own in the order of coming.

However many one tenant has put into it, another one's first waits for one of each tenant at most.
"""

from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


def anybody(_: str) -> bool:
    """Let every tenant have its turn."""
    return True


class FairQueue(Generic[T]):
    """A queue with a line for each tenant."""

    def __init__(self) -> None:
        self._lines: OrderedDict[str, deque[T]] = OrderedDict()

    def __bool__(self) -> bool:
        """Tell whether anything waits."""
        return bool(self._lines)

    def put(self, tenant: str, item: T) -> None:
        """Put something at the end of a tenant's line."""
        self._lines.setdefault(tenant, deque()).append(item)

    def take(self, may: Callable[[str], bool] = anybody) -> T | None:
        """Take what is next of the tenants that may have a turn now; None where there is none."""
        tenant = next((each for each in self._lines if may(each)), None)
        if tenant is None:
            return None
        line = self._lines[tenant]
        item = line.popleft()
        if line:
            self._lines.move_to_end(tenant)
        else:
            del self._lines[tenant]
        return item
