"""The log against what the cluster remembers, over fake ports and a real ledger's file."""

import json
import logging
import shutil
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from taskpass.core.audit.anchor import AnchorReason, AnchorReset, Head, IntegrityAlert
from taskpass.core.errors import ApiUnavailable, NotFound, TaskpassError
from taskpass.core.model.conditions import Finding
from taskpass.core.model.entry import Entry
from taskpass.flows.cluster.anchoring import (
    INSTALLATION_SECONDS,
    NOT_MADE_YET,
    POLL_SECONDS,
    Anchoring,
)
from taskpass.ledger.log.reader import reading
from taskpass.ledger.query.history import History
from taskpass.ledger.verify.log import verify_database
from taskpass.ports.audit_log import AnchorState
from taskpass.ports.ledger import Batch
from tests.unit.ledger import objects
from tests.unit.ledger.forging import execute, first_tile_emptied, put_copy_in_place


class FakeAnchor:
    """`ports.LogAnchor` that keeps the schema's rules."""

    def __init__(self) -> None:
        self.head: Head | None = None
        self.finding = Finding(status="", reason="", message="")
        self.figures: Mapping[str, int] = {}
        self.forgotten: AnchorReset | None = None
        self.fails: TaskpassError | None = None
        self.writes = 0

    async def read(self) -> AnchorState:
        if self.fails is not None:
            raise self.fails
        return AnchorState(
            uid="u-1", generation=1, head=self.head, status={},
            forgotten=self.forgotten,
        )  # fmt: skip

    async def write(
        self, seen: AnchorState, head: Head | None, finding: Finding, figures: Mapping[str, int],
        now: datetime,
    ) -> None:  # fmt: skip
        if head is not None and self.head is not None:
            assert (head.origin, head.size >= self.head.size) == (self.head.origin, True)
        self.head, self.finding, self.figures = head or self.head, finding, figures
        self.writes += 1


class FakeEvents:
    def __init__(self) -> None:
        self.posted: list[tuple[str, str]] = []

    async def post(self, *, reason: str, message: str, **rest: Any) -> None:
        assert (rest["kind"], rest["namespace"]) == ("AuditAnchor", "")
        self.posted.append((reason, message))


class FixedClock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return objects.NOW

    def monotonic(self) -> float:
        return self.seconds


class Stage:
    """A ledger that is closed, and what looks at it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.anchor = FakeAnchor()
        self.events = FakeEvents()
        self.concern: IntegrityAlert | None = None
        self.clock = FixedClock()

    async def grow(self, size: int) -> None:
        ledger = objects.opened(self.path)
        await objects.filled(ledger, size)
        ledger.close()

    def anchoring(self, own: Callable[[], Head] | None = None) -> Anchoring:
        """Return it as a start of the operator makes it."""
        return Anchoring(
            self.anchor, History(self.path, own), self.events, self.clock, size=lambda: 0,
            figures=lambda: {"openOperations": 2}, concern=lambda: self.concern,
            record=self.record,
        )  # fmt: skip

    async def record(self, entry: Entry) -> None:
        """Write into the log, as the operator that has it open does."""
        ledger = objects.opened(self.path)
        await ledger.commit(Batch(entries=(entry,)))
        ledger.close()


@pytest.fixture
async def stage(tmp_path: Path) -> Stage:
    made = Stage(tmp_path / "ledger.db")
    await made.grow(300)
    return made


async def test_nothing_may_be_issued_before_the_first_look(stage: Stage) -> None:
    assert "not yet been compared" in stage.anchoring().why


async def test_what_is_there_first_is_believed_and_remembered(stage: Stage) -> None:
    anchoring = stage.anchoring()

    assert await anchoring.compare()
    assert anchoring.why is None
    assert stage.anchor.head is not None
    assert (stage.anchor.head.size, stage.anchor.finding.reason) == (300, "FirstMemory")
    assert stage.anchor.figures == {"openOperations": 2}
    assert [reason for reason, _ in stage.events.posted] == ["FirstMemory"]


async def test_growth_is_remembered_and_makes_no_event(stage: Stage) -> None:
    await stage.anchoring().compare()
    await stage.grow(700)
    anchoring = stage.anchoring()

    assert await anchoring.compare()
    assert stage.anchor.head is not None
    assert (stage.anchor.head.size, anchoring.why) == (700, None)
    assert stage.anchor.finding.reason == "Anchored"
    assert len(stage.events.posted) == 1


async def test_an_older_copy_verifies_alone_and_is_found_by_what_is_remembered(
    stage: Stage,
) -> None:
    older = stage.path.with_name("older.db")
    shutil.copyfile(stage.path, older)
    await stage.grow(500)
    await stage.anchoring().compare()
    shutil.copyfile(older, stage.path)
    anchoring = stage.anchoring()

    assert verify_database(stage.path).size == 300
    assert await anchoring.compare()
    assert "The log has 300 entries, and had 500" in anchoring.why
    assert stage.anchor.finding.reason == AnchorReason.AUDIT_ROLLBACK
    assert stage.anchor.head is not None
    assert stage.anchor.head.size == 500
    assert stage.events.posted[-1][0] == "AuditRollback"


async def test_a_fork_signed_with_the_real_key_is_found_though_it_is_longer(stage: Stage) -> None:
    fork = stage.path.with_name("fork.db")
    shutil.copyfile(stage.path, fork)
    await stage.grow(310)
    await stage.anchoring().compare()
    ledger = objects.opened(fork)
    await ledger.commit(objects.Batch(entries=(objects.entry("another"),)))
    await objects.filled(ledger, 400)
    ledger.close()
    shutil.copyfile(fork, stage.path)
    anchoring = stage.anchoring()

    assert verify_database(stage.path).size == 400
    await anchoring.compare()
    assert "first 310 entries are not those that are remembered" in anchoring.why
    assert stage.anchor.finding.reason == AnchorReason.AUDIT_FORK


async def test_a_log_that_was_made_anew_is_not_the_one_that_is_remembered(stage: Stage) -> None:
    await stage.anchoring().compare()
    stage.path.unlink()
    await stage.grow(400)
    anchoring = stage.anchoring()

    await anchoring.compare()

    assert "is remembered" in anchoring.why
    assert stage.anchor.finding.reason == AnchorReason.AUDIT_FORK


async def test_a_found_rollback_is_told_once_and_goes_with_its_reason(stage: Stage) -> None:
    newer = stage.path.with_name("newer.db")
    shutil.copyfile(stage.path, stage.path.with_name("older.db"))
    await stage.grow(500)
    shutil.copyfile(stage.path, newer)
    await stage.anchoring().compare()
    shutil.copyfile(stage.path.with_name("older.db"), stage.path)
    anchoring = stage.anchoring()
    await anchoring.compare()
    await anchoring.compare()
    told = len(stage.events.posted)

    shutil.copyfile(newer, stage.path)
    await anchoring.compare()

    assert told == 2
    assert anchoring.why is None


async def test_without_an_anchor_nothing_may_be_issued_and_the_remedy_is_named(
    stage: Stage,
) -> None:
    anchoring = stage.anchoring()
    await anchoring.compare()
    stage.anchor.fails = NotFound("auditanchors 'taskpass' not found")

    assert not await anchoring.compare()
    assert "AuditAnchor 'taskpass' is missing" in anchoring.why
    assert anchoring.missing


async def test_an_installation_that_has_not_made_its_anchor_yet_is_no_alarm_for_a_minute(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "taskpass")
    anchoring = stage.anchoring()
    stage.anchor.fails = NotFound("auditanchors 'taskpass' not found")

    await anchoring.compare()
    await anchoring.compare()
    early = [(r.levelname, r.message) for r in caplog.records]
    held = anchoring.why
    stage.clock.seconds += INSTALLATION_SECONDS
    await anchoring.compare()

    assert early == [("INFO", "Waiting for the AuditAnchor")]
    assert held == NOT_MADE_YET
    assert caplog.records[-1].levelname == "ERROR"
    assert "AuditAnchor 'taskpass' is missing" in (anchoring.why or "")


async def test_an_api_server_that_is_away_changes_nothing(stage: Stage) -> None:
    anchoring = stage.anchoring()
    await anchoring.compare()
    stage.anchor.fails = ApiUnavailable("no answer")

    assert not await anchoring.compare()
    assert anchoring.why is None


async def test_little_room_is_told_and_does_not_stop_issuing(stage: Stage) -> None:
    said = "The ledger's volume has 10 MiB left of 1,024 MiB"
    stage.concern = IntegrityAlert(AnchorReason.LEDGER_VOLUME_TIGHT, said)
    anchoring = stage.anchoring()
    await anchoring.compare()

    assert anchoring.why is None
    assert stage.anchor.head is not None
    assert stage.anchor.finding.reason == AnchorReason.LEDGER_VOLUME_TIGHT
    assert stage.events.posted[-1] == ("LedgerVolumeTight", said)


async def test_hardly_any_room_stops_issuing_and_what_is_revoked_is_remembered(
    stage: Stage,
) -> None:
    anchoring = stage.anchoring()
    await anchoring.compare()
    stage.concern = IntegrityAlert(
        AnchorReason.LEDGER_VOLUME_FULL, "what is left is kept for revocations"
    )
    await stage.grow(310)

    await anchoring.compare()

    assert anchoring.why == "what is left is kept for revocations"
    assert stage.anchor.head is not None
    assert (stage.anchor.head.size, anchoring.remembered) == (310, 310)
    stage.concern = None
    await anchoring.compare()
    assert (anchoring.why, stage.anchor.finding.status) == (None, "True")


async def test_a_fork_that_a_witness_has_proven_stops_issuing_and_nothing_is_remembered(
    stage: Stage,
) -> None:
    anchoring = stage.anchoring()
    await anchoring.compare()
    stage.concern = IntegrityAlert(AnchorReason.AUDIT_FORK, "Witness 'w1' has another")
    await stage.grow(310)

    await anchoring.compare()

    assert anchoring.why == "Witness 'w1' has another"
    assert (stage.anchor.finding.status, stage.anchor.finding.reason) == ("False", "AuditFork")
    assert stage.anchor.head is not None
    assert (stage.anchor.head.size, anchoring.remembered) == (300, 300)


async def test_what_a_person_had_it_forget_is_in_the_log_before_it_is_remembered(
    stage: Stage,
) -> None:
    was = Head(origin="audit.taskpass.dev/c-1/log-1", size=900, root=bytes([5]) * 32)
    stage.anchor.forgotten = AnchorReset(reason="volume lost", head=was)
    anchoring = stage.anchoring()

    await anchoring.compare()
    await anchoring.compare()

    told = [e for e in entries(stage.path) if e["type"] == "dev.taskpass.log.re_origin"]
    assert [e["data"]["forgot"] for e in told] == [
        {"origin": "audit.taskpass.dev/c-1/log-1", "size": 900, "root": "05" * 32}
    ]
    assert told[0]["data"]["reason"] == "volume lost"
    assert stage.anchor.head is not None
    assert stage.anchor.head.size > 301


def entries(path: Path) -> list[dict[str, Any]]:
    with reading(path) as log:
        return [json.loads(body) for body in log.entries()]


async def test_a_loop_remembers_what_grows_and_leaves_what_does_not(stage: Stage) -> None:
    anchoring = stage.anchoring()

    first = await anchoring.once()
    anchoring._size = lambda: anchoring.remembered
    second = await anchoring.once()

    assert first == second == timedelta(seconds=POLL_SECONDS)
    assert stage.anchor.writes == 1


@pytest.mark.parametrize("edit", ["root = zeroblob(32)", "size = 1000000"])
async def test_what_is_remembered_is_what_was_signed_and_no_column(stage: Stage, edit: str) -> None:
    ledger = objects.opened(stage.path)
    anchoring = stage.anchoring()
    execute(stage.path, f"UPDATE head SET {edit}")

    await anchoring.compare()
    remembered = stage.anchor.head
    root = ledger.root.hex()
    execute(stage.path, f"UPDATE head SET size = {ledger.size}, root = x'{root}'")
    await anchoring.compare()

    ledger.close()
    assert remembered is None or remembered.root == ledger.root
    assert (anchoring.why, stage.anchor.head and stage.anchor.head.size) == (None, ledger.size)


async def test_another_file_in_the_ledgers_place_is_told_and_shows_nothing_of_the_log(
    stage: Stage,
) -> None:
    ledger = objects.opened(stage.path)
    anchoring = stage.anchoring(ledger.head)
    await anchoring.compare()
    put_copy_in_place(stage.path)

    await ledger.commit(Batch(entries=(objects.entry("next"),)))
    done = await anchoring.compare()

    told, found = anchoring.why, stage.anchor.finding
    ledger.close()
    stage.path.unlink()
    await anchoring.compare()
    assert not done
    assert "is not the file that the log is written to, or was edited: it has 301" in told
    assert (found.reason, stage.anchor.head and stage.anchor.head.size) == ("FirstMemory", 301)
    assert "There is no ledger at" in anchoring.why


async def test_an_edited_tile_is_told_and_is_no_fork(stage: Stage) -> None:
    await stage.grow(270)
    anchoring = stage.anchoring()
    await anchoring.compare()
    await stage.grow(600)
    with first_tile_emptied(stage.path):
        await anchoring.compare()
        told, found = anchoring.why, stage.anchor.finding.reason

    await anchoring.compare()

    assert "The log cannot be held against what is remembered of it" in told
    assert (found, stage.anchor.finding.reason, anchoring.why) == ("FirstMemory", "Anchored", None)
