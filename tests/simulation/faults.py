"""What goes wrong in a simulated world, and when: before a call took effect, or after."""

import enum
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from taskpass.core.errors import ApiUnavailable, ProviderUnavailable


class Crash(BaseException):
    """The process is gone; nothing catches it."""


class When(enum.Enum):
    """Whether the call had its effect."""

    BEFORE = "before"
    AFTER = "after"


@dataclass(slots=True)
class Fault:
    """Calls of one name go wrong: after `skip` good ones, `times` of them, or for ever."""

    call: str
    when: When
    error: BaseException
    skip: int = 0
    times: int | None = 1
    met: int = 0

    def meets(self, call: str, when: When) -> bool:
        """Tell whether this call goes wrong now."""
        if (call, when) != (self.call, self.when) or self.times == 0:
            return False
        if self.skip:
            self.skip -= 1
            return False
        if self.times is not None:
            self.times -= 1
            self.met += 1
        return True


@dataclass(slots=True)
class Trap:
    """One boundary, counted over all calls and fail-points, at which things go wrong."""

    at: int
    crash: bool
    passed: int = 0
    reached: str = ""
    """Where it was."""
    seen: set[str] = field(default_factory=set)
    """Every boundary that was passed, by name."""

    def error(self, call: str, when: When) -> BaseException | None:
        """Return what happens at this boundary."""
        name = f"{call} {when.value}"
        self.seen.add(name)
        error = no_answer(call)
        if self.crash:
            error = Crash(name) if leaves_another_state(call, when) else None
        if error is None:
            return None
        self.passed += 1
        if self.passed - 1 != self.at:
            return None
        self.reached = name
        return error


def leaves_another_state(call: str, when: When) -> bool:
    """Tell whether a crash here is a case of its own.

    Between the end of one call and the beginning of the next nothing happens outside, so of those
    two boundaries one is enough, except where calls run side by side. What only reads or tells
    leaves nothing.
    """
    if call.startswith(("ledger.before", "ledger.after", "events.", "reviewer.", "workloads.")):
        return False
    return when is When.AFTER or is_fail_point(call) or call.startswith("provider.")


def no_answer(call: str) -> BaseException | None:
    """Return how a call fails without an answer; None for one that cannot."""
    if call.startswith(("ledger.before", "ledger.after")):
        return OSError("the disk is full")  # in the ledger's thread: its callers get LedgerError
    if call.startswith("provider."):
        return ProviderUnavailable("no answer")
    if call in ("ledger.commit", "events.post", "pods.nudge") or is_fail_point(call):
        return None  # told by the ledger's own; never raise; no call
    return ApiUnavailable("no answer")


def is_fail_point(name: str) -> bool:
    """Tell a fail-point from a call."""
    return "-" in name


class Life:
    """One process, from its start to its end. After a crash nothing that it does has an effect."""

    def __init__(self, journal: list[str], faults: list[Fault], trap: Trap | None) -> None:
        self.journal = journal
        self._faults = faults
        self._trap = trap
        self._dead = False

    @contextmanager
    def call(self, name: str, detail: str = "") -> Iterator[None]:
        """Surround the effect of one call."""
        self._meet(name, When.BEFORE)
        yield
        if self._dead:
            raise Crash(name)
        self.journal.append(f"{name} {detail}".strip())
        self._meet(name, When.AFTER)

    def point(self, name: str) -> None:
        """Pass a fail-point."""
        self._meet(name, When.BEFORE)

    def end(self) -> None:
        """Have no effect any more."""
        self._dead = True

    def _meet(self, name: str, when: When) -> None:
        if self._dead:
            raise Crash(name)
        error = self._trap.error(name, when) if self._trap else None
        for fault in self._faults:
            if error is None and fault.meets(name, when):
                error = fault.error
        if isinstance(error, Crash):
            self._dead = True
        if error is not None:
            raise error.with_traceback(None)  # one that is raised often would grow with each time
