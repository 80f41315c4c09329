"""What is said of the volume under the ledger."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskpass.core.model.diagnosis import Level
from taskpass.ledger.store import lockfile as place
from taskpass.ledger.store import volume


def test_a_directory_with_room_is_well_and_nothing_is_left_in_it(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_bytes(bytes(3 << 20))

    said = volume.examine(tmp_path / "ledger.db")

    assert said.level is Level.OK
    assert said.what.startswith("3 MiB used by the ledger, ")
    assert [p.name for p in tmp_path.iterdir()] == ["ledger.db"]


def test_the_room_is_found_out_once_a_second_however_often_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(volume.time, "monotonic", lambda: now[0])
    ledger = tmp_path / "ledger.db"
    recent = volume.RecentFreeSpace(ledger)

    assert recent().used == 0
    ledger.write_bytes(bytes(4096))
    now[0] += 0.9
    assert recent().used == 0
    now[0] += 0.1
    assert recent().used == 4096


def test_a_directory_that_is_not_there_fails(tmp_path: Path) -> None:
    said = volume.examine(tmp_path / "absent/ledger.db")

    assert said.level is Level.FAILED
    assert said.remedy == "mount the ledger's volume"


def test_a_network_file_system_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"1 0 0:1 / {tmp_path} rw - nfs4 server:/export rw\n")
    monkeypatch.setattr(place, "_MOUNTS", mounts)

    said = volume.examine(tmp_path / "ledger.db")

    assert (said.level, said.what) == (Level.FAILED, "it is on a network file system")
    assert "use a volume on a block device" in said.remedy


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """Return a directory on a file system of its own, of 20 MiB."""
    directory = tmp_path / "volume"
    directory.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", str(directory)], capture_output=True
    )
    if made.returncode:
        pytest.skip("NOT RUN: it mounts a file system, and needs root")
    yield directory
    subprocess.run(["umount", "-l", str(directory)], check=True)


def test_little_room_is_told_before_there_is_none(small: Path) -> None:
    roomy = volume.examine(small / "ledger.db")
    (small / "filler").write_bytes(bytes(10 << 20))
    tight = volume.examine(small / "ledger.db")

    assert (roomy.level, roomy.what) == (
        Level.WARNING,
        "0 MiB used by the ledger, 20 MiB free",
    )
    assert (tight.level, tight.what) == (Level.FAILED, "0 MiB used by the ledger, 10 MiB free")


def test_a_full_volume_fails_in_the_words_of_the_disk(small: Path) -> None:
    with (small / "filler").open("wb", buffering=0) as file:
        with contextlib.suppress(OSError):
            while file.write(bytes(1 << 20)):
                pass

    said = volume.examine(small / "ledger.db")

    assert said.level is Level.FAILED
    assert said.what.endswith("could not be written (No space left on device)")
    assert [p.name for p in small.iterdir()] == ["filler"]


def test_a_volume_that_was_mounted_read_only_fails(small: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)

    said = volume.examine(small / "ledger.db")

    assert said.level is Level.FAILED
    assert said.what.endswith("could not be written (Read-only file system)")


def test_room_counts_the_write_ahead_log_and_forgives_what_is_gone(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_bytes(bytes(1000))
    (tmp_path / "ledger.db-wal").write_bytes(bytes(24))

    assert volume.disk_usage(tmp_path / "ledger.db").used == 1024
    assert volume.disk_usage(tmp_path / "absent/ledger.db") == volume.DiskUsage(
        used=0, journal=0, free=0, whole=0
    )
