"""A program that shares no code with us accepts what we write, and refuses what was changed."""

import asyncio
import shutil
import subprocess
from pathlib import Path

import pytest

from e2e.cluster import tools
from taskpass.ledger.export.directory import export
from taskpass.ledger.log.signing import SeedSigner
from taskpass.ledger.maintain.prune import Limit, prune
from taskpass.ports.ledger import Batch
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


@pytest.fixture(scope="module")
def pruned(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an export whose key has changed, and whose first two bundles are pruned."""
    directory = tmp_path_factory.mktemp("pruned")
    path = Path(shutil.copy(place / "ledger.db", directory))
    other = SeedSigner(bytes([8]) * 32)
    before = SeedSigner(objects.SEED)
    objects.opened(path, seed=bytes([8]) * 32, previous=before).close()
    done = prune(path, Limit(before=550), directory / "archive", other, objects.NOW)
    assert done.min_index == 512
    export(path, directory / "export")
    keys = [line.split()[1] for line in (directory / "export/keys").read_text().splitlines()]
    (directory / "vkeys").write_text("\n".join(reversed(keys)) + "\n")
    return directory


def test_a_pruned_export_of_two_keys_is_accepted_against_what_the_first_signed(
    tpverify: Path, place: Path, pruned: Path
) -> None:
    alone = run(tpverify, pruned / "export", pruned / "export/vkey")
    against = run(tpverify, pruned / "export", pruned / "vkeys", place / "kept")
    fork = run(tpverify, pruned / "export", pruned / "vkeys", place / "forked")

    assert alone.returncode == 0, alone.stderr
    assert "bodies absent by policy 0..511" in alone.stdout
    assert against.returncode == 0, against.stderr
    assert (fork.returncode, "FORK" in fork.stderr) == (1, True)


def test_the_first_key_alone_does_not_open_what_the_second_signed(
    tpverify: Path, pruned: Path, tmp_path: Path
) -> None:
    """A key that was replaced is no key of the head."""
    (tmp_path / "first").write_text((pruned / "vkeys").read_text().splitlines()[1])

    done = run(tpverify, pruned / "export", tmp_path / "first")

    assert (done.returncode, "checkpoint" in done.stderr) == (1, True)


@pytest.mark.parametrize("name", ["tile/entries/000", "tile/entries/001"])
def test_entries_that_no_entry_tells_of_may_not_be_absent(
    tpverify: Path, place: Path, tmp_path: Path, name: str
) -> None:
    copy = Path(shutil.copytree(place / "export", tmp_path / "copy"))
    (copy / name).unlink()

    done = run(tpverify, copy, copy / "vkey")

    assert done.returncode == 1
    assert "absent, and no entry says" in done.stderr or "no such file" in done.stderr


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
