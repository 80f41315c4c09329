"""Read a log only as far as it is proven: every reader's answer comes from a verification.

The index that lies in a ledger's file is not asked. Every entry is read and hashed, and those that
answer the question are taken on the way: so no entry can be hidden, and none can be put in.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from taskpass.core.audit.pseudonyms import Person
from taskpass.core.errors import UsageError
from taskpass.ledger.export.files import FileReader, in_directory
from taskpass.ledger.export.zip import zipped
from taskpass.ledger.log.entry_filter import Query
from taskpass.ledger.log.reader import LogReader, reading
from taskpass.ledger.state import tables
from taskpass.ledger.verify.log import Progress, Report, Verification, concluded
from taskpass.ledger.verify.names import known
from taskpass.ledger.verify.parallel import in_parallel
from taskpass.ledger.verify.replay import Replay

NOTHING = Query(nothing=True)
Entries = Sequence[tuple[int, bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLocation:
    """Which log is read: a ledger's file, or an export. One of the two is named."""

    database: Path | None = None
    directory: Path | None = None
    """Of an export, or its zip."""
    vkey: str = ""
    """The key that the reader knows it by; the log's own word is taken where it is ''."""
    vkey_is_its_own: bool = False
    """Whether the reader took that key from beside the log: it is the log's own word then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedLog:
    """A log that was verified, and the entries of it that were asked for."""

    report: Report
    entries: Entries
    """Index and bytes, oldest first."""
    replay: Replay
    people: dict[str, Person]
    """By reference, those whose commitments were opened: all who were not erased."""
    source: LogReader | FileReader
    """To read more of it from; open while the context is."""


@contextmanager
def proven(
    where: LogLocation, query: Query = NOTHING, *, newest: int | None = None, alone: bool = False,
    against: Sequence[str] = (), progress: Progress = lambda done, size: None,
) -> Iterator[VerifiedLog]:  # fmt: skip
    """Verify a log, and give the entries that a query asks for: all, or the newest so many.

    It is done in this process where it is to be `alone`; else a long log is shared by several.
    `against` are checkpoints that it has to have grown from.

    Raises:
        TamperEvidence, Incomplete, UsageError: As `verify.verify_database`.

    """
    with ExitStack() as stack:
        source = _opened(where, stack)
        if source.size and not source.bodies:
            raise UsageError("This export has no bundles of entries; ask one of the format tlog")
        verified = Verification(source, where.vkey, against, ())
        found: deque[tuple[int, bytes]] = deque(maxlen=newest)
        path = where.database or where.directory
        if not alone and path is not None and (isinstance(source, LogReader) or path.is_dir()):
            pieces = stack.enter_context(in_parallel(path, verified.pieces(query)))
        else:
            pieces = verified.pieces(query).all()
        verified.walk(pieces, progress, found.extend)
        people: dict[str, Person] = {}
        if isinstance(source, LogReader):
            report = verified.report()
            people = known(tables.people(source.db), verified.replay)
        else:
            report = concluded(source, verified)
        pinned = report.pinned and not where.vkey_is_its_own
        yield VerifiedLog(
            report=replace(report, pinned=pinned),
            entries=tuple(found),
            replay=verified.replay,
            people=people,
            source=source,
        )


def _opened(where: LogLocation, stack: ExitStack) -> LogReader | FileReader:
    if where.directory is not None:
        if where.directory.is_file():
            return stack.enter_context(zipped(where.directory)).files
        return in_directory(where.directory)
    if where.database is None:
        raise UsageError("No ledger was named; use --db PATH, or --dir EXPORT")
    return stack.enter_context(reading(where.database))
