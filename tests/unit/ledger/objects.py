"""Grants, records and entries to test with, and ledgers to put them into."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

from taskpass.core.audit import events as audit
from taskpass.core.lifecycle.approval import ApprovalRequest, TaskApproval, Verdict
from taskpass.core.lifecycle.ownership import Origin
from taskpass.core.lifecycle.progress import Savepoint
from taskpass.core.lifecycle.records import TaskRecord
from taskpass.core.model.entry import Entry, EventType
from taskpass.core.model.grant import Grant, GrantState, TaskRef
from taskpass.core.model.notice import Notice
from taskpass.core.model.task import Task, User
from taskpass.ledger.log.signing import SeedSigner
from taskpass.ledger.store.sqlite import SqliteLedger
from taskpass.ports.ledger import Batch

SEED = bytes([7]) * 32
NOW = datetime(2026, 11, 25, 10, 0, tzinfo=UTC)
TASK = TaskRef(namespace="support", name="ticket-4711", uid="task-uid-1")
GRANT = Grant(
    id="g-00000000000000000000000000000001",
    task=TASK,
    generation=2,
    attempt=1,
    phase="research",
    name="tickets",
    class_name="tickets-api",
    provider="Kubernetes",
    actions=("tickets.read",),
    resources=("ticket/4711",),
    location="",
    request_digest="sha256:aa",
    intent_digest="sha256:bb",
    class_digest="sha256:cc",
    policy="AgentPolicy/support/triage",
    policy_digest="sha256:dd",
    pod_name="ticket-4711-x7k2p",
    pod_uid="pod-uid-1",
    service_account="triage-agent",
    service_account_uid="sa-uid-1",
    lifetime_seconds=900,
    state=GrantState.INTENT,
    provider_state={"serviceAccount": "g-1", "bindings": [{"namespace": "a", "uid": None}]},
    intent_at=NOW,
)
SECOND = replace(TASK, name="ticket-4712", uid="task-uid-2")
LEGACY = TaskRecord(task=TASK, phase="research", attempt=1, pod_name="pod", pod_uid="pod-uid-1")
"""As a version attested it that did not record who started a pod."""
RECORD = replace(
    LEGACY, origin=Origin(names=("system:serviceaccount:support:ci",)),
    service_account_uid="sa-uid-1", workload_uid="job-uid-1", started_at=NOW,
)  # fmt: skip


def opened(path: Path, *, seed: bytes = SEED, now: datetime = NOW, **more: Any) -> SqliteLedger:
    return SqliteLedger.open(
        path, signer=SeedSigner(seed), cluster_id="3c1f0a9e", instance="taskpass-0", now=now, **more
    )


def entry(
    number: object, *, task: TaskRef | None = TASK, time: datetime = NOW, **more: Any
) -> Entry:
    """Return an entry of its own for each number."""
    notice = more.pop("notice", None)
    return Entry(
        id=str(uuid5(UUID(int=1), str(number))),
        type=EventType.TASK_PHASE,
        time=time,
        task=task,
        data={"v": 1, "stage": "point", "outcome": "success", "number": str(number), **more},
        notice=notice,
    )


def notice(message: str = "Issued") -> Notice:
    return Notice(reason="CredentialIssued", message=message)


def another(number: int, *, task: TaskRef = TASK) -> Grant:
    return replace(GRANT, id=f"g-{number:032x}", task=task)


async def issue(ledger: SqliteLedger, grant: Grant, now: datetime = NOW) -> Grant:
    """Take a grant from its intent to its delivery; return it as the ledger has it."""
    await ledger.commit(Batch(entries=(audit.issue_intent(grant, now),), grants=(grant,)))
    issued = replace(
        grant,
        state=GrantState.ISSUED,
        issued_at=now,
        expires_at=now + timedelta(seconds=900),
        fingerprint="ab" * 32,
        credential_ref="jti-1",
    )
    result = audit.issue_result(issued, now, notice("Issued 'tickets' (audit {index})"))
    await ledger.commit(Batch(entries=(result,), grants=(issued,)))
    kept = next(g for g in ledger.grants(grant.task.key) if g.id == grant.id)
    delivered = replace(kept, state=GrantState.DELIVERED)
    await ledger.commit(
        Batch(entries=(audit.delivered(delivered, now, "secret-uid"),), grants=(delivered,))
    )
    return delivered


async def revoke(ledger: SqliteLedger, grant: Grant, now: datetime = NOW) -> Grant:
    """Take it back."""
    moving = replace(grant, state=GrantState.REVOKING, revoke_reason="Finished", revoking_since=now)
    await ledger.commit(Batch(entries=(audit.revoke_intent(moving, now),), grants=(moving,)))
    gone = replace(moving, state=GrantState.REVOKED)
    result = audit.revoke_result(gone, now, notice("Revoked 'tickets'"))
    await ledger.commit(Batch(entries=(result,), grants=(gone,)))
    return gone


async def end(ledger: SqliteLedger, grant: Grant, now: datetime = NOW) -> None:
    """Take back what is held, wherever it stands."""
    if grant.state is GrantState.REVOKING:
        gone = replace(grant, state=GrantState.REVOKED)
        result = audit.revoke_result(gone, now, notice("Revoked 'tickets'"))
        await ledger.commit(Batch(entries=(result,), grants=(gone,)))
    else:
        await revoke(ledger, grant, now)


async def life_of_people(ledger: SqliteLedger) -> TaskRecord:
    """Write a second task, up to where it waits: who started it, what is asked, and of whom."""
    origin = Origin(
        names=("jane@example.org", "lea@example.org", "system:serviceaccount:support:ci"),
        unknown="who created Job 'triage' is not known",
    )
    task = Task(
        namespace=SECOND.namespace, name=SECOND.name, uid=SECOND.uid, generation=1,
        resource_version="1", created_at=NOW, service_account="triage-agent",
    )  # fmt: skip
    first, branch = (
        ApprovalRequest(
            name=name, branch=to, text=f'{{"nonce":"n-{name}{to}"}}', nonce=f"n-{name}{to}",
            since=NOW, epoch=1,
        )
        for name, to in (("tickets", ""), ("", "deploy"))
    )  # fmt: skip
    word = TaskApproval(
        namespace="support", name="yes", uid="approval-1", generation=1, created_at=NOW,
        task_name=SECOND.name, task_uid=SECOND.uid, digest=first.digest,
        decision=Verdict.APPROVED, approver=User(username="joe@example.org"),
    )  # fmt: skip
    saved = Savepoint(
        step="sorted", sha256=64 * "a", at=NOW, intent_digest="sha256:bb", policies_digest="p"
    )
    record = replace(
        RECORD, task=SECOND, pod_uid="pod-uid-2", pod_name="pod-2", images=("agent@sha256:aa",),
        origin=origin, parent_uid="task-uid-1", started_at=NOW, service_account_uid="sa-uid-1",
        workload_uid="job-uid-1",
    )  # fmt: skip
    asked = replace(
        record, asked=(first, branch), asked_at=(NOW,), saved=saved, renewals={"tickets": 1},
        secret_uid="secret-uid-2", secret_written=True, delivered=("g-1",), denial="d",
        activity="a", active_at=NOW,
    )  # fmt: skip
    heard = replace(asked, asked=(replace(first, noted=(word.uid,)), branch))
    for entries, after in (
        ((audit.attested(record, NOW, notice("Attested")),), record),
        ((audit.approval_asked(task, first, (("p", "d"),), NOW, notice("Asked")),
          audit.approval_asked(task, branch, (("p", "d"),), NOW, notice("Asked")),
          audit.saved(asked, saved, NOW, notice("Saved"))), asked),
        ((audit.approval_given(task, first, word, NOW, notice("Approved")),), heard),
    ):  # fmt: skip
        await ledger.commit(Batch(entries=entries, tasks=(after,)))
    return heard


async def story(ledger: SqliteLedger) -> None:
    """Write the whole life of one task."""
    attested = audit.attested(RECORD, NOW, notice("Attested"))
    await ledger.commit(Batch(entries=(attested,), tasks=(RECORD,)))
    await revoke(ledger, await issue(ledger, GRANT))


async def filled(ledger: SqliteLedger, size: int) -> None:
    """Add entries until there are that many."""
    while ledger.size < size:
        count = min(100, size - ledger.size)
        entries = tuple(entry(ledger.size + i) for i in range(count))
        await ledger.commit(Batch(entries=entries))
