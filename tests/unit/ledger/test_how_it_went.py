"""When a task began and ended, where its pod was and what people were told is by the log."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from taskpass.core.audit import events as audit
from taskpass.core.lifecycle.approval import ApprovalRequest
from taskpass.core.lifecycle.ownership import Origin
from taskpass.core.lifecycle.records import Outcome
from taskpass.core.model.grant import Issued, SecretValue
from taskpass.ledger.log.reader import reading
from taskpass.ledger.log.signing import SeedSigner
from taskpass.ledger.maintain.prune import Limit, prune
from taskpass.ports.ledger import Batch
from tests.unit.ledger import objects
from tests.unit.ledger.forging import execute
from tests.unit.ledger.objects import NOW, RECORD, SECOND, another, notice
from tests.unit.ledger.waiting import CI, JANE, attest, differs, put, refused, waiting


@pytest.mark.parametrize(
    ("field", "value"),
    [("started_at", NOW + timedelta(days=10_000)), ("outcome", Outcome.SUCCEEDED),
     ("parent_uid", "other"), ("phase", "deploy"), ("suspended", "Requested"), ("attempt", 1),
     ("finished_at", NOW)],
)  # fmt: skip
async def test_of_a_task_that_no_pod_was_attested_for_nothing_is_believed_but_its_own_work(
    tmp_path: Path, field: str, value: object
) -> None:
    path = tmp_path / "ledger.db"
    record = await refused(path)

    assert await differs(path) is None
    put(path, replace(record, **{field: value}))  # type: ignore[arg-type]
    assert "is not what the log says" in await differs(path)


async def test_a_start_that_the_logs_clock_moved_forward_is_no_later_than_told(
    tmp_path: Path,
) -> None:
    path = tmp_path / "ledger.db"
    ledger = objects.opened(path, now=NOW + timedelta(seconds=1))
    record = replace(RECORD, started_at=NOW, origin=Origin(names=(JANE,)))
    await attest(ledger, record)
    ledger.close()

    assert await differs(path) is None
    put(path, replace(record, started_at=NOW + timedelta(days=1)))
    assert "started_at" in await differs(path)


async def test_a_move_that_was_asked_for_is_not_put_back_once_the_task_moved(
    tmp_path: Path,
) -> None:
    path = tmp_path / "ledger.db"
    record = await waiting(path)
    ledger = objects.opened(path)
    went = audit.phase_entered(SECOND, "research", "write", NOW, notice("Moved"))
    moved = replace(record, phase="write", asked=record.asked[:1])
    await ledger.commit(Batch(entries=(went,), tasks=(moved,)))
    ledger.close()

    assert await differs(path) is None
    put(path, replace(moved, asked=record.asked))
    assert "asked" in await differs(path)


async def test_a_binding_without_its_place_is_none_of_this_version(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    await waiting(path)
    execute(path, "UPDATE pod_binding SET namespace = '', name = ''")

    assert "is not noted as the one of task" in await differs(path)


async def test_an_approval_that_is_asked_for_after_an_erasure_stays_asked_for(
    tmp_path: Path,
) -> None:
    path = tmp_path / "ledger.db"
    ledger = objects.opened(path)
    mine = replace(RECORD, started_at=NOW, origin=Origin(names=(JANE,)))
    other = replace(
        RECORD, task=SECOND, pod_uid="pod-uid-2", started_at=NOW, origin=Origin(names=(CI,))
    )
    for record in (mine, other):
        await attest(ledger, record)
    await ledger.erase(JANE, NOW)
    asked = ApprovalRequest(
        name="tickets", text=f'{{"goal":"ask {JANE}"}}', nonce="n", since=NOW, epoch=1
    )
    await ledger.commit(Batch(tasks=(replace(other, asked=(asked,)),)))

    kept = ledger.record(SECOND.uid)
    assert kept is not None
    assert kept.asked == (asked,)
    ledger.close()


async def test_an_edited_text_does_not_end_whoever_is_asked_to_erase(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    record = await waiting(path)
    first, branch = record.asked
    put(path, replace(record, asked=(replace(first, text="no json"), branch)))

    ledger = objects.opened(path)
    assert await ledger.erase("zoe", NOW) == -1
    await ledger.commit(Batch(entries=(objects.entry("on"),)))
    ledger.close()


@pytest.mark.parametrize("days", [-400, 10_000])
@pytest.mark.parametrize("pruned", [False, True])
async def test_when_a_task_ended_is_not_moved(tmp_path: Path, days: int, pruned: bool) -> None:
    """It would be deleted early by its time to live, or never."""
    path = tmp_path / "ledger.db"
    ledger = objects.opened(path)
    record = replace(RECORD, started_at=NOW, origin=Origin(names=(JANE,)))
    done = replace(record, outcome=Outcome.SUCCEEDED, finished_at=NOW)
    await attest(ledger, record)
    over = audit.finished(done, Outcome.SUCCEEDED, NOW, notice("Finished"))
    await ledger.commit(Batch(entries=(over,), tasks=(done,)))
    await objects.filled(ledger, 300)
    ledger.close()
    if pruned:
        prune(path, Limit(before=300), tmp_path / "archive", SeedSigner(objects.SEED), NOW)

    assert await differs(path) is None
    put(path, replace(done, finished_at=NOW + timedelta(days=days)))
    assert "finished_at" in await differs(path)


async def test_words_of_a_trail_are_of_an_entry_that_told_somebody(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    ledger = objects.opened(path)
    record = replace(RECORD, started_at=NOW, origin=Origin(names=(JANE,)))
    await attest(ledger, record)
    intent = audit.issue_intent(another(8), NOW)
    (index,) = await ledger.commit(Batch(entries=(intent,), grants=(another(8),)))
    ledger.close()

    execute(
        path,
        f"INSERT INTO trail VALUES ('{record.task.uid}', {index}, '{NOW.isoformat()}', 'Approved',"
        f" 'The board approved everything', 'Normal', 0, {index})",
    )
    assert "has no words for the trail" in await differs(path)


@pytest.mark.parametrize("change", ["told twice", "noted twice"])
async def test_what_is_asked_stands_once(tmp_path: Path, change: str) -> None:
    path = tmp_path / "ledger.db"
    record = await waiting(path)
    first, branch = record.asked
    twice = replace(first, noted=(*first.noted, *first.noted))
    asked = (first, first, branch) if change == "told twice" else (twice, branch)
    put(path, replace(record, asked=asked))

    assert "asked" in await differs(path)


async def test_an_attempt_that_ended_has_no_pod_and_no_images(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    record = await waiting(path)
    put(path, replace(record, pod_uid="", pod_name="evil", images=("evil",), origin=None))

    assert "pod_name" in await differs(path)


async def test_a_place_that_is_no_secret_stands_in_the_log_and_no_uid_is_taken_for_one(
    tmp_path: Path,
) -> None:
    path = tmp_path / "ledger.db"
    ledger = objects.opened(path)
    task = replace(objects.TASK, uid="production-uid-1")
    grant = replace(another(8, task=task), resources=("namespace/production",))
    fields = {"token": SecretValue(b"s3cr3t-t0k3n"), "namespace": SecretValue(b"production")}
    made = Issued(
        provider_state={}, expires_at=NOW, credential_ref="jti", fields=fields, primary="token",
        public=frozenset({"namespace"}),
    )  # fmt: skip
    assert made.secrets == (fields["token"],)
    intent = audit.issue_intent(grant, NOW)
    await ledger.commit(
        Batch(entries=(intent,), grants=(grant,), hide=(SecretValue(b"production-uid-1"),))
    )
    ledger.close()
    with reading(path) as log:
        body = log.entry(2)

    assert b"namespace/production" in body
    assert await differs(path) is None


async def test_a_record_whose_attempt_is_said_to_have_ended_is_believed(tmp_path: Path) -> None:
    """No entry tells of it, as docs/tampering.md says."""
    path = tmp_path / "ledger.db"
    record = await waiting(path)
    put(path, replace(record, pod_uid="", pod_name="", images=(), origin=None))

    assert await differs(path) is None
