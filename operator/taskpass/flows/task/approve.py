"""Ask people, and record whose word counts (core/lifecycle/approval.py)."""

import secrets
from dataclasses import replace

from taskpass.core.audit import events as audit
from taskpass.core.errors import ProviderRefused
from taskpass.core.lifecycle.approval import ApprovalRequest, TaskApproval, Verdict, asked_text
from taskpass.core.lifecycle.approval_status import needed_of, verdicts
from taskpass.core.lifecycle.approvals import MOST_ASKED
from taskpass.core.lifecycle.snapshot import Snapshot
from taskpass.core.lifecycle.steps import (
    ApprovalDraft,
    AskApproval,
    NoteApprovals,
    ResolvePermissions,
    Wait,
)
from taskpass.core.model.conditions import Reason, false
from taskpass.core.model.notice import Notice, Severity
from taskpass.core.model.task import Task
from taskpass.core.model.text import quoted, shortened
from taskpass.flows.context import Ports
from taskpass.flows.recording import record
from taskpass.flows.task.observe import Run
from taskpass.ports.ledger import Batch
from taskpass.ports.tasks import ReadyCondition

NONCE_BYTES = 16
MOST_WORDS = 1000
"""Characters of what a credential gives, in a text that is shown in parts."""
MOST_SHOWN = 960
"""Bytes of an Event's note, whose limit is 1,024; the rest says which part it is."""


async def inspect(ports: Ports, snapshot: Snapshot, step: ResolvePermissions, run: Run) -> None:
    """Find out what credentials of the classes lead to now."""
    for credential_class in step.classes:
        try:
            provider = ports.providers[credential_class.provider]
            digest = await provider.permissions_digest(credential_class)
            run.permissions_digest[credential_class.name] = digest
            for each in snapshot.live_task.requests_in(snapshot.record.phase):
                if each.class_name == credential_class.name:
                    said = await provider.describe(credential_class, each.actions)
                    run.gives[each.name] = shortened(said, MOST_WORDS)
        except ProviderRefused as refusal:
            for each in snapshot.live_task.requests_in(snapshot.record.phase):
                if each.class_name == credential_class.name:
                    run.failures[each.name] = false(
                        Reason.PROVIDER_REFUSED, f"Credential '{each.name}': {refusal}"
                    )


async def ask_approval(ports: Ports, snapshot: Snapshot, step: AskApproval) -> None:
    """Draw a nonce for each draft, and ask; durable on return, and told on task and pod."""
    now, task, task_record = ports.now(), snapshot.live_task, snapshot.record
    asked, entries = list(step.kept), []
    for draft in step.drafts:
        nonce = secrets.token_hex(NONCE_BYTES)
        new = ApprovalRequest(
            name=draft.name, branch=draft.branch, text=asked_text(draft.terms, nonce), nonce=nonce,
            since=now, epoch=snapshot.epoch,
        )  # fmt: skip
        asked.append(new)
        policies = [(p.label, p.digest) for p in draft.demands]
        entries.append(audit.approval_asked(task, new, policies, now, _asking(draft, new)))
    moved = replace(
        task_record,
        asked=tuple(asked),
        asked_at=(*task_record.asked_at, now)[-MOST_ASKED:],
        denial="",
    )
    pod = (task_record.pod_name, task_record.pod_uid) if task_record.pod_uid else None
    await record(ports, Batch(entries=tuple(entries), tasks=(moved,)), task, pod)
    for each in asked[len(step.kept) :]:
        await _show(ports, task, each)


def _asking(draft: ApprovalDraft, asked: ApprovalRequest) -> Notice:
    what = f"Credential '{draft.name}'" if draft.name else f"The move to phase '{draft.branch}'"
    needs = " and ".join(needed_of(p, p.approval.approvals) for p in draft.demands if p.approval)
    message = f"{what} needs {needs}. Asked: {asked.digest}; Events ApprovalRequest show it in full"
    return Notice(reason="ApprovalRequired", message=message, on_pod=True)


async def _show(ports: Ports, task: Task, asked: ApprovalRequest) -> None:
    """Post what is asked in full: the parts in their order are the text that has the digest."""
    shown = parts(asked.text)
    for number, part in enumerate(shown, start=1):
        await ports.events.post(
            kind="AgentTask", namespace=task.namespace, name=task.name, uid=task.uid,
            unique=f"{asked.digest}-{number}", reason="ApprovalRequest",
            message=f"{asked.digest[:19]}… {number}/{len(shown)}: {part}",
            severity=Severity.NORMAL, at=asked.since,
        )  # fmt: skip


def parts(text: str) -> list[str]:
    """Split a text into what an Event's note has room for, between characters."""
    found, start, size = [], 0, 0
    for index, character in enumerate(text):
        size += len(character.encode())
        if size > MOST_SHOWN:
            found.append(text[start:index])
            start, size = index, len(character.encode())
    return [*found, text[start:]]


async def note_approvals(ports: Ports, snapshot: Snapshot, step: NoteApprovals) -> None:
    """Record whose word counts for what, each once; durable before anything comes of it."""
    now, task, entries = ports.now(), snapshot.live_task, []
    noted = {asked.digest: [w.uid for w in words] for asked, words in step.heard}
    for asked, words in step.heard:
        for approval in words:
            entries.append(audit.approval_given(task, asked, approval, now, _said(asked, approval)))
    requests = tuple(
        replace(each, noted=(*each.noted, *noted.get(each.digest, ())))
        for each in snapshot.record.asked
    )
    await record(
        ports,
        Batch(entries=tuple(entries), tasks=(replace(snapshot.record, asked=requests),)),
        task,
    )


def _said(asked: ApprovalRequest, approval: TaskApproval) -> Notice:
    what = f"credential '{asked.name}'" if asked.name else f"the move to phase '{asked.branch}'"
    because = f": {quoted(approval.reason)}" if approval.reason else ""
    if approval.decision is Verdict.DENIED:
        return Notice(
            reason="ApprovalDenied",
            message=f"'{approval.approver.username}' denied {what}{because}",
            severity=Severity.WARNING,
            on_pod=True,
        )
    return Notice(
        reason="Approved", message=f"'{approval.approver.username}' approved {what}{because}"
    )


async def answer_approvals(ports: Ports, snapshot: Snapshot, rest: Wait) -> None:
    """Say on each TaskApproval of the task what has become of it, where that has changed."""
    for approval, finding in verdicts(snapshot, rest):
        condition = ReadyCondition(
            kind="TaskApproval", namespace=approval.namespace, name=approval.name,
            uid=approval.uid, generation=approval.generation, finding=finding,
        )  # fmt: skip
        await ports.ready_conditions.say(condition, ports.now())
