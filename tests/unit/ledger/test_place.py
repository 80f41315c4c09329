"""One process has the ledger, and not on a network file system."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from taskpass.core.errors import LedgerError, LedgerLocked, LedgerUnwritable
from taskpass.ledger.maintain.requests import place_of
from taskpass.ledger.store import lockfile as place
from tests.unit.ledger import objects

MOUNTS = """\
21 1 8:1 / / rw - ext4 /dev/root rw
40 21 0:50 / /var/lib/taskpass rw - nfs4 server:/x rw
41 21 0:51 / /var/lib/task rw - fuse.sshfs x rw
42 21 0:52 / /mnt/with\\040space rw shared:1 - cifs //x rw
43 21 8:2 / /covered rw - nfs x rw
44 21 8:2 / /covered rw - xfs /dev/b rw
45 21 8:3 / /covered/deeper rw - fuseblk /dev/c rw
nonsense
"""


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/ledger.db", "ext4"),
        ("/var/lib/taskpass/ledger.db", "nfs4"),
        ("/var/lib/task/ledger.db", "fuse.sshfs"),
        ("/var/lib/taskpassing/ledger.db", "ext4"),
        ("/mnt/with space/ledger.db", "cifs"),
        ("/covered/ledger.db", "xfs"),
        ("/covered/deeper/ledger.db", "fuseblk"),
    ],
)
def test_the_file_system_is_that_of_the_deepest_mount(path: str, found: str) -> None:
    assert place.filesystem(Path(path), MOUNTS) == found


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "fuse.s3fs", "fuse"])
def test_a_network_file_system_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"40 21 0:50 / {tmp_path} rw - {kind} server:/x rw\n")
    monkeypatch.setattr(place, "_MOUNTS", mounts)

    with pytest.raises(LedgerError, match="network file system"):
        objects.opened(tmp_path / "ledger.db")

    assert not (tmp_path / "ledger.db").exists()


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "tmpfs", "overlay", "fuseblk"])
def test_a_local_file_system_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"40 21 0:50 / {tmp_path} rw - {kind} /dev/x rw\n")
    monkeypatch.setattr(place, "_MOUNTS", mounts)

    objects.opened(tmp_path / "ledger.db").close()


def test_a_second_ledger_on_the_file_is_refused_until_the_first_is_closed(tmp_path: Path) -> None:
    first = objects.opened(tmp_path / "ledger.db")

    with pytest.raises(LedgerLocked, match="Another process"):
        objects.opened(tmp_path / "ledger.db")

    first.close()
    objects.opened(tmp_path / "ledger.db").close()


async def test_a_ledger_that_somebody_has_open_is_locked_by_a_symbolic_link_as_well(
    tmp_path: Path,
) -> None:
    path, link = tmp_path / "ledger.db", tmp_path / "link.db"
    ledger = objects.opened(path)
    link.symlink_to(path)

    with pytest.raises(LedgerLocked):
        objects.opened(link)

    await objects.filled(ledger, 10)  # it ends otherwise: another has written
    ledger.close()
    objects.opened(link).close()
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        "ledger.db", "ledger.db.lock", "link.db",
    ]  # fmt: skip


async def test_a_file_with_two_names_is_written_by_neither(tmp_path: Path) -> None:
    """By each SQLite has another write-ahead log, and we have another lock."""
    path, other = tmp_path / "ledger.db", tmp_path / "other.db"
    ledger = objects.opened(path)
    os.link(path, other)

    with pytest.raises(LedgerUnwritable, match="another name as well"):
        objects.opened(other)

    await objects.filled(ledger, 10)
    ledger.close()
    with pytest.raises(LedgerUnwritable, match="another name as well"):
        objects.opened(path)
    other.unlink()
    objects.opened(path).close()


def test_a_request_by_a_symbolic_link_reaches_who_has_the_ledger_open(tmp_path: Path) -> None:
    link = tmp_path / "link.db"
    link.symlink_to(tmp_path / "ledger.db")

    assert place_of(link) == tmp_path / "ledger.db.requests"


def test_a_second_process_is_refused_and_a_dead_one_does_not_block(tmp_path: Path) -> None:
    script = (
        "import sys, pathlib\n"
        "from taskpass.ledger.store.lockfile import Lock\n"
        "lock = Lock(pathlib.Path(sys.argv[1]))\n"
        "print('held', flush=True)\n"
        "sys.stdin.read()\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "ledger.db")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": str(Path(place.__file__).parents[2])},
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(LedgerLocked):
            objects.opened(tmp_path / "ledger.db")
        holder.kill()

    objects.opened(tmp_path / "ledger.db").close()
