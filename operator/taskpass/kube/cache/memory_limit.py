"""How much the tasks of one namespace may take of the memory that all share."""

from taskpass.core.model.key import Key

MOST_OF_ONE = 32 * 1024 * 1024
"""Bytes of the specs of one namespace's tasks, as JSON: some sixteen thousand usual ones."""
TOO_MUCH = (
    f"The tasks of namespace '{{}}' take more than {MOST_OF_ONE // 1024**2} MiB together, so this "
    "one is not served; delete some that are over, or ask for less in each. It is looked at again "
    "within ten minutes"
)


class NamespaceMemory:
    """What each task takes, and each namespace's in all."""

    def __init__(self, most: int = MOST_OF_ONE) -> None:
        self._most = most
        self._of_task: dict[Key, int] = {}
        self._in: dict[str, int] = {}
        self.left_out: set[Key] = set()
        """Tasks for which there was none."""

    def take(self, key: Key, size: int) -> bool:
        """Give a task the room that it needs now; False, and none, where there is not as much."""
        self.leave(key)
        if self._in.get(key[0], 0) + size > self._most:
            self.left_out.add(key)
            return False
        self._of_task[key] = size
        self._in[key[0]] = self._in.get(key[0], 0) + size
        return True

    def leave(self, key: Key) -> None:
        """Take back what a task has."""
        self.left_out.discard(key)
        size = self._of_task.pop(key, 0)
        left = self._in.get(key[0], 0) - size
        if left > 0:
            self._in[key[0]] = left
        else:
            self._in.pop(key[0], None)
