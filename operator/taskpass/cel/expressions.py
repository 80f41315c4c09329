"""Policy expressions in CEL (github.com/google/cel-spec), by Google's C++ implementation.

What the engine does not promise by itself:

1. A run-time error comes back as a value, and values are truthy: only a boolean that is true is.
2. It holds the interpreter's lock while it runs. So it runs in a process of its own (`worker`), the
   text is short, its cost is bounded before it runs (`cost`), and its input is no larger than the
   fields say.
3. Nothing is built: `map`, `filter` and `+` on strings and lists are off, because ten of them in a
   row double a value ten times.
4. Each field is a variable of its own, with its type: a misspelt field does not compile, instead
   of failing when the policy is needed.
5. Its messages span several lines and quote the text; ours are one line.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from datetime import datetime
from threading import Lock
from typing import Any

from cel_expr_python import cel  # type: ignore[import-untyped]  # has stubs, but no py.typed

from taskpass.cel.cost import ENTRIES, MOST_UNITS, Price, price
from taskpass.core.errors import EvaluationFailed
from taskpass.core.policy.variables import FIELDS, Field, Kind

LONGEST = 4096
"""Characters of an expression, as the schema has it."""
MOST_KEPT = 512 * 1024
"""Characters of expressions that are kept compiled; one takes up to a hundred bytes for each."""

HAS_HINT = " (fields are always there: compare with '' or 0; has() is for keys of agent.podLabels)"
BY_NAME = {field.name: field for field in FIELDS}
SUBSET = """
stdlib:
  exclude_macros: [map, filter]
  exclude_functions:
  - name: _+_
    overloads:
    - id: add_string
    - id: add_bytes
    - id: add_list
"""
TYPES = {
    Kind.STRING: cel.Type.STRING,
    Kind.INT: cel.Type.INT,
    Kind.TIMESTAMP: cel.Type.TIMESTAMP,
    Kind.STRINGS: cel.Type.List(cel.Type.STRING),
    Kind.LABELS: cel.Type.Map(cel.Type.STRING, cel.Type.STRING),
    Kind.RECORDS: cel.Type.List(cel.Type.Map(cel.Type.STRING, cel.Type.STRING)),
}


class CelExpressions:
    """Compiles and keeps what it compiled. May be used by several threads."""

    def __init__(self) -> None:
        self._environment = cel.NewEnv(
            variables={field.name: TYPES[field.kind] for field in FIELDS},
            config=cel.NewEnvConfigFromYaml(SUBSET),
        )
        self._kept: OrderedDict[str, Compiled] = OrderedDict()
        self._characters = 0
        self._lock = Lock()

    def compile(self, source: str) -> "Compiled":
        """Compile, and demand a boolean.

        Raises:
            ValueError: It does not compile, is too long or could take too long, or is not a
                boolean. One line, for people.

        """
        with self._lock:
            if found := self._kept.get(source):
                self._kept.move_to_end(source)
                return found
            made = self._kept[source] = self._compile(source)
            self._characters += len(source)
            while self._characters > MOST_KEPT:
                self._characters -= len(self._kept.popitem(last=False)[0])
            return made

    def _compile(self, source: str) -> "Compiled":
        if len(source) > LONGEST:
            raise ValueError(f"must be at most {LONGEST} characters, not {len(source)}")
        try:
            source.encode()
        except UnicodeEncodeError as error:
            raise ValueError("must be Unicode text without lone surrogates") from error
        hint = HAS_HINT if "has(" in source else ""
        try:
            compiled = self._environment.compile(source)
        except RuntimeError as error:
            raise ValueError(_compile_error(str(error)) + hint) from error
        if compiled.return_type() != cel.Type.BOOL:
            kind = compiled.return_type().name().lower()
            raise ValueError(f"must be true or false, but is of type {kind}{hint}")
        cost = price(compiled.serialize(), BY_NAME)
        if cost.units > MOST_UNITS:
            raise ValueError(
                f"could take too long: {cost.milliseconds:.1f} ms by its price, and must be at "
                f"most {MOST_UNITS / 10_000:.0f} ms; loop over fewer things, or match fewer and "
                "simpler patterns"
            )
        return Compiled(compiled, cost)


class Compiled:
    """One compiled expression, and what it costs."""

    __slots__ = ("_compiled", "price")

    def __init__(self, compiled: cel.Expression, price: Price) -> None:
        self._compiled = compiled
        self.price = price

    def answer(self, data: Mapping[str, Any]) -> bool:
        """Evaluate on what `checked` returned; only the boolean true is true.

        Raises:
            EvaluationFailed: A run-time error, or a used-up budget.

        """
        try:
            answer = self._compiled.eval(data=data)
        except (RuntimeError, MemoryError) as error:
            raise EvaluationFailed(_run_time_error(str(error))) from error
        if answer.type() == cel.Type.ERROR:
            raise EvaluationFailed(_run_time_error(str(answer.value())))
        if answer.type() != cel.Type.BOOL:
            raise EvaluationFailed(f"is of type {answer.type().name().lower()}, not a boolean")
        return answer.value() is True


def checked(values: Mapping[str, Any], fields: Iterable[str]) -> dict[str, Any]:
    """Return the named fields out of values by dotted name, each of the type and size it has.

    Raises:
        EvaluationFailed: One is not.

    """
    data = {}
    for name in fields:
        if name not in values:
            raise EvaluationFailed("a field is missing from the input")
        if not _fits(BY_NAME[name], values[name]):
            kind = BY_NAME[name].kind
            raise EvaluationFailed(f"{name} is too large to be looked at, or not of type {kind}")
        value = values[name]
        data[name] = list(value) if isinstance(value, tuple) else value
    return data


def _fits(field: Field, value: Any) -> bool:
    match field.kind:
        case Kind.STRING:
            return _is_text(value, field.length)
        case Kind.INT:
            return type(value) is int and abs(value) < 2**63
        case Kind.TIMESTAMP:
            return isinstance(value, datetime) and value.tzinfo is not None
        case Kind.STRINGS:
            texts = isinstance(value, list | tuple) and len(value) <= field.items
            return texts and all(_is_text(item, field.length) for item in value)
        case Kind.LABELS:
            return _is_labels(value, field.items, field.length)
        case Kind.RECORDS:
            records = isinstance(value, list) and len(value) <= field.items
            return records and all(_is_labels(item, ENTRIES // 2, field.length) for item in value)


def _is_labels(value: object, items: int, length: int) -> bool:
    return (
        isinstance(value, dict)
        and len(value) <= items
        and all(_is_text(k, length) and _is_text(v, length) for k, v in value.items())
    )


def _is_text(value: object, length: int) -> bool:
    return isinstance(value, str) and len(value) <= length and _is_unicode(value)


def _is_unicode(value: str) -> bool:
    return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)


def _compile_error(text: str) -> str:
    """Return the first error of the engine's report, on one line, with where it is."""
    if "recursion" in text:
        return "is nested too deeply, or has too long a chain of operators; split it"
    for line in text.splitlines():
        _, found, rest = line.partition("ERROR: <input>:")
        if found:
            row, _, rest = rest.partition(":")
            column, _, what = rest.partition(": ")
            what = what.removesuffix("[INVALID_ARGUMENT]").replace("(in container '')", "").strip()
            return f"line {row}, column {column}: {_short(what)}"
    return "cannot be compiled"


def _run_time_error(text: str) -> str:
    """Return what went wrong without the engine's own codes."""
    if "budget" in text:
        return "took too many steps"
    _, code, rest = text.partition(": ")
    return _short((rest if code else text).replace("\n", " ")) or "ran out of memory"


def _short(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:199]}…"
