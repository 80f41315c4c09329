"""What the formats have in common: what an entry says, in the words that people look for."""

from collections.abc import Mapping
from typing import Any

from taskpass.core.model.entry import PREFIX
from taskpass.core.model.text import quoted
from taskpass.tlog.merkle import leaf_hash


def kind(event: Mapping[str, Any]) -> str:
    """Return the entry's type without our prefix."""
    return str(event.get("type", "")).removeprefix(PREFIX)


def part(event: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return an object of the entry's data; empty where there is none."""
    value = event.get("data", {}).get(name, {})
    return value if isinstance(value, Mapping) else {}


def text(event: Mapping[str, Any], name: str) -> str:
    """Return a text of the entry's data; '' where there is none."""
    value = event.get("data", {}).get(name, "")
    return value if isinstance(value, str) else str(value)


def message(event: Mapping[str, Any]) -> str:
    """Return what happened in a line."""
    words = [kind(event), text(event, "stage"), text(event, "outcome")]
    name = part(event, "cred").get("name")
    about = [f"'{name}'"] if name else []
    of = [f"of {event['subject']}"] if "subject" in event else []
    why = [f"({quoted(text(event, 'reason'))})"] if text(event, "reason") else []
    return " ".join(word for word in (*words, *about, *of, *why) if word)


def leaf(body: bytes) -> str:
    """Return the entry's hash in the log, in hex."""
    return leaf_hash(body).hex()
