"""A program that shares no code with us accepts what we write, and refuses what was changed."""

import asyncio
import shutil
import subprocess
from pathlib import Path

import pytest

from e2e.cluster import tools
from taskpass.ledger.export import export
from taskpass.ports import Batch
from tests.unit.ledger import objects

SIZE = 600


@pytest.fixture(scope="module")
def tpverify() -> Path:
    return tools.tpverify()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with an export, and checkpoints from the way there and from a fork."""
    place = tmp_path_factory.mktemp("log")
    asyncio.run(_written(place))
    export(place / "ledger.db", place / "export")
    return place


async def _written(place: Path) -> None:
    path = place / "ledger.db"
    for size, name in ((1, "kept-first"), (300, "kept"), (SIZE, "newest")):
        ledger = objects.opened(path)
        await objects.filled(ledger, size)
        (place / name).write_text(ledger.note())
        ledger.close()
        if name == "kept":
            shutil.copyfile(path, place / "fork.db")
    ledger = objects.opened(place / "fork.db")
    await ledger.commit(Batch(entries=(objects.entry("another"),)))
    await objects.filled(ledger, SIZE - 100)
    (place / "forked").write_text(ledger.note())
    await objects.filled(ledger, SIZE + 1)
    (place / "newer").write_text(ledger.note())
    ledger.close()


def run(tpverify: Path, *arguments: Path) -> subprocess.CompletedProcess[str]:
    command = [str(tpverify), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_an_export_is_accepted_and_the_missing_memory_is_named(tpverify: Path, place: Path) -> None:
    done = run(tpverify, place / "export", place / "export/vkey")

    assert done.returncode == 0, done.stderr
    assert f"OK size {SIZE} root " in done.stdout
    assert "rollback and fork NOT excluded" in done.stdout


@pytest.mark.parametrize("name", ["kept-first", "kept", "newest"])
def test_an_export_is_accepted_against_what_was_kept(
    tpverify: Path, place: Path, name: str
) -> None:
    done = run(tpverify, place / "export", place / "export/vkey", place / name)

    assert done.returncode == 0, done.stderr
    assert "NOT excluded" not in done.stdout


@pytest.mark.parametrize(("name", "said"), [("forked", "FORK"), ("newer", "ROLLBACK")])
def test_an_export_is_refused_against_another_memory(
    tpverify: Path, place: Path, name: str, said: str
) -> None:
    done = run(tpverify, place / "export", place / "export/vkey", place / name)

    assert done.returncode == 1
    assert said in done.stderr


def test_a_flipped_bit_in_any_byte_is_refused(tpverify: Path, place: Path) -> None:
    files = [place / "export/checkpoint", *(place / "export/tile").rglob("*")]
    size = sum(file.stat().st_size for file in files if file.is_file())

    done = run(tpverify, Path("-flips"), place / "export", place / "export/vkey")

    assert done.returncode == 0, done.stderr[:500]
    assert done.stdout == f"{size} bits flipped, 0 accepted\n"
    assert size > 200_000


def test_the_test_of_flipped_bits_notices_a_log_that_was_changed(
    tpverify: Path, place: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(place / "export", tmp_path / "copy"))
    bundle = copy / "tile/entries/000"
    bundle.write_bytes(bundle.read_bytes().replace(b"success", b"failure", 1))

    done = run(tpverify, Path("-flips"), copy, copy / "vkey")

    assert (done.returncode, done.stdout) == (1, "")
    assert "REFUSED untouched: entry " in done.stderr


@pytest.mark.parametrize(
    "name", ["checkpoint", "tile/0/002.p/88", "tile/1/000.p/2", "tile/entries/000"]
)
def test_a_file_that_is_missing_is_refused(
    tpverify: Path, place: Path, tmp_path: Path, name: str
) -> None:
    copy = Path(shutil.copytree(place / "export", tmp_path / "copy"))
    (copy / name).unlink()

    assert run(tpverify, copy, copy / "vkey").returncode == 1


def test_the_commands_of_the_export_for_openssl_hold(place: Path, tmp_path: Path) -> None:
    """VERIFY.md is tested text."""
    copy = Path(shutil.copytree(place / "export", tmp_path / "copy"))
    text = (copy / "VERIFY.md").read_text()
    _, _, after = text.partition("The signature alone")
    script = "\n".join(line[4:] for line in after.splitlines() if line.startswith("    "))
    good = subprocess.run(["sh", "-ec", script], cwd=copy, capture_output=True, text=True)
    (copy / "checkpoint").write_text(
        (copy / "checkpoint").read_text().replace("\n600\n", "\n601\n")
    )
    bad = subprocess.run(["sh", "-ec", script], cwd=copy, capture_output=True, text=True)

    assert (good.returncode, good.stdout) == (0, "Signature Verified Successfully\n"), good.stderr
    assert bad.returncode != 0
