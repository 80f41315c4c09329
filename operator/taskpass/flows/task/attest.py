"""Attest a pod: read its workload and owners as they live now, bind it, or say why not."""

from dataclasses import replace

from taskpass.core.audit import events as audit
from taskpass.core.errors import Forbidden, KindNotServed
from taskpass.core.lifecycle.attestation import PodView
from taskpass.core.lifecycle.ownership import Owner, WorkloadView
from taskpass.core.lifecycle.progress import activity_of
from taskpass.core.lifecycle.snapshot import Owners, Snapshot
from taskpass.core.lifecycle.steps import Bind, FetchOwners, LiftGate, RefusePod
from taskpass.core.model.notice import Notice, Severity
from taskpass.flows.context import Ports
from taskpass.flows.recording import defer, record
from taskpass.ports.ledger import Batch


async def fetch_owners(ports: Ports, snapshot: Snapshot, step: FetchOwners) -> Owners:
    """Read the task's workload, and the pods' owners nearest first; those of one owner once.

    Whoever may make pods chooses the kind of their owner: one that cannot be read keeps no other
    pod from being attested.
    """
    task = snapshot.live_task
    workload = task.workload
    found = None
    if workload is not None:
        found = await ports.workloads.workload(
            task.namespace, workload.api_group, workload.kind, workload.name
        )
    before = snapshot.owners
    owners = dict(before.by_pod) if before else {}
    unanswered = dict(before.unanswered) if before else {}
    chains: dict[Owner | None, tuple[WorkloadView, ...] | str] = {}
    for pod in step.pods:
        if pod.owner not in chains:
            chains[pod.owner] = await _owners(ports, pod)
        chain = chains[pod.owner]
        if isinstance(chain, str):
            unanswered[pod.uid] = chain
        else:
            owners[pod.uid] = chain
    rounds = 1 + (before.rounds if before else 0)
    return Owners(workload=found, by_pod=owners, unanswered=unanswered, rounds=rounds)


async def _owners(ports: Ports, pod: PodView) -> tuple[WorkloadView, ...] | str:
    """Return the pod's chain of owners, or why it cannot be read."""
    try:
        return await ports.workloads.owners(pod)
    except (KindNotServed, Forbidden) as error:
        return f"Whose pod '{pod.name}' is could not be found out: {error}"


def bind(ports: Ports, snapshot: Snapshot, step: Bind) -> None:
    """Bind the pod to the task's UID for as long as there is either; recorded with what follows.

    Nothing is issued, and no gate lifted, before it is durable.
    """
    pod, kept, now = step.attested.pod, snapshot.record, ports.now()
    bound = replace(
        kept,
        attempt=kept.attempt + 1,
        phase=kept.phase if kept.attempt else snapshot.live_task.first_phase,
        pod_name=pod.name,
        pod_uid=pod.uid,
        service_account_uid=step.attested.service_account_uid,
        workload_uid=step.attested.workload_uid,
        images=pod.images,
        origin=step.attested.origin,
        parent_uid=snapshot.lineage.above[0].task.uid if snapshot.lineage.above else "",
        started_at=kept.started_at or now,
        activity=activity_of(snapshot.live_task),
        active_at=now,
        renewals={},
        denial="",
    )
    notice = Notice(
        reason="Attested", message=f"Pod '{pod.name}' is the agent (attempt {bound.attempt})"
    )
    entry = audit.attested(bound, now, notice)
    defer(ports, Batch(entries=(entry,), tasks=(bound,)))


async def lift_gate(ports: Ports, snapshot: Snapshot, step: LiftGate) -> None:
    """Let the pod go, once it is durable that it will be.

    From then on it counts as one that runs, whatever a cache still shows of its gate, and whoever
    has the task's name by then.
    """
    lifts = () if ports.ledger.gate_lifted(step.pod.uid) else (step.pod.uid,)
    if lifts or ports.deferred.batch is not None:
        await record(ports, Batch(lifts=lifts), snapshot.live_task)
    ports.fail_point("lift.after-record")
    await ports.pods.lift_gate(step.pod)


async def refuse_pod(ports: Ports, snapshot: Snapshot, step: RefusePod) -> None:
    """Record that the pod is not the agent, and say so on task and pod."""
    notice = Notice(
        reason="AttestationFailed",
        message=step.finding.message,
        severity=Severity.WARNING,
        on_pod=True,
    )
    task, pod = snapshot.live_task, step.pod
    entry = audit.attestation_failed(
        task.ref, pod.name, pod.uid, step.finding.reason, ports.now(), notice
    )
    task_record = replace(snapshot.record, denial=step.refusal)
    await record(ports, Batch(entries=(entry,), tasks=(task_record,)), task, (pod.name, pod.uid))
