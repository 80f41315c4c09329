"""A witness: it remembers of each log the last checkpoint that it cosigned, and only lets it grow.

It knows a log by its keys alone, trusts nothing that the log says, and needs neither cluster nor
ledger. What it remembers is durable before its signature leaves it, so it never cosigns two logs of
one name. A proof that a log is not what it was is kept (`*.evidence`).
"""

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from taskpass.core.errors import LedgerError
from taskpass.ledger.log.signing import Signer, verify_signature
from taskpass.tlog.checkpoint import (
    BadCheckpoint,
    Checkpoint,
    PublicKey,
    open_checkpoint,
    parse_body,
    parse_note,
    signed_note,
)
from taskpass.tlog.cosignature import WitnessKey, cosignature, cosigned_message
from taskpass.tlog.merkle import BadProof, check_consistency
from taskpass.tlog.witness_protocol import Answer, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """One witness, its key, the logs that it knows, and where it remembers."""

    name: str
    signer: Signer
    logs: Mapping[str, Sequence[PublicKey]] = field(repr=False)
    """By origin: the keys that may sign it. After a handover of the log's key, both."""
    directory: Path
    now: Callable[[], int]
    """Unix time in seconds."""

    @property
    def key(self) -> WitnessKey:
        """The key that verifiers need."""
        return WitnessKey(self.name, self.signer.public_key)

    def remembered(self, origin: str) -> str:
        """Return the note that was last cosigned of a log; '' for none."""
        with contextlib.suppress(FileNotFoundError):
            return self._file(origin).read_text(encoding="utf-8")
        return ""

    def add(self, old: int, proof: Sequence[bytes], note: str) -> Answer:
        """Cosign the note if it is of a log that we know, and grown from what is remembered.

        `old` is the size that the proof begins at. What is remembered is durable on return.

        Raises:
            LedgerError: It could not be remembered; nothing was signed.

        """
        try:
            origin = parse_body(parse_note(note)[0]).origin
        except BadCheckpoint as error:
            return Answer(Verdict.MALFORMED, str(error))
        if origin not in self.logs:
            return Answer(Verdict.UNKNOWN_LOG)
        head = self._signed(note, self.logs[origin])
        if head is None:
            return Answer(Verdict.NOT_SIGNED)
        if old > head.size:
            return Answer(Verdict.MALFORMED, "the old size is more than the checkpoint's")
        with self._alone(origin):
            return self._grown(head, old, proof, note)

    def _grown(self, head: Checkpoint, old: int, proof: Sequence[bytes], note: str) -> Answer:
        before = self._before(head.origin)
        if old != before.size:
            return Answer(Verdict.STALE, f"{before.size}")
        try:
            check_consistency(proof, old, head.size, before.root, head.root)
        except BadProof as error:
            self._keep(self._file(head.origin).with_suffix(".evidence"), note)
            return Answer(Verdict.INCONSISTENT, str(error), same_size=old == head.size)
        body, signatures = parse_note(note)
        seconds = self.now()
        self._keep(self._file(head.origin), signed_note(body, *signatures))
        line = cosignature(self.key, seconds, self.signer.sign(cosigned_message(body, seconds)))
        return Answer(Verdict.COSIGNED, line.line())

    def _before(self, origin: str) -> Checkpoint:
        """Return what is remembered of a log; nothing of it is nothing that can be trusted."""
        try:
            kept = self.remembered(origin)
            return parse_body(parse_note(kept)[0]) if kept else Checkpoint(origin, 0, EMPTY)
        except (BadCheckpoint, UnicodeDecodeError) as error:
            raise LedgerError(f"What {self._file(origin)} remembers cannot be read") from error

    def _signed(self, note: str, keys: Sequence[PublicKey]) -> Checkpoint | None:
        for key in keys:
            with contextlib.suppress(BadCheckpoint):
                return open_checkpoint(note, key, verify_signature)
        return None

    def _file(self, origin: str) -> Path:
        return self.directory / f"{hashlib.sha256(origin.encode()).hexdigest()}.checkpoint"

    @contextlib.contextmanager
    def _alone(self, origin: str) -> Iterator[None]:
        """Hold the log's memory against other processes of this witness."""
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            with self._file(origin).with_suffix(".lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
        except OSError as error:
            raise LedgerError(
                f"The witness cannot remember in {self.directory} ({error.strerror})"
            ) from error

    def _keep(self, path: Path, note: str) -> None:
        """Make a file's whole content durable, or leave the old."""
        new = path.with_suffix(path.suffix + ".new")
        with new.open("w", encoding="utf-8") as file:
            file.write(note)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


EMPTY = hashlib.sha256().digest()


def logs_of(keys: Sequence[PublicKey]) -> Mapping[str, Sequence[PublicKey]]:
    """Return the keys by the name of their log."""
    return {key.name: [each for each in keys if each.name == key.name] for key in keys}
