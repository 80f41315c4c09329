"""The policies as last seen, and those that apply in a namespace."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from taskpass.core.model.key import Key
from taskpass.core.policy.evaluate import CompiledPolicy
from taskpass.kube.cache.store import Change, Store, mark

OWN, CLUSTER = "AgentPolicy", "ClusterAgentPolicy"
MOST_POLICIES = 200
"""AgentPolicies of one namespace that are held against a request."""


class Policies:
    """Both kinds. What one tenant changes has only its own namespace's list made anew."""

    def __init__(self) -> None:
        self.stores: Mapping[str, Store[CompiledPolicy]] = {OWN: Store(), CLUSTER: Store()}
        self._in: dict[str, set[Key]] = defaultdict(set)
        self._of: dict[str, tuple[CompiledPolicy, ...]] = {}

    def changed(self, kind: str, change: Change[CompiledPolicy]) -> None:
        """Take in what became of one of them in its store."""
        if kind == OWN:
            self._of.pop(change.key[0], None)
            mark(self._in, change.key[0], change.key, change.new is not None)
        else:
            self._of.clear()

    def of(self, namespace: str) -> Sequence[CompiledPolicy]:
        """Return those that apply in a namespace, its own and the cluster's, by name."""
        known = self._of.get(namespace)
        if known is None:
            found = (self.stores[OWN].get(key) for key in self._in.get(namespace, ()))
            own = [each for each in found if each is not None]
            every = (*_within(own), *self.stores[CLUSTER].values())
            known = tuple(sorted(every, key=lambda each: (each.policy.name, each.policy.kind)))
            self._of[namespace] = known
        return known

    def every(self) -> tuple[CompiledPolicy, ...]:
        """Return all of them, for their `Ready` conditions."""
        return tuple(each for store in self.stores.values() for each in store.values())


def _within(own: Sequence[CompiledPolicy]) -> Iterable[CompiledPolicy]:
    """Return a namespace's policies; where they are too many, none of them is understood.

    Each is held against each request of each task there, on the loop that all share.
    """
    if len(own) <= MOST_POLICIES:
        return own
    said = (
        f"its namespace has {len(own)} AgentPolicies, and none of them counts where there are more "
        f"than {MOST_POLICIES}; delete some, or write fewer that cover more"
    )
    first = sorted(own, key=lambda each: each.policy.label)[:MOST_POLICIES]
    return [replace(each, error=said) for each in first]
