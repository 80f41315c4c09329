"""The bytes of an audit entry: a CloudEvent as canonical JSON (RFC 8785).

What may be in an entry is less than JSON, so that there is one way to write it and every reader
reads the same:

1. Keys are of `[a-z0-9_.]`, so that sorting by code point and by UTF-16 unit agree.
2. Numbers are integers below 2**53 in size; no float, no null.
3. Strings are Unicode without lone surrogates.

Under these rules orjson gives RFC 8785's bytes (a test compares them).
Verification hashes the stored bytes and never writes them anew.
"""

import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from taskpass.core.audit.redaction import redacted, suspicious
from taskpass.core.audit.terms import moment
from taskpass.core.model.entry import PREFIX, Entry

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
    if _holds(value, MAX_DEPTH):
        try:
            return orjson.dumps(value, default=dict, option=orjson.OPT_SORT_KEYS)
        except TypeError:  # a lone surrogate
            pass
    raise NotCanonical(_trouble(value, "entry", MAX_DEPTH) or "entry is not JSON")


def entry_bytes(
    entry: Entry, *, source: str, time: str, adjusted: bool, live: Sequence[str] = (),
    by: Mapping[str, Mapping[str, str]] | None = None, notice: str = "",
) -> bytes:  # fmt: skip
    """Return what the log keeps of an entry; `notice` is the digest of what people are told.

    `time` is as the log tells it; `adjusted` says that the entry's own would have gone back. `live`
    are the forms of secrets that must not be in it (`redaction.py`), `by` is what it says of people
    (`pseudonyms.py`).
    """
    data, count = dict(entry.data), 0
    if by:
        data["by"] = by
    if notice:
        data["notice"] = notice
    if live:
        data, count = redacted(data, live)
    body = _event_bytes(entry, data, count, source, time, adjusted)
    if suspicious(body):
        data, more = redacted(data, live)
        if more:
            body = _event_bytes(entry, data, count + more, source, time, adjusted)
    return body


def _event_bytes(
    entry: Entry, data: dict[str, Any], count: int, source: str, time: str, adjusted: bool
) -> bytes:
    data = dict(data)
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
        data |= {"clk": "adj", "at": moment(entry.time)}
    if count:
        data["redacted"] = count
    return canonical(event)


def _holds(value: object, depth: int) -> bool:
    """Tell whether the value keeps the rules, but for what the writer of JSON finds itself."""
    kind = type(value)
    if kind is str or kind is bool:
        return True
    if isinstance(value, int):
        return -LARGEST < value < LARGEST
    if depth == 0:
        return False
    if kind is dict or isinstance(value, Mapping):
        for key, item in value.items():  # type: ignore[attr-defined]
            if not _is_key(key) or not (type(item) is str or _holds(item, depth - 1)):
                return False
        return True
    if isinstance(value, list | tuple):
        return all(_holds(item, depth - 1) for item in value)
    return isinstance(value, str)


@functools.lru_cache(4096)
def _is_key(key: object) -> bool:
    return type(key) is str and _KEY.fullmatch(key) is not None


def _trouble(value: object, where: str, depth: int) -> str | None:
    """Return which rule the value breaks, and where; None if none."""
    if isinstance(value, str):
        return None if _is_text(value) else f"{where} has a lone surrogate"
    if isinstance(value, int):
        return f"{where} is an integer of 2**53 or more" if abs(value) >= LARGEST else None
    if depth == 0:
        return f"{where} is nested more than {MAX_DEPTH} deep"
    if isinstance(value, Mapping):
        if not all(map(_is_key, value)):
            return f"{where} has a key that is not of [a-z0-9_.]"
        inner = ((item, f"{where}.{key}") for key, item in value.items())
    elif isinstance(value, list | tuple):
        inner = ((item, f"{where}[{i}]") for i, item in enumerate(value))
    else:
        return f"{where} is a {type(value).__name__}"
    return next(filter(None, (_trouble(*each, depth - 1) for each in inner)), None)


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
