"""Issue and deliver: the order of effects, here and nowhere else (docs/concepts.md, rule 1).

decided → *intent durable* → issued by the provider → *result durable* → delivered → *delivery
durable*. What fails in between is taken back before anything is tried again.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import uuid4

from taskpass.core.audit import events as audit
from taskpass.core.errors import (
    GivenUp,
    ProviderRefused,
    ProviderUnavailable,
    SecretNameTaken,
    TaskpassError,
)
from taskpass.core.lifecycle.outputs import keys_of
from taskpass.core.lifecycle.progress import usable
from taskpass.core.lifecycle.snapshot import Snapshot
from taskpass.core.lifecycle.steps import Deliver, Issue, Planned, RevokeReason
from taskpass.core.model.conditions import Finding, Reason, false
from taskpass.core.model.entry import Entry
from taskpass.core.model.grant import Grant, GrantState, Issued, SecretValue
from taskpass.core.model.notice import Notice, Severity
from taskpass.core.model.task import digest
from taskpass.core.model.text import shortened
from taskpass.flows import provider_calls
from taskpass.flows.context import Ports
from taskpass.flows.recording import defer, record
from taskpass.ports.credentials import Delivery
from taskpass.ports.ledger import Batch

logger = logging.getLogger(__name__)
PATIENCE_SECONDS = 30.0
"""How long one provider call may take before it counts as no answer."""


MOST_WORDS = 300
"""Characters of what a credential gives."""
SHORTEST = timedelta(seconds=5)
"""What ends sooner than this, by our clock, cannot be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IssueFailed:
    """Why requests were not issued, by request. Whatever exists of them is being revoked."""

    findings: Mapping[str, Finding]


async def issue(
    ports: Ports, snapshot: Snapshot, step: Issue, is_wanted: Callable[[], bool] = lambda: True
) -> IssueFailed | None:
    """Issue all that is planned, or leave nothing: None, or why not.

    `is_wanted` tells whether, by what is seen now, it would still be begun. On return every result
    is durable. Nothing is delivered yet.
    """
    if not ports.room.has_room(snapshot.live_task.namespace):
        full = false(Reason.PROVIDER_UNAVAILABLE, provider_calls.FULL)
        return IssueFailed(findings={p.request.name: full for p in step.planned})
    refused: dict[str, Finding] = {}
    grants: list[Grant] = []
    for planned in step.planned:
        try:
            grants.append(_plan(ports, snapshot, planned))
        except ProviderRefused as error:
            text = f"Credential '{planned.request.name}': {error}"
            refused[planned.request.name] = false(Reason.PROVIDER_REFUSED, text)
    if refused:
        await _refuse(ports, snapshot, step, refused)
        return IssueFailed(findings=refused)
    now = ports.now()
    people = audit.people_of(snapshot.live_task, snapshot.lineage.root)
    intents = tuple(audit.issue_intent(g, now, people) for g in grants)
    ports.fail_point("issue.before-intent")
    await record(ports, Batch(entries=intents, grants=tuple(grants)), snapshot.live_task)
    ports.fail_point("issue.after-intent")
    calls = [_call(ports, g, p) for g, p in zip(grants, step.planned, strict=True)]
    answers = await provider_calls.issued(ports, snapshot.live_task.key, calls, is_wanted)
    ports.fail_point("issue.after-provider")
    if all(isinstance(a, Issued) for a in answers):
        issued = [a for a in answers if isinstance(a, Issued)]
        await _keep(ports, snapshot, grants, issued, step.denial)
        return None
    return await _give_up(ports, snapshot, grants, answers)


async def _refuse(
    ports: Ports, snapshot: Snapshot, step: Issue, refused: Mapping[str, Finding]
) -> None:
    """Record what the provider can tell without being called; once while it says the same."""
    refusal = _digest_of(refused)
    if snapshot.record.denial == refusal:
        return
    now = ports.now()
    entries = tuple(
        audit.denied(
            snapshot.live_task, p.request.name, p.credential_class.name, "ProviderRefused",
            p.decision.policy, p.decision.policy_digest, f"{refusal}/{p.request.name}", now,
            _complaint(refused[p.request.name]),
        )
        for p in step.planned
        if p.request.name in refused
    )  # fmt: skip
    task_record = replace(snapshot.record, denial=refusal)
    pod = (task_record.pod_name, task_record.pod_uid)
    await record(ports, Batch(entries=entries, tasks=(task_record,)), snapshot.live_task, pod)


def _digest_of(findings: Mapping[str, Finding]) -> str:
    return digest([[name, f.reason, f.message] for name, f in sorted(findings.items())])


def _complaint(finding: Finding) -> Notice:
    return Notice(
        reason=finding.reason, message=finding.message, severity=Severity.WARNING, on_pod=True
    )


def _plan(ports: Ports, snapshot: Snapshot, planned: Planned) -> Grant:
    task, credential_class, task_record = (
        snapshot.live_task,
        planned.credential_class,
        snapshot.record,
    )
    provider = ports.providers[credential_class.provider]
    grant_id = f"g-{uuid4().hex}"
    fields = provider.capabilities(credential_class).fields
    absent = sorted({o.field for o in planned.request.outputs} - fields)
    if absent:
        raise ProviderRefused(
            f"outputs of credential '{planned.request.name}' names field '{absent[0]}'; provider "
            f"{credential_class.provider} has {', '.join(sorted(fields))}"
        )
    return Grant(
        id=grant_id,
        task=task.ref,
        generation=task.generation,
        attempt=task_record.attempt,
        phase=task_record.phase,
        name=planned.request.name,
        class_name=credential_class.name,
        provider=credential_class.provider,
        actions=planned.request.actions,
        resources=planned.request.resources,
        location=planned.request.location,
        request_digest=planned.request.digest,
        intent_digest=task.intent.digest,
        class_digest=credential_class.digest,
        policy=planned.decision.policy,
        policy_digest=planned.decision.policy_digest,
        pod_name=task_record.pod_name,
        pod_uid=task_record.pod_uid,
        service_account=task.service_account,
        service_account_uid=task_record.service_account_uid,
        lifetime_seconds=planned.lifetime_seconds,
        state=GrantState.INTENT,
        provider_state=provider.prepare(planned.request, credential_class, grant_id),
        intent_at=ports.now(),
        renews=planned.renews,
        renewals=planned.renewals,
        chain=snapshot.lineage.chain,
        within=planned.within.id if planned.within else "",
        max_depth=planned.decision.max_depth,
        max_children=planned.decision.max_children,
        approval=planned.approval,
    )


async def _call(ports: Ports, grant: Grant, planned: Planned) -> Issued:
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            issued = await ports.providers[grant.provider].issue(grant, ports.audience)
    except TimeoutError as error:
        raise ProviderUnavailable(
            f"{grant.provider} did not answer within {PATIENCE_SECONDS:.0f} s"
        ) from error
    if issued.expires_at < ports.now() + SHORTEST:
        # Without this check it would be revoked as run out and issued anew, for ever. No times: a
        # message that changes with each try would be told with each try.
        raise ProviderUnavailable(
            f"What {grant.provider} issues is over by this clock already; set the operator's clock "
            "right"
        )
    return issued


async def _keep(
    ports: Ports, snapshot: Snapshot, grants: Sequence[Grant], issued: Sequence[Issued], denial: str
) -> None:
    now = ports.now()
    issued_grants = [_issued(ports, g, i) for g, i in zip(grants, issued, strict=True)]
    # The record says that there may be a Secret before it is first written: a lost answer leaves
    # something to delete.
    written = replace(snapshot.record, denial=denial, secret_written=True)
    entries = tuple(
        audit.issue_result(g, now, _notice(g, gives), gives)
        for g, gives in zip(issued_grants, map(_gives, issued), strict=True)
    )
    values = tuple(value for each in issued for value in each.secrets)
    batch = Batch(entries=entries, grants=tuple(issued_grants), tasks=(written,), hide=values)
    await record(ports, batch, snapshot.live_task)
    for grant, each in zip(grants, issued, strict=True):
        ports.secret_cache[grant.id] = each.fields
    ports.fail_point("issue.after-result")


def _issued(ports: Ports, grant: Grant, issued: Issued) -> Grant:
    return replace(
        grant,
        state=GrantState.ISSUED,
        provider_state=issued.provider_state,
        issued_at=ports.now(),
        expires_at=issued.expires_at,
        credential_ref=issued.credential_ref,
        fingerprint=issued.fields[issued.primary].fingerprint(ports.fingerprint_key),
    )


def _subject(grant: Grant) -> str:
    if not grant.renews:
        return f"Credential '{grant.name}'"
    return f"Credential '{grant.name}' could not be renewed, and is tried again until it runs out"


def _gives(issued: Issued) -> str:
    """Return what it gives, no longer than an Event can say: names in it are others'."""
    return shortened(issued.gives, MOST_WORDS)


def _notice(grant: Grant, gives: str) -> Notice:
    until = grant.expires_at.strftime("%H:%M:%S UTC") if grant.expires_at else "?"
    what = ", ".join(grant.actions)
    where = f" on {', '.join(grant.resources)}" if grant.resources else ""
    done = "Renewed" if grant.renews else "Issued"
    return Notice(
        reason=f"Credential{done}",
        message=f"{done} '{grant.name}' ({what}{where}) until {until}, allowed by {grant.policy}"
        + (f"; it gives {gives}" if gives else ""),
    )


async def _give_up(
    ports: Ports,
    snapshot: Snapshot,
    grants: Sequence[Grant],
    answers: Sequence[Issued | BaseException],
) -> IssueFailed:
    """Record each result, and that all of it is to be taken back; the next step revokes."""
    now = ports.now()
    entries: list[Entry] = []
    moved: list[Grant] = []
    findings: dict[str, Finding] = {}
    failed: dict[int, str] = {}
    surprise: BaseException | None = None
    alone = all(isinstance(each, Issued | GivenUp) for each in answers)  # none failed by itself
    for grant, answer in zip(grants, answers, strict=True):
        if isinstance(answer, Issued):
            grant = _issued(ports, grant, answer)
            gives = _gives(answer)
            entries.append(audit.issue_result(grant, now, _notice(grant, gives), gives))
        else:
            code = _code(answer)
            text = str(answer) if isinstance(answer, TaskpassError) else "an internal error"
            reason = (
                Reason.PROVIDER_REFUSED
                if isinstance(answer, ProviderRefused)
                else Reason.PROVIDER_UNAVAILABLE
            )
            if not isinstance(answer, TaskpassError):
                surprise = answer
            if not isinstance(answer, GivenUp) or alone:
                findings[grant.name] = false(reason, f"{_subject(grant)}: {text}")
                failed[len(entries)] = grant.name
            entries.append(audit.issue_failed(grant, now, code))
        back = replace(
            grant, state=GrantState.REVOKING, revoking_since=now,
            revoke_reason=RevokeReason.ISSUE_FAILED.value,
        )  # fmt: skip
        moved.append(back)
        entries.append(audit.revoke_intent(back, now))
    renewing = {g.name for g in grants if g.renews}
    task_record = replace(snapshot.record, denial=_digest_of(findings))
    if snapshot.record.denial != task_record.denial:
        # People are told once while it goes on like this.
        for at, name in failed.items():
            notice = _complaint(findings[name])
            if name in renewing:
                notice = replace(notice, reason="RenewalFailed")
            entries[at] = replace(entries[at], notice=notice)
    batch = Batch(entries=tuple(entries), grants=tuple(moved), tasks=(task_record,))
    await record(ports, batch, snapshot.live_task, (task_record.pod_name, task_record.pod_uid))
    if surprise is not None:
        raise surprise
    return IssueFailed(findings=findings)


def _code(answer: BaseException) -> str:
    """Return the class of an error as the log names it."""
    if isinstance(answer, GivenUp):
        return ProviderUnavailable.__name__
    return type(answer).__name__ if isinstance(answer, TaskpassError) else "InternalError"


async def deliver(ports: Ports, snapshot: Snapshot, step: Deliver) -> Finding | None:
    """Write the task's Secret with the fields of the step's grants: None, or why not.

    The delivery is recorded with what follows; the kubelet has been told to look at once.
    """
    task, task_record = snapshot.live_task, snapshot.record
    requests = {r.name: r for r in task.requests_in(task_record.phase)}
    fields: dict[str, SecretValue] = {}
    for grant in step.grants:
        known = ports.secret_cache[grant.id]
        for key, name in keys_of(requests[grant.name], known).items():
            fields[key] = known[name]
    ports.fail_point("deliver.before-secret")
    try:
        uid = await ports.sink.deliver(
            Delivery(task=task, fields=fields, index=_index(snapshot, step.grants, requests))
        )
    except SecretNameTaken as error:
        await ports.events.post(
            kind="AgentTask", namespace=task.namespace, name=task.name, uid=task.uid,
            unique=f"{task_record.attempt}-{task_record.phase}-secret-name-taken",
            reason="SecretNameTaken", message=str(error), severity=Severity.WARNING,
            at=ports.now(),
        )  # fmt: skip
        return false(Reason.SECRET_NAME_TAKEN, str(error))
    ports.fail_point("deliver.after-secret")
    now = ports.now()
    new = [
        replace(g, state=GrantState.DELIVERED, delivered_at=now)
        for g in step.grants
        if g.state is GrantState.ISSUED
    ]
    approvals_used = {g.approval.digest for g in step.grants if g.approval is not None}
    done = replace(
        task_record,
        secret_uid=uid,
        secret_written=True,
        delivered=tuple(g.id for g in step.grants),
        asked=tuple(each for each in task_record.asked if each.digest not in approvals_used),
    )
    entries = tuple(audit.delivered(g, now, uid) for g in new)
    defer(ports, Batch(entries=entries, grants=tuple(new), tasks=(done,)))
    pod = snapshot.bound_pod
    if pod is not None and snapshot.may_run(pod):
        await ports.pods.nudge(pod, ".".join(sorted(g.id[2:10] for g in step.grants)))
    return None


def _index(
    snapshot: Snapshot, grants: Sequence[Grant], requests: Mapping[str, object]
) -> dict[str, object]:
    """Return `taskpass.json`: what is there and until when."""
    task = snapshot.live_task
    more: dict[str, object] = {}
    if savepoint := usable(snapshot.record.saved, task, snapshot.policies):
        more["savepoint"] = {"step": savepoint.step, "sha256": savepoint.sha256}
    return {
        "task": {"namespace": task.namespace, "name": task.name, "uid": task.uid},
        "phase": snapshot.record.phase,
        **more,
        "credentials": [
            {
                "name": g.name,
                "class": g.class_name,
                "actions": list(g.actions),
                "resources": list(g.resources),
                "expires": g.expires_at.strftime("%Y-%m-%dT%H:%M:%SZ") if g.expires_at else "",
            }
            for g in grants
            if g.name in requests
        ],
    }
