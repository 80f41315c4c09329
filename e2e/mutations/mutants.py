"""Every way in which a policy is made a little wrong: pure, from the policy as it is served.

A mutant is one policy in which one thing is gone or turned round: a validation, a clause of an
expression, an operator, a match condition, a rule, or an operation or resource of a rule. If no row
of the table notices, either the table lacks a row or the policy has more than it needs.
"""

import copy
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]
FLIPS = (
    (" == ", " != "),
    (" != ", " == "),
    (" && ", " || "),
    (" || ", " && "),
    (" <= ", " < "),
    (".all(", ".exists("),
    (".exists(", ".all("),
    (".startsWith(", ".endsWith("),
    ("!variables.", "variables."),
    ("!(", "("),
)


@dataclass(frozen=True, eq=False)
class Mutant:
    """One policy, and what was done to it."""

    plural: str
    policy: str
    change: str
    body: Object


def mutants_of(plural: str, policy: Object) -> Iterator[Mutant]:
    """Yield the mutants of one live policy."""
    name = policy["metadata"]["name"]
    alike: Counter[str] = Counter()
    for change, spec in _changed(policy["spec"]):
        alike[change] += 1
        body = {
            "apiVersion": policy["apiVersion"],
            "kind": policy["kind"],
            "metadata": {k: policy["metadata"][k] for k in ("name", "labels")},
            "spec": spec,
        }
        numbered = f"{change} ({alike[change]})" if alike[change] > 1 else change
        yield Mutant(plural, name, numbered, body)


def _changed(spec: Object) -> Iterator[tuple[str, Object]]:
    parts = ("validations", "mutations", "matchConditions")
    for part in parts:
        items = spec.get(part, [])
        for at in range(len(items)):
            if part == "matchConditions" or len(items) > 1:
                yield f"{part}[{at}] is gone", _without(spec, part, at)
    yield from _rules(spec)
    for where, text in _expressions(spec):
        for change, other in _texts(text):
            yield f"{'.'.join(map(str, where))}: {change}", _with(spec, where, other)


def _rules(spec: Object) -> Iterator[tuple[str, Object]]:
    rules = spec["matchConstraints"]["resourceRules"]
    for at, rule in enumerate(rules):
        if len(rules) > 1:
            changed = copy.deepcopy(spec)
            del changed["matchConstraints"]["resourceRules"][at]
            yield f"rule {at} is gone", changed
        for key in ("operations", "resources"):
            for index, value in enumerate(rule[key]):
                if len(rule[key]) > 1:
                    changed = copy.deepcopy(spec)
                    del changed["matchConstraints"]["resourceRules"][at][key][index]
                    yield f"rule {at} without {value}", changed


def _expressions(spec: Object) -> Iterator[tuple[tuple[str | int, ...], str]]:
    for part in ("validations", "variables", "matchConditions"):
        for at, item in enumerate(spec.get(part, [])):
            yield (part, at, "expression"), item["expression"]
    for at, item in enumerate(spec.get("mutations", [])):
        kind = "jsonPatch" if "jsonPatch" in item else "applyConfiguration"
        yield ("mutations", at, kind, "expression"), item[kind]["expression"]


def _texts(text: str) -> Iterator[tuple[str, str]]:
    for joint in (" && ", " || "):
        clauses = clauses_of(text, joint)
        for at, clause in enumerate(clauses):
            if len(clauses) > 1:
                kept = joint.join(clauses[:at] + clauses[at + 1 :])
                yield f"without clause '{_short(clause)}'", kept
    for old, new in FLIPS:
        for match in re.finditer(re.escape(old), text):
            other = text[: match.start()] + new + text[match.end() :]
            context = text[max(0, match.start() - 24) : match.end() + 24]
            yield f"'{old.strip()}' is '{new.strip()}' in '{_short(context)}'", other


def clauses_of(text: str, joint: str) -> list[str]:
    """Return the parts of an expression between joints that stand in no bracket and no string."""
    parts, depth, quote, begin, at = [], 0, "", 0, 0
    while at < len(text):
        letter = text[at]
        if quote:
            if letter == "\\":
                at += 1
            elif letter == quote:
                quote = ""
        elif letter in "'\"":
            quote = letter
        elif letter in "([{":
            depth += 1
        elif letter in ")]}":
            depth -= 1
        elif depth == 0 and text.startswith(joint, at):
            parts.append(text[begin:at])
            at += len(joint)
            begin = at
            continue
        at += 1
    return [*parts, text[begin:]]


def _without(spec: Object, part: str, at: int) -> Object:
    changed = copy.deepcopy(spec)
    del changed[part][at]
    return changed


def _with(spec: Object, where: tuple[str | int, ...], text: str) -> Object:
    changed: Any = copy.deepcopy(spec)
    inner = changed
    for step in where[:-1]:
        inner = inner[step]
    inner[where[-1]] = text
    return dict(changed)


def _short(text: str) -> str:
    return " ".join(text.split())[:70]
