"""One request of the task as it is seen, put to policy."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from taskpass.core.lifecycle.delegation import covering, refusal, too_much
from taskpass.core.lifecycle.ownership import Origin
from taskpass.core.lifecycle.snapshot import Snapshot
from taskpass.core.lifecycle.steps import Evaluate
from taskpass.core.model.kill_switch import KillSwitch
from taskpass.core.model.task import CredentialRequest, Task
from taskpass.core.policy.evaluate import Agent, Decision, DecisionReason, Question, evaluate
from taskpass.core.policy.expression_input import NO_ANSWERS, Answers, Inquiry
from taskpass.core.policy.variables import values_of


def stopped(snapshot: Snapshot, request: CredentialRequest) -> KillSwitch | None:
    """Return the KillSwitch that keeps every credential of the request's class back."""
    return next((s for s in snapshot.kill_switches if s.blocks(request.class_name)), None)


def authorize(
    snapshot: Snapshot, request: CredentialRequest, now: datetime, phase: str | None = None
) -> Decision:
    """Return the decision on a request, for the phase that has settled if no other is named."""
    if switch := stopped(snapshot, request):
        return Decision(allowed=False, reason=DecisionReason.KILL_SWITCH, message=switch.message)
    question = _question(snapshot, request, phase)
    decision = evaluate(question, snapshot.policies, _answers(snapshot, question, now))
    if not decision.allowed or not snapshot.live_task.parent:
        return decision
    return _delegated(snapshot, request, decision)


def to_evaluate(
    snapshot: Snapshot,
    requests: Sequence[CredentialRequest],
    now: datetime,
    phase: str | None = None,
) -> Evaluate | None:
    """Return the step that finds out what is still to be known, for all requests at once."""
    if not any(each.policy.validations for each in snapshot.policies):
        return None
    inquiries = []
    for request in requests:
        unasked = authorize(snapshot, request, now, phase).unasked
        question = _question(snapshot, request, phase)
        if unasked and question.credential_class is not None:
            inquiries.append(
                Inquiry(
                    request=request.name,
                    phase=question.phase,
                    values=values_of(question, question.credential_class),
                    policies=unasked,
                )
            )
    return Evaluate(inquiries=tuple(inquiries)) if inquiries else None


def undecided(snapshot: Snapshot) -> bool:
    """Tell whether something could not be evaluated that may be, though nothing changes."""
    return any(
        answer.transient for each in snapshot.answers.values() for answer in each.answers.values()
    )


def _answers(snapshot: Snapshot, question: Question, now: datetime) -> Answers:
    found, credential_class = (
        snapshot.answers.get((question.request.name, question.phase)),
        question.credential_class,
    )
    if (
        found is None
        or credential_class is None
        or not found.counts(values_of(question, credential_class), now)
    ):
        return NO_ANSWERS
    return found.answers


def _question(snapshot: Snapshot, request: CredentialRequest, phase: str | None) -> Question:
    credential_class = snapshot.classes.get(request.class_name)
    pod = snapshot.bound_pod
    agent = Agent(
        service_account=snapshot.live_task.service_account,
        pod_labels=pod.labels if pod else {},
        images=snapshot.record.images,
        pod_name=pod.name if pod else "",
        created_by=pod.created_by if pod else "",
    )
    return Question(
        task=_answered_for(snapshot),
        phase=snapshot.record.phase if phase is None else phase,
        request=request,
        credential_class=credential_class,
        agent=agent,
        namespace_labels=snapshot.namespace_labels,
        capabilities=snapshot.capabilities.get(request.class_name),
        may_use=snapshot.may_use.get(request.class_name, True),
        queue_position=snapshot.queue_position,
        queue_position_in_namespace=snapshot.queue_position_in_namespace,
    )


def asked_for_by(snapshot: Snapshot) -> Origin:
    """Return who asked for what the task asks for, beside who made or changed the task itself.

    Who started what runs in its pod, and who asked for the tasks above, who have all that it has.
    """
    own = snapshot.record.origin or Origin(
        unknown="its pod was attested by a version of taskpass that did not look who started it; "
        "delete the pod so that a new one is made"
    )
    names, unknown = set(own.names), own.unknown
    for above in snapshot.lineage.above:
        task, origin = above.task, above.record.origin if above.record else None
        names |= {task.requester.username, task.changed_by.username, *task.changers}
        names.update(origin.names if origin else ())
        unknown = unknown or (origin.unknown if origin else "")
    return Origin(names=tuple(sorted(names - {""})), unknown=unknown)


def _answered_for(snapshot: Snapshot) -> Task:
    """Return the task as policy sees it: who answers for the root answers for all below it."""
    task, root = snapshot.live_task, snapshot.lineage.root
    return replace(task, sponsor=root.sponsor) if root and not task.sponsor else task


def _delegated(snapshot: Snapshot, request: CredentialRequest, decision: Decision) -> Decision:
    """Return the decision, or why the tasks above do not allow what policy does."""
    lineage, task = snapshot.lineage, snapshot.live_task
    if not lineage.above:
        return _refused(DecisionReason.PARENT_NOT_READY, f"AgentTask '{task.parent}' is not there")
    if problem := refusal(task, request, lineage, snapshot.may_delegate):
        return _refused(DecisionReason.DENIED, problem.message)
    cover = covering(request, lineage)
    if cover is None:
        return _refused(
            DecisionReason.PARENT_NOT_READY,
            f"Parent task '{task.parent}' asks for it, and does not hold it now",
        )
    if problem := too_much(lineage, cover):
        return _refused(DecisionReason.DENIED, problem.message)
    return replace(
        decision,
        max_depth=min(decision.max_depth, cover.max_depth),
        max_children=min(decision.max_children, cover.max_children),
    )


def _refused(reason: DecisionReason, message: str) -> Decision:
    return Decision(allowed=False, reason=reason, message=message)
