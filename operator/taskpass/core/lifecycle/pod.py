"""The pod's part of `lifecycle.next_step`: its end, its proof, its successor."""

from dataclasses import replace
from datetime import datetime

from taskpass.core.errors import AttestationFailed
from taskpass.core.lifecycle.attestation import PodView, Surroundings, appraise, appraise_again
from taskpass.core.lifecycle.ownership import WorkloadView
from taskpass.core.lifecycle.records import Outcome
from taskpass.core.lifecycle.snapshot import Snapshot
from taskpass.core.lifecycle.steps import (
    Bind,
    FetchOwners,
    Finish,
    RefusePod,
    RevokeReason,
    Step,
    Unbind,
    Wait,
)
from taskpass.core.lifecycle.teardown import deadline_of, teardown
from taskpass.core.model import conditions
from taskpass.core.model.conditions import Reason, false
from taskpass.core.model.task import Task, WorkloadRef, digest
from taskpass.core.rate_limit.budget import Spending

MOST_OWNERS = 64
"""How many owners one look reads the chains of; pods of one owner share it."""
MOST_ROUNDS = 4
"""Looks of one run: pods that come meanwhile have it found at again anyway."""
TURN_SECONDS = 10


def of_bound_pod(snapshot: Snapshot, now: datetime) -> Step | None:
    """Revoke all where the pod ended, or is no longer what was attested (rule 5)."""
    record, task, pod = snapshot.record, snapshot.live_task, snapshot.bound_pod
    if step := of_end(snapshot, now):
        return step
    if pod is None or not snapshot.sight.accounts:
        return None
    try:
        appraise_again(pod, task, record, _around(snapshot, pod))
    except AttestationFailed as failure:
        return teardown(snapshot, RevokeReason.NO_LONGER_ATTESTED) or _refuse(
            snapshot, pod, failure
        )
    return None


def of_end(snapshot: Snapshot, now: datetime) -> Step | None:
    """Revoke all where the bound pod ended, and end the attempt or the task with it.

    While a task is suspended its pod may be deleted, to be made anew for the resume.
    """
    record, pod = snapshot.record, snapshot.bound_pod
    if not record.pod_uid or (pod is not None and not has_ended(pod, now)):
        return None
    if pod is None and not snapshot.sight.pods:
        return None  # not seen is not gone
    deleted = pod is None or pod.deleting_since is not None
    if not snapshot.live_task.ends_with_pod or (record.suspended and deleted):
        return teardown(snapshot, RevokeReason.POD_ENDED) or Unbind()
    well = pod is not None and pod.ended == "Succeeded"
    outcome = Outcome.SUCCEEDED if well else Outcome.FAILED
    return teardown(snapshot, RevokeReason.POD_ENDED, replace(record, outcome=outcome)) or Finish(
        outcome=outcome
    )


def of_workload(snapshot: Snapshot, now: datetime) -> Step | None:
    """End the task at the workload's own end; before it, another pod may follow.

    Before the task's first pod only the end of a workload counts that was made for it: one that is
    older ran before the task was there, and its next run is waited for.
    """
    task, record = snapshot.live_task, snapshot.record
    if task.workload is None or record.pod_uid:
        return None
    if snapshot.owners is None:
        return FetchOwners(pods=() if record.suspended else pods_to_resolve(snapshot, now))
    found = snapshot.owners.workload
    if not task.ends_with_workload:
        return None
    if not record.attempt and not _ended_for_it(task, found):
        return None
    if found is None or (record.attempt and found.uid != record.workload_uid):
        outcome = Outcome.CANCELLED
    elif found.ended:
        outcome = Outcome(found.ended)
    else:
        return None
    return teardown(
        snapshot, RevokeReason.WORKLOAD_ENDED, replace(record, outcome=outcome)
    ) or Finish(outcome=outcome)


def of_new_pod(snapshot: Snapshot, now: datetime) -> Step | None:
    """Attest the oldest pod that can be; say why where none can (rule 8)."""
    task, record = snapshot.live_task, snapshot.record
    if record.pod_uid:
        return None
    if snapshot.sight.issuance_blocked_reason:  # what is seen there may be as it was long ago
        return Wait(
            attested=conditions.unknown(
                Reason.CHECK_FAILED, snapshot.sight.issuance_blocked_reason
            ),
            pending=snapshot.own_pending_revocations,
            until=deadline_of(snapshot),
            retry=True,
        )
    refused: tuple[PodView, AttestationFailed] | None = None
    unknown, fetched = pods_to_resolve(snapshot, now), snapshot.owners
    unanswered, rounds = (fetched.unanswered, fetched.rounds) if fetched else ({}, 0)
    if unknown and not rounds:
        return FetchOwners(pods=unknown)
    for pod in snapshot.pods:
        if has_ended(pod, now) or pod.deleting_since is not None:
            continue
        if pod in unknown or pod.uid in unanswered:
            continue
        try:
            return Bind(attested=appraise(pod, task, _around(snapshot, pod)))
        except AttestationFailed as failure:
            refused = refused or (pod, failure)
    if unknown and rounds < MOST_ROUNDS:
        return FetchOwners(pods=unknown)
    if refused is not None:
        return _refuse(snapshot, *refused)
    if unanswered:
        return Wait(
            attested=conditions.unknown(Reason.CHECK_FAILED, next(iter(unanswered.values()))),
            pending=snapshot.own_pending_revocations,
            until=deadline_of(snapshot),
            retry=True,
        )
    return Wait(
        attested=false(Reason.POD_MISSING, _missing(snapshot)),
        pending=snapshot.own_pending_revocations,
        until=deadline_of(snapshot),
        retry=task.workload is not None,  # its end makes no event
    )


def pods_to_resolve(snapshot: Snapshot, now: datetime) -> tuple[PodView, ...]:
    """Return the pods whose owners are to be read now: those that may be the agent.

    Whoever may make pods can make any number that carry the label. So what is refused without its
    owners is left out, what a controller has made for the workload comes before what only says so,
    and of more owners than are read at once a part has its turn, another each time.
    """
    task, found = snapshot.live_task, snapshot.owners
    known = {*found.by_pod, *found.unanswered} if found else set()
    possible = [
        pod
        for pod in snapshot.pods
        if pod.uid not in known
        and pod.deleting_since is None
        and not has_ended(pod, now)
        and pod.service_account == task.service_account
        # Without `workloadRef` owners prove nothing, but say who started what runs.
        and (task.workload is not None or pod.owner is not None)
    ]
    ranked = sorted(possible, key=lambda pod: _rank(snapshot, pod, task.workload, now))
    owners = {pod.owner: None for pod in ranked}
    chosen = set(list(owners)[:MOST_OWNERS])
    return tuple(pod for pod in possible if pod.owner in chosen)


def _rank(
    snapshot: Snapshot, pod: PodView, wanted: WorkloadRef | None, now: datetime
) -> tuple[bool, bool, bool, str]:
    owner = pod.owner
    stamped = (
        owner is not None
        and pod.created_by in snapshot.controllers.get(owner.kind, ())
        and pod.created_for == f"{owner.kind}/{owner.uid}"
    )
    direct = wanted is None or (
        owner is not None and owner.kind == wanted.kind and owner.name == wanted.name
    )
    turn = digest([owner.uid if owner else "", int(now.timestamp()) // TURN_SECONDS])
    return not (stamped and pod.gated), not direct, not pod.gated, turn


def _ended_for_it(task: Task, found: WorkloadView | None) -> bool:
    """Tell whether a workload has ended that was made after the task, or that the task is of."""
    if found is None or not found.ended or found.created_at is None:
        return False
    return bool(task.template) or found.created_at >= task.created_at


def has_ended(pod: PodView, now: datetime) -> bool:
    """Whether it is terminal, or its time to go is over (its node may never say so)."""
    return bool(pod.ended) or (pod.deleting_since is not None and pod.deleting_since <= now)


def _around(snapshot: Snapshot, pod: PodView) -> Surroundings:
    found = snapshot.owners
    return Surroundings(
        service_account_uid=snapshot.service_account_uid,
        bound_task_uid=snapshot.bound.get(pod.uid),
        workload=found.workload if found else None,
        owners=found.by_pod.get(pod.uid) if found else None,
        audience=snapshot.audience,
        controllers=snapshot.controllers,
    )


def _refuse(snapshot: Snapshot, pod: PodView, failure: AttestationFailed) -> Step:
    finding = false(failure.reason, str(failure))
    refusal = digest(["attest", pod.uid, failure.reason])
    if snapshot.record.denial != refusal and Spending.POD_REFUSAL not in snapshot.muted:
        return RefusePod(pod=pod, finding=finding, refusal=refusal)
    # What is missing (a workload, say) may be made later, and no event of ours says so.
    return Wait(
        attested=finding,
        pending=snapshot.own_pending_revocations,
        until=deadline_of(snapshot),
        retry=True,
    )


def _missing(snapshot: Snapshot) -> str:
    task = snapshot.live_task
    label = f"taskpass.dev/task={task.name}"
    if snapshot.record.attempt:
        return f"The last pod ended; waiting for the next one with the label {label}"
    workload = snapshot.owners.workload if snapshot.owners else None
    if workload is not None and workload.ended:
        return (
            f"{workload.kind} '{workload.name}' ended before this task had a pod; delete it and "
            f"make it anew, its pod with the label {label}"
        )
    return f"Waiting for a pod with the label {label} in namespace '{task.namespace}'"
