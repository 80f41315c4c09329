r"""What a log and a witness say to one another (C2SP tlog-witness).

    request = "old " size "\n" (base64(hash) "\n")* "\n" checkpoint

`old` is where the witness left off; the hashes prove that the checkpoint has grown from there.
"""

import base64
import binascii
import enum
import re
from collections.abc import Sequence
from dataclasses import dataclass

from taskpass.tlog.merkle import HASH_SIZE

MOST_HASHES = 63


class Verdict(enum.Enum):
    """What a witness answers; the value is the HTTP status."""

    COSIGNED = 200
    MALFORMED = 400
    NOT_SIGNED = 403
    UNKNOWN_LOG = 404
    STALE = 409
    """Whoever asks does not begin where the witness left off."""
    INCONSISTENT = 422


@dataclass(frozen=True, slots=True)
class Answer:
    """A verdict, and what goes with it."""

    verdict: Verdict
    text: str = ""
    """The lines of the cosignature; for STALE the size that is remembered."""
    same_size: bool = False
    """INCONSISTENT, and both have the size that is remembered: two roots, so a fork for certain."""


def request_text(old: int, proof: Sequence[bytes], note: str) -> str:
    """Return the body of a request."""
    hashes = "".join(f"{base64.b64encode(each).decode()}\n" for each in proof)
    return f"old {old}\n{hashes}\n{note}"


def parse_request(text: str) -> tuple[int, list[bytes], str]:
    """Return old size, proof and checkpoint; a `ValueError` says in a line what is wrong."""
    head, found, note = text.partition("\n\n")
    first, *hashes = head.split("\n")
    size = re.fullmatch(r"old (0|[1-9][0-9]{0,18})", first)
    if not found or size is None:
        raise ValueError("it must begin with 'old', a size, a proof and an empty line")
    if len(hashes) > MOST_HASHES:
        raise ValueError(f"a proof has at most {MOST_HASHES} hashes")
    return int(size[1]), [_hash(line) for line in hashes], note


def _hash(line: str) -> bytes:
    try:
        raw = base64.b64decode(line, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("a line of the proof is not base64") from None
    if len(raw) != HASH_SIZE:
        raise ValueError("a line of the proof is not a hash")
    return raw
