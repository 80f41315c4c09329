"""A task that another has delegated a part of its work to: what it may hold, and for how long.

A child never holds more than its parent, and loses what the parent loses:

1. The parent is a task of the same namespace that was there before the child, and is active: it is
   not suspended, blocked, over or going, and neither is any task above it.
2. Whoever last changed the child is the parent's attested pod, or has the verb `delegate` on the
   parent (RBAC).
3. Each request is within one credential that the parent holds now: its class, actions, resources
   and location. The parent must hold it: that it could ask for it is not enough.
4. Tools and data are among the parent's, data no more sensitive; the trust boundary is the same.
5. No credential ends after the parent's; what cannot be so short waits for the parent's renewal.
6. Depth and number of children are what the policies of every task above allow, at most 10 deep.
7. Who answers for the root answers for all: a child names no other sponsor.
8. What policy says of the child itself is asked as well; both must allow.
"""

import enum
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from taskpass.core.lifecycle.records import TaskRecord
from taskpass.core.lifecycle.renewal import ROUNDING
from taskpass.core.model.grant import Grant, GrantState
from taskpass.core.model.problem import Problem
from taskpass.core.model.task import SUSPENDED, CredentialRequest, Task, TaskUser
from taskpass.core.policy.types import SENSITIVITIES

K = TypeVar("K", bound=Hashable)
DEEPEST = 10
"""What no policy exceeds."""


class DelegationReason(enum.StrEnum):
    """Why a child may not have something: the word for programs at the end of the message."""

    NOT_HOLDER = "not_holder"
    """Who last changed it is not the parent's pod, and may not delegate (rule 2)."""
    PRINCIPAL_MISMATCH = "principal_mismatch"
    """It names another sponsor than the root (rule 7)."""
    INTENT_EXPANDED = "intent_expanded"
    """Its intent goes beyond the parent's (rule 4)."""
    SCOPE_EXPANDED = "scope_expanded"
    """The parent asks for less (rule 3)."""
    DEPTH_EXCEEDED = "depth_exceeded"
    """More tasks are above it than policies allow (rule 6)."""
    BUDGET_EXCEEDED = "budget_exceeded"
    """The parent has as many children as policies allow (rule 6)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ancestor:
    """A task above, as it is seen."""

    task: Task
    record: TaskRecord | None
    grants: tuple[Grant, ...]
    """What it holds, of its own UID."""
    stopped: str | None = None
    """Which KillSwitch stops it, in a sentence; None where none does."""

    def live(self) -> list[Grant]:
        """Return what it may use now."""
        states = (GrantState.ISSUED, GrantState.DELIVERED)
        return [g for g in self.grants if g.state in states]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """The tasks above a task, nearest first, and whether that is all of them."""

    above: tuple[Ancestor, ...] = ()
    missing: str = ""
    """Name of a parent that is not there; '' where the last one has none."""
    siblings_before: int = 0
    """Children of the parent that are not over and were made before."""

    @property
    def depth(self) -> int:
        """How many tasks are above."""
        return len(self.above)

    @property
    def chain(self) -> tuple[str, ...]:
        """UIDs of the tasks above, the root first."""
        return tuple(each.task.uid for each in reversed(self.above))

    @property
    def root(self) -> Task | None:
        """The task that nobody delegated."""
        return self.above[-1].task if self.above else None


def everyone_below(key: K, children: Callable[[K], Iterable[K]]) -> Iterator[K]:
    """Yield the keys of all tasks below one, level by level; each once, circles or not."""
    level, seen = [key], {key}
    while level:
        level = [each for above in level for each in children(above) if each not in seen]
        seen.update(level)
        yield from level


def parent_is_over(task: Task, record: TaskRecord, lineage: Lineage) -> bool:
    """Tell whether there was a parent that will never be active again (rule 1)."""
    if not task.parent:
        return False
    parent = lineage.above[0] if lineage.above else None
    if record.parent_uid and (parent is None or parent.task.uid != record.parent_uid):
        return True
    return parent is not None and parent.record is not None and parent.record.outcome is not None


def inactive(task: Task, lineage: Lineage) -> str | None:
    """Return why a task above keeps this one from holding anything; None where none does (rule 1).

    To programs all of it is one reason of the condition: `ParentSuspended`.
    """
    if not task.parent:
        return None
    if lineage.depth > DEEPEST:
        return f"More than {DEEPEST} tasks are above it"
    below = task
    for each in lineage.above:
        if said := _inactive(each, below):
            return said
        below = each.task
    return f"AgentTask '{lineage.missing}' is not there" if lineage.missing else None


def _inactive(above: Ancestor, below: Task) -> str | None:
    task, record = above.task, above.record
    named = f"Task '{task.name}', which is above it,"
    if task.created_at > below.created_at:
        return f"{named} was made after the task that names it; make that one anew"
    if task.deleting_since is not None:
        return f"{named} is being deleted"
    if above.stopped:
        return f"{named} is stopped. {above.stopped}"
    if task.operating_mode == SUSPENDED:
        return f"{named} is suspended"
    if record is not None and record.blocked_branch:
        return f"{named} has left its path"
    if record is not None and record.outcome is not None:
        return f"{named} is over"
    return None


def refusal(
    task: Task, request: CredentialRequest, lineage: Lineage, may_delegate: bool | None
) -> Problem[DelegationReason] | None:
    """Return why the child may never have what it asks for, as things stand; None for nothing.

    `may_delegate` is None where it was not asked.
    """
    parent, root = lineage.above[0], lineage.root
    if not _delegates(task.changed_by, parent, may_delegate):
        return _problem(
            DelegationReason.NOT_HOLDER,
            f"User '{task.changed_by.username}', who last changed the task, is not the pod of "
            f"parent task '{parent.task.name}' and has not the verb 'delegate' on it",
        )
    if root is not None and task.sponsor not in ("", root.sponsor):
        return _problem(
            DelegationReason.PRINCIPAL_MISMATCH,
            f"sponsor must be unset, or that of root task '{root.name}'",
        )
    if said := _wider_intent(task, parent.task):
        return _problem(DelegationReason.INTENT_EXPANDED, said)
    asked = parent.task.requests_in(parent.record.phase if parent.record else "")
    beyond = [_beyond(request, a.class_name, a.actions, a.resources, a.location) for a in asked]
    if None not in beyond:
        what = min(filter(None, beyond), key=len, default="it asks for nothing")
        return _problem(
            DelegationReason.SCOPE_EXPANDED,
            f"Parent task '{parent.task.name}' asks for less: {what}",
        )
    return None


def _problem(reason: DelegationReason, said: str) -> Problem[DelegationReason]:
    """Return it with the reason in the message too: a condition has no other place for it."""
    return Problem(reason, f"{said} ({reason})")


def _delegates(user: TaskUser, parent: Ancestor, may_delegate: bool | None) -> bool:
    return is_pod_of(user, parent) or may_delegate is not False


def is_pod_of(user: TaskUser, parent: Ancestor) -> bool:
    """Tell whether a user is the attested pod of a task, by what admission stamped."""
    task, record = parent.task, parent.record
    account = f"system:serviceaccount:{task.namespace}:{task.service_account}"
    bound = record is not None and record.pod_uid != "" and user.pod_uid == record.pod_uid
    return bound and user.username == account


def _wider_intent(task: Task, parent: Task) -> str | None:
    child, above = task.intent, parent.intent
    tools = sorted(set(child.tools) - set(above.tools))
    if tools:
        return f"intent.tools must be among those of task '{parent.name}', not '{tools[0]}'"
    known = {d.name: SENSITIVITIES.index(d.classification) for d in above.data}
    for each in child.data:
        if SENSITIVITIES.index(each.classification) > known.get(each.name, -1):
            return (
                f"intent.data must be among that of task '{parent.name}', and no more sensitive: "
                f"not '{each.name}' as {each.classification}"
            )
    if child.trust_boundary != above.trust_boundary:
        return f"intent.trustBoundary must be that of task '{parent.name}'"
    return None


def _beyond(
    request: CredentialRequest, class_name: str, actions: Iterable[str], resources: Sequence[str],
    location: str,
) -> str | None:  # fmt: skip
    """Return what of a request is not within something; None for nothing (rule 3)."""
    if request.class_name != class_name:
        return f"class '{request.class_name}'"
    for action in request.actions:
        if action not in actions:
            return f"action '{action}'"
    # A request that names no resource is narrowed to none: nothing but its like covers it.
    if not request.resources and resources:
        return "a request without any resource"
    for resource in request.resources:
        if resources and resource not in resources:
            return f"resource '{resource}'"
    if request.location != location:
        return f"location '{request.location}'"
    return None


def covering(request: CredentialRequest, lineage: Lineage) -> Grant | None:
    """Return what the parent holds that the request is within, the longest; None for nothing."""
    found = [
        g
        for g in lineage.above[0].live()
        if not _beyond(request, g.class_name, g.actions, g.resources, g.location)
    ]
    return max(found, key=lambda g: (_end(g), g.id), default=None)


def too_much(lineage: Lineage, cover: Grant) -> Problem[DelegationReason] | None:
    """Return which limit of the tasks above the child is beyond; None for none (rule 6)."""
    if lineage.depth > min(cover.max_depth, DEEPEST):
        return _problem(
            DelegationReason.DEPTH_EXCEEDED,
            f"limits.maxDelegationDepth of the policies above allow {cover.max_depth} levels, and "
            f"this task is at the {lineage.depth}.",
        )
    if lineage.siblings_before >= cover.max_children:
        return _problem(
            DelegationReason.BUDGET_EXCEEDED,
            f"limits.maxChildren of the policies of task '{lineage.above[0].task.name}' allow "
            f"{cover.max_children} at a time, and as many are there",
        )
    return None


def outlives(grant: Grant, lineage: Lineage, request: CredentialRequest) -> bool:
    """Tell whether a credential of the child is within nothing that the parent holds (any more)."""
    cover = covering(request, lineage)
    if cover is None or grant.expires_at is None:
        return cover is None
    return grant.expires_at > _end(cover) + ROUNDING


def _end(grant: Grant) -> datetime:
    # What is issued and has no end yet was asked for until then.
    return grant.expires_at or grant.intent_at + timedelta(seconds=grant.lifetime_seconds)
