"""A key in a file."""

import base64
from pathlib import Path

import pytest

from taskpass.core.errors import UsageError
from taskpass.ledger.log.key_file import make_seed_file, read_seed_file

SEED = bytes(range(32))


def written(path: Path, data: bytes, mode: int = 0o400) -> Path:
    path.write_bytes(data)
    path.chmod(mode)
    return path


def test_a_new_key_is_its_owners_alone_and_is_read_again(tmp_path: Path) -> None:
    seed = make_seed_file(tmp_path / "seed")

    assert len(seed) == 32
    assert (tmp_path / "seed").stat().st_mode & 0o777 == 0o400
    assert read_seed_file(tmp_path / "seed") == seed


def test_a_key_that_is_there_is_never_replaced(tmp_path: Path) -> None:
    seed = make_seed_file(tmp_path / "seed")

    with pytest.raises(UsageError, match="cannot be made"):
        make_seed_file(tmp_path / "seed")

    assert read_seed_file(tmp_path / "seed") == seed


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o440, 0o640])
def test_owner_and_group_may_read_it(tmp_path: Path, mode: int) -> None:
    """A volume of Kubernetes gives a file to the group of the container (fsGroup): 0440."""
    assert read_seed_file(written(tmp_path / "seed", base64.b64encode(SEED), mode)) == SEED


@pytest.mark.parametrize("mode", [0o444, 0o404, 0o604, 0o420, 0o660, 0o402, 0o401])
def test_a_key_that_others_can_read_or_change_is_refused(tmp_path: Path, mode: int) -> None:
    file = written(tmp_path / "seed", base64.b64encode(SEED), mode)

    with pytest.raises(UsageError, match="chmod 0400") as refusal:
        read_seed_file(file)

    assert base64.b64encode(SEED).decode() not in str(refusal.value)


@pytest.mark.parametrize(
    "data", [b"", b"!!", SEED, base64.b64encode(SEED[:31]), base64.b64encode(SEED + b"x"), b"\xff"]
)
def test_a_file_that_holds_no_key_is_refused_and_not_shown(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(UsageError, match="must hold 32 bytes in base64"):
        read_seed_file(written(tmp_path / "seed", data))


def test_a_key_that_is_not_there_is_an_error_of_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read") as refusal:
        read_seed_file(tmp_path / "absent")

    assert "\n" not in str(refusal.value)
