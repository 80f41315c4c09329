"""The key that signs the log: Ed25519 from a seed of 32 bytes."""

import hashlib
import hmac
import secrets
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

SEED_SIZE = 32
_FINGERPRINT_LABEL = b"taskpass fingerprint v1"


class Signer(Protocol):
    """Whatever holds the log's private key."""

    @property
    def public_key(self) -> bytes:
        """The 32 bytes of the public key."""

    def sign(self, message: bytes) -> bytes:
        """Return the Ed25519 signature of the message."""


class SeedSigner:
    """A signer that holds its key in memory."""

    def __init__(self, seed: bytes) -> None:
        """Take the key of a seed; one that is not of 32 bytes is a ValueError."""
        self._key = Ed25519PrivateKey.from_private_bytes(seed)

    @property
    def public_key(self) -> bytes:
        """The 32 bytes of the public key."""
        return self._key.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        """Return the Ed25519 signature of the message."""
        return self._key.sign(message)


def generate_seed() -> bytes:
    """Return a new seed. It is a secret: whoever has it can sign any log."""
    return secrets.token_bytes(SEED_SIZE)


def verify_signature(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Tell whether the signature is the key's, of this message."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def fingerprint_key(seed: bytes) -> bytes:
    """Return the key of the fingerprints that the log keeps of secrets.

    A fingerprint without it confirms no guess. It follows from the seed, so there is no second
    secret to keep, and it does not tell the seed.
    """
    return hmac.new(seed, _FINGERPRINT_LABEL, hashlib.sha256).digest()
