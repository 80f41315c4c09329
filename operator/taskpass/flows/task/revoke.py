"""Take credentials back: recorded, carried out, proven, recorded (docs/concepts.md, rules 3, 4).

It needs nothing but what the ledger recorded with each grant. "Already gone" is success; a provider
that does not answer leaves the grant in state `Revoking`, which is retried for ever.
"""

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import replace
from functools import partial

from taskpass.core.audit import events as audit
from taskpass.core.errors import (
    DeclaredGone,
    MustEnd,
    ProviderUnavailable,
    TaskpassError,
    TransientError,
)
from taskpass.core.lifecycle.attestation import PodView
from taskpass.core.lifecycle.steps import Forget, Revoke, RevokeReason, Withdraw
from taskpass.core.model.entry import Entry
from taskpass.core.model.grant import Grant, GrantState
from taskpass.core.model.notice import Notice, Severity
from taskpass.core.model.task import Task
from taskpass.flows import provider_calls
from taskpass.flows.context import Ports
from taskpass.flows.recording import defer, record
from taskpass.ports.ledger import Batch

logger = logging.getLogger(__name__)
HEAD_START_SECONDS = 0.25
PATIENCE_SECONDS = 20.0
"""How long one provider call may take before it counts as no answer."""


async def revoke(ports: Ports, step: Revoke, task: Task | None) -> frozenset[str]:
    """Take back the step's grants; return the ids of those that no provider has confirmed yet.

    On return the intents are durable; each confirmed result is recorded with what follows. The
    intents get a short head start, so that a crash leaves what was begun on record; a log that is
    slow or broken holds no revocation up.
    """
    now = ports.now()
    entries: list[Entry] = []
    moving: list[Grant] = []
    ending = step.record.outcome if step.record is not None else None
    for grant, reason in step.grants:
        if grant.state is GrantState.REVOKING:
            continue
        if grant.state is GrantState.INTENT and reason is not RevokeReason.ISSUE_FAILED:
            entries.append(audit.issue_interrupted(grant, now))
        moved = replace(
            grant, state=GrantState.REVOKING, revoke_reason=reason.value, revoking_since=now
        )
        moving.append(moved)
        entries.append(audit.revoke_intent(moved, now, ending))
    if step.record is not None and ending is not None and not moving:
        entries.append(audit.ending(step.record, ending, now))
    tasks = (step.record,) if step.record is not None else ()
    batch = Batch(entries=tuple(entries), grants=tuple(moving), tasks=tasks)
    ports.fail_point("revoke.before-intent")
    intent = asyncio.ensure_future(record(ports, batch, task))
    # It is raised below. Where this look ends before that, it is no error that nobody saw.
    intent.add_done_callback(lambda done: done.cancelled() or done.exception())
    await asyncio.wait({intent}, timeout=HEAD_START_SECONDS)
    ports.fail_point("revoke.after-intent")
    renewed = {g.id: g for g in moving}
    grants = [renewed.get(g.id, g) for g, _ in step.grants]
    answers: dict[str, BaseException | None] = {}
    if grants:
        key = grants[0].task.key
        answers = await provider_calls.revoked(ports, key, grants, partial(_call, ports))
    gone = [g for g in grants if g.id in answers and answers[g.id] is None]
    declared = [g for g in grants if isinstance(answers.get(g.id), DeclaredGone)]
    try:
        await intent
    except MustEnd:
        raise
    except TaskpassError:  # of the others the intents are on record
        _confirm(ports, [g for g in gone if g.id not in renewed], task)
        raise
    ports.fail_point("revoke.after-provider")
    _confirm(ports, gone, task)
    for grant in declared:
        _declare(ports, grant, str(answers[grant.id]), task)
    for grant in grants:
        answer = answers.get(grant.id)
        if answer is None or isinstance(answer, DeclaredGone):
            continue
        if not isinstance(answer, Exception):
            raise answer
        await _tell_failure(ports, grant, answer, task)
    return frozenset(g.id for g in grants) - {g.id for g in (*gone, *declared)}


async def _call(ports: Ports, grant: Grant) -> None:
    named = ports.providers.get(grant.provider)
    # Where somebody has edited the record, it is at another. No answer of those is proof.
    asked = ports.providers.values() if named is None else (named,)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            answers = await asyncio.gather(
                *(each.revoke(grant) for each in asked), return_exceptions=True
            )
    except TimeoutError as error:
        raise ProviderUnavailable(
            f"{grant.provider} did not answer within {PATIENCE_SECONDS:.0f} s"
        ) from error
    if named is None:
        raise ProviderUnavailable(f"Provider '{grant.provider}' is not configured")
    for answer in answers:
        if answer is not None:
            raise answer


def _confirm(ports: Ports, gone: Iterable[Grant], task: Task | None) -> None:
    now = ports.now()
    done = [replace(g, state=GrantState.REVOKED) for g in gone]
    for grant in done:
        ports.secret_cache.pop(grant.id, None)
        ports.missing_at_provider.discard(grant.id)
    if done:
        entries = tuple(audit.revoke_result(g, now, _notice(g, task)) for g in done)
        defer(ports, Batch(entries=entries, grants=tuple(done)))


def _declare(ports: Ports, grant: Grant, said: str, task: Task | None) -> None:
    """Record that nobody tries any more, as what it is: somebody's word, and no proof."""
    now = ports.now()
    done = replace(grant, state=GrantState.DECLARED_GONE)
    ports.secret_cache.pop(grant.id, None)
    ports.missing_at_provider.discard(grant.id)
    notice = None
    if task is not None and task.uid == grant.task.uid:
        text = f"'{grant.name}' was not proven to be gone, and is not tried again: {said}"
        notice = Notice(reason="DeclaredGone", message=text, severity=Severity.WARNING)
    logger.warning(
        "Nothing is tried any more to take a credential back, as the settings say",
        extra={"task": str(grant.task), "grant": grant.id, "said": said},
    )
    defer(ports, Batch(entries=(audit.declared_gone(done, said, now, notice),), grants=(done,)))


def _notice(grant: Grant, task: Task | None) -> Notice | None:
    if task is None or task.uid != grant.task.uid:
        return None  # nobody is left to tell; the entry says it
    reason = next((each for each in RevokeReason if each == grant.revoke_reason), None)
    if reason in (None, RevokeReason.ISSUE_FAILED, RevokeReason.RENEWED):
        return None  # why it failed is told, and so is the renewal that took its place
    return Notice(reason="CredentialRevoked", message=f"Revoked '{grant.name}' {reason.because}")


async def _tell_failure(ports: Ports, grant: Grant, error: Exception, task: Task | None) -> None:
    # One that is not ours is of a record that its provider cannot read: no other waits for it.
    ours = isinstance(error, TaskpassError)
    said = str(error) if ours else f"an internal error ({type(error).__name__})"
    logger.warning(
        "Failed to revoke a credential, will retry",
        extra={"task": str(grant.task), "grant": grant.id, "error": said},
        exc_info=None if ours else error,
    )
    if task is None:
        return
    await ports.events.post(
        kind="AgentTask", namespace=task.namespace, name=task.name, uid=task.uid,
        unique=f"{grant.id}-revocation-failed", reason="RevocationFailed",
        message=f"'{grant.name}' could not be revoked yet, it is tried again until it is: {said}",
        severity=Severity.WARNING, at=ports.now(),
    )  # fmt: skip


async def withdraw(ports: Ports, step: Withdraw, pod: PodView | None) -> bool:
    """Delete the Secret; False where that is not allowed (its owner's end then takes it).

    That there is none is recorded with what follows. On return the kubelet of `pod`, the task's,
    has been told to look at once; it is one that may run.
    """
    task_record = step.record
    try:
        await ports.sink.withdraw(
            task_record.task.namespace,
            task_record.task.name,
            task_record.task.uid,
            task_record.secret_uid,
        )
    except TransientError:
        raise
    except TaskpassError as error:
        logger.warning(
            "Failed to delete a Secret", extra={"task": str(task_record.task), "error": str(error)}
        )
        return False
    ports.fail_point("withdraw.after-delete")
    cleared = replace(task_record, secret_uid="", secret_written=False, delivered=())
    defer(ports, Batch(tasks=(cleared,)))
    if pod is not None and pod.uid == task_record.pod_uid and not pod.ended:
        await ports.pods.nudge(pod, "none")
    return True


async def forget(ports: Ports, step: Forget) -> None:
    """Drop the record of a task that is gone; entries, bindings and pending revocations stay."""
    entry = audit.forgotten(step.record, step.pending, ports.now())
    batch = Batch(entries=(entry,), forgets=(step.record.task.uid,), patient=True)
    await record(ports, batch, None)
    ports.budgets.forget(step.record.task.uid)
