"""Messages between the operator and the process that evaluates: length, then JSON."""

import struct
from typing import Any

import orjson

LENGTH = struct.Struct(">I")
MOST_BYTES = 16 * 1024 * 1024


def encoded(message: Any) -> bytes:
    """Return the bytes of a message.

    Raises:
        ValueError: It is no JSON, or longer than any message may be.

    """
    try:
        body = orjson.dumps(message)
    except TypeError as error:
        raise ValueError("it cannot be written as JSON") from error
    if len(body) > MOST_BYTES:
        raise ValueError(f"it is longer than {MOST_BYTES} bytes")
    return LENGTH.pack(len(body)) + body


def length_of(header: bytes) -> int:
    """Return how many bytes follow.

    Raises:
        ValueError: More than any message has.

    """
    (length,) = LENGTH.unpack(header)
    if length > MOST_BYTES:
        raise ValueError(f"a message of {length} bytes")
    return int(length)
