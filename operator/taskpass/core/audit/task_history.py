"""What the log's entries say of a task, to hold its record and its pods' bindings against.

Of people the log has references and commitments (`pseudonyms.py`); which name a reference stands
for is found out by whoever asks.
"""

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from typing import Any

from taskpass.core.audit.events import STARTED_BY
from taskpass.core.audit.pseudonyms import is_person
from taskpass.core.audit.redaction import as_logged
from taskpass.core.audit.terms import digest_of_text, moment, of_asked, of_saved
from taskpass.core.lifecycle.approval import ApprovalRequest
from taskpass.core.lifecycle.ownership import FORGOTTEN, Origin
from taskpass.core.lifecycle.records import Outcome, TaskRecord
from taskpass.core.model.entry import PREFIX, EventType, Result, Stage

_NOBODY: Mapping[str, Any] = {}
SOMEBODY = "somebody"
"""In an entry that tells again who started a pod: somebody was erased, so these are not all."""
MOST_GIVEN = 500
"""UIDs in one entry: some 20 KiB."""
Who = tuple[str, str]
"""`name` and a name of the cluster's own, or `ref` and a person's reference."""


@dataclass(frozen=True, slots=True)
class TaskStep:
    """One entry that a task's record follows."""

    kind: str
    uid: str
    task: str
    """`namespace/name`."""
    time: str
    """The record's own. With a '<' before it where a version of before moved it forward without
    saying from when: then the record has an earlier one."""
    data: Mapping[str, Any]


@dataclass(slots=True)
class AskedApproval:
    """An approval that was asked for, and whose credential is not in front of a pod."""

    what: Mapping[str, str]
    since: str
    given: set[str] = field(default_factory=set)
    """UIDs of the TaskApprovals that count for it, by entries."""


@dataclass(slots=True)
class TaskHistory:
    """A task of which an entry says what its record has to say, and that was not forgotten."""

    task: str
    at: int
    """Index of an entry (or before it) from which on all is told of it."""
    pod: Mapping[str, Any] = field(default_factory=lambda: _NOBODY)
    """Of the last attestation: name, UID, and the attempt that it is. Empty before the first."""
    data: Mapping[str, Any] = field(default_factory=lambda: _NOBODY)
    """Of the entry that tells of it."""
    started: str = ""
    """When the first pod was attested; '' where that is not told."""
    phase: str | None = None
    """That it is in; None where no entry of this version names it."""
    blocked: str | None = ""
    """A phase that it went to without approval; '' when it did not. None where a version of before
    has retold the task, which did not say it."""
    suspended: str = ""
    """Why it holds nothing, '' while it goes on."""
    ending: str = ""
    """As which it is to end once nothing is held; '' while that is not decided."""
    outcome: str = ""
    """As which it ended; '' while it has not."""
    finished: str = ""
    """When it ended."""
    asked: dict[str, AskedApproval] = field(default_factory=dict)
    """By digest."""
    saved: Mapping[str, str] | None = None
    """What it last said of its progress."""
    whole: bool = True
    """Whether all entries about it, or what retells them, were there to be followed."""

    def differences(
        self, record: TaskRecord, refs: Mapping[str, str], erased: Set[str]
    ) -> Iterator[str]:
        """Return the names of what a record says otherwise than the log does.

        `refs` are the references of the people that are known, by name; `erased` those of whom an
        entry says that they were.
        """
        if str(record.task) != self.task:
            yield "task"
        if self.pod:
            yield from self._of_pod(record, refs, erased)
        elif self.whole:
            yield from _before_any_pod(record)
        if self.phase is not None and not _same(self.phase, record.phase):
            yield "phase"
        logged = self.blocked is not None and (self.whole or self.blocked)
        if logged and not _same(self.blocked, record.blocked_branch):
            yield "blocked_branch"
        if any(number < 1 for number in record.renewals.values()):
            yield "renewals"
        if (self.whole or self.suspended) and record.suspended != self.suspended:
            yield "suspended"
        twice = len({each.digest for each in record.asked}) != len(record.asked)
        if self.whole and (twice or not all(self._was_asked(each) for each in record.asked)):
            yield "asked"
        if (self.whole or self.saved is not None) and not _same(self.saved, of_saved(record.saved)):
            yield "saved"
        if (record.finished_at is not None) != bool(self.outcome):
            yield "finished_at"
        elif record.finished_at is not None and not _at(self.finished, moment(record.finished_at)):
            yield "finished_at"
        ends = self.outcome or self.ending
        decided = "starters" in self.data or (self.whole and not self.pod)
        if (ends or decided) and (record.outcome or "") != ends:
            yield "outcome"

    def _of_pod(
        self, record: TaskRecord, refs: Mapping[str, str], erased: Set[str]
    ) -> Iterator[str]:
        if record.attempt != self.pod.get("attempt"):
            yield "attempt"
        if record.pod_uid and record.pod_uid != self.pod.get("uid"):
            yield "pod_uid"
        if record.pod_uid and not _same(self.pod.get("name"), record.pod_name):
            yield "pod_name"
        if not record.pod_uid and (record.pod_name or record.images):
            yield "pod_name"
        for name in ("service_account_uid", "workload_uid"):
            if getattr(record, name) != self.data.get(name):
                yield name
        images = list(record.images) if record.pod_uid else self.data.get("images")
        if not _same(self.data.get("images"), images):
            yield "images"
        if "starters" not in self.data:  # a version of before has written it
            return
        if record.parent_uid != self.data.get("parent", ""):
            yield "parent_uid"
        if (
            self.whole
            and self.started
            and (record.started_at is None or not _at(self.started, moment(record.started_at)))
        ):
            yield "started_at"
        if record.pod_uid and not self._was_started(record.origin, refs, erased):
            yield "origin"
        if not record.pod_uid and record.origin is not None:
            yield "origin"

    def _was_started(
        self, origin: Origin | None, refs: Mapping[str, str], erased: Set[str]
    ) -> bool:
        """Tell whether it was those who started the pod, but for whoever was erased since."""
        if origin is None:
            return False
        logged = set(starters_of(self.data))
        left = {who for who in logged if who[0] == "name" or who[1] not in erased}
        there = {_who(name, refs) for name in origin.names}
        count = self.data["starters"] - len(logged - left)
        if there != left or len(origin.names) != count:
            return False
        unknown = digest_of_text(origin.unknown) if origin.unknown else ""
        gone = left != logged or self.data.get("forgot") == SOMEBODY
        as_told = unknown == self.data.get("unknown", "") and (bool(unknown) or not gone)
        return as_told or (origin.unknown == FORGOTTEN and may_be_forgotten(self.data, erased))

    def _was_asked(self, asked: ApprovalRequest) -> bool:
        logged = self.asked.get(asked.digest)
        return (
            logged is not None
            and _same({"digest": asked.digest, **logged.what}, of_asked(asked))
            and logged.given.issuperset(asked.noted)
            and len(set(asked.noted)) == len(asked.noted)
            and _at(logged.since, moment(asked.since))
        )


def _before_any_pod(record: TaskRecord) -> Iterator[str]:
    """Return what a record of a task that no pod was attested for has and should not."""
    bound = (record.pod_uid, record.pod_name, record.parent_uid, record.phase)
    if record.attempt or any(bound) or record.images or record.origin is not None:
        yield "attempt"
    held = (record.secret_uid, record.secret_written, record.delivered, record.renewals)
    if any(held):
        yield "secret_uid"
    if record.started_at is not None:
        yield "started_at"


def _same(logged: object, recorded: object) -> bool:
    """Tell whether an entry says what a record does, in whose place something may be redacted."""
    return bool(as_logged(logged) == as_logged(recorded))


def _at(logged: str, recorded: str) -> bool:
    """Tell whether a record's time is that of an entry, which may have been moved forward."""
    return recorded <= logged[1:] if logged.startswith("<") else recorded == logged


def starters_of(data: Mapping[str, Any]) -> Iterator[Who]:
    """Return who started a pod, as the entry of its attestation (or what retells it) says."""
    by = data.get("by", _NOBODY)
    starters = [who for role, who in by.items() if role.startswith(STARTED_BY)]
    for who in (*starters, *data.get("started_by", ())):
        yield ("ref", str(who["ref"])) if "ref" in who else ("name", str(who["name"]))


def _who(name: str, refs: Mapping[str, str]) -> Who:
    return ("ref", refs.get(name, "")) if is_person(name) else ("name", as_logged(name))


def may_be_forgotten(data: Mapping[str, Any], erased: Set[str]) -> bool:
    """Tell whether somebody who started a pod may have been erased since: it, or a sentence."""
    gone = any(who in erased for kind, who in starters_of(data) if kind == "ref")
    return gone or "forgot" in data or ("unknown" in data and bool(erased))


def task_step_of(event: Mapping[str, Any]) -> TaskStep | None:
    """Return what an entry says that a task's record has to say as well; None for others."""
    kind = str(event["type"]).removeprefix(PREFIX)
    data = event["data"]
    if kind not in _KINDS or data.get("outcome") not in _KINDS[kind]:
        return None
    time = ("<" if "clk" in data else "") + str(event["time"])
    time = str(data.get("at", time)) if "clk" in data else time
    return TaskStep(kind, str(data["task"]["uid"]), event.get("subject", ""), time, data)


class TaskAltered(Exception):
    """An entry says of its task what was not so then: it was made of an edited record."""


def follow(tasks: dict[str, TaskHistory], step: TaskStep, at: int) -> None:
    """Take in the next entry about a task; `at` is its index, or one before.

    Raises:
        TaskAltered: It moves the task from a phase that it was not in.

    """
    data, found = step.data, tasks.get(step.uid)
    if step.kind == EventType.TASK_FORGET:
        tasks.pop(step.uid, None)
        return
    if step.kind == EventType.TASK_RETELL:
        if data["part"] == 0:
            tasks[step.uid] = _retold(step, at)
        elif found is not None:
            _take_part(found, data)
        return
    if found is None:
        if step.kind not in _FIRST:
            return
        found = tasks[step.uid] = TaskHistory(step.task, at)
    if "phase_from" in data and not _leaves(found, data):
        raise TaskAltered(f"task {step.uid} was not in the phase that it is told to leave")
    match step.kind:
        case EventType.WORKLOAD_ATTEST if data["outcome"] == Result.SUCCESS:
            _attest(found, step)
        case EventType.TASK_SUSPEND | EventType.TASK_RESUME:
            suspends = step.kind == EventType.TASK_SUSPEND
            found.suspended = str(data.get("suspend")) if suspends else ""
        case EventType.APPROVAL_ASK:
            what = {k: v for k, v in data["approval"].items() if k != "digest"}
            found.asked[str(data["approval"]["digest"])] = AskedApproval(what, step.time)
        case EventType.APPROVAL_GIVE:
            if asked := found.asked.get(str(data["approval"]["digest"])):
                asked.given.add(str(data["approval"]["object_uid"]))
        case EventType.TASK_SAVE:
            found.saved = {**data["savepoint"], **data["digests"]}
        case EventType.CREDENTIAL_DELIVER:
            found.asked.pop(str(data["cred"].get("approval")), None)
        case EventType.TASK_PHASE if data["outcome"] == Result.DENIED:
            found.blocked = str(data["phase"])
        case EventType.TASK_PHASE if "phase" in data:
            found.blocked = ""
            found.phase = str(data["phase"])
            # Moves that were asked for are asked for anew from there, approved or not.
            found.asked = {d: each for d, each in found.asked.items() if "branch" not in each.what}
        case EventType.TASK_FINISH if data.get("finish") in set(Outcome):
            if data["stage"] == Stage.INTENT:
                found.ending = str(data["finish"])
            else:
                found.outcome, found.finished = str(data["finish"]), step.time
        case EventType.CREDENTIAL_REVOKE:
            found.ending = str(data["finish"])


def _leaves(found: TaskHistory, data: Mapping[str, Any]) -> bool:
    """Tell whether a task was where an entry has it leave: its phase, or a branch to come back."""
    went_back = data["outcome"] == Result.SUCCESS and _same(data.get("phase"), found.phase)
    there = found.blocked if went_back else found.phase
    return there is None or _same(data["phase_from"], there)


def _attest(found: TaskHistory, step: TaskStep) -> None:
    if not found.pod:
        found.started = step.time
    found.pod, found.data = step.data["pod"], step.data
    found.phase = step.data.get("phase", found.phase)


def _retold(step: TaskStep, at: int) -> TaskHistory:
    data = step.data
    return TaskHistory(
        step.task, at, pod=data.get("pod", _NOBODY), data=data, started=data["started"],
        phase=data.get("phase"), blocked=data.get("blocked"), suspended=data["suspend"],
        ending=data["ending"], outcome=data["finish"], finished=data["finished"],
        saved=data.get("saved"),
    )  # fmt: skip


def _take_part(found: TaskHistory, data: Mapping[str, Any]) -> None:
    """Take in a further part of what is told again of a task."""
    if "images" in data:
        found.data = {**found.data, "images": data["images"]}
    if "digest" in data:
        asked = AskedApproval(data["what"], data["since"])
        found.asked.setdefault(str(data["digest"]), asked).given.update(data["given"])


def retelling_of(task: TaskHistory, erased: Set[str]) -> Iterator[dict[str, Any]]:
    """Return what entries say that retell all that was told of a task, to be pruned.

    In parts, as one entry has a limit: none is larger than those that they stand for.
    """
    yield _base_of(task, erased)
    if task.data.get("images"):
        yield {"images": task.data["images"]}
    for digest, asked in task.asked.items():
        given = sorted(asked.given)
        for start in range(0, max(1, len(given)), MOST_GIVEN):
            yield {
                "digest": digest, "what": dict(asked.what), "since": asked.since,
                "given": given[start : start + MOST_GIVEN],
            }  # fmt: skip


def _base_of(task: TaskHistory, erased: Set[str]) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "started": task.started, "suspend": task.suspended, "ending": task.ending,
        "finish": task.outcome, "finished": task.finished,
    }  # fmt: skip
    if task.blocked is not None:
        fields["blocked"] = task.blocked
    if task.phase is not None:
        fields["phase"] = task.phase
    if task.saved is not None:
        fields["saved"] = dict(task.saved)
    if not task.pod:
        return fields
    kept = ("service_account_uid", "workload_uid", "parent", "unknown")
    fields |= {key: task.data[key] for key in kept if key in task.data}
    fields |= {"pod": dict(task.pod), "images": []}
    if "starters" in task.data:
        whole = [dict(who) for who in _logged_starters(task.data)]
        left = [who for who in whole if who.get("ref") not in erased]
        fields |= {"starters": len(left), "started_by": left}
        if len(left) != len(whole) or task.data.get("forgot") == SOMEBODY:
            fields["forgot"] = SOMEBODY
        elif may_be_forgotten(task.data, erased):
            fields["forgot"] = "perhaps"
    return fields


def _logged_starters(data: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    by = data.get("by", _NOBODY)
    yield from (who for role, who in by.items() if role.startswith(STARTED_BY))
    yield from data.get("started_by", ())


_DONE = frozenset({Result.SUCCESS.value})
_REFUSED = frozenset({Result.DENIED.value})
_KINDS: Mapping[str, frozenset[str]] = {
    EventType.WORKLOAD_ATTEST.value: _DONE | _REFUSED,
    EventType.CREDENTIAL_DENY.value: _REFUSED,
    EventType.TASK_PHASE.value: _DONE | _REFUSED,
    EventType.TASK_FINISH.value: frozenset({Result.SUCCESS.value, Result.PENDING.value}),
    EventType.CREDENTIAL_REVOKE.value: frozenset({Result.PENDING.value}),
    EventType.TASK_FORGET.value: _DONE,
    EventType.TASK_SUSPEND.value: _DONE,
    EventType.TASK_RESUME.value: _DONE,
    EventType.TASK_RETELL.value: _DONE,
    EventType.TASK_SAVE.value: _DONE,
    EventType.APPROVAL_ASK.value: frozenset({Result.PENDING.value}),
    EventType.APPROVAL_GIVE.value: frozenset({Result.SUCCESS.value, Result.DENIED.value}),
    EventType.CREDENTIAL_DELIVER.value: _DONE,
}
_FIRST = frozenset(
    {
        EventType.WORKLOAD_ATTEST, EventType.CREDENTIAL_DENY, EventType.TASK_SUSPEND,
        EventType.TASK_RESUME, EventType.TASK_FINISH, EventType.TASK_SAVE,
    }
)  # fmt: skip
"""What may be told of a task first."""
