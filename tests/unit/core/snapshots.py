"""Snapshots of a task's life as values: what a test is about, and the rest as it usually is."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from taskpass.core.lifecycle.delegation import Lineage
from taskpass.core.lifecycle.records import TaskRecord
from taskpass.core.lifecycle.snapshot import Snapshot
from taskpass.core.model.capabilities import Capabilities, Revocation
from taskpass.core.model.grant import Grant, GrantState
from taskpass.core.model.task import CredentialRequest, Task
from tests.simulation.builders import T0, credential_class, pod, policy, request, task

OVERLAP = timedelta(seconds=90)
RUNNING = replace(pod(), gated=False)
GATED = pod()
ASKING = task(request("tickets"))
CAPABILITIES = Capabilities(
    revocation=Revocation.IMMEDIATE, minimum_seconds=60, listable=True, ends_sessions=True,
    fields=frozenset({"token"}),
)  # fmt: skip


def record_of(of: Task = ASKING, **changes: Any) -> TaskRecord:
    """Return the record of a task whose pod is bound and has its Secret."""
    made = TaskRecord(
        task=of.ref,
        phase=of.first_phase,
        attempt=1,
        pod_name=GATED.name,
        pod_uid=GATED.uid,
        service_account_uid="account-1",
        images=GATED.images,
        started_at=T0,
        secret_uid="secret-1",
        secret_written=True,
        delivered=("g-tickets",),
    )
    return replace(made, **changes)


def grant_of(wanted: CredentialRequest | None = None, of: Task = ASKING, **changes: Any) -> Grant:
    """Return a delivered grant, as issued at T0 for 900 seconds."""
    wanted = wanted or request("tickets")
    used = credential_class(wanted.class_name)
    made = Grant(
        id=f"g-{wanted.name}",
        task=of.ref,
        generation=1,
        attempt=1,
        phase=of.first_phase,
        name=wanted.name,
        class_name=used.name,
        provider=used.provider,
        actions=wanted.actions,
        resources=wanted.resources,
        location="",
        request_digest=wanted.digest,
        intent_digest=of.intent.digest,
        class_digest=used.digest,
        policy="AgentPolicy/support/triage",
        policy_digest="sha256:policy",
        pod_name=GATED.name,
        pod_uid=GATED.uid,
        service_account="triage-agent",
        service_account_uid="account-1",
        lifetime_seconds=900,
        state=GrantState.DELIVERED,
        intent_at=T0,
        issued_at=T0,
        delivered_at=T0,
        expires_at=T0 + timedelta(seconds=900),
        audit_index=5,
    )
    return replace(made, **changes)


def snapshot(**changes: Any) -> Snapshot:
    """Return what is seen of a task at rest: one credential in a running pod, all known."""
    seen = Snapshot(
        task=ASKING,
        own_record=record_of(),
        gone_records=(),
        grants=(grant_of(),),
        secret_cache=frozenset({"g-tickets", "g-kb"}),
        missing_at_provider=frozenset(),
        enrolled=True,
        pods=(RUNNING,),
        bound={RUNNING.uid: ASKING.uid},
        service_account_uid="account-1",
        namespace_labels={},
        classes={"tickets-api": credential_class()},
        capabilities={"tickets-api": CAPABILITIES},
        policies=(policy(),),
        queue_position=0,
        queue_position_in_namespace=0,
        kill_switches=(),
        lineage=Lineage(),
        below=(),
        approvals=(),
        epoch=1,
        audience="taskpass",
        overlap=OVERLAP,
        may_use={"tickets-api": True},
    )
    return replace(seen, **changes)


NEW = snapshot(own_record=None, grants=(), secret_cache=frozenset(), pods=(), bound={}, may_use={})
"""A task that was just created."""
