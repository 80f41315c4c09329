"""What an operator does when it is asked beside its ledger: erase a person, drop old entries."""

import asyncio
import json
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from click.testing import CliRunner, Result

from taskpass.cli.audit import audit
from taskpass.core.audit import events as entries
from taskpass.flows.context import Modes
from taskpass.ledger.log.reader import reading
from taskpass.ledger.maintain.requests import place_of
from taskpass.ledger.store.sqlite import SqliteLedger
from taskpass.ledger.verify.log import verify_database, verify_directory
from taskpass.ports.ledger import Batch
from taskpass.runtime.background import BackgroundWork
from taskpass.server.health import Health, LedgerReason
from tests.unit.ledger import objects
from tests.unit.ledger.test_taken_away import first_bundle_taken_away
from tests.unit.ledger.waiting import LEA, put, waiting


def duties(path: Path, ledger: SqliteLedger) -> BackgroundWork:
    """Return what answers requests; everything else is of no matter here."""
    none: Any = None
    ports: Any = SimpleNamespace(modes=Modes(issuance_blocked_reason=None), now=lambda: objects.NOW)
    settings: Any = SimpleNamespace(ledger_path=path)
    return BackgroundWork(
        settings=settings, client=none, ports=ports, ledger=cast(Any, ledger), opening=none,
        caches=none, queue=none, health=Health(), events=none, anchoring=none, witnessing=None,
        log_server=None, evaluator=none,
    )  # fmt: skip


async def asked(path: Path, ledger: SqliteLedger, *command: str) -> Result:
    """Run a command beside an operator that has the ledger open."""
    results: list[Result] = []
    words = [*command, "--db", str(path)]
    asking = threading.Thread(target=lambda: results.append(CliRunner().invoke(audit, words)))
    answering = duties(path, ledger)
    asking.start()
    while asking.is_alive():
        await answering.answer_requests()
        await asyncio.sleep(0.01)
    return results[0]


async def test_old_entries_go_while_the_operator_runs(tmp_path: Path) -> None:
    path, archive = tmp_path / "ledger.db", tmp_path / "archive"
    ledger = objects.opened(path)
    await objects.filled(ledger, 600)

    done = await asked(path, ledger, "prune", "--before", "550", "--archive", str(archive))
    again = await asked(path, ledger, "prune", "--before", "550", "--archive", str(archive))

    (index,) = await ledger.commit(Batch(entries=(objects.entry("after"),)))
    ledger.close()
    assert done.exit_code == 0, done.output
    assert done.output == f"Dropped; entry 600 says what. The archive is in {archive}\n"
    assert again.exit_code == 2
    assert again.stderr == "Error: It was refused: There is nothing to drop\n"
    assert (index, verify_database(path).pruned) == (601, 512)
    assert verify_directory(archive).bodies == (0, 512)
    assert list(place_of(path).iterdir()) == []


async def test_entries_that_are_taken_away_while_it_compares_are_not_dropped_but_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, archive = tmp_path / "ledger.db", tmp_path / "archive"
    ledger = objects.opened(path)
    await objects.filled(ledger, 600)
    answering = duties(path, ledger)
    answering.health.ledger = None
    really = SqliteLedger.compare

    async def edited_after(own: SqliteLedger) -> str | None:
        found = await really(own)
        first_bundle_taken_away(path)
        return found

    monkeypatch.setattr(SqliteLedger, "compare", edited_after)
    place_of(path).mkdir()
    request = {"do": "prune", "before": "512", "archive": str(archive)}
    (place_of(path) / "x.json").write_text(json.dumps(request))

    await answering.answer_requests()

    told = (place_of(path) / "x.answer").read_text()
    size = ledger.size
    ledger.close()
    assert "Nothing was dropped" in told
    assert "no entry says that they were pruned" in told
    assert answering.ports.modes.unproven
    assert size == 600


async def test_a_person_is_erased_while_the_operator_runs(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    ledger = objects.opened(path)
    intent = entries.issue_intent(objects.GRANT, objects.NOW, {"requester": "jane"})
    await ledger.commit(Batch(entries=(intent,), grants=(objects.GRANT,)))

    done = await asked(path, ledger, "erase", "--subject", "jane", "--json")
    nobody = await asked(path, ledger, "erase", "--subject", "jane")

    ledger.close()
    index = json.loads(done.output)["index"]
    with reading(path) as log:
        assert b"privacy.erase" in log.entry(index)
    assert (nobody.exit_code, nobody.stderr) == (1, "Nothing is known of them\n")


async def test_a_difference_that_a_request_finds_counts_as_one_that_a_start_finds(
    tmp_path: Path,
) -> None:
    path = tmp_path / "ledger.db"
    record = await waiting(path)
    put(path, replace(record, phase="deploy"))
    ledger = objects.opened(path)
    answering = duties(path, ledger)
    answering.health.ledger = None
    place_of(path).mkdir()
    (place_of(path) / "x.json").write_text(f'{{"do": "erase", "subject": "{LEA}"}}')

    await answering.answer_requests()
    told = (place_of(path) / "x.answer").read_text()
    modes, health = answering.ports.modes, answering.health.ledger
    found = modes.unproven, modes.issuance_blocked_reason
    put(path, record)
    await answering.check_integrity()

    ledger.close()
    assert "Nothing was done" in told
    assert found[0]
    assert "is not what its log says" in (found[1] or "")
    assert health is not None
    assert health.reason is LedgerReason.REVOKING_ONLY
    assert modes.unproven  # an edit that is undone is undone too late
