"""A seed in a file: base64 of its 32 bytes, for nobody else's eyes."""

import base64
import binascii
import os
from pathlib import Path

from taskpass.core.errors import SigningKeyUnusable, UsageError
from taskpass.ledger.log.signing import SEED_SIZE, generate_seed

OTHERS = 0o027
"""Modes that are refused. The group may read: that is how a volume gives files to a container."""


def read_seed_file(path: Path) -> bytes:
    """Return the seed.

    Raises:
        SigningKeyUnusable: It cannot be read, holds something else, or others can read or
            change it.

    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(1024)
    except OSError as error:
        said = f"The key file {path} cannot be read ({error.strerror})"
        raise SigningKeyUnusable(said) from error
    if mode & OTHERS:
        raise SigningKeyUnusable(
            f"The key file {path} can be read or changed by others than its owner and group",
            f"chmod 0400 {path}",
        )
    try:
        seed = base64.b64decode(text.strip(), validate=True)
    except binascii.Error:
        seed = b""
    if len(seed) != SEED_SIZE:
        raise SigningKeyUnusable(f"The key file {path} must hold {SEED_SIZE} bytes in base64")
    return seed


def make_seed_file(path: Path) -> bytes:
    """Make a new seed in a new file that only its owner can read; durable on return.

    Raises:
        UsageError: It is there already, or cannot be made.

    """
    seed = generate_seed()
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
        try:
            os.write(file, base64.b64encode(seed) + b"\n")
            os.fsync(file)
        finally:
            os.close(file)
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise UsageError(f"The key file {path} cannot be made ({error.strerror})") from error
    return seed
