"""Searches for expressions that take longer than their price, on inputs made to be slow.

The tests search as long as CI has time for.
"""

import contextlib
import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from taskpass.cel.expressions import CelExpressions, Compiled
from taskpass.core.errors import EvaluationFailed
from taskpass.core.policy.variables import FIELDS, Field, Kind

ENGINE = CelExpressions()
ROUNDS = 3
LISTS = [f.name for f in FIELDS if f.kind is Kind.STRINGS]
TEXTS = [f.name for f in FIELDS if f.kind is Kind.STRING]
ATOMS = (
    r"a b ab abc . [ab] [^c] [^ab] [a-z] \w \W \d \D \s \S \b \B \C \. "
    "[[:alpha:]] [[:^digit:]] [^a-c]"
).split()
REPEATS = ("", "", "", "", "*", "+", "?", "*?", "??")


@dataclass(frozen=True)
class Found:
    """One expression, how long it took at best, and what it was said to take, in milliseconds."""

    source: str
    took: float
    price: float


def inputs() -> Iterator[dict[str, Any]]:
    """Yield the largest inputs, of texts that are slow for one thing or another."""
    chooser = random.Random(7)
    alphabets = ["a", "ab", "abcdefgh", "\N{GRINNING FACE}", "aé中\N{GRINNING FACE}", "a "]
    for alphabet in alphabets:
        text = "".join(chooser.choice(alphabet) for _ in range(4096))
        yield {field.name: _largest(field, text) for field in FIELDS}


def _largest(field: Field, text: str) -> Any:
    long = text[: field.length]
    match field.kind:
        case Kind.STRING:
            return long
        case Kind.INT:
            return 2**62
        case Kind.TIMESTAMP:
            return datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
        case Kind.STRINGS:
            return [long] * field.items
        case Kind.LABELS:
            return {str(n).ljust(4) + long[4:]: long for n in range(field.items)}
        case Kind.RECORDS:
            return [{"name": long, "classification": long}] * field.items


INPUTS = list(inputs())


def measured(source: str, compiled: Compiled, data: Mapping[str, Any]) -> Found:
    """Return how long one evaluation takes: the best of a few, as others use the machine too."""
    best = 1e9
    for _ in range(ROUNDS):
        start = time.thread_time_ns()
        with contextlib.suppress(EvaluationFailed):
            compiled.answer(data)
        best = min(best, time.thread_time_ns() - start)
    return Found(source, best / 1e6, compiled.price.milliseconds)


def dearest(source: str) -> Found | None:
    """Return the slowest of an expression's evaluations; None where it is not admitted."""
    try:
        compiled = ENGINE.compile(source)
    except ValueError:
        return None
    found = [
        measured(source, compiled, {n: v for n, v in each.items() if n in compiled.price.fields})
        for each in INPUTS
    ]
    return max(found, key=lambda each: each.took)


def pattern(chooser: random.Random) -> str:
    """Return a pattern of up to 64 characters."""
    size, made = chooser.choice([4, 16, 40, 64]), ""
    few = chooser.sample(ATOMS, chooser.choice([1, 2, 3, len(ATOMS)]))
    while len(made) < size:
        atom = chooser.choice(few) + chooser.choice(REPEATS)
        if chooser.random() < 0.1:
            atom = f"({made[-12:]}|{atom})*" if made.count("(") == made.count(")") else atom
        made += atom
    return f"{made[:60]}{chooser.choice(['', 'c', 'c$', '$'])}"


def expression(chooser: random.Random, depth: int = 3, loops: tuple[str, ...] = ()) -> str:
    """Return an expression that is true or false, and is evaluated whole where that can be."""
    text = _text(chooser, loops)
    kind = chooser.randrange(13 if depth else 9)
    if kind == 0:
        return f"{text}.matches(r'{pattern(chooser)}')"
    if kind == 1:
        return f"{text} == {_text(chooser, loops)}"
    if kind == 2:
        function = chooser.choice(["contains", "startsWith", "endsWith"])
        return f"{text}.{function}({_text(chooser, loops)})"
    if kind == 3:
        return f"{text} in {chooser.choice(LISTS)}"
    if kind == 4:
        return f"{chooser.choice(LISTS)} == {chooser.choice(LISTS)}"
    if kind == 5:
        return f"{text}.size() < 0"
    if kind == 6:
        return f"string(bytes({text})) == {_text(chooser, loops)}"
    if kind == 7:
        return chooser.choice(
            ["now.getHours('Europe/Berlin') > 99", "timestamp('2020-01-01T00:00:00Z') > now",
             f"int(string(size({text}))) < 0", "string(now) == ''", "intent.data == intent.data",
             "agent.podLabels == agent.podLabels", f"{text} in agent.podLabels",
             f"[{text}, {text}] == [{text}]", f"{{{text}: 1}}.size() == 3", f"{text} < 'a'",
             "duration('1h') > duration('3h')", "intent.data[31].name == 'a'",
             f"[[{text}], [{text}]] == [[{text}], [{text}]]", "double('1.5') > 2.5"]
        )  # fmt: skip
    if kind == 8:
        return f"{text} <= {_text(chooser, loops)}"
    inner = expression(chooser, depth - 1, loops)
    if kind == 9:
        return f"({inner}) == ({expression(chooser, depth - 1, loops)})"
    variable = f"x{len(loops)}"
    over = chooser.choice(
        [*LISTS, "agent.podLabels", f"[{', '.join(['phase'] * chooser.choice([2, 9]))}]"]
    )
    inner = expression(chooser, depth - 1, (*loops, variable))
    return f"{over}.exists_one({variable}, {inner})"


def _text(chooser: random.Random, loops: tuple[str, ...]) -> str:
    return chooser.choice([*TEXTS, *(loops * 20), "'abcabc'", "class.actions[31]"])
