"""The log's keys, as what is stored declares them. It proves nothing about who wrote the log."""

import re
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import orjson

from taskpass.core.audit.key_history import BadChain, KeyChain
from taskpass.core.errors import LedgerError
from taskpass.ledger.log.reader import TamperEvidence
from taskpass.ledger.log.signing import Signer
from taskpass.tlog.checkpoint import PublicKey


def chain_of(entry: Callable[[int], bytes], handovers: Iterable[int]) -> KeyChain:
    """Return the keys of a log whose handovers were at these sizes; raise `TamperEvidence`."""
    try:
        chain = KeyChain.of_genesis(_event(entry(0)))
        for size in handovers:
            chain = chain.handed_over(_event(entry(size - 1)), size)
    except BadChain as error:
        raise TamperEvidence(str(error)) from error
    return chain


class Stored(Protocol):
    """A log that entries can be read from."""

    def entry(self, index: int) -> bytes:
        """Return the bytes of one entry."""

    def handovers(self) -> dict[int, str]:
        """Return the checkpoints of the handovers from key to key, by size."""


def declared_chain(log: Stored) -> KeyChain:
    """Return the keys that a log's own entries name."""
    return chain_of(log.entry, sorted(log.handovers()))


def declared_key(log: Stored) -> PublicKey:
    """Return the key that signs the ledger's checkpoint, by its own word."""
    return declared_chain(log).current


def cluster_of(log: Stored) -> str:
    """Return the cluster's part of the log's name; '' where it has none."""
    found = re.search(r"/c-([^/]+)/", declared_key(log).name)
    return found[1] if found else ""


def signer_of(stored: Stored, *signers: Signer | None) -> Signer:
    """Return which of the signers has the key of today; `LedgerError` where none has."""
    key = declared_key(stored)
    for signer in signers:
        if signer is not None and signer.public_key == key.raw:
            return signer
    given = ", ".join(PublicKey(key.name, s.public_key).id.hex() for s in signers if s is not None)
    raise LedgerError(
        f"The ledger is signed with the key {key.id.hex()}, and what was given is {given}; give "
        "back the key that it was signed with. A new key takes over only beside the one before it"
    )


def _event(body: bytes) -> dict[str, Any]:
    try:
        event = orjson.loads(body)
    except ValueError:
        event = None
    if not isinstance(event, dict):
        raise TamperEvidence("an entry that names a key of the log is not an event of ours")
    return event
