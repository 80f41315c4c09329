"""What each constructor tells, and that every one of them can be written."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from taskpass.core.audit import events as audit
from taskpass.core.audit import log_events as audit_log
from taskpass.core.audit.anchor import Head
from taskpass.core.audit.canonical import entry_bytes
from taskpass.core.audit.terms import moment
from taskpass.core.lifecycle.approval import ApprovalRequest, TaskApproval, Verdict
from taskpass.core.lifecycle.progress import Savepoint
from taskpass.core.lifecycle.records import Outcome, PodBinding, TaskRecord
from taskpass.core.model.entry import Entry, EventType, Stage
from taskpass.core.model.grant import Grant, GrantState, TaskRef
from taskpass.core.model.kill_switch import KillSwitch, Target
from taskpass.core.model.notice import Notice
from taskpass.core.model.task import Task, User

NOW = datetime(2026, 11, 25, 10, 0, 0, 123, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
TASK = TaskRef(namespace="support", name="ticket", uid="u-1")
TOLD = Notice(reason="R", message="m")
GRANT = Grant(
    id="g-1", task=TASK, generation=1, attempt=1, phase="", name="tickets", class_name="c",
    provider="Kubernetes", actions=("a",), resources=(), location="", request_digest="r",
    intent_digest="i", class_digest="k", policy="AgentPolicy/support/p", policy_digest="d",
    pod_name="p", pod_uid="pu", service_account="sa", service_account_uid="su",
    lifetime_seconds=900, state=GrantState.ISSUED, intent_at=NOW, issued_at=NOW, expires_at=NOW,
    fingerprint="f", credential_ref="jti", revoke_reason="Finished",
)  # fmt: skip
RECORD = TaskRecord(task=TASK, pod_name="p", pod_uid="pu", attempt=1, images=("a",))
OBJECT = Task(
    namespace="support", name="ticket", uid="u-1", generation=1, resource_version="1",
    created_at=NOW, service_account="sa",
)  # fmt: skip

SWITCH = KillSwitch(
    name="stop", uid="k-1", generation=1, target=Target.TASK, namespace="support", of="ticket",
    reason="INC-42", requester=User(username="ada"),
)  # fmt: skip

SAVED = Savepoint(step="sorted", sha256=64 * "a", at=NOW, intent_digest="i", policies_digest="p")
ASKED = ApprovalRequest(name="tickets", text="{}", nonce="n", since=NOW, epoch=1)
WORD = TaskApproval(
    namespace="support", name="yes", uid="a-1", generation=1, created_at=NOW, task_name="ticket",
    task_uid="u-1", digest=ASKED.digest, decision=Verdict.APPROVED, approver=User(username="lea"),
)  # fmt: skip

BOUND = (PodBinding(pod_uid="pu", task_uid="u-1", namespace="support", name="p"),)
COMMITTED = (("p-1", 64 * "c"),)
Make = Callable[[datetime], Entry]
ALL: dict[str, Make] = {
    "issue intent": lambda now: audit.issue_intent(GRANT, now),
    "issue result": lambda now: audit.issue_result(GRANT, now, TOLD),
    "delivered": lambda now: audit.delivered(GRANT, now, "s"),
    "revoke intent": lambda now: audit.revoke_intent(GRANT, now),
    "revoke result": lambda now: audit.revoke_result(GRANT, now, TOLD),
    "declared gone": lambda now: audit.declared_gone(GRANT, "disk lost", now, TOLD),
    "denied": lambda now: audit.denied(OBJECT, "n", "c", "Denied", "p", "d", "x", now, TOLD),
    "attested": lambda now: audit.attested(RECORD, now, TOLD),
    "attestation failed": lambda now: audit.attestation_failed(TASK, "p", "u", "R", now, TOLD),
    "phase entered": lambda now: audit.phase_entered(TASK, "a", "b", now, TOLD),
    "branch blocked": lambda now: audit.branch_blocked(TASK, "a", "c", now, TOLD),
    "approval asked": lambda now: audit.approval_asked(OBJECT, ASKED, [("p", "d")], now, TOLD),
    "approval given": lambda now: audit.approval_given(OBJECT, ASKED, WORD, now, TOLD),
    "saved": lambda now: audit.saved(RECORD, SAVED, now, TOLD),
    "suspended": lambda now: audit.suspended(RECORD, "Requested", now, TOLD),
    "resumed": lambda now: audit.resumed(RECORD, "Requested", now, TOLD),
    "finished": lambda now: audit.finished(RECORD, Outcome.SUCCEEDED, now, TOLD),
    "forgotten": lambda now: audit.forgotten(RECORD, 0, now),
    "held back": lambda now: audit.held_back("support", {"denial": 700}, 700, now, now),
    "pods forgotten": lambda now: audit.pods_forgotten(("pod-1", "pod-2"), now),
    "orphan undone": lambda now: audit.orphan_undone("g-2", "Kubernetes", now),
    "kill switch activated": lambda now: audit.kill_switch_activated(SWITCH, now),
    "kill switch lifted": lambda now: audit.kill_switch_lifted("k-1", "stop", now),
    "log created": lambda now: audit_log.created("o", "o+1+k", "3c1f0a9e", now),
    "log opened": lambda now: audit_log.opened("o", 1, "pod", 0, "root", now),
    "key rotated": lambda now: audit_log.key_rotated("o", "o+1+k", "o+2+l", "yearly", now),
    "re-origin": lambda now: audit_log.re_origin(
        "uid-1", Head(origin="o", size=9, root=bytes(32)), "lost", now
    ),
    "erased": lambda now: audit_log.erased("o", "p-1", now),
    "ending": lambda now: audit.ending(RECORD, Outcome.FAILED, now),
    "retold of a task": lambda now: audit.retold(TASK, 0, {"finish": ""}, 256, now),
    "retold of the log": lambda now: audit_log.retold("o", 256, 1, BOUND, COMMITTED, now),
    "pruned": lambda now: audit_log.pruned("o", 256, 64 * "a", {"older_than_days": 400}, now),
}
OF_THE_ISSUE = {
    "issue failed": lambda now: audit.issue_failed(GRANT, now, "ProviderRefused"),
    "issue interrupted": lambda now: audit.issue_interrupted(GRANT, now),
}
"""These have the id of `issue result`: an issue has one result."""


@pytest.mark.parametrize("make", [*ALL.values(), *OF_THE_ISSUE.values()], ids=[*ALL, *OF_THE_ISSUE])
def test_every_entry_can_be_written(make: Make) -> None:
    body = entry_bytes(make(NOW), source="o", time=moment(NOW), adjusted=False)

    assert b'"v":1' in body


def test_every_type_has_a_constructor() -> None:
    assert {make(NOW).type for make in ALL.values()} == set(EventType)


def test_no_two_kinds_of_entry_share_an_id() -> None:
    others = [make(NOW).id for name, make in ALL.items() if name != "declared gone"]
    assert len(set(others)) == len(others)


def test_a_revocation_has_one_end_which_is_proven_or_declared() -> None:
    proven, declared = ALL["revoke result"](NOW), ALL["declared gone"](NOW)

    assert proven.id == declared.id  # the log holds one entry of an id
    assert (proven.data["outcome"], declared.data["outcome"]) == ("success", "unknown")
    assert declared.data["declared"] == {"by": "configuration", "reason": "disk lost"}


@pytest.mark.parametrize(
    "name",
    ["issue intent", "issue result", "delivered", "revoke intent", "revoke result", "attested",
     "finished", "forgotten"],
)  # fmt: skip
def test_what_happens_once_has_one_id_whenever_it_is_told(name: str) -> None:
    assert ALL[name](NOW).id == ALL[name](LATER).id


@pytest.mark.parametrize("name", ["denied", "attestation failed", "phase entered"])
def test_what_can_happen_again_has_another_id_then(name: str) -> None:
    assert ALL[name](NOW).id != ALL[name](LATER).id


def test_an_issue_has_one_result() -> None:
    ids = {make(NOW).id for make in OF_THE_ISSUE.values()}

    assert ids == {ALL["issue result"](NOW).id}


def test_a_task_that_is_forgotten_with_another_debt_is_told_of_again() -> None:
    assert audit.forgotten(RECORD, 0, NOW).id != audit.forgotten(RECORD, 1, NOW).id


def test_intent_and_result_are_one_operation() -> None:
    intent, result = ALL["issue intent"](NOW), ALL["issue result"](NOW)

    assert intent.data["op"] == result.data["op"]
    assert (intent.data["stage"], result.data["stage"]) == (Stage.INTENT, Stage.RESULT)
    assert (intent.data["outcome"], result.data["outcome"]) == ("pending", "success")


def test_nobody_knows_of_an_issue_that_was_not_answered() -> None:
    outcomes = {
        code: audit.issue_failed(GRANT, NOW, code).data["outcome"]
        for code in ("ProviderUnavailable", "ProviderRefused")
    }

    assert outcomes == {"ProviderUnavailable": "unknown", "ProviderRefused": "failure"}


def test_an_intent_holds_nothing_of_what_is_not_there_yet() -> None:
    grant = replace(GRANT, expires_at=None, fingerprint="", credential_ref="")

    cred = audit.issue_intent(grant, NOW).data["cred"]

    assert {"exp", "id", "fp"} & cred.keys() == set()


def test_times_are_written_with_microseconds_and_z() -> None:
    assert moment(NOW) == "2026-11-25T10:00:00.000123Z"
