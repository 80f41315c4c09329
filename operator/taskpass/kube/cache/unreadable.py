"""Which objects are there and were not taken in, and why.

A tenant can make any number of them (there is no room for more of a kind), and what is to be known
of a namespace is asked at every look: so nothing here depends on how many there are, nor on what
lies in another namespace.
"""

from collections.abc import Iterator

from taskpass.core.model.key import Key

Found = tuple[str, str, str]
"""Kind, name, and why."""


class Unreadable:
    """By namespace and kind; those of the cluster are in namespace ''."""

    def __init__(self) -> None:
        self._in: dict[str, dict[str, dict[str, str]]] = {}

    def __contains__(self, of: tuple[str, Key]) -> bool:
        """Tell whether an object, by (kind, key), could not be taken in."""
        kind, (namespace, name) = of
        return name in self._in.get(namespace, {}).get(kind, {})

    def add(self, kind: str, key: Key, why: str) -> bool:
        """Note one; tell whether it is the first of its kind there, so that each is logged once."""
        names = self._in.setdefault(key[0], {}).setdefault(kind, {})
        names[key[1]] = why
        return len(names) == 1

    def discard(self, kind: str, key: Key) -> None:
        """Note that one was taken in, or is gone."""
        kinds = self._in.get(key[0], {})
        names = kinds.get(kind, {})
        names.pop(key[1], None)
        if not names:
            kinds.pop(kind, None)
        if not kinds:
            self._in.pop(key[0], None)

    def any_in(self, namespace: str) -> bool:
        """Tell whether there is one in a namespace, of whatever kind."""
        return namespace in self._in

    def first(self, namespace: str, besides: str = "") -> Found | None:
        """Return the first of a namespace that is not of the kind `besides`."""
        for kind, names in sorted(self._in.get(namespace, {}).items(), key=lambda each: each[0]):
            if kind != besides:
                name = next(iter(names))
                return kind, name, names[name]
        return None

    def keys(self, kind: str) -> Iterator[Key]:
        """Yield the key of each of a kind."""
        for namespace, kinds in self._in.items():
            yield from ((namespace, name) for name in kinds.get(kind, ()))
