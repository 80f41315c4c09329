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

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from taskpass.core.lifecycle.records import TaskRecord
from taskpass.core.lifecycle.renewal import ROUNDING
from taskpass.core.model.grant import Grant, GrantState
from taskpass.core.model.task import SUSPENDED, CredentialRequest, Task, TaskUser
from taskpass.core.policy.types import SENSITIVITIES

K = TypeVar("K", bound=Hashable)
DEEPEST = 10
"""What no policy exceeds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ancestor:
    """A task above, as it is seen."""

    task: Task
    record: TaskRecord | None
    grants: tuple[Grant, ...]
    """What it holds, of its own UID."""
    stopped: str = ""
    """Which KillSwitch stops it, in a sentence; '' where none does."""

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


def parent_is_over(task: Task, record: TaskRecord, lineage: Lineage) -> str:
    """Return why the parent will never be active again; '' while it may (rule 1)."""
    if not task.parent:
        return ""
    parent = lineage.above[0] if lineage.above else None
    if record.parent_uid and (parent is None or parent.task.uid != record.parent_uid):
        return f"its parent task '{task.parent}' is gone"
    if parent is not None and parent.record is not None and parent.record.outcome is not None:
        return f"its parent task '{task.parent}' is over"
    return ""


def inactive(task: Task, lineage: Lineage) -> str:
    """Return why a task above keeps this one from holding anything; '' where none does (rule 1)."""
    if not task.parent:
        return ""
    if lineage.depth > DEEPEST:
        return f"More than {DEEPEST} tasks are above it"
    below = task
    for each in lineage.above:
        if said := _inactive(each, below):
            return said
        below = each.task
    return f"AgentTask '{lineage.missing}' is not there" if lineage.missing else ""


def _inactive(above: Ancestor, below: Task) -> str:
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
    return ""


def refusal(
    task: Task, request: CredentialRequest, lineage: Lineage, may_delegate: bool | None
) -> str:
    """Return why the child may never have what it asks for, as things stand; '' for nothing.

    `may_delegate` is None where it was not asked. Each ends with a word for programs.
    """
    parent, root = lineage.above[0], lineage.root
    if not _delegates(task.changed_by, parent, may_delegate):
        return (
            f"User '{task.changed_by.username}', who last changed the task, is not the pod of "
            f"parent task '{parent.task.name}' and has not the verb 'delegate' on it (not_holder)"
        )
    if root is not None and task.sponsor not in ("", root.sponsor):
        return f"sponsor must be unset, or that of root task '{root.name}' (principal_mismatch)"
    if said := _wider_intent(task, parent.task):
        return f"{said} (intent_expanded)"
    asked = parent.task.requests_in(parent.record.phase if parent.record else "")
    reasons = [_beyond(request, a.class_name, a.actions, a.resources, a.location) for a in asked]
    if "" not in reasons:
        what = min(reasons, key=len, default="it asks for nothing")
        return f"Parent task '{parent.task.name}' asks for less: {what} (scope_expanded)"
    return ""


def _delegates(user: TaskUser, parent: Ancestor, may_delegate: bool | None) -> bool:
    return is_pod_of(user, parent) or may_delegate is not False


def is_pod_of(user: TaskUser, parent: Ancestor) -> bool:
    """Tell whether a user is the attested pod of a task, by what admission stamped."""
    task, record = parent.task, parent.record
    account = f"system:serviceaccount:{task.namespace}:{task.service_account}"
    bound = record is not None and record.pod_uid != "" and user.pod_uid == record.pod_uid
    return bound and user.username == account


def _wider_intent(task: Task, parent: Task) -> str:
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
    return ""


def _beyond(
    request: CredentialRequest, class_name: str, actions: Iterable[str], resources: Sequence[str],
    location: str,
) -> str:  # fmt: skip
    """Return what of a request is not within something; '' for nothing (rule 3)."""
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
    return ""


def covering(request: CredentialRequest, lineage: Lineage) -> Grant | None:
    """Return what the parent holds that the request is within, the longest; None for nothing."""
    found = [
        g
        for g in lineage.above[0].live()
        if not _beyond(request, g.class_name, g.actions, g.resources, g.location)
    ]
    return max(found, key=lambda g: (_end(g), g.id), default=None)


def too_much(lineage: Lineage, cover: Grant) -> str:
    """Return which limit of the tasks above the child is beyond; '' for none (rule 6)."""
    if lineage.depth > min(cover.max_depth, DEEPEST):
        return (
            f"limits.maxDelegationDepth of the policies above allow {cover.max_depth} levels, and "
            f"this task is at the {lineage.depth}. (depth_exceeded)"
        )
    if lineage.siblings_before >= cover.max_children:
        return (
            f"limits.maxChildren of the policies of task '{lineage.above[0].task.name}' allow "
            f"{cover.max_children} at a time, and as many are there (budget_exceeded)"
        )
    return ""


def outlives(grant: Grant, lineage: Lineage, request: CredentialRequest) -> bool:
    """Tell whether a credential of the child is within nothing that the parent holds (any more)."""
    cover = covering(request, lineage)
    if cover is None or grant.expires_at is None:
        return cover is None
    return grant.expires_at > _end(cover) + ROUNDING


def _end(grant: Grant) -> datetime:
    # What is issued and has no end yet was asked for until then.
    return grant.expires_at or grant.intent_at + timedelta(seconds=grant.lifetime_seconds)
