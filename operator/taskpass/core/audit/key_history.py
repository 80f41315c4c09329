"""The keys of one log, one after the other, and the sizes that each may sign.

Rules:

1. The first entry names the first key.
2. An entry `log.key_rotate {prev_vkey, vkey, reason}` hands over from the key of that time to a new
   one. The checkpoint whose size ends with that entry is the handover: both keys sign it.
3. A key's signatures count from its own handover's size up to the next one's, and no further. A
   checkpoint with a line of one of the log's keys outside of that is refused, even where the right
   key has signed it too: the old key was to be destroyed.
4. No key comes back.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from taskpass.core.model.entry import PREFIX, EventType
from taskpass.tlog.checkpoint import (
    BadCheckpoint,
    Checkpoint,
    PublicKey,
    Verify,
    open_checkpoint,
    parse_body,
    parse_note,
    parse_vkey,
)

GENESIS = PREFIX + EventType.LOG_GENESIS
ROTATE = PREFIX + EventType.LOG_KEY_ROTATE


class BadChain(ValueError):
    """What the log says of its keys contradicts itself. One line."""


@dataclass(frozen=True, slots=True)
class Span:
    """One key, and the sizes at which its signature counts."""

    key: PublicKey
    since: int
    """Size of the handover to it; 0 for the first."""
    until: int | None
    """Size of the handover from it; None for the key of today."""

    def covers(self, size: int) -> bool:
        """Tell whether the key is to sign this size."""
        return self.since <= size and (self.until is None or size <= self.until)


@dataclass(frozen=True, slots=True)
class KeyChain:
    """The keys as the log's entries name them, oldest first; there is always one."""

    spans: tuple[Span, ...]

    @classmethod
    def of_genesis(cls, event: Mapping[str, Any]) -> "KeyChain":
        """Begin with the log's first entry, or raise `BadChain`."""
        if event.get("type") != GENESIS:
            raise BadChain("the first entry does not name the key that signed the log")
        key = _key(event, "vkey", "the first entry")
        if event.get("source") != key.name:
            raise BadChain("the first entry names the key of another log")
        return cls((Span(key, 0, None),))

    def handed_over(self, event: Mapping[str, Any], size: int) -> "KeyChain":
        """Go on with an entry `log.key_rotate`, the last of the log at that size.

        Raises:
            BadChain: It does not follow on the key of today, or names one that was there before.

        """
        what = f"entry {size - 1}"
        *before, last = self.spans
        key = _key(event, "vkey", what)
        if _key(event, "prev_vkey", what) != last.key:
            raise BadChain(f"{what} hands over from a key that is not the log's key of that time")
        if key.name != last.key.name:
            raise BadChain(f"{what} hands over to a key of another log")
        if any(key.raw == span.key.raw or key.id == span.key.id for span in self.spans):
            raise BadChain(f"{what} hands over to a key that the log has had before")
        return KeyChain((*before, Span(last.key, last.since, size), Span(key, size, None)))

    @property
    def current(self) -> PublicKey:
        """The key of today."""
        return self.spans[-1].key

    @property
    def handovers(self) -> tuple[int, ...]:
        """The sizes of the handovers."""
        return tuple(span.since for span in self.spans[1:])

    @property
    def entries(self) -> Iterator[int]:
        """The indexes of the entries that the chain consists of."""
        return (max(span.since - 1, 0) for span in self.spans)

    def has(self, key: PublicKey) -> bool:
        """Tell whether a key is or was the log's."""
        return any(span.key == key for span in self.spans)

    def text(self) -> str:
        """Return a line for each key: since which size, and its vkey."""
        return "".join(f"{span.since} {span.key.vkey()}\n" for span in self.spans)

    def open(self, text: str, verify: Verify) -> Checkpoint:
        """Return the checkpoint of a note that every key of its size has signed, and no other.

        Raises:
            BadCheckpoint: It is not one, is of another log, or a signature is missing or wrong.

        """
        body, signatures = parse_note(text)
        checkpoint = parse_body(body)
        for span in self.spans:
            if span.covers(checkpoint.size):
                open_checkpoint(text, span.key, verify)
                continue
            given = [s for s in signatures if (s.name, s.key_id) == (span.key.name, span.key.id)]
            if not given:
                continue
            signed = any(verify(span.key.raw, body.encode(), s.raw) for s in given)
            what = (
                f"the key {span.key.id.hex()} has signed size {checkpoint.size}"
                if signed
                else f"it has a line as of the key {span.key.id.hex()} that this key never made"
            )
            raise BadCheckpoint(f"{what}, and the key was to sign {_said(span)} only")
        return checkpoint


def sizes_of(text: str) -> tuple[int, ...]:
    """Return the sizes of the handovers that `KeyChain.text` names; `BadChain` where it is none."""
    lines = text.splitlines()
    sizes = [line.partition(" ")[0] for line in lines]
    if not lines or sizes[0] != "0" or not all(s.isascii() and s.isdigit() for s in sizes):
        raise BadChain("the list of keys is not one")
    return tuple(int(size) for size in sizes[1:])


def _said(span: Span) -> str:
    return f"from {span.since} on" if span.until is None else f"{span.since} to {span.until}"


def _key(event: Mapping[str, Any], name: str, what: str) -> PublicKey:
    data = event.get("data")
    value = data.get(name) if isinstance(data, Mapping) else None
    try:
        return parse_vkey(value if isinstance(value, str) else "")
    except BadCheckpoint:
        raise BadChain(f"{what} does not name a key as {name}") from None
