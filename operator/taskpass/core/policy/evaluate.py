"""Decide on one request: a pure function that explains its answer.

The rules, in the order in which they are asked (docs/api/agentpolicy.md):

1. The class exists, the task's `changedBy` may use it, it is for the task's namespace, and it has
   every action and the location that the request names. Otherwise: Denied.
2. Policies count if they are of the task's namespace, or of the cluster and select it; which
   requests they select is in `policy_match`, and then every validation must be true. A validation
   that is false settles that the policy does not apply, whatever fails beside it.
3. Any Deny that selects the request wins: Denied.
4. One Allow must cover the request whole; two do not add up. Otherwise: NoPolicy, with the Allow
   that comes nearest. An Allow that cannot be evaluated counts only where no other covers: then it
   is rule 6's.
5. The least `maxExpirationSeconds`, `maxRenewals` and `maxActiveTasks` of every Constrain that
   selects the request and every Allow that covers it apply, and the class's. A request that asks
   for more time is Denied, not shortened; one that does not say gets the class's default,
   shortened. What the provider cannot go as low as is Denied. Where as many other tasks of the
   agent hold something as may: LimitReached.
6. What is left is a yes, unless a policy on which it depends cannot be evaluated: a Deny or
   Constrain that selects the request, or the only Allow. Then: EvaluationFailed, neither yes nor
   no. It comes last, as what is held stays then: a broken Deny must not keep alive what no Allow
   covers any more.
7. A yes names the policies that ask for people's approval: every Constrain that selects and every
   Allow that covers. Nothing is issued before all of them have it.

Ties are broken by the policy's label, never by listing order.
"""

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from taskpass.core.model.grant import CHILDREN, DEPTH
from taskpass.core.model.task import CredentialClass
from taskpass.core.policy.expression_input import NO_ANSWERS, Answers
from taskpass.core.policy.limits import (
    delegation_bounds,
    exceeded_quota,
    least_renewals,
    lifetime_of,
)
from taskpass.core.policy.match import in_scope, not_selected
from taskpass.core.policy.types import (
    Agent,
    Agents,
    CompiledPolicy,
    Effect,
    Policy,
    Question,
    Requesters,
    Validation,
)

__all__ = [
    "Agent",
    "Agents",
    "CompiledPolicy",
    "Decision",
    "DecisionReason",
    "Effect",
    "Policy",
    "Question",
    "Requesters",
    "Validation",
    "evaluate",
]

SHOWN = 4
"""How many missing things a message lists."""
UNASKED = "it has not been evaluated yet"


class DecisionReason(enum.StrEnum):
    """Reasons of the condition `Authorized` that policy gives."""

    ALLOWED = "Allowed"
    """One Allow covers the request, and no Deny selects it."""
    DENIED = "Denied"
    """A Deny, the class or a limit says no."""
    NO_POLICY = "NoPolicy"
    """No Allow covers the request whole."""
    LIMIT_REACHED = "LimitReached"
    """As many tasks of the agent as may hold credentials at a time do. It waits."""
    PARENT_NOT_READY = "ParentNotReady"
    """The parent task may hold it, and does not now. It waits."""
    KILL_SWITCH = "KillSwitch"
    """A KillSwitch keeps every credential of the class back."""
    EVALUATION_FAILED = "EvaluationFailed"
    """A policy that matters cannot be evaluated: neither yes nor no."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The answer, and why."""

    allowed: bool
    reason: DecisionReason
    message: str
    """One sentence for the task's owner: what happened, and what to do."""
    policy: str = ""
    """Label of the policy that decided: the Allow that covers, the Deny, the one whose limit is
    exceeded, the one that cannot be evaluated. '' where none did."""
    policy_digest: str = ""
    lifetime_seconds: int = 0
    """What to ask the provider for; 0 if not allowed."""
    max_renewals: int | None = None
    """How often it may be renewed; None: without end."""
    max_depth: int = DEPTH
    max_children: int = CHILDREN
    """How far it may be delegated."""
    demands: tuple[Policy, ...] = ()
    """Policies that ask for people's approval first: all of them (core/lifecycle/approval.py)."""
    quota: tuple[str, str] | None = None
    """Where a limit is reached: the namespace, and the agent whose tasks it counts, '' for all."""
    nearest: str = ""
    """Label of the Allow that came nearest, where none covers."""
    policy_errors: tuple[tuple[str, str], ...] = ()
    """(label, error) of policies that failed at run time, for their condition Ready."""
    unasked: tuple[Policy, ...] = ()
    """Policies that select the request, and whose validations have not been evaluated on it yet.
    What is said then is a no that stands whatever they say, or no decision (EvaluationFailed)."""


def evaluate(
    question: Question, policies: Sequence[CompiledPolicy], answers: Answers = NO_ANSWERS
) -> Decision:
    """Decide on the request. Same answer every time, in whatever order the policies come.

    `answers` are what the policies' validations say of it, as far as they have been asked.
    """
    credential_class = question.credential_class
    if credential_class is None:
        return _denied(
            f"CredentialClass '{question.request.class_name}' does not exist; create it, or name "
            "another in classRef"
        )
    if said := _class_refusal(question, credential_class):
        return _denied(said)
    hearing = _Hearing(question=question, answers=answers)
    for compiled in sorted(policies, key=lambda compiled: compiled.policy.label):
        if in_scope(compiled.policy, question):
            hearing.hear(compiled)
    return hearing.decision(credential_class)


def _denied(message: str) -> Decision:
    return Decision(allowed=False, reason=DecisionReason.DENIED, message=message)


def _class_refusal(question: Question, credential_class: CredentialClass) -> str | None:
    """Return what the class alone has against the request; None for nothing."""
    request, name = question.request, question.request.class_name
    if credential_class.deleting:
        return (
            f"CredentialClass '{name}' is being deleted; name another in classRef, or create it "
            "anew once it is gone"
        )
    if not question.may_use:
        return (
            f"User '{question.task.changed_by.username}', who last changed the task, may not use "
            f"CredentialClass '{name}'; grant the verb 'use' on it by RBAC"
        )
    selector = credential_class.namespace_selector
    if selector is None or not selector.matches(question.namespace_labels):
        return (
            f"CredentialClass '{name}' is not for namespace '{question.task.namespace}'; its "
            "namespaceSelector must select the namespace"
        )
    for action in request.actions:
        if action not in credential_class.actions:
            few = _few(credential_class.actions)
            return f"CredentialClass '{name}' has no action '{action}'; it has {few}"
    if request.location and request.location not in credential_class.locations:
        return (
            f"CredentialClass '{name}' has no location '{request.location}'; it has "
            f"{_few(credential_class.locations) or 'none, so leave location unset'}"
        )
    return None


@dataclass(slots=True, kw_only=True)
class _Hearing:
    """What the policies say of one request, collected."""

    question: Question
    answers: Answers
    denies: list[tuple[Policy, str]] = field(default_factory=list)
    constrains: list[Policy] = field(default_factory=list)
    allows: list[Policy] = field(default_factory=list)
    near: list[tuple[int, Policy, tuple[str, ...]]] = field(default_factory=list)
    """Allows that do not cover: how much they lack, and what."""
    failed: list[tuple[Policy, str]] = field(default_factory=list)
    """Policies that select the request but cannot be evaluated."""
    failed_now: list[tuple[str, str]] = field(default_factory=list)
    unasked: list[Policy] = field(default_factory=list)

    def hear(self, compiled: CompiledPolicy) -> None:
        policy = compiled.policy
        missing = not_selected(policy, self.question)
        error = ""
        if not missing:
            missing, error = self._validations(compiled)
        if error:
            self.failed.append((policy, error))
        elif policy.effect is Effect.ALLOW and missing:
            self.near.append((len(missing), policy, missing))
        elif missing:
            pass
        elif policy.effect is Effect.DENY:
            self.denies.append((policy, _said(policy)))
        elif policy.effect is Effect.CONSTRAIN:
            self.constrains.append(policy)
        else:
            self.allows.append(policy)

    def _validations(self, compiled: CompiledPolicy) -> tuple[tuple[str, ...], str]:
        """Return the message of the first validation that is false, or why there is no answer."""
        policy = compiled.policy
        if compiled.error or not policy.validations:
            return (), compiled.error
        answer = self.answers.get(policy.version)
        if answer is None:
            self.unasked.append(policy)
            return (), UNASKED
        if answer.unmet is not None:
            return (policy.validations[answer.unmet].message,), ""
        if answer.error and not (answer.invalid or answer.transient):
            self.failed_now.append((policy.label, answer.error))
        return (), answer.error

    def decision(self, credential_class: CredentialClass) -> Decision:
        if self.denies:
            policy, said = self.denies[0]
            return self._no(DecisionReason.DENIED, f"{policy.title} denies it{said}", policy)
        blocking = [f for f in self.failed if f[0].effect is not Effect.ALLOW]
        if not self.allows and len(blocking) == len(self.failed):
            return self._no_policy()
        limiting = (*self.allows, *self.constrains)
        lifetime = lifetime_of(self.question, credential_class, limiting)
        if self.allows and lifetime.refusal:
            return self._no(DecisionReason.DENIED, lifetime.refusal, lifetime.policy)
        full = exceeded_quota(self.question, limiting)
        if self.allows and full is not None:
            whose = f"agent '{full.agent}'" if full.agent else "the namespace"
            no = self._no(
                DecisionReason.LIMIT_REACHED,
                f"{full.field} of {full.policy.title} lets {_tasks(full.most)} of {whose} hold "
                "credentials at a time; this one waits until one of them holds nothing",
                full.policy,
            )
            return replace(no, quota=(self.question.task.namespace, full.agent))
        unsettled = blocking or ([] if self.allows and not self.unasked else self.failed)
        if unsettled:
            policy, error = unsettled[0]
            return self._no(
                DecisionReason.EVALUATION_FAILED,
                f"{policy.title} cannot be evaluated ({error}); correct it. Nothing new is issued "
                "until then, and what is held stays until it expires",
                policy,
            )
        return self._yes(lifetime.seconds, limiting)

    def _no_policy(self) -> Decision:
        namespace = self.question.task.namespace
        if not self.near:
            return self._no(
                DecisionReason.NO_POLICY,
                f"No policy with effect Allow applies in namespace '{namespace}'; an AgentPolicy "
                "there must cover the request",
            )
        _, policy, missing = min(self.near, key=lambda near: (near[0], near[1].label))
        return replace(
            self._no(
                DecisionReason.NO_POLICY,
                f"No policy allows it; {policy.title} comes nearest but does not cover: "
                f"{_few(missing, quote='')}",
            ),
            nearest=policy.label,
        )

    def _yes(self, seconds: int, limiting: Sequence[Policy]) -> Decision:
        allow, renewals = self.allows[0], least_renewals(limiting)
        demands = tuple(policy for policy in limiting if policy.approval is not None)
        once = f", once it is approved ({_few([p.title for p in demands], '')})" if demands else ""
        often = "" if renewals is None else f", and {_times(renewals)}"
        return Decision(
            allowed=True,
            reason=DecisionReason.ALLOWED,
            message=f"{allow.title} allows it for {seconds} s{often}{once}",
            policy=allow.label,
            policy_digest=allow.digest,
            lifetime_seconds=seconds,
            max_renewals=renewals,
            max_depth=delegation_bounds(limiting)[0],
            max_children=delegation_bounds(limiting)[1],
            demands=demands,
            policy_errors=tuple(self.failed_now),
        )

    def _no(self, reason: DecisionReason, message: str, policy: Policy | None = None) -> Decision:
        return Decision(
            allowed=False,
            reason=reason,
            message=message,
            policy=policy.label if policy else "",
            policy_digest=policy.digest if policy else "",
            policy_errors=tuple(self.failed_now),
            unasked=tuple(self.unasked),
        )


def _said(policy: Policy) -> str:
    """Return what a Deny's validations say, as its author meant it for the task's owner."""
    messages = [validation.message for validation in policy.validations]
    return f": {'; '.join(messages)}" if messages else ""


def _times(renewals: int) -> str:
    if renewals < 2:
        return ("no renewal", "one renewal")[renewals]
    return f"{renewals} renewals"


def _tasks(number: int | None) -> str:
    return "one task" if number == 1 else f"{number} tasks"


def _few(words: Sequence[str], quote: str = "'") -> str:
    shown = ", ".join(f"{quote}{word}{quote}" for word in words[:SHOWN])
    more = len(words) - SHOWN
    return f"{shown} and {more} more" if more > 0 else shown
