"""What becomes of an object by a write of ours comes back as an event, and needs no look.

Who wrote it has gone on from there already. What comes back is compared whole: where somebody else
has changed anything beside it, or comes first, the task is looked at.
"""

from dataclasses import replace

from taskpass.core.lifecycle.attestation import PodView
from taskpass.core.model.task import Task

Written = Task | PodView


class OwnWrites:
    """By UID, what an object is to become; each counts for the object's next state alone."""

    def __init__(self) -> None:
        self._expected: dict[str, Written] = {}

    def expect(self, value: Written) -> None:
        """Expect an object to become this. Called before the write: its event may come first."""
        self._expected[value.uid] = value

    def explain(self, old: Written | None, new: Written | None) -> bool:
        """Tell whether a change is just what was expected; nothing is any more of that object."""
        seen = new or old
        expected = self._expected.pop(seen.uid, None) if seen is not None else None
        if expected is None or new is None:
            return False
        if isinstance(new, Task) and isinstance(expected, Task):
            expected = replace(expected, resource_version=new.resource_version)
        return expected == new
