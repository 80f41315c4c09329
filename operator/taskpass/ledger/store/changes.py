"""What the ledger's file is asked to take in, and what became of it."""

from dataclasses import dataclass
from datetime import datetime

from taskpass.core.errors import TaskpassError
from taskpass.core.model.entry import Entry
from taskpass.ledger.state.noted import Written
from taskpass.ledger.verify.integrity import Frozen
from taskpass.ledger.verify.replay import Replay
from taskpass.ports.ledger import Batch


@dataclass(frozen=True, slots=True)
class Cosigned:
    """Keep a checkpoint of this log with the lines of witnesses, instead of the one before."""

    size: int
    note: str


@dataclass(frozen=True, slots=True)
class Erase:
    """Delete what is known of a person."""

    name: str
    now: datetime


@dataclass(frozen=True, slots=True)
class Prune:
    """Drop the entries before an index, of which there is an archive."""

    entry: Entry
    """That tells of it."""
    min_index: int
    """It begins a bundle."""
    replay: Replay
    """What the entries come to, verified; the log may have grown since."""


@dataclass(frozen=True, slots=True)
class Fold:
    """Fold the write-ahead log into the file, if nobody reads an old state."""


@dataclass(slots=True)
class Freeze:
    """Hold the file, and the memory, as they are between two transactions."""

    frozen: Frozen | None = None
    """The answer, which whoever asked has to close."""


Upkeep = Erase | Prune | Fold | Freeze
"""Each has a transaction of its own."""
Change = Batch | Cosigned
Outcome = Written | TaskpassError
"""An error is of that change alone: it left no trace, and the others are written."""
