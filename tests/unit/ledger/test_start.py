"""What an operator believes at its start is held against the log before it issues anything."""

import asyncio
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from taskpass.core.audit import events as audit
from taskpass.core.errors import LedgerError
from taskpass.core.model.grant import GrantState
from taskpass.ledger.log.signing import SeedSigner
from taskpass.ledger.store.open import Opening
from taskpass.ledger.store.read_only import ReadOnlyLedger
from taskpass.ledger.store.sqlite import SqliteLedger
from taskpass.ports.ledger import Batch
from tests.unit.ledger import objects
from tests.unit.ledger.forging import empty_unique_index, execute
from tests.unit.ledger.objects import NOW, another, entry

SIZE = 300


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("original") / "ledger.db"
    asyncio.run(written(path))
    return path


async def written(path: Path) -> None:
    ledger = objects.opened(path)
    await objects.story(ledger)
    await objects.issue(ledger, another(2))
    asked = audit.issue_intent(another(3), NOW, {"requester": "jane@example.org"})
    await ledger.commit(Batch(entries=(asked,), grants=(another(3),)))
    await objects.filled(ledger, SIZE)
    ledger.close()


@pytest.fixture
def path(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(original, tmp_path))


async def found(path: Path) -> str | None:
    """Return what the start of an operator finds before it issues, and what after that."""
    ledger = objects.opened(path)
    try:
        return await ledger.compare() or await ledger.examine()
    finally:
        ledger.close()


async def test_a_ledger_that_nobody_touched_is_what_its_log_says(path: Path) -> None:
    assert await found(path) is None


def of_grant(**change: object) -> str:
    return json_set("grant_state", f"id = '{another(2).id}'", change)


def of_task(**change: object) -> str:
    return json_set("task_record", "1", change)


def json_set(table: str, where: str, change: dict[str, object]) -> str:
    sets = ", ".join(f"'$.{name}', json('{json.dumps(value)}')" for name, value in change.items())
    return f"UPDATE {table} SET body = json_set(body, {sets}) WHERE {where}"


CHANGES = [
    pytest.param("DELETE FROM grant_state WHERE rowid = 1", "nothing is noted of it", id="gone"),
    pytest.param(of_grant(state="Revoked"), "not what an operator writes", id="marked as gone"),
    pytest.param(of_grant(state="Revoking"), "log says: state", id="another state"),
    pytest.param(of_grant(provider="webhook"), "cred.provider", id="provider"),
    pytest.param(of_grant(actions=["*"]), "cred.actions", id="actions"),
    pytest.param(of_grant(resources=[]), "cred.resources", id="resources"),
    pytest.param(of_grant(lifetime_seconds=90_000), "cred.ttl", id="lifetime"),
    pytest.param(of_grant(expires_at="2036-01-01T00:00:00+00:00"), "cred.exp", id="expiry"),
    pytest.param(of_grant(pod_uid="other"), "task.pod_uid", id="pod"),
    pytest.param(of_grant(service_account="other"), "task.agent", id="agent"),
    pytest.param(of_grant(location="elsewhere"), "cred.location", id="a location that was none"),
    pytest.param(of_grant(policy="AgentPolicy/a/b"), "policy.name", id="policy"),
    pytest.param(of_grant(fingerprint="hmac"), "cred.fp", id="fingerprint"),
    pytest.param(of_grant(audit_index=4), "audit_index", id="index of its issue"),
    pytest.param(of_grant(revoke_reason="x"), "log says: reason", id="a reason"),
    pytest.param(
        "UPDATE grant_state SET body = replace(body, 'task-uid-1', 'task-uid-2')",
        "task.uid", id="task",
    ),
    pytest.param(of_task(pod_uid="other"), "task task-uid-1 is not what the log says: pod_uid"
                 , id="the task's pod"),
    pytest.param(of_task(attempt=7), "attempt", id="the task's attempt"),
    pytest.param(of_task(finished_at="2026-11-25T10:00:00+00:00"), "finished_at"
                 , id="a task that ended"),
    pytest.param("DELETE FROM task_record", "nothing is noted of it", id="a task that is gone"),
    pytest.param("DELETE FROM pod_binding", "is not noted as the one of task", id="a binding gone"),
    pytest.param("UPDATE pod_binding SET task_uid = 'x'", "is not noted as the", id="a binding"),
    pytest.param("INSERT INTO pod_binding (pod_uid, task_uid) VALUES ('x', 'y')",
                 "no entry tells of", id="another"),
    pytest.param("UPDATE idx SET cred = 'g-1' WHERE seq = 5", "the index does not say", id="cred"),
    pytest.param("UPDATE idx SET type = 'task.phase' WHERE seq = 7", "the index", id="type"),
    pytest.param("UPDATE trail SET audit_index = 3 WHERE seq = 4", "is of no entry", id="trail"),
    pytest.param(
        "UPDATE trail SET time = '2020-01-01T00:00:00+00:00'", "is not what entry",
        id="when of a trail",
    ),
    pytest.param("UPDATE person SET name = 'eve'", "is not whom the log", id="a name"),
]  # fmt: skip


@pytest.mark.parametrize(("statement", "said"), CHANGES)
async def test_what_is_noted_otherwise_than_the_log_says_is_found_before_anything_is_issued(
    path: Path, statement: str, said: str
) -> None:
    execute(path, statement)

    ledger = objects.opened(path)
    told = await ledger.compare()
    ledger.close()

    assert said in told
    assert "restore a copy that `taskpass audit verify` accepts" in told
    assert "\n" not in told


async def test_a_beginning_that_was_dropped_is_found_though_min_index_was_raised(
    path: Path,
) -> None:
    execute(
        path, "DELETE FROM bundle WHERE n = 0", "DELETE FROM idx WHERE seq < 256 AND seq > 0",
        "UPDATE head SET min_index = 256",
        "INSERT INTO entry SELECT 0, x'7b7d'",
    )  # fmt: skip

    with pytest.raises(LedgerError):
        objects.opened(path)


async def test_an_index_of_ids_that_was_emptied_is_found_once_sqlite_has_looked(path: Path) -> None:
    empty_unique_index(path)

    assert "damaged" in await found(path)


def opening(path: Path) -> Opening:
    return Opening(
        path=path, signer=SeedSigner(objects.SEED), cluster_id="3c1f0a9e", instance="taskpass-0",
        now=lambda: NOW, fail_point=lambda _: None,
    )  # fmt: skip


TRIGGER = (
    "CREATE TRIGGER t AFTER INSERT ON entry BEGIN"
    " UPDATE grant_state SET body = json_set(body, '$.state', 'Revoked'); END"
)


async def test_a_ledger_with_a_trigger_is_not_written_and_what_is_held_is_revoked(
    path: Path,
) -> None:
    execute(path, TRIGGER)
    before = path.read_bytes()

    ledger = opening(path).as_far_as_possible()

    assert isinstance(ledger, ReadOnlyLedger)
    assert "the trigger 't' is not one that taskpass makes" in ledger.why
    held = {grant.id: grant for grant in ledger.held()}
    assert held.keys() == {another(2).id, another(3).id}
    assert await ledger.record_late(opening(path).whole) is None
    ledger.close()
    assert path.read_bytes() == before
    execute(path, "DROP TRIGGER t")
    whole = opening(path).as_far_as_possible()
    whole.close()
    assert isinstance(whole, SqliteLedger)


async def test_tables_that_are_changed_while_it_runs_end_the_operator(path: Path) -> None:
    ledger = objects.opened(path)
    await ledger.commit(Batch(entries=(entry("before"),)))
    execute(path, TRIGGER)

    with pytest.raises(LedgerError, match="has changed the ledger's tables"):
        await ledger.commit(Batch(entries=(entry("after"),)))

    ledger.close()
    execute(path, "DROP TRIGGER t")
    assert await found(path) is None


async def test_a_credential_that_is_issued_and_taken_back_by_one_batch_is_what_the_log_says(
    tmp_path: Path,
) -> None:
    """One of two was refused: the other goes back at once, and is revoked after a start."""
    path = tmp_path / "ledger.db"
    ledger = objects.opened(path)
    grant = another(2)
    await ledger.commit(Batch(entries=(audit.issue_intent(grant, NOW),), grants=(grant,)))
    issued = replace(
        grant, state=GrantState.ISSUED, issued_at=NOW, expires_at=NOW, fingerprint="ab",
        credential_ref="jti-1",
    )  # fmt: skip
    back = replace(
        issued, state=GrantState.REVOKING, revoke_reason="IssueFailed", revoking_since=NOW
    )
    told = (audit.issue_result(issued, NOW, objects.notice()), audit.revoke_intent(back, NOW))
    index, _ = await ledger.commit(Batch(entries=told, grants=(back,)))
    (held,) = ledger.held()
    ledger.close()

    assert held.audit_index == index
    assert await found(path) is None
