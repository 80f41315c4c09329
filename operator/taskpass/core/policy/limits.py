"""How long a credential may live, how often it may be renewed, and whose word that is.

A request that says how long is never shortened in silence: it is refused when a limit is lower. One
that does not say gets the class's default, or what the least limit leaves of it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from taskpass.core.model.grant import CHILDREN, DEPTH
from taskpass.core.model.task import CredentialClass
from taskpass.core.policy.types import Policy, Question


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifetime:
    """A number of seconds, and the field that says it."""

    seconds: int
    field: str
    owner: str
    """The object that the field is in, as a sentence names it."""
    policy: Policy | None = None
    """The policy, where the owner is one."""
    refusal: str | None = None
    """Why there is no lifetime that serves; None where `seconds` does."""


def lifetime_of(
    question: Question, credential_class: CredentialClass, limiting: Sequence[Policy]
) -> Lifetime:
    """Return what to ask the provider for, under the limits of every policy that applies."""
    cap = _least(credential_class, limiting)
    request = question.request
    if request.expiration_seconds is not None:
        chosen = Lifetime(
            seconds=request.expiration_seconds,
            field="expirationSeconds",
            owner=f"request '{request.name}'",
        )
    else:
        default = Lifetime(
            seconds=credential_class.default_expiration_seconds,
            field="defaultExpirationSeconds",
            owner=f"CredentialClass '{credential_class.name}'",
        )
        chosen = min(default, cap, key=lambda lifetime: lifetime.seconds)
    if chosen.seconds > cap.seconds:
        return _refused(
            cap,
            f"expirationSeconds must be less than or equal to {cap.seconds} under {cap.owner}",
        )
    shortest = question.capabilities.minimum_seconds if question.capabilities else 0
    if chosen.seconds < shortest:
        return _refused(
            chosen,
            f"{chosen.field} of {chosen.owner} must be greater than or equal to "
            f"{shortest}, the shortest that provider "
            f"{credential_class.provider} can issue",
        )
    return chosen


def least_renewals(limiting: Sequence[Policy]) -> int | None:
    """Return the least number of renewals that any policy sets; None where none does."""
    return min((p.max_renewals for p in limiting if p.max_renewals is not None), default=None)


def delegation_bounds(limiting: Sequence[Policy]) -> tuple[int, int]:
    """Return how deep, and to how many, what is allowed may be delegated: the least of all."""
    depths = (p.max_delegation_depth for p in limiting if p.max_delegation_depth is not None)
    children = (p.max_children for p in limiting if p.max_children is not None)
    return min(depths, default=DEPTH), min(children, default=CHILDREN)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExceededQuota:
    """No further task may hold anything, by the word of one policy."""

    policy: Policy
    field: str
    most: int
    agent: str
    """The ServiceAccount whose tasks are counted; '' where all of the namespace are."""


def exceeded_quota(question: Question, limiting: Sequence[Policy]) -> ExceededQuota | None:
    """Return what lets no further task hold anything; None where one may.

    Those that hold something already keep it, the first ones where a limit was lowered.
    """
    task = question.task
    found = [
        *_exceeded("maxActiveTasks", limiting, question.queue_position, task.service_account),
        *_exceeded("maxActiveTasksInNamespace", limiting, question.queue_position_in_namespace, ""),
    ]
    return min(found, key=lambda c: (not c.agent, c.most, c.policy.label), default=None)


def _exceeded(
    field: str, limiting: Sequence[Policy], ahead: int, agent: str
) -> Iterator[ExceededQuota]:
    for policy in limiting:
        most = policy.max_active_tasks if agent else policy.max_active_tasks_in_namespace
        if most is not None and ahead >= most:
            yield ExceededQuota(policy=policy, field=f"limits.{field}", most=most, agent=agent)


def _least(credential_class: CredentialClass, limiting: Sequence[Policy]) -> Lifetime:
    of_class = Lifetime(
        seconds=credential_class.max_expiration_seconds,
        field="maxExpirationSeconds",
        owner=f"CredentialClass '{credential_class.name}'",
    )
    of_policies = [
        Lifetime(
            seconds=policy.max_expiration_seconds,
            field="limits.maxExpirationSeconds",
            owner=policy.title,
            policy=policy,
        )
        for policy in sorted(limiting, key=lambda policy: policy.label)
        if policy.max_expiration_seconds is not None
    ]
    return min([of_class, *of_policies], key=lambda lifetime: lifetime.seconds)


def _refused(lifetime: Lifetime, why: str) -> Lifetime:
    return Lifetime(
        seconds=0, field=lifetime.field, owner=lifetime.owner, policy=lifetime.policy, refusal=why
    )
