"""The ledger on SQLite: starts, failures, time, and what is never in the file."""

import asyncio
import base64
import contextlib
import errno
import resource
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from taskpass.core.audit import events as audit
from taskpass.core.errors import LedgerError
from taskpass.core.model.grant import SecretValue
from taskpass.core.rate_limit.budget import Meter
from taskpass.ledger.log.reader import reading
from taskpass.ledger.log.signing import fingerprint_key, verify_signature
from taskpass.ledger.store.sqlite import PATIENCE_SECONDS, SqliteLedger
from taskpass.ledger.verify.log import verify_database
from taskpass.ports.ledger import Batch
from taskpass.tlog.checkpoint import open_checkpoint, parse_vkey
from tests.unit.ledger import objects
from tests.unit.ledger.objects import GRANT, NOW, RECORD, TASK, entry, opened

CANARY = "canary-8f1c5e"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def ledger(path: Path) -> Iterator[SqliteLedger]:
    ledger = opened(path)
    yield ledger
    ledger.close()


def events(path: Path) -> list[dict[str, Any]]:
    with reading(path) as log:
        return [orjson.loads(body) for body in log.entries()]


def test_a_new_log_begins_with_its_key_and_the_process_that_opened_it(
    ledger: SqliteLedger, path: Path
) -> None:
    genesis, start = events(path)

    key = parse_vkey(genesis["data"]["vkey"])
    assert genesis["type"] == "dev.taskpass.log.genesis"
    assert key.name == ledger.origin == genesis["source"]
    assert open_checkpoint(ledger.note(), key, verify_signature).size == ledger.size == 2
    assert start["type"] == "dev.taskpass.log.open"
    assert start["data"]["instance"] == "taskpass-0"
    assert start["data"]["epoch"] == 1


def test_two_logs_never_have_the_same_origin(tmp_path: Path) -> None:
    """A log that is made anew must not pass for the one that was lost."""
    ledgers = [opened(tmp_path / name) for name in ("a.db", "b.db")]

    assert ledgers[0].origin.startswith("audit.taskpass.dev/c-3c1f0a9e/log-")
    assert ledgers[0].origin != ledgers[1].origin
    for ledger in ledgers:
        ledger.close()


async def test_each_start_tells_what_it_found(path: Path) -> None:
    first = opened(path)
    await first.commit(Batch(entries=(entry(1),)))
    size, root = first.size, verify_database(path).root
    first.close()

    opened(path).close()

    told = events(path)[-1]["data"]
    assert told["previous"] == {"size": size, "root": root}
    assert told["epoch"] == 2


@pytest.mark.parametrize("size", [255, 256, 257, 511, 512, 600])
async def test_a_log_goes_on_after_a_restart_at_any_size(path: Path, size: int) -> None:
    first = opened(path)
    await objects.filled(first, size)
    first.close()

    second = opened(path)
    await objects.filled(second, size + 300)
    second.close()

    assert verify_database(path).size == size + 300


async def test_every_answer_comes_after_its_entry_is_under_the_signed_root(
    ledger: SqliteLedger, path: Path
) -> None:
    async def one(number: int) -> None:
        (index,) = await ledger.commit(Batch(entries=(entry(number),)))
        assert verify_database(path).size > index
        assert ledger.size > index

    await asyncio.gather(*(one(number) for number in range(20)))


async def test_commits_that_wait_share_a_transaction(path: Path) -> None:
    points: list[str] = []
    ledger = opened(path, fail_point=points.append)

    await asyncio.gather(*(ledger.commit(Batch(entries=(entry(i),))) for i in range(300)))

    ledger.close()
    assert points.count("ledger.before-commit") < 100
    assert verify_database(path).size == 302


async def test_what_is_patient_shares_the_transaction_of_the_next(path: Path) -> None:
    points: list[str] = []
    ledger = opened(path, fail_point=points.append)
    before = points.count("ledger.before-commit")

    patient = asyncio.ensure_future(ledger.commit(Batch(entries=(entry(1),), patient=True)))
    await asyncio.sleep(0)
    await ledger.commit(Batch(entries=(entry(2),)))
    await patient

    assert points.count("ledger.before-commit") == before + 1
    ledger.close()


async def test_what_is_patient_is_durable_soon_where_nothing_follows(path: Path) -> None:
    ledger = opened(path)

    async with asyncio.timeout(10 * PATIENCE_SECONDS):
        (index,) = await ledger.commit(Batch(entries=(entry(1),), patient=True))

    assert ledger.size == index + 1
    ledger.close()


async def test_a_refused_batch_does_not_harm_those_beside_it(ledger: SqliteLedger) -> None:
    batches = [Batch(entries=(entry(1),)), Batch(entries=(entry(2, x=1.5),))]
    batches += [Batch(entries=(entry(3),))]

    answers = await asyncio.gather(*map(ledger.commit, batches), return_exceptions=True)

    assert [answers[0], answers[2]] == [(2,), (3,)]


async def test_a_copy_of_the_one_file_is_whole_once_it_is_closed(path: Path) -> None:
    ledger = opened(path)
    await objects.filled(ledger, 20)
    ledger.close()

    assert [f.name for f in path.parent.glob("ledger.db-*")] == []
    assert verify_database(path).size == 20


async def test_closing_makes_durable_what_waits(path: Path) -> None:
    ledger = opened(path)
    waiting = [asyncio.ensure_future(ledger.commit(Batch(entries=(entry(i),)))) for i in range(50)]
    await asyncio.sleep(0)

    ledger.close()

    assert sorted(await asyncio.gather(*waiting)) == [(i + 2,) for i in range(50)]
    ledger.close()


ERRORS = [
    pytest.param(OSError(errno.ENOSPC, "No space left on device"), id="the disk is full"),
    pytest.param(OSError(errno.EIO, "Input/output error"), id="the disk is broken"),
    pytest.param(sqlite3.OperationalError("database or disk is full"), id="SQLite's disk is full"),
    pytest.param(sqlite3.DatabaseError("malformed"), id="the file is damaged"),
    pytest.param(MemoryError(), id="no memory"),
    pytest.param(ZeroDivisionError(), id="a bug"),
]


@pytest.mark.parametrize("error", ERRORS)
async def test_whatever_fails_before_a_commit_ends_the_ledger_and_leaves_no_trace(
    path: Path, error: BaseException
) -> None:
    ledger = opened(path, fail_point=_raising("ledger.before-commit", error))
    watch = asyncio.ensure_future(ledger.watch_failure())

    answers = await asyncio.gather(
        *(ledger.commit(Batch(entries=(entry(i),), tasks=(RECORD,))) for i in range(9)),
        return_exceptions=True,
    )

    assert [type(answer) for answer in answers] == [LedgerError] * 9
    with pytest.raises(LedgerError):
        await ledger.commit(Batch(entries=(entry(99),)))
    with pytest.raises(LedgerError):
        await ledger.commit(Batch(forgets=(TASK.uid,)))
    with pytest.raises(LedgerError):
        await watch
    assert ledger.size == 2
    assert ledger.record(TASK.uid) is None
    ledger.close()
    again = opened(path)
    assert again.size == 3
    assert again.record(TASK.uid) is None
    again.close()


async def test_what_fails_after_a_commit_is_durable_though_nobody_was_told(path: Path) -> None:
    ledger = opened(path, fail_point=_raising("ledger.after-commit", OSError(errno.EIO, "")))

    with pytest.raises(LedgerError):
        await ledger.commit(Batch(entries=(entry(1),), tasks=(RECORD,)))

    ledger.close()
    again = opened(path)
    assert again.record(TASK.uid) == RECORD
    assert await again.commit(Batch(entries=(entry(1),))) == (2,)
    again.close()


async def test_a_file_that_may_not_grow_ends_the_ledger_and_nothing_acknowledged_is_lost(
    path: Path,
) -> None:
    ledger = opened(path)
    acknowledged: list[int] = []

    async def until_it_ends() -> None:
        for i in range(2000):
            acknowledged.extend(await ledger.commit(Batch(entries=(entry(i, pad="x" * 3000),))))

    with _largest_file(440_000), pytest.raises(LedgerError):
        await until_it_ends()

    ledger.close()
    assert len(acknowledged) > 10
    again = opened(path)
    assert again.size > acknowledged[-1]
    again.close()
    verify_database(path)


async def test_a_watch_ends_without_error_when_the_ledger_is_closed(path: Path) -> None:
    ledger = opened(path)
    watch = asyncio.ensure_future(ledger.watch_failure())
    await asyncio.sleep(0)

    ledger.close()

    await watch
    await ledger.watch_failure()


@pytest.mark.parametrize("change", ["epoch = epoch + 1", "size = size + 1"])
async def test_a_ledger_that_another_has_written_ends(path: Path, change: str) -> None:
    """The lock can be taken away (its file deleted); the head itself is the last guard."""
    ledger = opened(path)
    with contextlib.closing(sqlite3.connect(path)) as other, other:
        other.execute(f"UPDATE head SET {change}")

    with pytest.raises(LedgerError, match="Another process"):
        await ledger.commit(Batch(entries=(entry(1),)))

    ledger.close()


async def test_time_in_the_log_never_goes_back(path: Path) -> None:
    ledger = opened(path)
    later, earlier = NOW + timedelta(days=400), NOW - timedelta(days=3)
    entries = (entry(1, time=later), entry(2, time=earlier), entry(3, time=later))

    await ledger.commit(Batch(entries=entries))
    ledger.close()
    opened(path, now=NOW).close()

    times = [(e["time"][:10], e["data"].get("clk")) for e in events(path)[2:]]
    assert times == [
        ("2027-12-30", None), ("2027-12-30", "adj"), ("2027-12-30", None), ("2027-12-30", "adj")
    ]  # fmt: skip


def test_a_ledger_of_another_key_is_refused(path: Path) -> None:
    opened(path).close()

    with pytest.raises(LedgerError, match="is signed with the key"):
        opened(path, seed=bytes([8]) * 32)


def test_a_ledger_of_another_cluster_is_refused(path: Path) -> None:
    opened(path).close()

    with pytest.raises(LedgerError, match="another cluster"):
        SqliteLedger.open(
            path,
            signer=objects.SeedSigner(objects.SEED),
            cluster_id="ffffffff",
            instance="x",
            now=NOW,
        )


@pytest.mark.parametrize(
    "statements",
    [
        pytest.param([], id="before places of pods"),
        pytest.param(["DROP TABLE meter"], id="before budgets"),
    ],
)
async def test_a_file_of_before_says_not_where_its_pods_were_and_they_stay_bound(
    path: Path, statements: list[str]
) -> None:
    ledger = opened(path)
    entry = audit.attested(objects.LEGACY, NOW, objects.notice("Attested"))
    await ledger.commit(Batch(entries=(entry,), tasks=(objects.LEGACY,)))
    ledger.close()
    with contextlib.closing(sqlite3.connect(path)) as other, other:
        for column in ("namespace", "name"):
            other.execute(f"ALTER TABLE pod_binding DROP COLUMN {column}")
        for statement in statements:
            other.execute(statement)
    verify_database(path)

    again = opened(path)
    await again.commit(Batch(entries=(audit.forgotten(objects.LEGACY, 0, NOW),)))
    await again.commit(Batch(forgets=(TASK.uid,)))

    assert again.bound_task(objects.LEGACY.pod_uid) == TASK.uid
    assert again.leftover_bindings("", 10) == []
    assert await again.compare() is None
    again.close()


async def test_a_file_of_before_gates_and_budgets_were_recorded_opens_and_its_pods_count_as_let_go(
    path: Path,
) -> None:
    ledger = opened(path)
    await ledger.commit(Batch(tasks=(RECORD,)))
    ledger.close()
    with contextlib.closing(sqlite3.connect(path)) as other, other:
        for column in ("lifted", "namespace", "name"):
            other.execute(f"ALTER TABLE pod_binding DROP COLUMN {column}")
        other.execute("DROP TABLE meter")
    assert len(events(path)) == 2, "a reader takes it as it is"

    again = opened(path)
    used = {"namespace:support": Meter(used=7, at=NOW)}
    await again.commit(Batch(tasks=(replace(RECORD, pod_uid="pod-uid-2"),), meters=used))

    assert again.gate_lifted(RECORD.pod_uid)
    assert not again.gate_lifted("pod-uid-2")
    again.close()
    third = opened(path)
    assert third.meters() == used
    third.close()


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param("UPDATE entry SET body = x'7b7d' WHERE seq = 300", id="an edited entry"),
        pytest.param("DELETE FROM entry WHERE seq = 300", id="an entry that is gone"),
        pytest.param("UPDATE tile SET b = zeroblob(8192)", id="a tile of zeros"),
        pytest.param("DELETE FROM tile", id="no tiles"),
        pytest.param("UPDATE bundle SET z = zeroblob(40)", id="a damaged bundle"),
        pytest.param("UPDATE head SET size = size - 1", id="a smaller size"),
        pytest.param("UPDATE head SET note = 'x'", id="no checkpoint"),
        pytest.param("UPDATE head SET frontier = x''", id="no frontier"),
        pytest.param("DELETE FROM head", id="no head"),
        pytest.param("DROP TABLE tile", id="no table"),
        pytest.param("PRAGMA user_version = 99", id="a later version"),
        pytest.param("UPDATE grant_state SET body = '{}'", id="a grant that says nothing"),
    ],
)
async def test_a_start_refuses_what_does_not_hold_together(path: Path, statement: str) -> None:
    ledger = opened(path)
    await objects.issue(ledger, GRANT)
    await objects.filled(ledger, 310)
    ledger.close()
    with contextlib.closing(sqlite3.connect(path)) as other, other:
        other.execute(statement)

    with pytest.raises(LedgerError) as refusal:
        opened(path)

    assert "\n" not in str(refusal.value)
    with contextlib.closing(sqlite3.connect(path)) as other, other:
        other.execute("BEGIN EXCLUSIVE")  # nothing holds it any more


@pytest.mark.parametrize("content", [b"not a database" * 100, b"SQLite format 3\0" + bytes(4000)])
def test_a_file_that_is_no_database_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)

    with pytest.raises(LedgerError):
        opened(path)


def test_a_database_of_somebody_else_is_refused(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as other, other:
        other.execute("CREATE TABLE theirs (x)")

    with pytest.raises(LedgerError, match="no ledger"):
        opened(path)


def test_a_volume_that_is_not_mounted_is_not_made_up_for(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="mount a volume"):
        opened(tmp_path / "absent" / "ledger.db")


def test_only_its_owner_can_read_the_file(ledger: SqliteLedger, path: Path) -> None:
    modes = {p.name: p.stat().st_mode & 0o077 for p in path.parent.iterdir()}

    assert modes == dict.fromkeys(modes, 0)


async def test_no_secret_is_ever_in_the_files(path: Path) -> None:
    ledger = opened(path)
    secret = SecretValue(CANARY.encode())
    key = fingerprint_key(objects.SEED)
    held = await objects.issue(ledger, replace(GRANT, fingerprint=secret.fingerprint(key)))
    with contextlib.suppress(TypeError):
        await ledger.commit(Batch(entries=(entry(1, token=repr(secret)),)))

    stored = b"".join(file.read_bytes() for file in path.parent.iterdir())

    assert held.id.encode() in stored
    assert CANARY.encode() not in stored
    assert objects.SEED not in stored
    assert key not in stored
    ledger.close()


async def test_a_secret_that_was_put_into_an_entry_by_mistake_is_refused(
    ledger: SqliteLedger, path: Path
) -> None:
    broken = entry(1, token=SecretValue(CANARY.encode()))

    with pytest.raises(Exception, match="cannot be written") as refusal:
        await ledger.commit(Batch(entries=(broken,)))

    assert CANARY not in str(refusal.value)
    assert ledger.size == 2


def _raising(point: str, error: BaseException) -> Callable[[str], None]:
    def fail(reached: str) -> None:
        if reached == point:
            raise error

    return fail


@contextlib.contextmanager
def _largest_file(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_value_that_was_just_issued_is_not_in_the_entry_that_tells_of_it(
    tmp_path: Path,
) -> None:
    """The last gate before the log: whoever put it there, and in whatever form."""
    value = SecretValue(b"canary-0123456789")
    told = base64.b64encode(b"id=canary-0123456789;").decode()
    ledger = objects.opened(tmp_path / "ledger.db")
    batch = Batch(entries=(objects.entry(1, name=f"x {told}"),), hide=(value,))

    first = await ledger.commit(batch)
    again = await ledger.commit(batch)
    ledger.close()

    with reading(tmp_path / "ledger.db") as log:
        body = log.entry(first[0])
    assert again == first
    assert told[4:20].encode() not in body
    assert b'"name":"[redacted]"' in body
    assert b'"redacted":1' in body
