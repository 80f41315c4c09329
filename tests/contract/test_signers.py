"""What the log asks of whatever holds its key (`ledger.keys.Signer`)."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from taskpass.core.errors import LedgerError
from taskpass.ledger.log.key_file import make_seed_file, read_seed_file
from taskpass.ledger.log.signing import SeedSigner, Signer, verify_signature
from taskpass.ledger.verify.log import verify_database
from taskpass.ports.ledger import Batch
from tests.unit.ledger import objects
from tests.unit.ledger.objects import NOW, entry


class OutsideSigner:
    """One that has no key itself and asks somebody each time, as for a key in OpenBao."""

    def __init__(self, asked: Callable[[bytes], bytes], public_key: bytes) -> None:
        self.public_key = public_key
        self._asked = asked

    def sign(self, message: bytes) -> bytes:
        return self._asked(message)


def from_a_file(place: Path) -> Signer:
    make_seed_file(place / "seed")
    return SeedSigner(read_seed_file(place / "seed"))


def outside(place: Path) -> Signer:
    inner = SeedSigner(bytes([3]) * 32)
    return OutsideSigner(inner.sign, inner.public_key)


@pytest.fixture(params=[lambda place: SeedSigner(bytes(32)), from_a_file, outside])
def signer(request: pytest.FixtureRequest, tmp_path: Path) -> Signer:
    made: Signer = request.param(tmp_path)
    return made


@pytest.mark.parametrize("message", [b"", b"text\n", bytes(70_000)])
def test_a_signature_is_of_this_message_by_this_key(signer: Signer, message: bytes) -> None:
    signature = signer.sign(message)

    assert len(signer.public_key) == 32
    assert len(signature) == 64
    assert verify_signature(signer.public_key, message, signature)
    assert not verify_signature(signer.public_key, message + b"x", signature)


def test_signing_twice_gives_the_same(signer: Signer) -> None:
    """Ed25519 draws nothing: who compares two checkpoints of one size need not parse them."""
    assert signer.sign(b"text") == signer.sign(b"text")


def test_a_signer_does_not_show_its_key(signer: Signer) -> None:
    assert "object at" in repr(signer)


async def test_a_log_that_it_signs_verifies(signer: Signer, tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    ledger = objects.SqliteLedger.open(
        path, signer=signer, cluster_id="3c1f0a9e", instance="x", now=NOW
    )
    await ledger.commit(Batch(entries=(entry(1),)))
    ledger.close()

    assert verify_database(path).size == 3


async def test_a_signer_that_does_not_answer_ends_the_ledger_and_nothing_is_written(
    tmp_path: Path,
) -> None:
    inner, away = SeedSigner(bytes([3]) * 32), asyncio.Event()

    def asked(message: bytes) -> bytes:
        if away.is_set():
            raise LedgerError("The signer does not answer; look at it")
        return inner.sign(message)

    path = tmp_path / "ledger.db"
    ledger = objects.SqliteLedger.open(
        path, signer=OutsideSigner(asked, inner.public_key), cluster_id="3c1f0a9e", instance="x",
        now=NOW,
    )  # fmt: skip
    away.set()

    with pytest.raises(LedgerError, match="The signer does not answer"):
        await ledger.commit(Batch(entries=(entry(1),)))

    ledger.close()
    assert verify_database(path).size == 2
