"""When a credential is renewed: at two thirds of its lifetime, early enough to reach the end.

A renewal is a new grant beside the old one: attested, decided, issued, delivered; only then, and
after a short overlap, the old one is revoked. Nothing is ever extended.
"""

import hashlib
from collections.abc import Iterable
from datetime import datetime, timedelta

from taskpass.core.model.grant import Grant, GrantState

SHARE = 2 / 3
JITTER = 1 / 12
"""Of the lifetime, to either side: tasks that began together do not renew together."""
CLOCK_TOLERANCE = timedelta(seconds=60)
"""What was issued further in the future was issued before the clock went back."""
SETTLING = timedelta(seconds=10)
"""How much earlier than it must the last renewal before a deadline begins."""
ROUNDING = timedelta(seconds=5)
"""An issuer states whole seconds: what ends this much before the deadline reaches it."""


def current(grants: Iterable[Grant]) -> dict[str, Grant]:
    """Return by name what has no renewal beside it: what the Secret is to hold."""
    live = sorted(grants, key=lambda grant: grant.name)
    renewed = {grant.renews for grant in live}
    return {grant.name: grant for grant in live if grant.id not in renewed}


def renewal_of(grant: Grant, grants: Iterable[Grant]) -> Grant | None:
    """Return what renews the grant, where that is in front of the pod already."""
    return next((g for g in grants if g.renews == grant.id and g.delivered_at is not None), None)


def renewal_time(
    grant: Grant, deadline: datetime | None, minimum: timedelta, now: datetime
) -> datetime | None:
    """Return when the grant is to be renewed; None: not at all.

    `minimum` is the shortest lifetime that its provider can issue. What is renewed must not outlast
    the deadline, so the last renewal comes while a shortest lifetime still fits before it. What
    that one leaves open before the deadline is not worth another.
    """
    if grant.state is not GrantState.DELIVERED:
        return None
    if grant.issued_at is None or grant.expires_at is None:
        return None
    if grant.issued_at > now + CLOCK_TOLERANCE:
        moment = now  # by what this clock says now, two thirds of it could come after its end
    else:
        asked = timedelta(seconds=grant.lifetime_seconds)
        lifetime = min(asked, grant.expires_at - grant.issued_at)
        moment = grant.issued_at + lifetime * (SHARE + _jitter(grant.task.uid))
    if deadline is None:
        return moment
    last = deadline - minimum - SETTLING
    if grant.expires_at >= deadline - ROUNDING or not fits(deadline, minimum, now):
        return None
    return min(moment, last) if grant.issued_at < last else None


def fits(deadline: datetime | None, minimum: timedelta, now: datetime) -> bool:
    """Whether the shortest lifetime that can be issued now ends before the deadline."""
    return deadline is None or now + minimum <= deadline


def _jitter(task_uid: str) -> float:
    """Return the same for all of a task: what is issued together is renewed together."""
    drawn = int.from_bytes(hashlib.sha256(task_uid.encode()).digest()[:4], "big") / 2**32
    return JITTER * (2 * drawn - 1)
