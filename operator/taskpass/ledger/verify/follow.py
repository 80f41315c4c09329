"""Follow a ledger that grows: each new state is proven to begin with the one before."""

from pathlib import Path

from taskpass.ledger.log.entry_filter import Query
from taskpass.ledger.log.proven_reads import grown_from
from taskpass.ledger.log.reader import LogReader, TamperEvidence, reading
from taskpass.ledger.log.signing import verify_signature
from taskpass.ledger.verify.log import Verification
from taskpass.ledger.verify.proven import Entries
from taskpass.ledger.verify.replay import Replay, check_absent
from taskpass.tlog.checkpoint import BadCheckpoint, Checkpoint, parse_body, parse_note


class Follower:
    """Reads what a ledger's file has grown by since the last look."""

    def __init__(self, path: Path, query: Query, replay: Replay) -> None:
        """Go on from what was verified; `told` is what that came to."""
        self._path = path
        self._query = query
        self._walk = replay

    def grown(self) -> Entries:
        """Return the new entries that were asked for, of a state that is signed and has grown.

        Raises:
            TamperEvidence: It is not grown from what was verified before, or not signed.
            Incomplete: It cannot be read.

        """
        with reading(self._path) as log:
            return caught_up(self._walk, log, self._query)


def caught_up(replay: Replay, log: LogReader, query: Query) -> Entries:
    """Take into a walk what a log has grown by since; return those entries that were asked for.

    Raises:
        TamperEvidence: It is not grown from what was walked, or not signed, or by a key that the
            one before has not handed over to, or lacks entries that no entry says to be pruned.

    """
    head = _head(log)
    size, root = replay.tree.size, replay.tree.root()
    if head.size < size:
        _check_signed(replay, log)
        raise TamperEvidence(f"ROLLBACK: the log had {size} entries, and has {head.size}")
    pieces = Verification(log, "", (), ()).pieces(query)
    replay.want(at for at in log.handovers() if at > size)
    found: list[tuple[int, bytes]] = []
    while replay.tree.size < head.size:
        piece = pieces.rest(replay.tree.size)
        if not piece.leaves:
            raise TamperEvidence(f"entry {replay.tree.size} is missing")
        replay.take(piece)
        found += piece.found
    _check_signed(replay, log)
    if replay.tree.root() != head.root:
        raise _otherwise(log, size, root, head)
    _check_handovers(replay, log, size)
    check_absent(log, replay)
    return found


def _check_signed(replay: Replay, log: LogReader) -> None:
    try:
        replay.keys.open(log.note, verify_signature)
    except BadCheckpoint as error:
        raise TamperEvidence(f"the checkpoint does not hold: {error}") from error


def _check_handovers(replay: Replay, log: LogReader, since: int) -> None:
    """Find the checkpoint that both keys signed of each handover that entries from `since` on tell.

    By such an entry alone anybody could go on with a key of their own.
    """
    notes = log.handovers()
    for size in (size for size in replay.keys.handovers if size > since):
        if size not in notes:
            raise TamperEvidence(
                f"the key was handed over at size {size}, and no checkpoint of it is kept"
            )
        try:
            handover = replay.keys.open(notes[size], verify_signature)
        except BadCheckpoint as error:
            raise TamperEvidence(f"the handover at size {size} does not hold: {error}") from error
        if (handover.size, handover.root) != (size, replay.roots[size]):
            raise TamperEvidence(f"the handover at size {size} is not what its keys have signed")


def _otherwise(log: LogReader, size: int, root: bytes, head: Checkpoint) -> TamperEvidence:
    """Tell an edit of what lies there from a fork, which only a signed root can show."""
    if head.size == size or grown_from(log, size, head.size, head.root)[0] != root:
        return TamperEvidence("FORK: the log is not grown from what was read before")
    return TamperEvidence("the new entries are not those that the checkpoint was signed over")


def _head(log: LogReader) -> Checkpoint:
    try:
        return parse_body(parse_note(log.note)[0])
    except BadCheckpoint as error:
        raise TamperEvidence(f"the checkpoint cannot be read: {error}") from error
