"""The volume under the ledger: what file system, how much is free, can it be written. Tried."""

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

from taskpass.core.audit.anchor import AnchorReason, IntegrityAlert
from taskpass.core.errors import LedgerError
from taskpass.core.model.diagnosis import Diagnosis, doubtful, failed, well
from taskpass.ledger.store.lockfile import refuse_network
from taskpass.ledger.store.transaction import describe_error
from taskpass.ledger.store.write_ahead import size_of

ABOUT = "ledger volume"
TIGHT = 256 << 20
"""Free bytes below which a person should look; a task of one credential takes a few KiB."""
FULL = 16 << 20
TIGHT_SHARE = 0.1
"""Share of the volume that must be free, or people are told."""
FULL_SHARE = 0.03
"""Share of the volume that is left to revocations: nothing is issued any more."""
PROBE_BYTES = 64 << 10
RECENT_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskUsage:
    """Bytes."""

    used: int
    """By the ledger's file and its write-ahead log."""
    journal: int
    """By the write-ahead log alone."""
    free: int
    """For the operator's user."""
    whole: int

    @property
    def spare(self) -> int | None:
        """What tenants may still fill: not what is left to revocations; None: nobody knows."""
        return self.free - int(self.whole * FULL_SHARE) if self.whole else None

    @property
    def tight(self) -> bool:
        """Whether people are told that there is little left."""
        return bool(self.whole) and self.free < self.whole * TIGHT_SHARE

    @property
    def concern(self) -> IntegrityAlert | None:
        """Say that the volume is nearly full; None where it is not, or nobody knows."""
        if not self.whole or self.free >= self.whole * TIGHT_SHARE:
            return None
        left = (
            f"The ledger's volume has {_mebibytes(self.free)} left of {_mebibytes(self.whole)}; "
            "enlarge it, or prune"
        )
        if self.free < self.whole * FULL_SHARE:
            why = f"{left}. Nothing is issued: what is left is kept for revocations"
            return IntegrityAlert(AnchorReason.LEDGER_VOLUME_FULL, why)
        why = f"{left}: once it is full nothing is issued"
        return IntegrityAlert(AnchorReason.LEDGER_VOLUME_TIGHT, why)


def disk_usage(path: Path) -> DiskUsage:
    """Return how much the ledger takes, and what its volume has left; zeros where nobody knows."""
    used = journal = size_of(path)
    with contextlib.suppress(OSError):
        used += path.stat().st_size
    try:
        volume = os.statvfs(path.parent)
    except OSError:
        return DiskUsage(used=used, journal=journal, free=0, whole=0)
    return DiskUsage(
        used=used,
        journal=journal,
        free=volume.f_bavail * volume.f_frsize,
        whole=volume.f_blocks * volume.f_frsize,
    )


class RecentFreeSpace:
    """`room`, found out at most once a second: each decision asks for it twice."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._found: DiskUsage | None = None
        self._at = 0.0

    def __call__(self) -> DiskUsage:
        """Return what was found within the last second, or find it out."""
        now = time.monotonic()
        if self._found is None or now - self._at >= RECENT_SECONDS:
            self._found, self._at = disk_usage(self._path), now
        return self._found


def examine(path: Path) -> Diagnosis:
    """Look at the volume, and write a file of 64 KiB beside the ledger, which goes at once."""
    if not path.parent.is_dir():
        return failed(ABOUT, f"there is no directory {path.parent}", "mount the ledger's volume")
    try:
        refuse_network(path)
    except LedgerError as error:
        return failed(ABOUT, "it is on a network file system", str(error))
    if problem := unwritable_reason(path.parent):
        return failed(
            ABOUT,
            f"a file in {path.parent} could not be written ({problem})",
            "see to the volume: its space, its mount and its owner (user 65532)",
        )
    here = disk_usage(path)
    said = f"{_mebibytes(here.used)} used by the ledger, {_mebibytes(here.free)} free"
    if here.free < FULL:
        return failed(ABOUT, said, "enlarge the volume: without space nothing is issued")
    if here.free < TIGHT:
        return doubtful(ABOUT, said, "enlarge the volume before it is full")
    return well(ABOUT, said)


def unwritable_reason(directory: Path) -> str | None:
    """Return why a file cannot be made durable there; None where it can."""
    probe = directory / f".probe-{os.getpid()}"
    try:
        try:
            with probe.open("xb") as file:
                file.write(bytes(PROBE_BYTES))
                file.flush()
                os.fsync(file.fileno())
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        return describe_error(error)
    return None


def _mebibytes(size: int) -> str:
    return f"{size / (1 << 20):,.0f} MiB"
