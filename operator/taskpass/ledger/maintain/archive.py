"""Write an archive of entries that are to go, and look at it as it lies there."""

import hashlib
import os
from pathlib import Path

from taskpass.core.errors import NotTheLog, UsageError
from taskpass.ledger.export import directory as export
from taskpass.ledger.export.files import in_directory
from taskpass.ledger.log.reader import LogReader
from taskpass.ledger.verify.log import Report, verify_files

SUMS = "SHA256SUMS"


def write_archive(log: LogReader, directory: Path, bodies: range, report: Report) -> str:
    """Make the archive durable; return the digest of its list of checksums, its last file.

    `report` is of the log. What goes afterwards is nowhere else, so the archive is verified by
    what its files have. That they have something else says nothing of the log.

    Raises:
        UsageError: The directory cannot be used, or what lies there is not what was verified.

    """
    digest = _written(log, directory, bodies)
    if wrong := _differs(directory, bodies, report):
        raise UsageError(f"The archive {directory} is not what was read: {wrong}")
    return digest


def _differs(directory: Path, bodies: range, report: Report) -> str | None:
    """Return in what an archive is not of those entries of the log; None where it is."""
    try:
        found = verify_files(in_directory(directory))
    except NotTheLog as error:
        return str(error)
    wanted = (report.origin, report.size, report.root, (bodies.start, bodies.stop))
    if (found.origin, found.size, found.root, found.bodies) != wanted:
        return f"it is not of the entries {bodies.start}..{bodies.stop - 1}"
    return None


def _written(log: LogReader, directory: Path, bodies: range) -> str:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if any(directory.iterdir()):
            raise UsageError(f"{directory} is not empty; name a directory that is, or a new one")
        export.write(log, directory, bodies)
        lines = [
            f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.relative_to(directory)}\n"
            for file in sorted(directory.rglob("*"))
            if file.is_file()
        ]
        sums = "".join(lines).encode()
        (directory / SUMS).write_bytes(sums)
        os.sync()
    except OSError as error:
        raise UsageError(f"{directory} cannot be written ({error.strerror})") from error
    return hashlib.sha256(sums).hexdigest()
