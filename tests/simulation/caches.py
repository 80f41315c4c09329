"""Caches that lag: each kind shows the cluster as it was some while ago, and catches up by itself.

What one watch tells comes in order; between kinds there is none. A list that is read anew leaps
over all that was in between, so the operator need not have seen every state.
"""

import random
from typing import Any

from tests.simulation.cluster import Cluster

KINDS = (
    "tasks", "known_pods", "classes", "policy_list", "kill_switch_list", "approval_list",
    "accounts", "tenants", "template_list",
)  # fmt: skip
"""The fields of a `Cluster` that the operator watches; what it asks for is as it is now."""
STUCK = 0.8
"""How likely a slow watch tells nothing for now."""


class LaggingCaches:
    """What the operator sees of a cluster: `view` is the `ports.World` of one process."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._ahead: dict[str, list[Any]] = {kind: [] for kind in KINDS}
        """States of a kind that were and are not yet seen, oldest first."""
        self._last: dict[str, Any] = {}
        """The newest state of each kind that was noted."""
        self.slow: frozenset[str] = frozenset()
        """Kinds whose watch hangs most of the time."""
        self.view = Cluster(clock=cluster.clock)
        self.catch_up()
        cluster.before_change = self.note

    def note(self) -> None:
        """Note the state of every kind, where it is another than the last."""
        for kind in KINDS:
            now = getattr(self._cluster, kind)
            if now != self._last.get(kind):
                self._last[kind] = type(now)(now)
                self._ahead[kind].append(self._last[kind])

    def advance(self, draw: random.Random) -> None:
        """Let some kinds see more: the next state, some of the next, or all by a list."""
        self.note()
        for kind in KINDS:
            states = self._ahead[kind]
            if not states or (kind in self.slow and draw.random() < STUCK):
                continue
            steps = draw.choice([0, 0, 1, 1, 2, len(states)])
            if steps:
                self._show(kind, min(steps, len(states)))

    def catch_up(self, *kinds: str) -> None:
        """Have everything seen (of these kinds alone, where some are named)."""
        self.note()
        for kind in kinds or KINDS:
            if self._ahead[kind]:
                self._show(kind, len(self._ahead[kind]))

    @property
    def behind(self) -> frozenset[str]:
        """The kinds of which something is not yet seen."""
        self.note()
        return frozenset(kind for kind, states in self._ahead.items() if states)

    def _show(self, kind: str, steps: int) -> None:
        setattr(self.view, kind, self._ahead[kind][steps - 1])
        del self._ahead[kind][:steps]
