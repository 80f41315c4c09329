"""The steps that change only what the ledger remembers of a task: phases, refusals, its end."""

from dataclasses import replace

from taskpass.core.audit import events as audit
from taskpass.core.lifecycle.progress import activity_of
from taskpass.core.lifecycle.records import Outcome
from taskpass.core.lifecycle.snapshot import Snapshot
from taskpass.core.lifecycle.steps import Block, Enter, Finish, RefuseRequests, Save, Suspend
from taskpass.core.model.notice import Notice, Severity
from taskpass.flows.context import Ports
from taskpass.flows.recording import record
from taskpass.ports.ledger import Batch


async def enter(ports: Ports, snapshot: Snapshot, step: Enter) -> None:
    """Move to a declared next phase, to one that people have approved, or back from a branch."""
    kept = snapshot.record
    approved = ", which was approved" if step.approval else ""
    went_back = step.phase == kept.phase  # it never left: what ran out in it stays counted
    renewals = kept.renewals if went_back else {}
    said = "Went back" if went_back else "Moved"
    notice = Notice(
        reason="PhaseEntered", message=f"{said} from '{step.left}' to '{step.phase}'{approved}"
    )
    entry = audit.phase_entered(
        snapshot.live_task.ref, step.left, step.phase, ports.now(), notice, step.approval
    )
    asked = tuple(each for each in kept.asked if not each.branch)
    moved = replace(
        kept, phase=step.phase, blocked_branch="", asked=asked, renewals=renewals, denial=""
    )
    await record(ports, Batch(entries=(entry,), tasks=(moved,)), snapshot.live_task)


async def block(ports: Ports, snapshot: Snapshot, step: Block) -> None:
    """Remember a move to a phase that may not follow."""
    notice = Notice(
        reason="UnapprovedBranch",
        message=f"Phase '{step.phase}' may not follow '{step.left}'; everything is revoked",
        severity=Severity.WARNING,
        on_pod=True,
    )
    entry = audit.branch_blocked(snapshot.live_task.ref, step.left, step.phase, ports.now(), notice)
    blocked = replace(snapshot.record, blocked_branch=step.phase)
    pod = (snapshot.record.pod_name, snapshot.record.pod_uid) if snapshot.record.pod_uid else None
    await record(ports, Batch(entries=(entry,), tasks=(blocked,)), snapshot.live_task, pod)


async def refuse_requests(ports: Ports, snapshot: Snapshot, step: RefuseRequests) -> None:
    """Record each refused request once, and say so on task and pod."""
    now, entries = ports.now(), []
    for denial in step.denials:
        decision = denial.decision
        notice = Notice(
            reason="PolicyDenied",
            message=f"Credential '{denial.request.name}': {decision.message}",
            severity=Severity.WARNING,
            on_pod=True,
        )
        entries.append(
            audit.denied(
                snapshot.live_task, denial.request.name, denial.request.class_name,
                decision.reason.value, decision.policy, decision.policy_digest,
                f"{step.refusal}/{denial.request.name}", now, notice,
            )
        )  # fmt: skip
    kept = replace(snapshot.record, denial=step.refusal)
    pod = (snapshot.record.pod_name, snapshot.record.pod_uid) if snapshot.record.pod_uid else None
    await record(ports, Batch(entries=tuple(entries), tasks=(kept,)), snapshot.live_task, pod)


async def suspend(ports: Ports, snapshot: Snapshot, step: Suspend) -> None:
    """Remember that the task holds nothing for now."""
    suspended = replace(snapshot.record, suspended=step.reason.value)
    notice = Notice(
        reason="TaskSuspended",
        message=f"Everything is taken back. {step.message}",
        on_pod=True,
    )
    entry = audit.suspended(suspended, step.reason.value, ports.now(), notice)
    pod = (snapshot.record.pod_name, snapshot.record.pod_uid) if snapshot.record.pod_uid else None
    await record(ports, Batch(entries=(entry,), tasks=(suspended,)), snapshot.live_task, pod)


async def resume(ports: Ports, snapshot: Snapshot) -> None:
    """Go on: refusals are told anew."""
    activity = activity_of(snapshot.live_task)
    going = replace(
        snapshot.record, suspended="", denial="", activity=activity, active_at=ports.now()
    )
    notice = Notice(
        reason="TaskResumed",
        message="The task goes on: its pod is attested, policy asked, and all issued anew",
    )
    entry = audit.resumed(going, snapshot.record.suspended, ports.now(), notice)
    await record(ports, Batch(entries=(entry,), tasks=(going,)), snapshot.live_task)


async def save(ports: Ports, snapshot: Snapshot, step: Save) -> None:
    """Remember what the task says of its progress; that is activity as well."""
    task_record = replace(
        snapshot.record, saved=step.savepoint, activity=activity_of(snapshot.live_task),
        active_at=ports.now(),
    )  # fmt: skip
    notice = Notice(reason="Saved", message=f"The task has come to '{step.savepoint.step}'")
    entry = audit.saved(task_record, step.savepoint, ports.now(), notice)
    await record(ports, Batch(entries=(entry,), tasks=(task_record,)), snapshot.live_task)


async def note_activity(ports: Ports, snapshot: Snapshot) -> None:
    """Remember that something was heard of the task."""
    activity = activity_of(snapshot.live_task)
    task_record = replace(snapshot.record, activity=activity, active_at=ports.now())
    await record(ports, Batch(tasks=(task_record,)), snapshot.live_task)


async def unbind(ports: Ports, snapshot: Snapshot) -> None:
    """End the attempt: its pod ended, the workload goes on."""
    task_record = replace(
        snapshot.record, pod_name="", pod_uid="", images=(), origin=None, renewals={}, denial=""
    )
    await record(ports, Batch(tasks=(task_record,)), snapshot.live_task)


async def finish(ports: Ports, snapshot: Snapshot, step: Finish) -> None:
    """Say that the task is over. Final."""
    now = ports.now()
    done = replace(snapshot.record, outcome=step.outcome, finished_at=now)
    severity = Severity.NORMAL if step.outcome is Outcome.SUCCEEDED else Severity.WARNING
    notice = Notice(
        reason="TaskFinished",
        message=f"{step.outcome.value}; nothing is held any more",
        severity=severity,
    )
    entry = audit.finished(done, step.outcome, now, notice)
    await record(ports, Batch(entries=(entry,), tasks=(done,)), snapshot.live_task)
