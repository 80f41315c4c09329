"""How often tasks are looked at: at once, and where one object concerns many, not without end."""

import asyncio
from collections.abc import Callable, Iterable

from taskpass.core.model.key import Key

FEW = 32
SECONDS_FOR_EACH = 0.0002
"""Between two looks at many tasks of a namespace: 0.2 s for a thousand."""
OnChange = Callable[[Iterable[Key]], None]
Find = Callable[[], Iterable[Key]]


class EnqueueThrottle:
    """Says which tasks need a look."""

    def __init__(self, on_change: OnChange) -> None:
        """`on_change` gets their keys; it must not block or raise."""
        self._on_change = on_change
        self._waiting: dict[str, dict[Key, Find]] = {}
        """Namespaces of which many tasks were looked at a moment ago, and what waits since."""

    def at(self, keys: Iterable[Key]) -> None:
        """Have tasks looked at, at once."""
        if listed := list(keys):
            self._on_change(listed)

    def at_many(self, of: Key, find: Find) -> None:
        """Have tasks looked at that one object of their namespace concerns.

        At once; while it changes again and again, no oftener than their number allows: what one
        tenant changes in a loop takes no more than a part of the time that all share.
        """
        waiting = self._waiting.get(of[0])
        if waiting is not None:
            waiting[of] = find
            return
        found = list(find())
        self.at(found)
        if len(found) > FEW:
            self._waiting[of[0]] = {}
            pause = len(found) * SECONDS_FOR_EACH
            asyncio.get_running_loop().call_later(pause, self._again, of[0])

    def _again(self, namespace: str) -> None:
        for of, find in self._waiting.pop(namespace, {}).items():
            self.at_many(of, find)
