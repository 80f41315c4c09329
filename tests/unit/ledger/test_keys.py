"""The key, and what is derived from it."""

import pytest

from taskpass.core.model.grant import SecretValue
from taskpass.ledger.log.signing import SeedSigner, fingerprint_key, generate_seed, verify_signature


def test_what_is_signed_is_verified_and_nothing_else() -> None:
    signer = SeedSigner(bytes([7]) * 32)
    signature = signer.sign(b"text")

    assert verify_signature(signer.public_key, b"text", signature)
    assert not verify_signature(signer.public_key, b"texT", signature)
    assert not verify_signature(signer.public_key, b"text", signature[:-1])
    assert not verify_signature(signer.public_key[:-1], b"text", signature)
    assert not verify_signature(SeedSigner(bytes([8]) * 32).public_key, b"text", signature)


def test_seeds_are_new_each_time() -> None:
    assert len({generate_seed() for _ in range(10)}) == 10
    assert len(generate_seed()) == 32


@pytest.mark.parametrize("seed", [b"", bytes(31), bytes(33)])
def test_a_seed_of_another_length_is_refused(seed: bytes) -> None:
    with pytest.raises(ValueError, match="32"):
        SeedSigner(seed)


def test_a_signer_does_not_show_its_seed() -> None:
    assert "7777" not in repr(SeedSigner(b"7" * 32))


def test_a_fingerprint_depends_on_the_seed() -> None:
    secret = SecretValue(b"a token")

    one, other = (secret.fingerprint(fingerprint_key(bytes([n]) * 32)) for n in (1, 2))

    assert one != other
    assert fingerprint_key(bytes([1]) * 32) != bytes([1]) * 32
