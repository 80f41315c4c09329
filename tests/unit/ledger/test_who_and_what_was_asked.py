"""Who started a pod and what people were asked is by the log, whatever a record says of it.

Whoever can write the ledger's file would have himself left out of those who started a pod, so that
his own word counts; or put back an approval that was used.
"""

from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from taskpass.core.audit import events as audit
from taskpass.core.errors import UsageError
from taskpass.core.lifecycle.ownership import FORGOTTEN, Origin
from taskpass.core.lifecycle.records import Outcome, TaskRecord
from taskpass.core.model.grant import Approval, GrantState
from taskpass.ledger.log.reader import reading
from taskpass.ledger.log.signing import SeedSigner
from taskpass.ledger.maintain.prune import Limit, prune
from taskpass.ledger.state.encoding import decode, encode
from taskpass.ledger.store.sqlite import SqliteLedger
from taskpass.ledger.verify.log import verify_database
from taskpass.ports.ledger import Batch
from tests.unit.ledger import objects
from tests.unit.ledger.objects import NOW, RECORD, SECOND, another, notice
from tests.unit.ledger.waiting import (
    CI,
    JANE,
    LEA,
    attest,
    differs,
    put,
    reference,
    started,
    waiting,
)


async def test_what_was_written_is_what_the_log_says(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    await waiting(path)

    assert await differs(path) is None
    assert verify_database(path).size > 0


@pytest.mark.parametrize(
    "names",
    [(LEA, CI), (JANE, LEA), (), (JANE, LEA, CI, "eve@example.org"), (JANE, "eve@example.org", CI),
     (JANE, JANE, CI), (JANE, LEA, "system:serviceaccount:support:other")],
    ids=", ".join,
)  # fmt: skip
async def test_nobody_is_left_out_of_who_started_a_pod_or_put_in(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    path = tmp_path / "ledger.db"
    put(path, started(await waiting(path), *names))

    assert "is not what the log says: origin" in await differs(path)


async def test_a_reference_in_the_place_of_its_name_is_no_name(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    record = await waiting(path)
    put(path, started(record, reference(path, JANE), LEA, CI))

    assert "origin" in await differs(path)


@pytest.mark.parametrize("unknown", ["", "somebody else", FORGOTTEN])
async def test_that_these_are_not_all_is_not_taken_back(tmp_path: Path, unknown: str) -> None:
    path = tmp_path / "ledger.db"
    put(path, started(await waiting(path), JANE, LEA, CI, unknown=unknown))

    assert "origin" in await differs(path)


async def test_somebody_who_was_erased_is_neither_missed_nor_put_back(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    before = await waiting(path)
    ledger = objects.opened(path)
    await ledger.erase(LEA, NOW)
    ledger.close()

    assert await differs(path) is None
    put(path, before)
    assert "origin" in await differs(path)


async def test_an_approval_that_was_used_cannot_be_asked_for_again_by_its_old_text(
    tmp_path: Path,
) -> None:
    path = tmp_path / "ledger.db"
    record = await waiting(path)
    ledger = objects.opened(path)
    first, branch = record.asked
    approval = Approval(
        digest=first.digest, nonce=first.nonce, until=NOW, given_by=("approval-1",)
    )  # fmt: skip
    grant = replace(another(4, task=SECOND), pod_uid="pod-uid-2", approval=approval)
    await objects.issue(ledger, grant)
    used = replace(record, asked=(branch,))
    await ledger.commit(Batch(tasks=(used,)))
    ledger.close()

    assert await differs(path) is None
    put(path, record)
    assert "is not what the log says: asked" in await differs(path)


async def test_a_move_that_was_approved_cannot_be_asked_for_again(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    record = await waiting(path)
    ledger = objects.opened(path)
    moved = replace(record, phase="deploy", asked=record.asked[:1])
    went = audit.phase_entered(
        SECOND, "research", "deploy", NOW, notice("Moved"), record.asked[1].digest
    )
    await ledger.commit(Batch(entries=(went,), tasks=(moved,)))
    ledger.close()

    assert await differs(path) is None
    put(path, replace(record, phase="deploy"))
    assert "is not what the log says: asked" in await differs(path)


async def test_that_a_word_was_recorded_is_not_made_up(tmp_path: Path) -> None:
    """It would be counted, and no entry would ever tell whose it was."""
    path = tmp_path / "ledger.db"
    record = await waiting(path)
    first, branch = record.asked
    put(path, replace(record, asked=(first, replace(branch, noted=("approval-2",)))))

    assert "asked" in await differs(path)


@pytest.mark.parametrize("field", ["text", "name", "branch"])
async def test_what_is_asked_is_not_another_thing(tmp_path: Path, field: str) -> None:
    path = tmp_path / "ledger.db"
    record = await waiting(path)
    first, branch = record.asked
    put(path, replace(record, asked=(replace(first, **{field: "other"}), branch)))

    assert "asked" in await differs(path)


async def test_a_pod_that_somebody_started_who_was_erased_a_moment_ago_names_them_anew(
    tmp_path: Path,
) -> None:
    """Their CronJob still runs: its next pod is theirs, by another reference."""
    path = tmp_path / "ledger.db"
    before = await waiting(path)
    ledger = objects.opened(path)
    (old,) = {reference(path, LEA)}
    await ledger.erase(LEA, NOW)
    again = replace(before, attempt=2, pod_uid="pod-uid-3", pod_name="pod-3")
    await attest(ledger, again)
    later = replace(again, asked=again.asked[:1])
    await ledger.commit(Batch(tasks=(later,)))
    ledger.close()

    assert await differs(path) is None
    assert reference(path, LEA) != old


async def test_erasing_somebody_whom_nothing_names_changes_nothing_later(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    ledger = objects.opened(path)
    assert await ledger.erase(LEA, NOW) == -1
    await objects.life_of_people(ledger)
    ledger.close()

    assert await differs(path) is None


async def test_a_user_of_the_clusters_own_is_not_erased(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    await waiting(path)
    ledger = objects.opened(path)
    with pytest.raises(UsageError, match="people can be erased"):
        await ledger.erase(CI, NOW)
    ledger.close()

    assert await differs(path) is None


async def test_only_who_may_have_been_erased_may_be_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    ledger = objects.opened(path)
    first = replace(RECORD, started_at=NOW, origin=Origin(names=(JANE,)))
    await attest(ledger, first)
    other = audit.issue_intent(another(8), NOW, {"requester": "eve@example.org"})
    await ledger.commit(Batch(entries=(other,), grants=(another(8),)))
    await ledger.erase("eve@example.org", NOW)
    ledger.close()

    put(path, started(first, JANE, unknown=FORGOTTEN))
    assert "origin" in await differs(path)


@pytest.mark.parametrize("grants", [0, 1])
async def test_how_a_task_is_to_end_is_by_an_entry_before_it_has(
    tmp_path: Path, grants: int
) -> None:
    path = tmp_path / "ledger.db"
    ledger = objects.opened(path)
    record = replace(RECORD, started_at=NOW, origin=Origin(names=(JANE,)))
    await attest(ledger, record)
    ends = replace(record, outcome=Outcome.EXPIRED)
    if grants:
        held = await objects.issue(ledger, another(8))
        back = replace(
            held, state=GrantState.REVOKING, revoke_reason="Deadline", revoking_since=NOW
        )
        entries = (audit.revoke_intent(back, NOW, Outcome.EXPIRED),)
        await ledger.commit(Batch(entries=entries, grants=(back,), tasks=(ends,)))
    else:
        told = audit.ending(ends, Outcome.EXPIRED, NOW)
        await ledger.commit(Batch(entries=(told,), tasks=(ends,)))
    ledger.close()

    assert await differs(path) is None
    put(path, replace(ends, outcome=Outcome.SUCCEEDED))
    assert "outcome" in await differs(path)
    put(path, record)
    assert "outcome" in await differs(path)


async def test_an_end_that_was_not_decided_is_not_made_up(tmp_path: Path) -> None:
    """The operator would take everything back, and sign that the task succeeded."""
    path = tmp_path / "ledger.db"
    record = await waiting(path)
    put(path, replace(record, outcome=Outcome.SUCCEEDED))

    assert "outcome" in await differs(path)


SECRET_LIKE = "xoxb-aaaaaaaaaaaaaaaaaaaa"  # the shape of a token, and a name that Kubernetes takes


async def test_names_that_look_like_secrets_are_kept_out_of_the_log_and_hold_nobody_up(
    tmp_path: Path,
) -> None:
    """Each is a tenant's own choice: a start that stumbled over one would stop everybody."""
    path = tmp_path / "ledger.db"
    ledger = objects.opened(path)
    record = replace(
        RECORD, pod_name=SECRET_LIKE, phase=SECRET_LIKE, images=(f"registry/{SECRET_LIKE}",),
        started_at=NOW,
        origin=Origin(names=(JANE, f"system:serviceaccount:{SECRET_LIKE}:{SECRET_LIKE}")),
    )  # fmt: skip
    await attest(ledger, replace(record, phase="a"))
    await say(ledger, record)
    ledger.close()
    with reading(path) as log:
        told = b"".join(log.entries())

    assert SECRET_LIKE.encode() not in told
    assert await differs(path) is None
    assert verify_database(path).size > 0
    for field, other in (
        ("pod_uid", "pod-uid-9"), ("pod_name", "other"), ("phase", "deploy"),
        ("images", ("registry/other",)), ("origin", Origin(names=(JANE, "system:nobody"))),
    ):  # fmt: skip
        put(path, replace(record, **{field: other}))  # type: ignore[arg-type]
        assert field in await differs(path)


async def test_a_namespace_that_looks_like_a_secret_is_held_against_what_pruning_told_again(
    tmp_path: Path,
) -> None:
    path = tmp_path / "ledger.db"
    ledger = objects.opened(path)
    task = replace(objects.TASK, namespace=SECRET_LIKE)
    for attempt in (1, 2):
        record = replace(
            RECORD, task=task, started_at=NOW, attempt=attempt, pod_uid=f"pod-{attempt}"
        )
        await attest(ledger, record)
    await objects.filled(ledger, 300)
    ledger.close()
    prune(path, Limit(before=300), tmp_path / "archive", SeedSigner(objects.SEED), NOW)

    assert await differs(path) is None


async def say(ledger: SqliteLedger, record: TaskRecord) -> None:
    moved = audit.phase_entered(record.task, "a", SECRET_LIKE, NOW, notice("Moved"))
    await ledger.commit(Batch(entries=(moved,), tasks=(record,)))


@pytest.mark.parametrize(
    "image", ["x://ghp_aaaaaaaaaaaaaaaaaaaa:b@sha256:aa", "x://eyJabcdefgh.abcdefgh:tag@sha256:00"]
)
async def test_an_image_that_looks_like_several_secrets_is_told_again_as_it_was(
    tmp_path: Path, image: str
) -> None:
    path = tmp_path / "ledger.db"
    ledger = objects.opened(path)
    record = replace(RECORD, images=(image,), started_at=NOW, origin=Origin(names=(JANE,)))
    await attest(ledger, record)
    for size in (300, 600):
        await objects.filled(ledger, size)
        ledger.close()
        prune(path, Limit(before=size), tmp_path / str(size), SeedSigner(objects.SEED), NOW)
        assert await differs(path) is None
        ledger = objects.opened(path)
    ledger.close()


async def test_who_started_a_pod_is_not_made_whole_again_after_an_erasure_and_a_prune(
    tmp_path: Path,
) -> None:
    path = tmp_path / "ledger.db"
    ledger = objects.opened(path)
    record = replace(RECORD, started_at=NOW, origin=Origin(names=(JANE, LEA)))
    await attest(ledger, record)
    await ledger.erase(JANE, NOW)
    for size in (300, 600):
        await objects.filled(ledger, size)
        ledger.close()
        prune(path, Limit(before=size), tmp_path / str(size), SeedSigner(objects.SEED), NOW)
        assert await differs(path) is None
        ledger = objects.opened(path)
    ledger.close()

    put(path, replace(record, origin=Origin(names=(LEA,))))
    assert "origin" in await differs(path)


async def test_a_stored_record_reads_back_as_it_was(tmp_path: Path) -> None:
    record = await waiting(tmp_path / "ledger.db")

    assert decode(TaskRecord, encode(record)) == record
    assert orjson.loads(encode(record))["origin"]["names"] == [JANE, LEA, CI]
