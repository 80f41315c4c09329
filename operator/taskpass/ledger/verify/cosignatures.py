"""Who else has seen the log: cosignatures of witnesses under checkpoints that were kept."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from taskpass.ledger.log.reader import TamperEvidence
from taskpass.ledger.log.signing import verify_signature
from taskpass.tlog.checkpoint import BadCheckpoint, parse_body, parse_note
from taskpass.tlog.cosignature import WitnessKey, cosigned_at


@dataclass(frozen=True, slots=True, kw_only=True)
class Cosigner:
    """One witness, and the newest checkpoint that it has cosigned."""

    key: WitnessKey
    size: int
    time: int
    """Unix time in seconds."""


def cosigners(notes: Iterable[str], witnesses: Sequence[WitnessKey]) -> tuple[Cosigner, ...]:
    """Return the witnesses that have cosigned one of the notes, by name.

    Whether the log begins with what a note says is not asked here: `verify` does that.

    Raises:
        TamperEvidence: A line of a witness's key is wrong.

    """
    newest: dict[WitnessKey, Cosigner] = {}
    for note in notes:
        for witness in witnesses:
            try:
                time = cosigned_at(note, witness, verify_signature)
            except BadCheckpoint as error:
                raise TamperEvidence(str(error)) from error
            if time is None:
                continue
            size = parse_body(parse_note(note)[0]).size
            before = newest.get(witness)
            if before is None or (size, time) > (before.size, before.time):
                newest[witness] = Cosigner(key=witness, size=size, time=time)
    return tuple(sorted(newest.values(), key=lambda each: each.key.name))
