r"""The signed head of the log (C2SP tlog-checkpoint, signed-note), as text.

    origin "\n" size "\n" base64(root) "\n"                    the body, which is signed
    "\n"
    "— " name " " base64(key id || signature) "\n"              one line or more

    key id = SHA256(name || 0x0A || 0x01 || public key)[:4]
    vkey   = name "+" hex(key id) "+" base64(0x01 || public key)

Rules of reading:

1. The text is UTF-8 without control characters but the newline, and at most 64 KiB.
2. base64 has one form: another that decodes to the same bytes is refused.
3. Signatures of unknown keys are ignored; one of the known key that is wrong is refused.
4. The key's name is the origin; the body has three lines and no more.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass

from taskpass.tlog.merkle import HASH_SIZE

ED25519 = b"\x01"
DASH = "— "
MAX_TEXT = 65_536
MAX_SIGNATURES = 100
_NAME = re.compile(r"[^\s+]+")

Verify = Callable[[bytes, bytes, bytes], bool]
"""Tells whether (public key, message, signature) belong together."""


class BadCheckpoint(ValueError):
    """The text is not a checkpoint of the log, or its signature does not hold. One line."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """The key that a log signs with, under its name."""

    name: str
    raw: bytes

    @property
    def id(self) -> bytes:
        """Four bytes that mark the key's signatures."""
        return key_id(self.name, ED25519, self.raw)

    def vkey(self) -> str:
        """Return the key as one line of text, for verifiers."""
        return vkey_of(self.name, ED25519, self.raw)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What the log was at a size."""

    origin: str
    size: int
    root: bytes

    def body(self) -> str:
        """Return the text that is signed."""
        return f"{self.origin}\n{self.size}\n{_encode(self.root)}\n"


@dataclass(frozen=True, slots=True)
class Signature:
    """One line under a note."""

    name: str
    key_id: bytes
    raw: bytes

    def line(self) -> str:
        """Return the line."""
        return f"{DASH}{self.name} {_encode(self.key_id + self.raw)}\n"


def parse_vkey(text: str) -> PublicKey:
    """Return the key of a vkey.

    Raises:
        BadCheckpoint: It is none, or not of Ed25519.

    """
    return PublicKey(*parse_key(text, ED25519, "one of Ed25519"))


def parse_key(text: str, algorithm: bytes, what: str) -> tuple[str, bytes]:
    """Return name and public key of a vkey of that algorithm; `what` says which in an error.

    Raises:
        BadCheckpoint: It is none, or of another algorithm.

    """
    parts = text.strip().split("+", 2)
    if len(parts) != 3 or not _NAME.fullmatch(parts[0]):
        raise BadCheckpoint("the key is not of the form name+id+key")
    raw = _decode(parts[2], "the key")
    if len(raw) != 33 or raw[:1] != algorithm:
        raise BadCheckpoint(f"the key is not {what}")
    if parts[1] != key_id(parts[0], algorithm, raw[1:]).hex():
        raise BadCheckpoint("the key's id does not belong to it")
    return parts[0], raw[1:]


def key_id(name: str, algorithm: bytes, raw: bytes) -> bytes:
    """Return four bytes that mark a key's signatures."""
    return hashlib.sha256(name.encode() + b"\n" + algorithm + raw).digest()[:4]


def vkey_of(name: str, algorithm: bytes, raw: bytes) -> str:
    """Return a public key as one line of text."""
    return f"{name}+{key_id(name, algorithm, raw).hex()}+{_encode(algorithm + raw)}"


def signed_note(body: str, *signatures: Signature) -> str:
    """Return the note of a body and its signatures."""
    return body + "\n" + "".join(signature.line() for signature in signatures)


def parse_note(text: str) -> tuple[str, list[Signature]]:
    """Return a note's body and signatures, none of them checked.

    Raises:
        BadCheckpoint: It is not a note.

    """
    if len(text) > MAX_TEXT or any(ord(c) < 0x20 and c != "\n" for c in text):
        raise BadCheckpoint("it is too long, or has control characters")
    body, found, lines = text.rpartition("\n\n")
    if not found or not body or not lines.endswith("\n"):
        raise BadCheckpoint("it is not a signed note")
    rows = lines[:-1].split("\n")
    if len(rows) > MAX_SIGNATURES:
        raise BadCheckpoint("it has more than 100 signatures")
    return body + "\n", [_signature(row) for row in rows]


def parse_body(body: str) -> Checkpoint:
    """Return the checkpoint that a body tells of.

    Raises:
        BadCheckpoint: It does not have the three lines.

    """
    lines = body.split("\n")
    if len(lines) != 4 or lines[3] or not _NAME.fullmatch(lines[0]):
        raise BadCheckpoint("its body is not origin, size and root")
    if not re.fullmatch(r"0|[1-9][0-9]{0,18}", lines[1]):
        raise BadCheckpoint("its size is not a number")
    root = _decode(lines[2], "its root")
    if len(root) != HASH_SIZE:
        raise BadCheckpoint("its root is not a hash")
    return Checkpoint(lines[0], int(lines[1]), root)


def open_checkpoint(text: str, key: PublicKey, verify: Verify) -> Checkpoint:
    """Return the checkpoint of a note that the key has signed.

    Raises:
        BadCheckpoint: It is not one, is of another log, or the signature does not hold.

    """
    body, signatures = parse_note(text)
    checkpoint = parse_body(body)
    if checkpoint.origin != key.name:
        raise BadCheckpoint("it is of another log than the key")
    ours = [s for s in signatures if s.name == key.name and s.key_id == key.id]
    if not ours:
        raise BadCheckpoint("the log's key has not signed it")
    if not all(verify(key.raw, body.encode(), s.raw) for s in ours):
        raise BadCheckpoint("its signature is wrong")
    return checkpoint


def _signature(row: str) -> Signature:
    parts = row.removeprefix(DASH).split(" ")
    if not row.startswith(DASH) or len(parts) != 2 or not _NAME.fullmatch(parts[0]):
        raise BadCheckpoint("it has a line that is not a signature")
    raw = _decode(parts[1], "a signature")
    if len(raw) < 5:
        raise BadCheckpoint("it has a signature that is too short")
    return Signature(parts[0], raw[:4], raw[4:])


def _encode(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _decode(text: str, what: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise BadCheckpoint(f"{what} is not base64") from None
    if _encode(raw) != text:
        raise BadCheckpoint(f"{what} is not base64 in its one form")
    return raw
