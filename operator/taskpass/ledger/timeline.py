"""The entries of one task, each proven to be under the log's signed checkpoint.

That none is left out is not proven here: `verify.py` does that for the whole log.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from taskpass.core.checkpoint import Checkpoint
from taskpass.core.errors import UsageError
from taskpass.core.merkle import BadProof, check_inclusion, inclusion_proof, leaf_hash
from taskpass.core.tiles import TileSubtrees
from taskpass.ledger.chain import opened_head
from taskpass.ledger.people import known
from taskpass.ledger.reader import LogReader, TamperEvidence


@dataclass(frozen=True, slots=True)
class Timeline:
    """What the log tells of a task, oldest first."""

    task: str
    """`namespace/name`."""
    entries: tuple[tuple[int, dict[str, Any]], ...]
    """Index and event."""
    checkpoint: Checkpoint
    """What every entry is proven to be under."""
    pruned: int = 0
    """Entries before this index are absent by policy, those of this task too."""
    people: Mapping[str, str] = field(default_factory=dict)
    """Names by the references that entries have; who was erased is not there."""


def timeline(log: LogReader, task: str) -> Timeline:
    """Return the entries of a task: `namespace/name`, or a name that one namespace alone has.

    Raises:
        UsageError: The log has no such task, or several.
        TamperEvidence: An entry is not under the checkpoint.

    """
    subject = _subject(log, task)
    checkpoint = opened_head(log)
    rows = log.db.execute("SELECT seq FROM idx WHERE subject = ? ORDER BY seq", (subject,))
    subtrees = TileSubtrees(log.size, log.tile)
    entries: list[tuple[int, dict[str, Any]]] = []
    for (index,) in rows.fetchall():
        body = log.entry(index)
        proof = inclusion_proof(index, log.size, subtrees)
        try:
            check_inclusion(proof, index, checkpoint.size, leaf_hash(body), checkpoint.root)
        except BadProof as error:
            raise TamperEvidence(f"entry {index} is not under the checkpoint: {error}") from error
        entries.append((index, orjson.loads(body)))
    people = {ref: person.name for ref, person in known(log).items()}
    return Timeline(subject, tuple(entries), checkpoint, log.min_index, people)


def _subject(log: LogReader, task: str) -> str:
    subjects = [
        row[0]
        for row in log.db.execute(
            "SELECT DISTINCT subject FROM idx WHERE subject = ?"
            " OR substr(subject, instr(subject, '/') + 1) = ? ORDER BY subject",
            (task, task),
        )
    ]
    if not subjects and log.min_index:
        raise UsageError(
            f"The log has no task '{task}' from entry {log.min_index} on; what is before was "
            "pruned: look in the archive that was written then"
        )
    if not subjects:
        raise UsageError(f"The log has no task '{task}'; write it as namespace/name")
    if len(subjects) > 1:
        raise UsageError(f"Several namespaces had a task '{task}': {', '.join(subjects)}; name one")
    return str(subjects[0])
