"""How much the objects of one namespace may take of the memory that all share.

Of tasks beyond it who they are is kept, so each can say why it is not served. A template, an
approval or a pod beyond it counts as one that cannot be read: an approval may be a denial, so
nothing is issued in that namespace until there is room.
"""

import functools

from taskpass.core.model.key import Key

MOST_OF_ONE = 32 * 1024 * 1024
"""Bytes of the specs of one namespace's tasks, as JSON: some sixteen thousand usual ones."""
MOST_OF_OTHERS = 8 * 1024 * 1024
"""The same of its templates, of its approvals, and of what is kept of its pods."""
TOO_MUCH = (
    f"The tasks of namespace '{{}}' take more than {MOST_OF_ONE // 1024**2} MiB together, so this "
    "one is not served; delete some that are over, or ask for less in each. It is looked at again "
    "within ten minutes"
)


class NoRoom(ValueError):
    """There is no room for an object; the text says of what there is too much, and where."""

    def __init__(self, kind: str, namespace: str, most: int) -> None:
        super().__init__(_no_room(kind, namespace, most))


@functools.cache
def _no_room(kind: str, namespace: str, most: int) -> str:
    """Return one text for all that there is no room for, as it is kept with each."""
    return (
        f"the {kind}s of namespace '{namespace}' take more than {most // 1024} KiB together; "
        "delete some. It is looked at again within ten minutes"
    )


class NamespaceMemory:
    """What each object of a kind takes, and each namespace's in all."""

    def __init__(self, most: int = MOST_OF_ONE) -> None:
        self.most = most
        self._of_object: dict[Key, int] = {}
        self._in: dict[str, int] = {}

    def take(self, key: Key, size: int) -> bool:
        """Give an object the room it needs now; False where there is none, and it keeps its own."""
        others = self._in.get(key[0], 0) - self._of_object.get(key, 0)
        if others + size > self.most:
            return False
        self._of_object[key] = size
        self._in[key[0]] = others + size
        return True

    def leave(self, key: Key) -> None:
        """Take back what an object has."""
        left = self._in.get(key[0], 0) - self._of_object.pop(key, 0)
        if left > 0:
            self._in[key[0]] = left
        else:
            self._in.pop(key[0], None)
