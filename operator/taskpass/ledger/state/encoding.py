"""Grants and task records as JSON, for the ledger's state tables.

The fields' own types say how each is read. A field that a stored value lacks (it was written by an
earlier version) takes its default; one that nobody knows (it was written by a later version) is
refused, for what it says would be lost at the next write. `RETIRED` names those that say nothing.
"""

import dataclasses
import functools
import types
from collections.abc import Callable, Mapping
from datetime import datetime
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
        return lambda value, texts: tuple([item(each, texts) for each in value])
    if kind is str:
        return lambda value, texts: texts.setdefault(value, value)
    if kind is datetime:
        return lambda value, _: datetime.fromisoformat(value)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return lambda value, _: kind(value)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return _fields_reader(kind)
    return lambda value, _: value


def _fields_reader(kind: type) -> _Read:
    readers = {name: _reader(hint) for name, hint in get_type_hints(kind).items()}
    retired: frozenset[str] = getattr(kind, "RETIRED", frozenset())

    def read(stored: dict[str, Any], texts: Texts) -> Any:
        kept = {name: v for name, v in stored.items() if name not in retired} if retired else stored
        try:
            return kind(**{name: readers[name](v, texts) for name, v in kept.items()})
        except KeyError as error:
            raise UnknownField(f"{kind.__name__} has no field {error}") from error

    return read
