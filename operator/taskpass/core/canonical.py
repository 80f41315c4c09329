"""The bytes of an audit entry: a CloudEvent as canonical JSON (RFC 8785).

What may be in an entry is less than JSON, so that there is one way to write it and every reader
reads the same:

1. Keys are of `[a-z0-9_.]`, so that sorting by code point and by UTF-16 unit agree.
2. Numbers are integers below 2**53 in size; no float, no null.
3. Strings are Unicode without lone surrogates.

Under these rules the standard library's JSON writer gives RFC 8785's bytes (a test compares them).
Verification hashes the stored bytes and never writes them anew.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from taskpass.core.audit import PREFIX, Entry

MAX_BYTES = 65_535
"""What an entry may have at most: its length is two bytes in a bundle."""
MAX_DEPTH = 16
LARGEST = 2**53
_KEY = re.compile(r"[a-z0-9_.]+")


class NotCanonical(ValueError):
    """The value has no canonical bytes under the rules above. The message quotes no value."""


def canonical(value: Mapping[str, Any]) -> bytes:
    """Return the value's canonical JSON.

    Raises:
        NotCanonical: Something in it breaks a rule.

    """
    plain = _plain(value, "entry", MAX_DEPTH)
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode()


def entry_bytes(entry: Entry, *, source: str, time: str, adjusted: bool) -> bytes:
    """Return what the log keeps of an entry.

    `time` is as the log tells it; `adjusted` says that the entry's own would have gone back.
    """
    data = dict(entry.data)
    event: dict[str, Any] = {
        "specversion": "1.0",
        "id": entry.id,
        "source": source,
        "type": PREFIX + entry.type,
        "time": time,
        "data": data,
    }
    if entry.task is not None:
        event["subject"] = str(entry.task)
        # A recreated task has its predecessor's name; its entries must not be taken for the old.
        data["task"] = {"uid": entry.task.uid, **data.get("task", {})}
    if adjusted:
        data["clk"] = "adj"
    return canonical(event)


def _plain(value: object, where: str, depth: int) -> Any:
    if depth == 0:
        raise NotCanonical(f"{where} is nested more than {MAX_DEPTH} deep")
    if isinstance(value, str):
        return _string(value, where)
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        if abs(value) >= LARGEST:
            raise NotCanonical(f"{where} is an integer of 2**53 or more")
        return int(value)
    if isinstance(value, Mapping):
        return {
            _key(key, where): _plain(item, f"{where}.{key}", depth - 1)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_plain(item, f"{where}[{i}]", depth - 1) for i, item in enumerate(value)]
    raise NotCanonical(f"{where} is a {type(value).__name__}")


def _key(key: object, where: str) -> str:
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise NotCanonical(f"{where} has a key that is not of [a-z0-9_.]")
    return str(key)


def _string(value: str, where: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise NotCanonical(f"{where} has a lone surrogate") from None
    return str(value)
