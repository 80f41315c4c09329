"""Objects of one kind that come from two sides: kopf's events, and lists of our own.

resourceVersions of one kind can be compared as numbers, so whatever comes late is known to be:

1. An event that is not newer than what is stored changes nothing.
2. A list says nothing of objects that are newer than the list; what it does not hold and is not
   newer than it is gone. kopf never reports deletions that it missed.
3. An object that was deleted does not come back by an event or a list from before its deletion.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from taskpass.core.model.key import Key
from taskpass.kube.cache.reflector import key_of

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Stored(Generic[T]):
    """A value, the version that it was read at, and what tells whether it says anything new."""

    value: T
    version: int
    uid: str
    generation: int


@dataclass(frozen=True, slots=True)
class Change(Generic[T]):
    """What became of one key; None stands for absence."""

    key: Key
    old: Stored[T] | None
    new: Stored[T] | None

    @property
    def values(self) -> tuple[T | None, T | None]:
        """What it was, and what it is."""
        return self.old.value if self.old else None, self.new.value if self.new else None

    @property
    def only_status(self) -> bool:
        """Whether neither the object's life nor its spec changed."""
        old, new = self.old, self.new
        return bool(old and new and (old.uid, old.generation) == (new.uid, new.generation))


class Store(Generic[T]):
    """The objects of one kind by key."""

    def __init__(self) -> None:
        self._items: dict[Key, Stored[T]] = {}
        self._deleted: dict[Key, int] = {}
        self._floor = 0

    def get(self, key: Key) -> T | None:
        """Return the value."""
        stored = self._items.get(key)
        return stored.value if stored else None

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._items)

    def __iter__(self) -> Iterator[Key]:
        """Yield every key."""
        return iter(self._items)

    def __contains__(self, key: object) -> bool:
        """Tell whether there is one."""
        return key in self._items

    def keys(self) -> list[Key]:
        """Return every key."""
        return list(self._items)

    def values(self) -> Iterator[T]:
        """Yield every value."""
        return (stored.value for stored in self._items.values())

    def is_stale(self, item: Mapping[str, Any]) -> bool:
        """Tell whether an object as it was read adds nothing to what is known."""
        key, version = key_of(item), int(item["metadata"]["resourceVersion"])
        stored = self._items.get(key)
        if stored is not None:
            return version <= stored.version
        return version <= max(self._deleted.get(key, 0), self._floor)

    def put(self, item: Mapping[str, Any], value: T) -> Change[T]:
        """Store what is not stale."""
        metadata = item["metadata"]
        key = key_of(item)
        new = Stored(
            value,
            int(metadata["resourceVersion"]),
            metadata["uid"],
            metadata.get("generation", 0),
        )
        old = self._items.get(key)
        self._items[key] = new
        self._deleted.pop(key, None)
        return Change(key, old, new)

    def remove(self, item: Mapping[str, Any]) -> Change[T] | None:
        """Drop what a deletion names; None where something newer of that name is stored."""
        key, version = key_of(item), int(item["metadata"]["resourceVersion"])
        old = self._items.get(key)
        if old is not None and old.uid != item["metadata"]["uid"] and old.version > version:
            return None
        self._deleted[key] = max(version, old.version if old else 0)
        self._items.pop(key, None)
        return Change(key, old, None) if old else None

    def remove_earlier(self, item: Mapping[str, Any]) -> Change[T] | None:
        """Drop what an object's name stood for in an earlier life; this one stays unknown."""
        key = key_of(item)
        old = self._items.get(key)
        if old is None or old.uid == item["metadata"]["uid"]:
            return None
        del self._items[key]
        return Change(key, old, None)

    def finish_list(self, listed: Iterable[Key], version: int) -> list[Change[T]]:
        """Drop what a whole list of that version did not hold, and forget older deletions."""
        present = set(listed)
        gone = [
            Change(key, old, None)
            for key, old in self._items.items()
            if key not in present and old.version <= version
        ]
        for change in gone:
            del self._items[change.key]
        self._floor = max(self._floor, version)
        self._deleted = {k: v for k, v in self._deleted.items() if v > version}
        return gone


def mark(index: dict[Any, set[Key]], name: Any, key: Key, put: bool) -> None:
    """Put a key into an index under a name, or take it out; empty names go."""
    if put:
        index[name].add(key)
    elif name in index:
        index[name].discard(key)
        if not index[name]:
            del index[name]
