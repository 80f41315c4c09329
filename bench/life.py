"""One task's life as the harness sees it: when what was first seen."""

import asyncio
import enum
import time
from collections.abc import Iterable
from dataclasses import dataclass, field


class Moment(enum.StrEnum):
    """What can be seen of a life, in the order in which it happens."""

    EXISTS = "exists"
    """Task and gated pod are there: the API server has answered both."""
    SECRET = "secret"  # noqa: S105
    UNGATED = "ungated"
    ENDED = "ended"
    """The pod is over: the API server has answered the kubelet's patch."""
    REFUSED = "refused"
    """A call with the credential is refused; only seen of lives that are probed."""
    BINDING_GONE = "binding-gone"
    ACCOUNT_GONE = "account-gone"
    SECRET_GONE = "secret-gone"  # noqa: S105
    FINISHED = "finished"
    """The task's status says that it is over, and that nothing is held."""
    GONE = "gone"


NOTHING_LEFT = (Moment.BINDING_GONE, Moment.ACCOUNT_GONE, Moment.SECRET_GONE)


@dataclass(slots=True)
class Life:
    """One task and its pod, which bears the same name."""

    name: str
    probed: bool = False
    token: str = ""
    """The credential, of lives that are probed."""
    grants: set[str] = field(default_factory=set)
    """Every ServiceAccount that was ever seen for it."""
    held: set[str] = field(default_factory=set)
    """Those that are there now."""
    doubled: bool = False
    """Whether two were ever there at once: a duplicate."""
    outcome: str = ""
    at: dict[Moment, float] = field(default_factory=dict)
    """By moment, on the monotonic clock."""
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def mark(self, moment: Moment) -> None:
        """Remember when this was first seen."""
        if moment not in self.at:
            self.at[moment] = time.monotonic()
            self._changed.set()

    def hold(self, grant: str) -> None:
        """Take in that a ServiceAccount is there."""
        self.doubled = self.doubled or bool(self.held - {grant})
        self.grants.add(grant)
        self.held.add(grant)

    async def until(self, *moments: Moment) -> None:
        """Return once all of these were seen."""
        while not all(moment in self.at for moment in moments):
            self._changed.clear()
            await self._changed.wait()

    def took(self, start: Moment, *ends: Moment) -> float | None:
        """Return the seconds from one moment to the last of some; None where one is not seen."""
        if start not in self.at or any(end not in self.at for end in ends):
            return None
        return max(0.0, max(self.at[end] for end in ends) - self.at[start])


def times(lives: Iterable[Life], start: Moment, *ends: Moment) -> list[float]:
    """Return what that took, of those lives that came so far."""
    return [took for life in lives if (took := life.took(start, *ends)) is not None]
