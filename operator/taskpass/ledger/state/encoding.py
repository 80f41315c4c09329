"""Grants and task records as JSON, for the ledger's state tables.

The fields' own types say how each is read, and nothing of another type is: 900.0 is no 900, and a
time is in UTC. A field that a stored value lacks (it was written by an earlier version) takes its
default; one that nobody knows (it was written by a later version) is refused, for what it says
would be lost at the next write. `RETIRED` names those that say nothing.
"""

import collections.abc
import dataclasses
import functools
import types
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import orjson

Value = TypeVar("Value")
Texts = dict[str, str]
"""Texts that were read, so that thousands of grants share one copy of what they all say."""


class UnknownField(ValueError):
    """A stored value has a field that this version does not know."""


def encode(value: Any) -> str:
    """Return a frozen dataclass as one line of JSON.

    Raises:
        TypeError: Something in it is not JSON.

    """
    return orjson.dumps(value, default=_plain).decode()


def decode(kind: type[Value], text: str, texts: Texts | None = None) -> Value:
    """Return the dataclass that `encode` wrote.

    Raises:
        UnknownField: A later version has written it.
        TypeError: A field without default is missing, or one is of another type.
        ValueError: It is no JSON, or a value in it is none that the field can have.

    """
    wanted: Any = kind
    try:
        built: Value = _reader(wanted)(orjson.loads(text), {} if texts is None else texts)
    except AttributeError as error:
        raise TypeError(f"a stored {kind.__name__} has a field of another type") from error
    return built


def _plain(value: object) -> dict[str, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a {type(value).__name__} is not JSON")


_Read = Callable[[Any, Texts], Any]


@functools.cache
def _reader(kind: Any) -> _Read:
    """Return the function that reads a value of a type."""
    if get_origin(kind) in (Union, types.UnionType):
        inner = _reader(next(o for o in get_args(kind) if o is not types.NoneType))
        return lambda value, texts: None if value is None else inner(value, texts)
    if get_origin(kind) is tuple:
        item = _reader(get_args(kind)[0])
        return lambda value, texts: tuple([item(each, texts) for each in typed(list, value)])
    if get_origin(kind) is collections.abc.Mapping:
        item = _reader(get_args(kind)[1])
        return lambda value, texts: {
            key: item(each, texts) for key, each in typed(dict, value).items()
        }
    if kind is str:
        return lambda value, texts: texts.setdefault(typed(str, value), value)
    if kind is datetime:
        return lambda value, _: read_time(value)
    if kind is Any:
        return lambda value, _: value
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return lambda value, _: kind(value)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return _fields_reader(kind)
    if kind in (int, bool):
        return lambda value, _: typed(kind, value)
    raise AssertionError(f"no way to read a {kind}")


def read_time(text: str) -> datetime:
    """Return a time as the state tables have it: in UTC, with its offset.

    Raises:
        TypeError: It is no text.
        ValueError: It is no time, or one of another offset or of none.

    """
    time = datetime.fromisoformat(typed(str, text))
    if time.utcoffset() != timedelta(0):
        raise ValueError("a stored time is not in UTC")
    return time


def typed(kind: type[Value], value: Any) -> Value:
    """Return a value of exactly that type; raise `TypeError` of any other."""
    if type(value) is not kind:
        raise TypeError(f"a stored value is no {kind.__name__}")
    return value


def _fields_reader(kind: type) -> _Read:
    hints = get_type_hints(kind)
    readers = {each.name: _reader(hints[each.name]) for each in dataclasses.fields(kind)}
    retired: frozenset[str] = getattr(kind, "RETIRED", frozenset())

    def read(value: Any, texts: Texts) -> Any:
        stored = typed(dict, value)
        kept = {name: v for name, v in stored.items() if name not in retired} if retired else stored
        try:
            return kind(**{name: readers[name](v, texts) for name, v in kept.items()})
        except KeyError as error:
            raise UnknownField(f"{kind.__name__} has no field {error}") from error

    return read
