"""What the audit log records: one constructor for each thing that happens, and no other way.

The envelope is CloudEvents 1.0; `data` is small and typed, as OCSF, ECS and others are made at
export (docs/audit-log-format.md). No constructor takes free text from a tenant, and none takes a
secret; what a credential gives is its provider's words. `ledger/` adds `source`, clamps `time` so
that it never decreases, and writes the canonical bytes.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from taskpass.core.audit.terms import digest_of_text, moment, of_asked, of_grant, of_saved
from taskpass.core.lifecycle.approval import ApprovalRequest, TaskApproval, Verdict
from taskpass.core.lifecycle.progress import Savepoint
from taskpass.core.lifecycle.records import Outcome, TaskRecord
from taskpass.core.model.entry import NO_DATA, Entry, EventType, Result, Stage, entry, operation
from taskpass.core.model.grant import Grant, TaskRef
from taskpass.core.model.kill_switch import KillSwitch
from taskpass.core.model.notice import Notice
from taskpass.core.model.task import Task

STARTED_BY = "started_by_"
"""With a number: the role of each who started what runs in a pod."""


def issue_intent(grant: Grant, now: datetime, people: Mapping[str, str] = NO_DATA) -> Entry:
    """Say that a credential is about to be issued, for a task of these `people`."""
    return _of_grant(
        grant, now, EventType.CREDENTIAL_ISSUE, Stage.INTENT, Result.PENDING, people=people
    )


def issue_result(grant: Grant, now: datetime, notice: Notice, gives: str = "") -> Entry:
    """Say that it was issued. `grant` is as it is afterwards, with expiry and fingerprint.

    `gives` is what it opens in its provider's words.
    """
    more: dict[str, Any] = {"gives": gives} if gives else {}
    return _of_grant(
        grant, now, EventType.CREDENTIAL_ISSUE, Stage.RESULT, Result.SUCCESS, notice=notice, **more
    )


def issue_failed(grant: Grant, now: datetime, code: str) -> Entry:
    """Say that it was not issued, or that nobody knows; `code` names an error class of ours."""
    result = Result.UNKNOWN if code == "ProviderUnavailable" else Result.FAILURE
    return _of_grant(grant, now, EventType.CREDENTIAL_ISSUE, Stage.RESULT, result, error=code)


def issue_interrupted(grant: Grant, now: datetime) -> Entry:
    """Say that a start found an intent without a result; what it made is undone."""
    return _of_grant(
        grant, now, EventType.CREDENTIAL_ISSUE, Stage.RESULT, Result.UNKNOWN, recovered=True
    )


def delivered(grant: Grant, now: datetime, secret_uid: str) -> Entry:
    """Say that it is in front of the pod."""
    return _of_grant(
        grant, now, EventType.CREDENTIAL_DELIVER, Stage.POINT, Result.SUCCESS, secret_uid=secret_uid
    )


def revoke_intent(grant: Grant, now: datetime, ending: Outcome | None = None) -> Entry:
    """Say that it is about to be taken back; `grant.revoke_reason` says why.

    `ending` is how its task is to end, where that is decided with it.
    """
    more: dict[str, Any] = {} if ending is None else {"finish": ending.value}
    return _of_grant(grant, now, EventType.CREDENTIAL_REVOKE, Stage.INTENT, Result.PENDING, **more)


def ending(record: TaskRecord, outcome: Outcome, now: datetime) -> Entry:
    """Say how the task is to end, where nothing of its own is to be taken back for it."""
    op = operation(record.task.uid, "finish")
    return entry(
        op, EventType.TASK_FINISH, Stage.INTENT, Result.PENDING, now, record.task,
        {"finish": outcome.value},
    )  # fmt: skip


def revoke_result(grant: Grant, now: datetime, notice: Notice | None) -> Entry:
    """Say that it is gone, and the provider has proven it."""
    return _of_grant(
        grant, now, EventType.CREDENTIAL_REVOKE, Stage.RESULT, Result.SUCCESS, notice=notice
    )


def declared_gone(grant: Grant, said: str, now: datetime, notice: Notice | None) -> Entry:
    """Say that nobody tries any more to take it back, by whose word and why: nothing is proven."""
    return _of_grant(
        grant, now, EventType.CREDENTIAL_REVOKE, Stage.RESULT, Result.UNKNOWN, notice=notice,
        declared={"by": "configuration", "reason": said},
    )  # fmt: skip


def denied(
    task: Task, request: str, class_name: str, reason: str, policy: str, policy_digest: str,
    refusal: str, now: datetime, notice: Notice,
) -> Entry:  # fmt: skip
    """Say that a request was refused; an equal `refusal` is the same refusal again."""
    ref = TaskRef(namespace=task.namespace, name=task.name, uid=task.uid)
    op = operation(task.uid, "deny", refusal, moment(now))
    data = {
        "request": request,
        "cred": {"class": class_name},
        "decision": {
            "by": "provider" if reason == "ProviderRefused" else "policy",
            "reason_code": reason,
        },
        "policy": {"name": policy, "digest": policy_digest},
        "task": {"uid": task.uid, "generation": task.generation},
    }
    return entry(
        op, EventType.CREDENTIAL_DENY, Stage.POINT, Result.DENIED, now, ref, data, notice=notice,
        people=people_of(task),
    )  # fmt: skip


def attested(record: TaskRecord, now: datetime, notice: Notice) -> Entry:
    """Say that a pod was proven to be the agent, and is bound to the task's UID from now on."""
    op = operation(record.task.uid, "attest", str(record.attempt), record.pod_uid)
    data: dict[str, Any] = {
        "attest": {"method": "api-server", "result": "verified"},
        "pod": {"name": record.pod_name, "uid": record.pod_uid, "attempt": record.attempt},
        "service_account_uid": record.service_account_uid,
        "workload_uid": record.workload_uid,
        "images": list(record.images),
        "phase": record.phase,
    }
    people: Mapping[str, str] = NO_DATA
    if record.parent_uid:
        data["parent"] = record.parent_uid
    if (origin := record.origin) is not None:
        people = {f"{STARTED_BY}{n}": name for n, name in enumerate(origin.names, start=1)}
        data["starters"] = len(people)
        if origin.unknown:
            data["unknown"] = digest_of_text(origin.unknown)
    return entry(
        op, EventType.WORKLOAD_ATTEST, Stage.POINT, Result.SUCCESS, now, record.task, data,
        notice=notice, people=people,
    )  # fmt: skip


def attestation_failed(
    ref: TaskRef, pod_name: str, pod_uid: str, reason: str, now: datetime, notice: Notice
) -> Entry:
    """Say that a pod is not, or no longer, the agent; `reason` is one of the condition Attested."""
    op = operation(ref.uid, "attest-failed", pod_uid, reason, moment(now))
    data = {
        "attest": {"method": "api-server", "result": reason},
        "pod": {"name": pod_name, "uid": pod_uid},
    }
    return entry(
        op, EventType.WORKLOAD_ATTEST, Stage.POINT, Result.DENIED, now, ref, data, notice=notice
    )


def phase_entered(
    ref: TaskRef, left: str, entered: str, now: datetime, notice: Notice, approval: str = ""
) -> Entry:
    """Say that the task moved; what the old phase held is gone.

    `approval` is the digest of what people approved, where the phase is no declared next one.
    """
    op = operation(ref.uid, "phase", left, entered, moment(now))
    data = {"phase": entered, "phase_from": left}
    if approval:
        data["approval"] = approval
    return entry(
        op, EventType.TASK_PHASE, Stage.POINT, Result.SUCCESS, now, ref, data, notice=notice
    )


def branch_blocked(ref: TaskRef, left: str, wanted: str, now: datetime, notice: Notice) -> Entry:
    """Say that the task went to a phase that may not follow; everything is taken back."""
    op = operation(ref.uid, "branch", left, wanted, moment(now))
    data = {"phase": wanted, "phase_from": left}
    return entry(
        op, EventType.TASK_PHASE, Stage.POINT, Result.DENIED, now, ref, data, notice=notice
    )


def approval_asked(
    task: Task,
    asked: ApprovalRequest,
    policies: Sequence[tuple[str, str]],
    now: datetime,
    notice: Notice,
) -> Entry:
    """Say that people are asked; `policies` are label and digest of those that ask."""
    data = {
        "approval": of_asked(asked),
        "policies": [{"name": name, "digest": digest} for name, digest in policies],
        "digests": {"intent": task.intent.digest},
        "task": {"uid": task.uid, "generation": task.generation},
    }
    return entry(
        operation(task.uid, "ask", asked.digest), EventType.APPROVAL_ASK, Stage.POINT,
        Result.PENDING, now, task.ref, data, notice=notice, people=people_of(task),
    )  # fmt: skip


def approval_given(
    task: Task, asked: ApprovalRequest, word: TaskApproval, now: datetime, notice: Notice
) -> Entry:
    """Say whose word counts for what was asked, as admission proved them."""
    approved = word.decision is Verdict.APPROVED
    data = {
        "approval": {**of_asked(asked), "object": word.name, "object_uid": word.uid},
        "decision": {"by": "person", "reason_code": word.decision.value},
        "reason": word.reason,
        "task": {"uid": task.uid, "generation": task.generation},
    }
    return entry(
        operation(word.uid, "give", asked.digest), EventType.APPROVAL_GIVE, Stage.POINT,
        Result.SUCCESS if approved else Result.DENIED, now, task.ref, data, notice=notice,
        people={"approver": word.approver.username},
    )  # fmt: skip


def saved(record: TaskRecord, savepoint: Savepoint, now: datetime, notice: Notice) -> Entry:
    """Say how far the task has come, as it said itself, and under which intent and policies."""
    op = operation(record.task.uid, "save", savepoint.step, savepoint.sha256, moment(now))
    said = of_saved(savepoint) or {}
    data = {
        "savepoint": {key: said[key] for key in ("step", "sha256")},
        "digests": {key: said[key] for key in ("intent", "policies")},
    }
    return entry(
        op, EventType.TASK_SAVE, Stage.POINT, Result.SUCCESS, now, record.task, data, notice=notice
    )


def suspended(record: TaskRecord, reason: str, now: datetime, notice: Notice) -> Entry:
    """Say that the task holds nothing from now on; `reason` is one of the condition Suspended."""
    return _of_mode("suspend", EventType.TASK_SUSPEND, record.task, reason, now, notice)


def resumed(record: TaskRecord, reason: str, now: datetime, notice: Notice) -> Entry:
    """Say that the task goes on, and what it was suspended for."""
    return _of_mode("resume", EventType.TASK_RESUME, record.task, reason, now, notice)


def _of_mode(
    verb: str, kind: EventType, ref: TaskRef, reason: str, now: datetime, notice: Notice
) -> Entry:
    op = operation(ref.uid, verb, reason, moment(now))
    return entry(
        op, kind, Stage.POINT, Result.SUCCESS, now, ref, {"suspend": reason}, notice=notice
    )


def finished(record: TaskRecord, outcome: Outcome, now: datetime, notice: Notice) -> Entry:
    """Say that the task is over, and nothing is held any more."""
    op = operation(record.task.uid, "finish")
    return entry(
        op, EventType.TASK_FINISH, Stage.POINT, Result.SUCCESS, now, record.task,
        {"finish": outcome.value}, notice=notice,
    )  # fmt: skip


def forgotten(record: TaskRecord, owed: int, now: datetime) -> Entry:
    """Say that the task's object is gone; `owed` credentials of it are still to be taken back."""
    op = operation(record.task.uid, "forget", str(owed))
    return entry(
        op, EventType.TASK_FORGET, Stage.POINT, Result.SUCCESS, now, record.task, {"owed": owed}
    )


def retold(
    task: TaskRef, part: int, data: Mapping[str, Any], min_index: int, now: datetime
) -> Entry:
    """Say again what was told of a task in entries before `min_index`, which are dropped.

    In parts, from 0 on, as an entry has a limit.
    """
    op = operation(task.uid, "retell", str(min_index), str(part))
    told = {"part": part, **data, "task": {"uid": task.uid}}
    return entry(op, EventType.TASK_RETELL, Stage.POINT, Result.SUCCESS, now, task, told)


def pods_forgotten(pod_uids: Sequence[str], now: datetime) -> Entry:
    """Say that pods are gone, as their tasks are; whose they were is in the log alone from now."""
    op = operation("forget-pods", *pod_uids)
    data = {"pods": list(pod_uids)}
    return entry(op, EventType.WORKLOAD_FORGET, Stage.POINT, Result.SUCCESS, now, None, data)


def held_back(
    namespace: str, counts: Mapping[str, int], tasks: int, since: datetime, now: datetime
) -> Entry:
    """Say what of a namespace was held back for want of budget, and has no entries of its own.

    `counts` are by kind, and tell each thing once however often it was looked at; `tasks` of how
    many tasks that was.
    """
    op = operation(namespace, "hold", moment(since))
    data = {"ns": namespace, "held": dict(counts), "tasks": tasks, "since": moment(since)}
    return entry(op, EventType.BUDGET_HOLD, Stage.POINT, Result.DENIED, now, None, data)


def orphan_undone(grant_id: str, provider: str, now: datetime) -> Entry:
    """Something at a provider carried our mark and no live grant answered for it; it is removed."""
    op = operation(grant_id, "orphan", moment(now))
    data = {"cred": {"ref": grant_id, "provider": provider}}
    return entry(op, EventType.ORPHAN_UNDO, Stage.POINT, Result.SUCCESS, now, None, data)


def kill_switch_activated(switch: KillSwitch, now: datetime) -> Entry:
    """Say that a KillSwitch is there: what it matches is taken back, and why."""
    data = {"kill_switch": _of_switch(switch), "reason": switch.reason}
    return entry(
        operation(switch.uid, "throw"), EventType.KILL_SWITCH_THROW, Stage.POINT, Result.SUCCESS,
        now, None, data, people={"requester": switch.requester.username},
    )  # fmt: skip


def kill_switch_lifted(uid: str, name: str, now: datetime) -> Entry:
    """Say that a KillSwitch is gone: what it held back may be issued anew."""
    data = {"kill_switch": {"name": name, "uid": uid}}
    return entry(
        operation(uid, "lift"), EventType.KILL_SWITCH_LIFT, Stage.POINT, Result.SUCCESS, now, None,
        data,
    )  # fmt: skip


def _of_switch(switch: KillSwitch) -> dict[str, str]:
    said = {"name": switch.name, "uid": switch.uid, "target": switch.target.value}
    where = {"ns": switch.namespace, "of": switch.of}
    return said | {key: value for key, value in where.items() if value}


def people_of(task: Task, root: Task | None = None) -> Mapping[str, str]:
    """Return who asked for a task, who changed it last, and who answers for it, or for its root."""
    return {
        "requester": task.requester.username,
        "changed_by": task.changed_by.username,
        "sponsor": (root or task).sponsor,
    }


def _of_grant(
    grant: Grant, now: datetime, kind: EventType, stage: Stage, result: Result, *,
    notice: Notice | None = None, people: Mapping[str, str] = NO_DATA, **more: Any,
) -> Entry:  # fmt: skip
    op = operation(grant.id, kind.value)
    data = {**of_grant(grant), **more}
    if kind is EventType.CREDENTIAL_REVOKE:
        data["reason"] = grant.revoke_reason
    return entry(
        op, kind, stage, result, now, grant.task, data, notice=notice, grant_id=grant.id,
        people=people,
    )  # fmt: skip
