"""What is charged for an entry is what the ledger's file grows by, or more."""

import random
import re
import string
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest
import yaml

from taskpass.core.audit import events as audit
from taskpass.core.lifecycle.progress import Savepoint
from taskpass.core.lifecycle.records import TaskRecord
from taskpass.core.model.entry import Entry
from taskpass.core.model.grant import TaskRef
from taskpass.core.rate_limit.budget import ENTRIES_OF_A_GRANT, KIBIBYTE, OPENING_BYTES, price_of
from taskpass.ports.ledger import Batch
from taskpass.runtime.settings import Settings
from tests.unit.ledger.objects import GRANT, NOW, TASK, notice, opened

LETTERS = string.ascii_letters + string.digits + "-._/"
ENTRIES = 512
CHART = Path(__file__).parents[3] / "charts/taskpass/values.yaml"
Make = Callable[[random.Random], tuple[Entry, TaskRecord | None]]


def word(chance: random.Random, length: int) -> str:
    """Return what cannot be compressed by much."""
    return "".join(chance.choices(LETTERS, k=length))


def sha(chance: random.Random) -> str:
    return f"sha256:{chance.getrandbits(256):064x}"


def saved(chance: random.Random) -> tuple[Entry, TaskRecord]:
    record = TaskRecord(task=TASK, attempt=1)
    savepoint = Savepoint(
        step=word(chance, 63), sha256=sha(chance)[7:], at=NOW,
        intent_digest=sha(chance), policies_digest=sha(chance),
    )  # fmt: skip
    return audit.saved(record, savepoint, NOW, notice()), record


def begun(chance: random.Random) -> tuple[Entry, TaskRecord]:
    uid = str(UUID(int=chance.getrandbits(128)))
    record = TaskRecord(task=TaskRef(namespace="support", name=word(chance, 63), uid=uid))
    return audit.suspended(record, "Requested", NOW, notice()), record


def attested(chance: random.Random) -> tuple[Entry, TaskRecord]:
    uids = [str(UUID(int=chance.getrandbits(128))) for _ in range(4)]
    record = TaskRecord(
        task=TaskRef(namespace="support", name=word(chance, 63), uid=uids[0]), attempt=1,
        pod_name=word(chance, 253), pod_uid=uids[1], service_account_uid=uids[2],
        workload_uid=uids[3], images=(word(chance, 200),),
    )  # fmt: skip
    return audit.attested(record, NOW, notice()), record


def issued(actions: int) -> Make:
    def make(chance: random.Random) -> tuple[Entry, None]:
        grant = replace(
            GRANT, id=f"g-{chance.getrandbits(128):032x}", name=word(chance, 63),
            actions=tuple(word(chance, 63) for _ in range(actions)), request_digest=sha(chance),
            intent_digest=sha(chance), class_digest=sha(chance), policy_digest=sha(chance),
        )  # fmt: skip
        people = {"requester": word(chance, 200), "changed_by": "ada", "sponsor": word(chance, 63)}
        return audit.issue_intent(grant, NOW, people), None

    return make


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(saved, id="savepoints of one task"),
        pytest.param(begun, id="tasks that are new each time"),
        pytest.param(attested, id="pods that are bound"),
        pytest.param(issued(1), id="issues in names that are new each time"),
        pytest.param(issued(30), id="issues of thirty long actions"),
    ],
)
async def test_the_file_grows_by_no_more_than_what_is_charged(tmp_path: Path, make: Make) -> None:
    path, chance = tmp_path / "ledger.db", random.Random(7)
    # The last bundle lies there uncompressed: the first entries bring that, and the tables.
    await write(path, make, chance)
    before = path.stat().st_size

    price = await write(path, make, chance)

    assert path.stat().st_size - before < price


async def write(path: Path, make: Make, chance: random.Random) -> int:
    """Write entries; return what they cost, each for itself alone."""
    ledger, price = opened(path), 0
    for _ in range(ENTRIES // 64):
        made = [make(chance) for _ in range(64)]
        for entry, record in made:
            names = [name for name in entry.people.values() if name != "ada"]
            people = price_of(entry, names) - price_of(entry)
            of_all = ENTRIES_OF_A_GRANT if entry.type is audit.EventType.CREDENTIAL_ISSUE else 1
            price += price_of(entry) // of_all + people
            price += OPENING_BYTES if record and record.task != TASK else 0
        records = {r.task.uid: r for _, r in made if r is not None}
        await ledger.commit(Batch(entries=tuple(e for e, _ in made), tasks=tuple(records.values())))
    ledger.close()
    return price


async def test_a_binding_and_what_tells_of_its_end_cost_no_more_than_is_charged(
    tmp_path: Path,
) -> None:
    path, chance = tmp_path / "ledger.db", random.Random(7)
    await bind(path, chance)  # brings the last bundle, uncompressed, and the tables
    before = path.stat().st_size

    price, pods = await bind(path, chance)
    bound = path.stat().st_size
    ledger = opened(path)
    for at in range(0, ENTRIES, 64):
        some = pods[at : at + 64]
        await ledger.commit(Batch(entries=(audit.pods_forgotten(some, NOW),), unbinds=some))
    ledger.close()

    assert bound - before < price
    assert path.stat().st_size - before < price


async def bind(path: Path, chance: random.Random) -> tuple[int, tuple[str, ...]]:
    """Bind pods to one task, which is then forgotten; return their price, and their UIDs."""
    ledger, price, pods = opened(path), OPENING_BYTES, []
    _, first = attested(chance)
    for _ in range(ENTRIES):
        _, made = attested(chance)
        record = replace(made, task=first.task)
        entry = audit.attested(record, NOW, notice())
        await ledger.commit(Batch(entries=(entry,), tasks=(record,)))
        price += price_of(entry)
        pods.append(record.pod_uid)
    await ledger.commit(Batch(forgets=(first.task.uid,)))
    ledger.close()
    return price, tuple(pods)


def test_one_namespace_alone_needs_more_than_a_month_to_fill_the_default_volume() -> None:
    settings = Settings(namespace="taskpass-system")
    size = yaml.safe_load(CHART.read_text())["ledger"]["size"]
    volume = int(re.fullmatch(r"(\d+)Gi", size)[1]) << 20  # type: ignore[index]

    in_a_month = settings.ledger_namespace_burst_kib + 30 * settings.ledger_namespace_kib_per_day

    assert in_a_month < volume - volume // 32
    assert in_a_month * KIBIBYTE < 1 << 30


def test_the_chart_gives_what_the_settings_say_by_themselves() -> None:
    ledger, settings = yaml.safe_load(CHART.read_text())["ledger"], Settings(namespace="ours")

    assert ledger["taskBurstKiB"] == settings.ledger_task_burst_kib
    assert ledger["taskKiBPerDay"] == settings.ledger_task_kib_per_day
    assert ledger["namespaceBurstKiB"] == settings.ledger_namespace_burst_kib
    assert ledger["namespaceKiBPerDay"] == settings.ledger_namespace_kib_per_day


def test_what_takes_back_costs_nothing_as_what_gave_it_has_paid() -> None:
    grant = replace(GRANT, revoke_reason="PodEnded")

    intent = price_of(audit.issue_intent(grant, NOW))

    assert intent % ENTRIES_OF_A_GRANT == 0
    assert 3000 < intent < 6000
    for paid in (
        audit.issue_result(grant, NOW, notice()),
        audit.issue_failed(grant, NOW, "ProviderRefused"),
        audit.issue_interrupted(grant, NOW),
        audit.delivered(grant, NOW, "secret"),
        audit.revoke_intent(grant, NOW),
        audit.revoke_result(grant, NOW, None),
        audit.forgotten(TaskRecord(task=TASK), 0, NOW),
    ):
        assert price_of(paid) == 0
