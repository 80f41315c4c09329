"""What the log's entries say of a task, to hold its record and its pods' bindings against."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from taskpass.core.audit import PREFIX, EventType, Result
from taskpass.core.records import Outcome, TaskRecord


@dataclass(frozen=True, slots=True)
class TaskStep:
    """One entry that a task's record follows."""

    kind: str
    uid: str
    task: str
    """`namespace/name`."""
    data: Mapping[str, Any]


@dataclass(slots=True)
class LoggedTask:
    """A task that a pod was attested for, and that was not forgotten."""

    task: str
    pod: Mapping[str, Any]
    """Of the last attestation: name, UID, and the attempt that it is."""
    data: Mapping[str, Any]
    """Of the entry that tells of it."""
    phase: str | None = None
    """That it is in; None where no entry of this version names it."""
    suspended: str | None = None
    """Why it holds nothing, '' while it goes on; None where no entry since its first pod says."""
    outcome: str = ""
    """As which it ended; '' while it has not."""

    def differences(self, record: TaskRecord) -> Iterator[str]:
        """Return the names of what a record says otherwise than the log does."""
        if str(record.task) != self.task:
            yield "task"
        if record.attempt != self.pod.get("attempt"):
            yield "attempt"
        if record.pod_uid and (record.pod_uid, record.pod_name) != (
            self.pod.get("uid"), self.pod.get("name"),
        ):  # fmt: skip
            yield "pod_uid"
        for name in ("service_account_uid", "workload_uid"):
            if getattr(record, name) != self.data.get(name):
                yield name
        images = list(record.images) if record.pod_uid else self.data.get("images")
        if "redacted" not in self.data and images != self.data.get("images"):
            yield "images"
        if self.phase is not None and record.phase != self.phase:
            yield "phase"
        if self.suspended is not None and record.suspended != self.suspended:
            yield "suspended"
        # What it will end as is noted before its last credential is gone, and told afterwards.
        if (record.finished_at is not None) != bool(self.outcome):
            yield "finished_at"
        if self.outcome and record.outcome != self.outcome:
            yield "outcome"


def task_step_of(event: Mapping[str, Any]) -> TaskStep | None:
    """Return what an entry says that a task's record has to say as well; None for others."""
    kind = str(event["type"]).removeprefix(PREFIX)
    if kind not in _KINDS or event["data"].get("outcome") != Result.SUCCESS:
        return None
    data = event["data"]
    return TaskStep(kind, str(data["task"]["uid"]), event.get("subject", ""), data)


def follow(tasks: dict[str, LoggedTask], step: TaskStep) -> None:
    """Take in the next entry about a task."""
    found = tasks.get(step.uid)
    if step.kind == EventType.WORKLOAD_ATTEST:
        made = LoggedTask(step.task, step.data["pod"], step.data)
        if found is not None:
            made.phase, made.suspended, made.outcome = found.phase, found.suspended, found.outcome
        made.phase = step.data.get("phase", made.phase)
        tasks[step.uid] = made
    elif step.kind == EventType.TASK_FORGET:
        tasks.pop(step.uid, None)
    elif found is not None and step.kind in (EventType.TASK_SUSPEND, EventType.TASK_RESUME):
        suspends = step.kind == EventType.TASK_SUSPEND
        found.suspended = str(step.data.get("suspend")) if suspends else ""
    elif found is not None and "phase" in step.data:
        found.phase = str(step.data["phase"])
    elif found is not None and step.data.get("finish") in set(Outcome):
        found.outcome = str(step.data["finish"])


_KINDS = frozenset(
    {
        EventType.WORKLOAD_ATTEST, EventType.TASK_PHASE, EventType.TASK_FINISH,
        EventType.TASK_FORGET, EventType.TASK_SUSPEND, EventType.TASK_RESUME,
    }
)  # fmt: skip
