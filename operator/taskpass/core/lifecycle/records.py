"""What the ledger remembers of a task beside its grants, and what is told to people."""

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType
from typing import ClassVar

import orjson

from taskpass.core.lifecycle.approval import ApprovalRequest
from taskpass.core.lifecycle.ownership import Origin, mentions
from taskpass.core.lifecycle.progress import Savepoint
from taskpass.core.model.grant import TaskRef
from taskpass.core.model.notice import Notice

NO_RENEWALS: Mapping[str, int] = MappingProxyType({})


class Outcome(enum.StrEnum):
    """How a task ended: the reasons of the condition `Finished`."""

    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    EXPIRED = "Expired"
    CANCELLED = "Cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRecord:
    """One task UID's state that must survive a restart. Written whole; the last write counts."""

    RETIRED: ClassVar = frozenset({"spent"})
    """Fields that earlier versions wrote, and that say nothing any more."""

    task: TaskRef
    phase: str = ""
    """The phase that has settled: what is held belongs to it."""
    attempt: int = 0
    """How many pods have been attested for the task so far."""
    pod_name: str = ""
    pod_uid: str = ""
    """The pod of the current attempt; '' when none is bound. `pod_binding` keeps all of them."""
    service_account_uid: str = ""
    workload_uid: str = ""
    images: tuple[str, ...] = ()
    """Image references of the pod's containers as attested, in the pod's order."""
    origin: Origin | None = None
    """Who started what runs in the pod. None: a version attested it that did not look."""
    parent_uid: str = ""
    """The task that delegated, as it was when the first pod was attested; '' for a root."""
    started_at: datetime | None = None
    """The first attestation; `activeDeadlineSeconds` counts from here."""
    secret_uid: str = ""
    """UID of the Secret that delivery made; '' when there is none to delete."""
    secret_written: bool = False
    """Set before the Secret is first written, so that a lost answer leaves something to delete."""
    delivered: tuple[str, ...] = ()
    """Ids of the grants whose fields were last written to the Secret. What is held and what is in
    the Secret are compared by it."""
    suspended: str = ""
    """Why the task holds nothing for now, as the condition says it; '' while it goes on."""
    blocked_branch: str = ""
    """A phase that the task went to without approval; '' when it did not."""
    renewals: Mapping[str, int] = field(default_factory=lambda: NO_RENEWALS)
    """Of credentials that ran out without a successor in this phase and attempt, by use (request
    and intent): the number that the next renewal has."""
    asked: tuple[ApprovalRequest, ...] = ()
    """Approvals that were asked for and are not used up."""
    asked_at: tuple[datetime, ...] = ()
    """When people were last asked, oldest first: they are not asked without end."""
    saved: Savepoint | None = None
    """What the task last said of its progress."""
    activity: str = ""
    active_at: datetime | None = None
    """What was last heard of it, and when; only of a task that may not be idle."""
    denial: str = ""
    """Digest of the refusal that was last recorded: one entry for each change, not each look."""
    outcome: Outcome | None = None
    finished_at: datetime | None = None
    """When the task was over and nothing was held any more."""


def forgotten_in(record: TaskRecord, name: str, stored: TaskRecord | None) -> TaskRecord:
    """Return a record that does not bring back a person whom `stored` does not name any more.

    Then they are not among those who started what runs in the pod, and an approval that was asked
    for meanwhile with the name in its text is asked for anew.
    """
    origin, before = record.origin, stored.origin if stored else None
    if origin is None or not origin.mentions(name) or (before and before.mentions(name)):
        return record
    had = {each.digest for each in stored.asked} if stored else set()
    asked = tuple(a for a in record.asked if a.digest in had or not _names(a, name))
    return replace(record, origin=origin.without(name), asked=asked)


def names_in_asked(record: TaskRecord, name: str) -> bool:
    """Tell whether somebody is named in an approval that is asked for and not used up."""
    return any(_names(asked, name) for asked in record.asked)


def _names(asked: ApprovalRequest, name: str) -> bool:
    try:
        texts = _texts(orjson.loads(asked.text))
    except ValueError:  # somebody has edited it; whatever it is, it may have the name
        texts = iter((asked.text,))
    return any(mentions(text, name) for text in texts)


def _texts(value: object) -> Iterator[str]:
    """Return every text in a JSON value but the keys, which are ours."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _texts(each)


@dataclass(frozen=True, slots=True, kw_only=True)
class PodBinding:
    """To which task UID a pod was bound, and where the pod was."""

    pod_uid: str
    task_uid: str
    namespace: str
    """'' in what versions of before have written, as is the name: nobody can ask for it."""
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrailItem:
    """A notice with its time and the index of the audit entry that it tells of."""

    time: datetime
    notice: Notice
    audit_index: int
