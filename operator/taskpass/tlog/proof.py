r"""A proof that one entry is in the log, as a text that stands alone (C2SP tlog-proof).

    "c2sp.org/tlog-proof@v1" "\n"
    "index " index "\n"
    base64(hash) "\n"            none or more, the leaf's sibling first
    "\n"
    the signed checkpoint

An `extra` line, which the format allows, is refused: what it would mean to us is not defined.
"""

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass

from taskpass.tlog.checkpoint import BadCheckpoint, Checkpoint, parse_body, parse_note
from taskpass.tlog.merkle import HASH_SIZE, BadProof, check_inclusion

MAGIC = "c2sp.org/tlog-proof@v1"
MOST_HASHES = 63


@dataclass(frozen=True, slots=True)
class TlogProof:
    """An index, its path to the root, and the checkpoint that the root is of."""

    index: int
    hashes: tuple[bytes, ...]
    note: str
    """The signed checkpoint. Whoever reads the proof checks its signature."""

    @property
    def checkpoint(self) -> Checkpoint:
        """What the root is of."""
        return parse_body(parse_note(self.note)[0])

    def text(self) -> str:
        """Return the proof as a file holds it."""
        lines = [MAGIC, f"index {self.index}", *(_encode(each) for each in self.hashes), ""]
        return "\n".join(lines) + "\n" + self.note

    def check(self, leaf: bytes) -> None:
        """Check that the leaf is under the checkpoint's root; nothing is said of its signature.

        Raises:
            BadProof: It is not.

        """
        checkpoint = self.checkpoint
        check_inclusion(self.hashes, self.index, checkpoint.size, leaf, checkpoint.root)


def parse_tlog_proof(text: str) -> TlogProof:
    """Return the proof of a text.

    Raises:
        BadProof: It is not one.

    """
    head, found, note = text.partition("\n\n")
    lines = head.split("\n")
    if not found or lines[0] != MAGIC or len(lines) < 2:
        raise BadProof(f"it does not begin as a proof does ({MAGIC})")
    index = re.fullmatch(r"index (0|[1-9][0-9]{0,18})", lines[1])
    if index is None:
        raise BadProof("its second line does not name an index")
    if len(lines) - 2 > MOST_HASHES:
        raise BadProof("it has more hashes than any log needs")
    proof = TlogProof(int(index[1]), tuple(_decoded(lines[2:])), note)
    try:
        parse_body(parse_note(note)[0])
    except BadCheckpoint as error:
        raise BadProof(f"its checkpoint does not hold: {error}") from error
    return proof


def _encode(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _decoded(lines: Sequence[str]) -> list[bytes]:
    hashes = []
    for line in lines:
        try:
            raw = base64.b64decode(line, validate=True)
        except (binascii.Error, ValueError):
            raise BadProof("a line of it is not base64") from None
        if len(raw) != HASH_SIZE or _encode(raw) != line:
            raise BadProof("a line of it is not a hash")
        hashes.append(raw)
    return hashes
