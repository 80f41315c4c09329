"""Nobody goes on with a log by a key of their own: an entry alone hands over nothing."""

import asyncio
import contextlib
import shutil
import sqlite3
import zlib
from pathlib import Path

import pytest
from click.testing import CliRunner

from taskpass.cli.audit import audit, look
from taskpass.core.audit.anchor import AnchorReason, Head
from taskpass.ledger.log.entry_filter import Query
from taskpass.ledger.log.reader import TamperEvidence, reading
from taskpass.ledger.log.signing import SeedSigner
from taskpass.ledger.maintain.rotate import rotate
from taskpass.ledger.query.history import History
from taskpass.ledger.verify.follow import Follower
from taskpass.ledger.verify.log import verify_database
from taskpass.ledger.verify.proven import LogLocation, proven
from taskpass.tlog import tiles
from taskpass.tlog.checkpoint import PublicKey, parse_body, parse_note
from tests.unit.ledger import objects
from tests.unit.ledger.forging import gone_on

OURS, THEIRS = SeedSigner(objects.SEED), SeedSigner(bytes(32))
HANDOVERS = ["none", "mine", "the log's checkpoint of before"]


@pytest.fixture(scope="module", params=[20, 300])
def original(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """Return a ledger whose first entries are rows, or in a bundle."""
    path = tmp_path_factory.mktemp("original") / "ledger.db"

    async def write() -> None:
        ledger = objects.opened(path)
        await objects.filled(ledger, request.param)
        ledger.close()

    asyncio.run(write())
    return path


@pytest.fixture
def path(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(original, tmp_path / "ledger.db"))


def note_of(path: Path) -> str:
    with reading(path) as log:
        return log.note


def forged(path: Path, handover: str) -> None:
    gone_on(path, THEIRS, handover=note_of(path) if " " in handover else handover)


def remembered(path: Path) -> Head:
    head = parse_body(parse_note(note_of(path))[0])
    return Head(origin=head.origin, size=head.size, root=head.root)


def following(path: Path) -> Follower:
    with proven(LogLocation(database=path)) as log:
        return Follower(path, Query(), log.replay)


@pytest.mark.parametrize("handover", HANDOVERS)
def test_what_another_key_goes_on_with_is_not_followed(path: Path, handover: str) -> None:
    follower = following(path)
    forged(path, handover)

    with pytest.raises(TamperEvidence, match=r"handed over|the handover"):
        follower.grown()


def test_nobody_who_follows_is_shown_an_entry_that_the_logs_key_has_not_signed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(look.time, "sleep", lambda _: forged(path, "mine"))

    done = CliRunner().invoke(audit, ["tail", "-f", "-n", "0", "--db", str(path)])

    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1].startswith("TAMPER EVIDENCE: the handover at size")


def test_who_follows_goes_on_after_a_handover_by_both_keys(path: Path) -> None:
    follower, before = following(path), note_of(path)
    rotate(path, OURS, THEIRS, reason="yearly", now=objects.NOW)

    assert len(follower.grown()) == 2
    assert follower.grown() == []
    assert verify_database(path, against=[before]).size == remembered(path).size


def test_the_checkpoint_of_a_handover_is_of_the_log_that_is_followed(path: Path) -> None:
    """The log's key may have handed over in a copy; that is not the handover of this log."""
    copy = Path(shutil.copy(path, path.with_name("copy.db")))
    rotate(copy, OURS, THEIRS, reason="of the copy", now=objects.NOW)
    with reading(copy) as log:
        (note,) = log.handovers().values()
    follower = following(path)
    gone_on(path, THEIRS, handover=note)

    with pytest.raises(TamperEvidence, match="is not what its keys have signed"):
        follower.grown()


@pytest.mark.parametrize("handover", HANDOVERS)
def test_what_another_key_goes_on_with_is_not_called_grown_from_what_is_remembered(
    path: Path, handover: str
) -> None:
    head = remembered(path)
    forged(path, handover)

    with pytest.raises(TamperEvidence):
        History(path).compared(head)


def test_the_first_entry_names_the_key_only_where_it_is_under_the_checkpoint(path: Path) -> None:
    """Another one in its place, and a checkpoint by its key over the hashes that are there."""
    head = remembered(path)
    forged(path, "none")
    ours, theirs = (PublicKey(head.origin, each.public_key).vkey() for each in (OURS, THEIRS))
    with reading(path) as log:
        first, *rest = log.bundle(0)
    taken = first.replace(ours.encode(), theirs.encode())
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE entry SET body = ? WHERE seq = 0", (taken,))
        packed = zlib.compress(tiles.pack([taken, *rest]))
        db.execute("UPDATE bundle SET z = ? WHERE n = 0", (packed,))

    with pytest.raises(TamperEvidence, match="entry 0 is not under the checkpoint"):
        History(path).compared(head)


def test_a_log_that_was_handed_over_is_grown_from_what_was_remembered_before(path: Path) -> None:
    head = remembered(path)
    rotate(path, OURS, THEIRS, reason="yearly", now=objects.NOW)

    now, reason, _ = History(path).compared(head)

    assert (now.size, reason) == (head.size + 2, AnchorReason.ANCHORED)
