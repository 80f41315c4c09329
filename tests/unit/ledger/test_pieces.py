"""Several processes share the work of verification, and find what one finds."""

import asyncio
import contextlib
import shutil
import sqlite3
from pathlib import Path

import pytest

from taskpass.ledger.export.directory import export
from taskpass.ledger.export.files import in_directory
from taskpass.ledger.log.reader import Source, TamperEvidence, reading
from taskpass.ledger.verify.bundles import Bundles
from taskpass.ledger.verify.parallel import in_parallel
from taskpass.tlog.checkpoint import parse_body, parse_note
from tests.unit.ledger import objects

pytestmark = pytest.mark.slow
SIZE = 3000


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("original")
    asyncio.run(written(place / "ledger.db"))
    export(place / "ledger.db", place / "export")
    return place


async def written(path: Path) -> None:
    ledger = objects.opened(path)
    await objects.story(ledger)
    await objects.issue(ledger, objects.another(2))
    await objects.filled(ledger, SIZE)
    ledger.close()


def own(source: Source, *wanted: int) -> Bundles:
    origin = parse_body(parse_note(source.note)[0]).origin
    return Bundles(source, origin, frozenset(wanted))


@pytest.mark.parametrize("name", ["ledger.db", "export"])
def test_what_several_read_is_what_one_reads(original: Path, name: str) -> None:
    path = original / name
    with contextlib.ExitStack() as stack:
        source = in_directory(path) if path.is_dir() else stack.enter_context(reading(path))
        pieces = own(source, 700)

        with in_parallel(path, pieces, large=0) as shared:
            found = list(shared)

        assert found == list(pieces.all())
    assert [piece.start for piece in found] == list(range(0, SIZE, 256))
    assert [piece.start for piece in found if piece.leaves] == [512, 2816]


def test_what_one_of_several_finds_is_told(original: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(original / "ledger.db", tmp_path))
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE idx SET time = '2020' WHERE seq = 1500")

    with reading(path) as log, in_parallel(path, own(log), large=0) as shared:
        with pytest.raises(TamperEvidence, match="the index does not say of the entries from 1280"):
            list(shared)


async def test_a_log_that_grows_meanwhile_is_read_as_it_was(original: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(original / "ledger.db", tmp_path))
    with reading(path) as log:
        ledger = objects.opened(path)
        await objects.filled(ledger, SIZE + 600)

        with in_parallel(path, own(log), large=0) as shared:
            found = list(shared)

        ledger.close()
        assert sum(len(piece.leaves) or 256 for piece in found) == log.size == SIZE
