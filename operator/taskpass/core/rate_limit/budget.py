"""How much of the ledger a task and a namespace may fill by what they say and ask.

Values only; time is an argument. Each account is a meter of bytes that were used and are given back
a little at a time: a token bucket that counts what is missing in it, so that another limit counts
at once. The rules:

1. Who has used less than its limit may go on; what it then writes is charged, if need be beyond the
   limit. An account is over its limit by one step at most.
2. Only what begins something is held back. What ends something never is, and its entries are paid
   for by what began it: issuing one credential pays for its revocation, a task's first entry for
   its last.
3. The last eighth of a namespace's limit is for renewals: what runs goes on longer than what comes.
   Renewals come in their own time and are charged to the namespace alone.
4. No namespace may use more than its share of what the volume has left; where that is little,
   nothing is given back.
"""

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import orjson

from taskpass.core.model.entry import Entry, EventType, Result, Stage
from taskpass.core.model.grant import TaskRef

MICROSECOND = timedelta(microseconds=1)
DAY = timedelta(days=1) // MICROSECOND
"""In microseconds: a timedelta has no room for a budget times a year."""
KIBIBYTE = 1024
FOR_RENEWALS = 8
"""The part of a namespace's limit that only renewals may use: one in so many."""
ENTRY_BYTES = 200
"""What an entry takes beside its data: its row in the index, its hash, its envelope."""
PERSON_BYTES = 150
"""What a name takes beside its characters, which are kept twice."""
BINDING_BYTES = 256
"""What binds a pod to its task, beside the pod's name, and what tells later that it is dropped."""
OPENING_BYTES = 2048
"""A task's record and trail, and the two entries that tell of its end."""
ACTIVITY_BYTES = 64
"""Of what is written anew and not kept: it is the disk's time."""
ENTRIES_OF_A_GRANT = 5
"""Asked for, issued, delivered, to be revoked, revoked: the first pays for all."""
PAID = (EventType.CREDENTIAL_DELIVER, EventType.CREDENTIAL_REVOKE, EventType.TASK_FINISH,
        EventType.TASK_FORGET)  # fmt: skip
"""What something else has paid for."""


def account_of_task(uid: str) -> str:
    """Return the name of a task's account."""
    return f"task:{uid}"


def account_of_namespace(namespace: str) -> str:
    """Return the name of a namespace's account."""
    return f"namespace:{namespace}"


class Spending(enum.StrEnum):
    """What may be held back, as the end of a sentence."""

    SAVEPOINT = "recording a savepoint"
    ACTIVITY = "recording activity"
    POD_REFUSAL = "recording why a pod is refused"
    DENIAL = "recording what is denied"
    BINDING = "attesting a pod"
    ISSUE = "issuing"
    RENEWAL = "renewing"
    APPROVAL = "asking for approval"
    PHASE = "entering a phase"
    SUSPENSION = "recording a suspension"
    RESUME = "resuming"
    END = "recording the end of a task that never began"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """What an account may use."""

    burst: int
    """Bytes at once."""
    per_day: int
    """Bytes that are given back in a day; 0 gives nothing back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Meter:
    """What an account has used and was not given back, as of a time."""

    used: int
    """Bytes."""
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Why an account may not go on now."""

    namespace: bool
    """Whether all of the namespace is held back, and not the task alone."""
    until: datetime | None
    """When it may; None where only more room on the volume helps."""
    full: bool = False
    """Whether the volume has nothing left for anybody; then it is about no budget."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The accounts of one task as they stand, with their limits."""

    task: Meter
    task_limit: Limit
    namespace: Meter
    namespace_limit: Limit
    ahead: int = 0
    """Bytes that others of the namespace wait to use."""

    def hold(self, spending: Spending, now: datetime) -> Hold | None:
        """Return what holds a task back; None where it may go on."""
        if self.namespace_limit.burst <= 0:
            return Hold(namespace=True, until=None, full=True)
        renews = spending is Spending.RENEWAL
        if not renews and used(self.task, self.task_limit, now) >= self.task_limit.burst:
            return Hold(namespace=False, until=free_at(self.task, self.task_limit, 1, now))
        kept = 0 if renews else self.namespace_limit.burst // FOR_RENEWALS
        if used(self.namespace, self.namespace_limit, now) < self.namespace_limit.burst - kept:
            return None
        need = kept + 1 + self.ahead
        return Hold(namespace=True, until=free_at(self.namespace, self.namespace_limit, need, now))


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """What one batch costs, and whom."""

    task: TaskRef
    price: int
    renews: bool
    """Whether the namespace alone pays."""


def drained(meter: Meter, limit: Limit, now: datetime) -> Meter:
    """Return the meter as it is now: whole bytes are given back, and no part of one is lost."""
    gone = now - meter.at
    if gone <= timedelta() or not limit.per_day:
        return Meter(used=meter.used, at=now)
    back = limit.per_day * (gone // MICROSECOND) // DAY
    if back >= meter.used:
        return Meter(used=0, at=now)
    return Meter(used=meter.used - back, at=meter.at + _time_for(back, limit.per_day))


def used(meter: Meter, limit: Limit, now: datetime) -> int:
    """Return how many bytes count as used now."""
    return drained(meter, limit, now).used


def charged(meter: Meter | None, limit: Limit, price: int, now: datetime) -> Meter:
    """Return the meter after something was used; None is one that was never used."""
    before = Meter(used=0, at=now) if meter is None else drained(meter, limit, now)
    return Meter(used=before.used + price, at=before.at)


def free_at(meter: Meter, limit: Limit, need: int, now: datetime) -> datetime | None:
    """Return when so many bytes may be used, if nothing is meanwhile; None: never, like this."""
    current = drained(meter, limit, now)
    missing = current.used + need - limit.burst
    if missing <= 0:
        return now
    if missing > current.used or not limit.per_day:
        return None
    return current.at + _time_for(missing, limit.per_day)


def share(limit: Limit, *, spare: int, tight: bool, namespaces: int) -> Limit:
    """Return a namespace's limit on a volume that has `spare` bytes left for tenants.

    Each may use an equal part of half of it; where it is tight, nothing is given back, so that all
    of them together can use no more than a third (as they do, the shares get smaller).
    """
    return Limit(
        burst=min(limit.burst, max(0, spare) // (2 * max(1, namespaces))),
        per_day=0 if tight else limit.per_day,
    )


def price_of(entry: Entry, new_names: Sequence[str] = ()) -> int:
    """Return how many bytes an entry costs, with what follows from it; 0 where that is paid.

    At least what the ledger's file grows by it, whatever stands in it. `new_names` are those of
    people that the ledger has to keep from now on.
    """
    if entry.type in PAID or (
        entry.type is EventType.CREDENTIAL_ISSUE and entry.data.get("stage") != Stage.INTENT
    ):
        return 0
    data = len(orjson.dumps(entry.data, default=dict))
    price = ENTRY_BYTES + data * 7 // 8
    if entry.type is EventType.CREDENTIAL_ISSUE:
        price *= ENTRIES_OF_A_GRANT
    if entry.type is EventType.WORKLOAD_ATTEST and entry.data.get("outcome") == Result.SUCCESS:
        price += BINDING_BYTES + len(entry.data["pod"]["name"])
    return price + sum(PERSON_BYTES + 2 * len(name.encode()) for name in new_names)


def _time_for(count: int, per_day: int) -> timedelta:
    """Return the time in which so many bytes are given back, rounded up."""
    return timedelta(microseconds=-(-count * DAY // per_day))
