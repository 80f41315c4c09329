"""A start looks at the right edge; the rest of the file is looked at while the ledger is used."""

import asyncio
import contextlib
import shutil
import sqlite3
from pathlib import Path

import pytest

from taskpass.ledger.store.sqlite import SqliteLedger
from taskpass.ledger.verify.integrity import examine
from taskpass.ledger.verify.log import verify_database
from taskpass.ports.ledger import Batch
from tests.unit.ledger import objects
from tests.unit.ledger.objects import entry

SIZE = 70_000
"""Two levels of finished tiles, so that most bundles are left of what a start looks at."""


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("original") / "ledger.db"
    asyncio.run(written(path))
    return path


async def written(path: Path) -> None:
    ledger = objects.opened(path)
    number = 0
    while ledger.size < SIZE:
        batches = [
            Batch(entries=tuple(entry(number + 100 * b + i) for i in range(100))) for b in range(20)
        ]
        number += 2000
        await asyncio.gather(*map(ledger.commit, batches))
    ledger.close()


@pytest.fixture
def path(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(original, tmp_path))


DAMAGE = [
    pytest.param("UPDATE bundle SET z = zeroblob(40) WHERE n = 5", "bundle 5", id="a bundle"),
    pytest.param(
        "UPDATE bundle SET z = (SELECT z FROM bundle WHERE n = 6) WHERE n = 5",
        "tile/0/005",
        id="a bundle in the place of another",
    ),
    pytest.param(
        "DELETE FROM bundle WHERE n = 5",
        "bundles of entries are missing",
        id="a bundle that is gone",
    ),
    pytest.param(
        "UPDATE tile SET b = zeroblob(8192) WHERE l = 0 AND n = 7", "tile/0/007", id="tile"
    ),
    pytest.param("DELETE FROM tile WHERE l = 0 AND n = 7", "tile 0/7", id="a tile that is gone"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("statement", "named"), DAMAGE)
async def test_damage_to_the_left_of_the_edge_is_found_after_the_start(
    path: Path, statement: str, named: str
) -> None:
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        assert db.execute(statement).rowcount == 1

    ledger = objects.opened(path)
    found = await ledger.compare()
    ledger.close()

    assert named in found
    assert "restore a copy that `taskpass audit verify` accepts" in found
    assert "\n" not in found


@pytest.mark.slow
async def test_a_damaged_structure_is_found_after_the_start(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    middle = len(raw) // 2 // 4096 * 4096
    raw[middle : middle + 4096] = b"\xff" * 4096
    path.write_bytes(raw)

    assert "is damaged" in examine(path, lambda: False)


async def looked(ledger: SqliteLedger) -> str | None:
    return await ledger.compare() or await ledger.examine()


@pytest.mark.slow
async def test_a_log_that_is_well_is_found_so_while_it_grows(path: Path) -> None:
    ledger = objects.opened(path)

    looking = asyncio.ensure_future(looked(ledger))
    written = 0
    while not looking.done():
        await ledger.commit(Batch(entries=(entry(f"meanwhile {written}"),)))
        written += 1

    assert looking.result() is None
    assert written > 10
    ledger.close()
    assert verify_database(path).size >= SIZE + written


@pytest.mark.slow
async def test_closing_does_not_wait_for_it(path: Path) -> None:
    ledger = objects.opened(path)
    looking = asyncio.ensure_future(looked(ledger))
    await asyncio.sleep(0)

    ledger.close()

    assert await looking is None


async def test_a_file_that_is_gone_is_damage(tmp_path: Path) -> None:
    assert "is damaged (There is no ledger" in examine(tmp_path / "absent.db", lambda: False)
