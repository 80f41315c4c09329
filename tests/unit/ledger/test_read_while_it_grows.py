"""A log that is read over HTTPS grows while it is verified, and that is no tampering."""

from pathlib import Path

import pytest

from taskpass.ledger.export.directory import export
from taskpass.ledger.export.files import Absent, FileReader
from taskpass.ledger.export.served import served
from taskpass.ledger.log.reader import TamperEvidence
from taskpass.ledger.log.signing import SeedSigner
from taskpass.ledger.verify.log import verify_directory, verify_files
from tests.unit.ledger import objects
from tests.unit.ledger.objects import SEED

NEXT = bytes([8]) * 32


def read_from(path: Path, before: dict[str, bytes]) -> FileReader:
    """Answer as `server/audit_log.py` does; what was read before the log had grown, as then."""

    def read(name: str) -> bytes:
        found = before.pop(name, None) or served(path, name)
        if found is None:
            raise Absent(name)
        return found

    return FileReader(read)


async def cosigned(path: Path, size: int) -> None:
    ledger = objects.opened(path)
    await objects.filled(ledger, size)
    await ledger.keep_cosigned(ledger.size, ledger.note())
    ledger.close()


def of_now(path: Path, *names: str) -> dict[str, bytes]:
    return {name: served(path, name) or b"" for name in names}


async def test_a_log_that_its_witnesses_have_cosigned_is_verified_from_afar(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    await cosigned(path, 320)

    assert verify_files(read_from(path, {})).size == 320


async def test_witnesses_who_cosign_a_log_while_it_is_verified_from_afar_show_no_rollback(
    tmp_path: Path,
) -> None:
    path = tmp_path / "ledger.db"
    await cosigned(path, 300)
    first = of_now(path, "checkpoint")
    await cosigned(path, 320)

    assert verify_files(read_from(path, first)).size == 320


@pytest.mark.parametrize("read", [("checkpoint",), ("checkpoint", "keys")])
async def test_nor_does_a_key_that_is_handed_over_meanwhile(
    tmp_path: Path, read: tuple[str, ...]
) -> None:
    path = tmp_path / "ledger.db"
    await cosigned(path, 300)
    first = of_now(path, *read)
    ledger = objects.opened(path, seed=NEXT, previous=SeedSigner(SEED))
    size = ledger.size
    ledger.close()

    report = verify_files(read_from(path, first))

    assert (report.size, len(report.keys)) == (size, 2)


async def test_an_export_that_is_older_than_what_lies_with_it_was_rolled_back(
    tmp_path: Path,
) -> None:
    """What does not grow stays what it is, however often it is read."""
    path, older, newer = tmp_path / "ledger.db", tmp_path / "older", tmp_path / "newer"
    await cosigned(path, 300)
    export(path, older)
    await cosigned(path, 320)
    export(path, newer)
    (older / "cosigned").write_bytes((newer / "cosigned").read_bytes())

    with pytest.raises(TamperEvidence, match="ROLLBACK"):
        verify_directory(older)
