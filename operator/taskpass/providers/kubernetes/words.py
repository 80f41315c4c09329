"""What a role grants, in words for people: `get, list configmaps; create jobs.batch`."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from taskpass.core.model.text import word

MOST_RULES = 3
"""How many rules are said; the rest is counted."""


def in_words(rules: Sequence[Mapping[str, Any]]) -> str:
    """Return the rules that count in a namespace, the first ones in full."""
    said = [_rule(rule) for rule in rules if rule.get("resources")]
    more = len(said) - MOST_RULES
    return "; ".join([*said[:MOST_RULES], *([f"and {more} more rules"] if more > 0 else [])])


def _rule(rule: Mapping[str, Any]) -> str:
    groups = rule.get("apiGroups") or [""]
    resources = (
        f"{resource}.{group}" if group else str(resource)
        for group in groups
        for resource in rule["resources"]
    )
    named = rule.get("resourceNames") or ()
    names = f" named {_listed(map(word, named))}" if named else ""
    return f"{_listed(map(word, rule.get('verbs') or ()))} {_listed(map(word, resources))}{names}"


def _listed(words: Iterable[str]) -> str:
    return ", ".join(words)
