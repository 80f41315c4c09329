"""Approval by people: what they are asked, whose word counts, and until when.

1. What is asked is one text, in canonical JSON: the task and its generation, the agent, the intent,
   the phase, the request, the class and what its roles grant now, the policies that ask, a nonce. A
   TaskApproval names the text by its digest, so whatever changes in it makes the approval void.
2. A word counts for a policy that names the user or one of the groups, as admission proved both.
3. Never that of the task's requester or of anybody who changed its spec, of whoever started what
   runs in its pod (who created or changed a workload that it is of), of the agent itself, or of
   whom the policy excludes; that of a ServiceAccount only where the policy names it. Who asked for
   a task above has asked for what is delegated as well.
4. A policy asks for so many different users; each word ends `validSeconds` after it was given.
5. One word against it, by a user whose word counts, denies it for as long as its object is there.
6. One approval is for one credential and its renewals: what is issued anew is asked for anew.
"""

import enum
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import orjson

from taskpass.core.lifecycle.ownership import Origin
from taskpass.core.model.task import Task, User
from taskpass.core.policy.types import Policy

SERVICE_ACCOUNT = "system:serviceaccount:"


class Verdict(enum.StrEnum):
    """What a person says."""

    APPROVED = "Approved"
    DENIED = "Denied"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskApproval:
    """One TaskApproval as the API server holds it."""

    namespace: str
    name: str
    uid: str
    generation: int
    created_at: datetime
    task_name: str
    task_uid: str
    digest: str
    decision: Verdict
    reason: str = ""
    valid_seconds: int | None = None
    """None: as long as the policies let it be."""
    approver: User = field(default_factory=User)
    said: tuple[str, str] = ("", "")
    """Reason and message of its condition `Ready`, as last read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRequest:
    """An approval that was asked for; in the ledger until its credential is in front of the pod."""

    name: str = ""
    """Of the request; '' for a branch."""
    branch: str = ""
    """The phase that the task wants to go on in; '' for a credential."""
    text: str
    """What is to be approved, in canonical JSON."""
    nonce: str
    since: datetime
    epoch: int
    """Which opening of the ledger asked."""
    noted: tuple[str, ...] = ()
    """UIDs of the TaskApprovals that the log tells of."""

    @property
    def digest(self) -> str:
        """What a TaskApproval names."""
        return "sha256:" + hashlib.sha256(self.text.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyApprovals:
    """What one policy has heard of one request."""

    policy: Policy
    given: int
    """Different users who have approved, and whose word has not ended."""
    needed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalOutcome:
    """What the words that were given come to."""

    heard: tuple[PolicyApprovals, ...]
    until: datetime | None = None
    """When it ends; None while it is not approved."""
    denied: TaskApproval | None = None
    counted: tuple[TaskApproval, ...] = ()
    """Those that count for a policy at least, ended or not."""
    lapsed: bool = False
    """Whether a word that would count has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingApproval:
    """An approval that is asked for and not there (yet)."""

    asked: ApprovalRequest
    judgement: ApprovalOutcome


def asked_text(terms: Mapping[str, Any], nonce: str) -> str:
    """Return the canonical JSON (RFC 8785) of what is asked.

    Keys are ASCII and numbers are integers, so sorting by code point is what the RFC asks for.
    """
    return orjson.dumps({**terms, "nonce": nonce}, option=orjson.OPT_SORT_KEYS).decode()


def objection(approval: TaskApproval, policy: Policy, task: Task, origin: Origin) -> str | None:
    """Return why somebody's word does not count for a policy; None where it does (rules 2, 3).

    To programs all of it is one reason of the condition: `NotEligible`.
    """
    rule, user = policy.approval, approval.approver
    if rule is None or not user.username:
        return "nobody asked"
    changed = {task.requester.username, task.changed_by.username, *task.changers}
    uids = {task.requester.uid, task.changed_by.uid} - {""}
    if user.username in changed or user.uid in uids:
        return f"'{user.username}' has made or changed the task"
    if user.username in origin.names:
        return f"'{user.username}' has started what runs in the pod, or asked for a task above"
    own = f"{SERVICE_ACCOUNT}{task.namespace}:{task.service_account}"
    if user.username == own:
        return "it is the agent's own"
    if user.username in rule.excluded_usernames:
        return f"{policy.title} excludes '{user.username}'"
    if user.username in rule.approver_usernames:
        return None
    if user.username.startswith(SERVICE_ACCOUNT):
        return f"'{user.username}' is a ServiceAccount, which {policy.title} does not name"
    if set(user.groups).isdisjoint(rule.approver_groups):
        return f"{policy.title} names neither '{user.username}' nor a group of theirs"
    return None


def end_of(approval: TaskApproval, policy: Policy, now: datetime) -> datetime:
    """Return when somebody's word ends (rule 4). One from the future began now."""
    seconds = policy.approval.valid_seconds if policy.approval else 0
    if approval.valid_seconds is not None:
        seconds = min(seconds, approval.valid_seconds)
    return min(approval.created_at, now) + timedelta(seconds=seconds)


def judge(
    digest: str, demands: Sequence[Policy], approvals: Sequence[TaskApproval], task: Task,
    origin: Origin, now: datetime,
) -> ApprovalOutcome:  # fmt: skip
    """Return what the words come to that were given on a digest."""
    words = [a for a in approvals if a.digest == digest and a.task_uid == task.uid]
    heard, ends, counted = [], [], {}
    lapsed, denied = False, None
    for policy in demands:
        latest: dict[str, datetime] = {}
        for word in words:
            if objection(word, policy, task, origin):
                continue
            counted[word.uid] = word
            if word.decision is Verdict.DENIED:
                denied = denied or word
                continue
            end = end_of(word, policy, now)
            lapsed = lapsed or end <= now
            user = word.approver.username
            latest[user] = max(end, latest.get(user, end))
        valid = sorted((end for end in latest.values() if end > now), reverse=True)
        needed = policy.approval.approvals if policy.approval else 0
        heard.append(PolicyApprovals(policy=policy, given=len(valid), needed=needed))
        # With the n-th latest there are enough; when it ends there are not.
        ends.append(valid[needed - 1] if len(valid) >= needed else None)
    until = None if denied or None in ends else min(e for e in ends if e is not None)
    return ApprovalOutcome(
        heard=tuple(heard), until=until, denied=denied, counted=tuple(counted.values()),
        lapsed=lapsed,
    )  # fmt: skip
