"""Since when tasks hold something, in order: who is before whom is found without counting all."""

from bisect import bisect_left, insort
from datetime import datetime

from taskpass.core.model.grant import Grant


class Line:
    """The tasks of one agent or one namespace that hold something."""

    def __init__(self) -> None:
        self.order: list[tuple[datetime, str]] = []
        """Since when, and the task's UID; who has held for longest first."""
        self._grants: dict[str, dict[str, datetime]] = {}

    def put(self, grant: Grant, held: bool) -> None:
        """Take in that a grant is held, or is not any more."""
        uid = grant.task.uid
        of_task = self._grants.setdefault(uid, {})
        before = min(of_task.values(), default=None)
        if held:
            of_task[grant.id] = grant.intent_at
        else:
            of_task.pop(grant.id, None)
        after = min(of_task.values(), default=None)
        if not of_task:
            del self._grants[uid]
        if before == after:
            return
        if before is not None:
            del self.order[bisect_left(self.order, (before, uid))]
        if after is not None:
            insort(self.order, (after, uid))

    def ahead(self, uid: str) -> int:
        """Return how many others hold something, and did so before this task."""
        of_task = self._grants.get(uid)
        if of_task is None:
            return len(self.order)
        return bisect_left(self.order, (min(of_task.values()), uid))
