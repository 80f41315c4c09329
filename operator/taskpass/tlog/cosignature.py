r"""A witness's signature under a checkpoint: it has seen the log grow to it, and to nothing else.

C2SP tlog-cosignature, cosignature/v1, Ed25519:

    message   = "cosignature/v1" "\n" "time " seconds "\n" body        body: the checkpoint's lines
    signature = seconds (8 bytes, big endian) || Ed25519(message)
    key id    = SHA256(name || 0x0A || 0x04 || public key)[:4]
"""

from dataclasses import dataclass

from taskpass.tlog.checkpoint import (
    BadCheckpoint,
    Signature,
    Verify,
    key_id,
    parse_key,
    parse_note,
    vkey_of,
)

COSIGNATURE = b"\x04"
LENGTH = 8 + 64


@dataclass(frozen=True, slots=True)
class WitnessKey:
    """The key that a witness cosigns with, under its name."""

    name: str
    raw: bytes

    @property
    def id(self) -> bytes:
        """Four bytes that mark the key's cosignatures."""
        return key_id(self.name, COSIGNATURE, self.raw)

    def vkey(self) -> str:
        """Return the key as one line of text, for verifiers."""
        return vkey_of(self.name, COSIGNATURE, self.raw)


def parse_witness_vkey(text: str) -> WitnessKey:
    """Return the key of a witness's vkey; `BadCheckpoint` where it is none."""
    return WitnessKey(*parse_key(text, COSIGNATURE, "one that a witness cosigns with"))


def cosigned_message(body: str, seconds: int) -> bytes:
    """Return what a witness signs; `seconds` is the Unix time at which it does."""
    return f"cosignature/v1\ntime {seconds}\n{body}".encode()


def cosignature(key: WitnessKey, seconds: int, raw: bytes) -> Signature:
    """Return the line of a cosignature; `raw` is the key's signature of `cosigned_message`."""
    return Signature(key.name, key.id, seconds.to_bytes(8, "big") + raw)


def cosigned_at(note: str, key: WitnessKey, verify: Verify) -> int | None:
    """Return the Unix time at which the witness cosigned a note; None where it did not.

    Raises:
        BadCheckpoint: The text is no note, or a line of the witness's key is wrong.

    """
    body, signatures = parse_note(note)
    newest: int | None = None
    for signature in signatures:
        if (signature.name, signature.key_id) != (key.name, key.id):
            continue
        if len(signature.raw) != LENGTH:
            raise BadCheckpoint(f"the cosignature of '{key.name}' is of another form")
        seconds = int.from_bytes(signature.raw[:8], "big")
        if not verify(key.raw, cosigned_message(body, seconds), signature.raw[8:]):
            raise BadCheckpoint(f"the cosignature of '{key.name}' is wrong")
        newest = max(newest or 0, seconds)
    return newest
