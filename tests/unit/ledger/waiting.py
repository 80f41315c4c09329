"""A task that waits for approval, in a ledger whose file somebody edits, and what a start says."""

from dataclasses import replace
from pathlib import Path

from taskpass.core.audit import events as audit
from taskpass.core.lifecycle.ownership import Origin
from taskpass.core.lifecycle.records import TaskRecord
from taskpass.ledger.state.encoding import encode
from taskpass.ledger.store.sqlite import SqliteLedger
from taskpass.ledger.verify.proven import LogLocation, proven
from taskpass.ports.ledger import Batch
from tests.unit.ledger import objects
from tests.unit.ledger.forging import execute
from tests.unit.ledger.objects import NOW, notice

JANE, LEA, CI = "jane@example.org", "lea@example.org", "system:serviceaccount:support:ci"


async def waiting(path: Path) -> TaskRecord:
    """Write a task that Jane and Lea and a ServiceAccount started, and that waits for approval."""
    ledger = objects.opened(path)
    record = await objects.life_of_people(ledger)
    ledger.close()
    return record


async def refused(path: Path) -> TaskRecord:
    """Write a task whose only pod was refused."""
    ledger = objects.opened(path)
    record = TaskRecord(task=objects.TASK, denial="d")
    failed = audit.attestation_failed(
        objects.TASK, "pod", "pod-uid-1", "NotOwned", NOW, notice("Failed")
    )
    await ledger.commit(Batch(entries=(failed,), tasks=(record,)))
    ledger.close()
    return record


async def attest(ledger: SqliteLedger, record: TaskRecord) -> None:
    told = audit.attested(record, NOW, notice("Attested"))
    await ledger.commit(Batch(entries=(told,), tasks=(record,)))


def put(path: Path, record: TaskRecord) -> None:
    body = encode(record).replace("'", "''")
    execute(path, f"UPDATE task_record SET body = '{body}' WHERE uid = '{record.task.uid}'")


async def differs(path: Path) -> str | None:
    ledger = objects.opened(path)
    try:
        return await ledger.compare()
    finally:
        ledger.close()


def reference(path: Path, name: str) -> str:
    with proven(LogLocation(database=path)) as log:
        return next(ref for ref, person in log.people.items() if person.name == name)


def started(record: TaskRecord, *names: str, unknown: str | None = None) -> TaskRecord:
    origin = record.origin
    assert origin is not None
    told = origin.unknown if unknown is None else unknown
    return replace(record, origin=Origin(names=names, unknown=told))
