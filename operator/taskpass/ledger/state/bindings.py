"""Which task each bound pod is of, in memory: asked for at every look at a task."""

import heapq
from collections.abc import Container, Iterator

from taskpass.core.lifecycle.records import PodBinding


class Bindings:
    """One thread's: what writes and what reads have one each, and share their rows."""

    __slots__ = ("_by_pod", "_gated")

    def __init__(self) -> None:
        self._by_pod: dict[str, PodBinding] = {}
        self._gated: set[str] = set()
        """Bound pods whose gate was not lifted: few, as most are let go a moment later."""

    def __iter__(self) -> Iterator[PodBinding]:
        """Return every binding."""
        return iter(self._by_pod.values())

    def task_of(self, pod_uid: str) -> str | None:
        """Return the UID of the task that a pod is bound to; None where there is none."""
        found = self._by_pod.get(pod_uid)
        return None if found is None else found.task_uid

    def is_lifted(self, pod_uid: str) -> bool:
        """Tell whether a pod's gate was lifted; of one that was never bound it was not."""
        return pod_uid in self._by_pod and pod_uid not in self._gated

    def leftovers(self, after: str, most: int, known: Container[str]) -> list[PodBinding]:
        """Return bindings of tasks that are not `known`, in order, from a pod's UID on.

        Where the pod was is not known of what versions of before have bound: nobody can ask for it.
        """
        left = (
            uid
            for uid, each in self._by_pod.items()
            if uid > after and each.name and each.task_uid not in known
        )
        return [self._by_pod[uid] for uid in heapq.nsmallest(most, left)]

    def bind(self, binding: PodBinding, *, lifted: bool = False) -> None:
        """Bind a pod; one that is bound stays as it is."""
        if binding.pod_uid not in self._by_pod:
            self._by_pod[binding.pod_uid] = binding
            if not lifted:
                self._gated.add(binding.pod_uid)

    def lift(self, pod_uid: str) -> None:
        """Note that the gate of a bound pod is lifted."""
        self._gated.discard(pod_uid)

    def drop(self, pod_uid: str) -> None:
        """Drop the binding of a pod."""
        self._by_pod.pop(pod_uid, None)
        self._gated.discard(pod_uid)

    def copy(self) -> "Bindings":
        """Return one that goes its own way."""
        made = Bindings()
        made._by_pod, made._gated = self._by_pod.copy(), self._gated.copy()
        return made
