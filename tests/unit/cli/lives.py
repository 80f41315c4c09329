"""A task's life in a ledger, with what people wrote on it."""

from dataclasses import replace
from pathlib import Path

from taskpass.core.audit import events as entries
from taskpass.core.lifecycle.approval import ApprovalRequest, TaskApproval, Verdict
from taskpass.core.model.task import Task, User
from taskpass.ports.ledger import Batch
from tests.unit.ledger import objects
from tests.unit.ledger.objects import NOW, RECORD, TASK, notice

TASK_NAME = TASK.name


async def written(path: Path, *reasons: str) -> None:
    """Write a life, approvals for these reasons, and a grant that somebody asked for anew."""
    ledger = objects.opened(path)
    await objects.story(ledger)
    for number, reason in enumerate(reasons):
        await _approved(ledger, reason, number)
    people = {"requester": "jane@example.org", "changed_by": "eve@example.org"}
    grant = objects.another(9)
    await ledger.commit(Batch(entries=(entries.issue_intent(grant, NOW, people),), grants=(grant,)))
    ledger.close()


async def _approved(ledger: objects.SqliteLedger, reason: str, number: int) -> None:
    task = Task(
        namespace=TASK.namespace, name=TASK.name, uid=TASK.uid, generation=1,
        resource_version="1", created_at=NOW, service_account="triage-agent",
    )  # fmt: skip
    asked = ApprovalRequest(
        name="tickets", branch="", text=f'{{"n":{number}}}', nonce="n", since=NOW, epoch=1
    )
    word = TaskApproval(
        namespace="support", name="yes", uid=f"approval-{number}", generation=1,
        created_at=NOW, task_name=TASK.name, task_uid=TASK.uid, digest=asked.digest,
        decision=Verdict.APPROVED, approver=User(username="joe@example.org"), reason=reason,
    )  # fmt: skip
    record = replace(RECORD, asked=(asked,))
    ask = entries.approval_asked(task, asked, (("p", "d"),), NOW, notice("Asked"))
    await ledger.commit(Batch(entries=(ask,), tasks=(record,)))
    heard = replace(record, asked=(replace(asked, noted=(word.uid,)),))
    give = entries.approval_given(task, asked, word, NOW, notice("Approved"))
    await ledger.commit(Batch(entries=(give,), tasks=(heard,)))
