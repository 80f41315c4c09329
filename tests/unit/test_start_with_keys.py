"""What a start does about the log's key, and what it does about damage that it finds afterwards."""

import base64
import contextlib
import sqlite3
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from taskpass.core.errors import UsageError
from taskpass.flows.context import Modes
from taskpass.ledger.log.key_file import make_seed_file
from taskpass.ledger.log.signing import SeedSigner
from taskpass.ledger.store.read_only import ReadOnlyLedger
from taskpass.ledger.verify.log import verify_database
from taskpass.runtime.background import BackgroundWork
from taskpass.runtime.settings import Settings
from taskpass.runtime.start import seeds_of
from taskpass.server.health import Health, LedgerReason
from tests.unit.kube.scripted_server import Answer, Script, scripted, status_body
from tests.unit.ledger import objects
from tests.unit.ledger.waiting import put, waiting

SECRETS = "/api/v1/namespaces/home/secrets"


def holding(seed: bytes) -> Answer:
    data = {"seed": base64.b64encode(seed).decode()}
    return Answer({"type": "taskpass.dev/signing-key", "data": data})


def secrets(script: Script, **seeds: bytes) -> None:
    """Let Secrets be there by the end of their names; the last one that is asked for is not."""
    for end in ("", "-2", "-3"):
        found = seeds.get(f"key{end.replace('-', '')}")
        absent = Answer(status_body(404, "not found"), 404)
        answer = absent if found is None else holding(found)
        script.on(f"GET {SECRETS}/taskpass-signing-key{end}", answer)


async def test_raising_the_generation_hands_the_log_over_and_the_old_secret_may_then_go(
    tmp_path: Path,
) -> None:
    path, old, new = tmp_path / "ledger.db", bytes([1]) * 32, bytes([2]) * 32
    objects.opened(path, seed=old).close()

    async def start(**present: bytes) -> None:
        async with scripted() as script, script.client() as client:
            secrets(script, **present)
            seed, before = await seeds_of(
                Settings(namespace="home", signing_key_generation=2), client
            )
        previous = None if before is None else SeedSigner(before)
        objects.opened(path, seed=seed, previous=previous).close()

    await start(key=old, key2=new)
    assert len(verify_database(path).keys) == 2
    await start(key2=new)

    report = verify_database(path)
    assert [key.since for key in report.keys] == [0, 3]
    assert report.size == 5


async def test_keys_in_files_need_no_secret(tmp_path: Path) -> None:
    made = [make_seed_file(tmp_path / name) for name in ("now", "before")]
    async with scripted() as script, script.client() as client:
        found = await seeds_of(
            Settings(
                namespace="home",
                signing_key_file=tmp_path / "now",
                signing_key_previous_file=tmp_path / "before",
            ),
            client,
        )

    assert found == tuple(made)
    assert script.requests == []


async def test_a_key_file_that_others_can_read_ends_the_start(tmp_path: Path) -> None:
    make_seed_file(tmp_path / "now")
    (tmp_path / "now").chmod(0o444)
    async with scripted() as script, script.client() as client:
        with pytest.raises(UsageError, match="can be read or changed by others"):
            await seeds_of(Settings(namespace="home", signing_key_file=tmp_path / "now"), client)


def duties(ledger: object) -> BackgroundWork:
    """Return what looks after this ledger; everything else is of no matter here."""
    ports: Any = SimpleNamespace(modes=Modes(issuance_blocked_reason=None))
    opening: Any = SimpleNamespace(whole=lambda: pytest.fail("nothing is written"))
    health = Health(ledger="", lease="", caches="", limits="", watching="", anchor="")
    none: Any = None
    return BackgroundWork(
        settings=none, client=none, ports=ports, ledger=cast(Any, ledger), opening=opening,
        caches=none, queue=none, health=health, events=none, anchoring=none, witnessing=None,
        log_server=None, evaluator=none,
    )  # fmt: skip


async def test_damage_that_is_found_after_the_start_stops_issuing_and_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "ledger.db"
    ledger = objects.opened(path)
    await objects.filled(ledger, 600)
    looked_after = duties(ledger)
    with contextlib.closing(sqlite3.connect(path)) as other, other:
        other.execute("UPDATE bundle SET z = zeroblob(40) WHERE n = 0")

    await looked_after.check_integrity()

    ledger.close()
    assert "bundle 0 is damaged" in looked_after.ports.modes.issuance_blocked_reason
    problem = looked_after.health.ledger
    assert problem is not None
    assert problem.reason is LedgerReason.REVOKING_ONLY
    assert "bundle 0 is damaged" in problem.message
    assert looked_after.ports.modes.unproven
    assert [r.message for r in caplog.records if r.levelname == "ERROR"] == [
        "The ledger does not hold: nothing is issued"
    ]


async def test_a_ledger_that_is_well_holds_nothing_back(tmp_path: Path) -> None:
    ledger = objects.opened(tmp_path / "ledger.db")
    await objects.filled(ledger, 600)
    looked_after = duties(ledger)
    looked_after.ports.modes.unproven = True

    await looked_after.check_integrity()

    ledger.close()
    assert not looked_after.ports.modes.unproven
    assert looked_after.ports.modes.issuance_blocked_reason is None
    assert looked_after.health.ledger is None


async def test_a_file_of_which_nothing_is_recorded_late_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "ledger.db"
    record = await waiting(path)
    put(path, replace(record, phase="deploy"))
    ledger = ReadOnlyLedger.open(
        path, signer=SeedSigner(objects.SEED), cluster_id="3c1f0a9e", why="The disk was full"
    )
    looked_after = duties(ledger)
    looked_after.ports.modes.unproven = True

    for _ in range(2):
        await looked_after.check_integrity()
        await looked_after.record_late()

    ledger.close()
    said = looked_after.health.ledger
    assert said is not None
    assert said.reason is LedgerReason.REVOKING_ONLY
    assert said.message.startswith("The disk was full. Nothing is")
    assert "is not what its log says" in (looked_after.ports.modes.issuance_blocked_reason or "")
    assert looked_after.ports.modes.unproven
    assert [r.message for r in caplog.records if r.levelname == "ERROR"] == [
        "The ledger is not written"
    ]
