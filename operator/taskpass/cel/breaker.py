"""Which policies are not evaluated for a while: the process was ended at them again and again."""

from collections import OrderedDict, deque
from collections.abc import Callable

from taskpass.core.policy.types import PolicyVersion

MOST_STOPS = 2
WITHIN_SECONDS = 600.0
MOST_KEPT = 10_000


class Breaker:
    """Opens for one version of a policy at its second stop within ten minutes.

    It closes ten minutes after the last stop, or with a new generation: a machine that was busy
    must not keep a policy out for ever.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._stops: OrderedDict[PolicyVersion, deque[float]] = OrderedDict()

    def stopped(self, version: PolicyVersion) -> None:
        """Note that the process was ended at a policy."""
        stops = self._stops.setdefault(version, deque(maxlen=MOST_STOPS))
        stops.append(self._monotonic())
        self._stops.move_to_end(version)
        if len(self._stops) > MOST_KEPT:
            self._stops.popitem(last=False)

    @property
    def idle(self) -> bool:
        """Whether nothing was ever stopped, so that nothing can close."""
        return not self._stops

    def is_open(self, version: PolicyVersion) -> bool:
        """Tell whether a policy is not to be evaluated now."""
        stops = self._stops.get(version, ())
        recent = [at for at in stops if at > self._monotonic() - WITHIN_SECONDS]
        return len(recent) >= MOST_STOPS
