"""Policy expressions in CEL (github.com/google/cel-spec), by Google's C++ implementation.

What the engine does not promise by itself:

1. A run-time error comes back as a value, and values are truthy: only a boolean that is true is.
2. It holds the interpreter's lock while it runs. So the text is short, its cost is bounded before
   it runs (`cost`), and its input is no larger than the fields say.
3. Nothing is built: `map`, `filter` and `+` on strings and lists are off, because ten of them in a
   row double a value ten times.
4. Each field is a variable of its own, with its type: a misspelt field does not compile, instead
   of failing when the policy is needed.
5. Its messages span several lines and quote the text; ours are one line.
"""

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

from cel_expr_python import cel  # type: ignore[import-untyped]  # has stubs, but no py.typed

from taskpass.core.errors import EvaluationFailed
from taskpass.core.policy_types import Expression
from taskpass.core.policy_variables import FIELDS, LONGEST_STRING, Field, Kind, flattened
from taskpass.expressions.cost import MOST_UNITS, units

LONGEST = 4096
"""Characters of an expression, as the schema has it."""
CACHED = 1024
"""Compiled expressions that are kept; one takes a few kilobytes."""

HAS_HINT = " (fields are always there: compare with '' or 0; has() is for keys of agent.podLabels)"
SIZES = {field.name: field.items for field in FIELDS if field.items}
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
        self._cached = lru_cache(maxsize=CACHED)(self._compile)

    def compile(self, source: str) -> Expression:
        """Compile, as `core.policy_types.Expressions` says."""
        return self._cached(source)

    def _compile(self, source: str) -> Expression:
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
        cost = units(compiled.serialize(), SIZES)
        if cost > MOST_UNITS:
            raise ValueError(
                f"could take too long: its cost is {cost}, and must be at most {MOST_UNITS}; loop "
                "over fewer things, or match fewer and simpler patterns"
            )
        return _CelExpression(compiled)


class _CelExpression:
    """One compiled expression."""

    __slots__ = ("_compiled",)

    def __init__(self, compiled: cel.Expression) -> None:
        self._compiled = compiled

    def holds(self, variables: Mapping[str, Any]) -> bool:
        """Evaluate, as `core.policy_types.Expression` says."""
        data = _checked(variables)
        try:
            answer = self._compiled.eval(data=data)
        except (RuntimeError, MemoryError) as error:
            raise EvaluationFailed(_run_time_error(str(error))) from error
        if answer.type() == cel.Type.ERROR:
            raise EvaluationFailed(_run_time_error(str(answer.value())))
        if answer.type() != cel.Type.BOOL:
            raise EvaluationFailed(f"is of type {answer.type().name().lower()}, not a boolean")
        return answer.value() is True


def _checked(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values by dotted name, each of the type and size that its field has."""
    data = {}
    try:
        for field, value in flattened(variables):
            if not _fits(field, value):
                raise EvaluationFailed(
                    f"{field.name} is too large to be looked at, or not of type {field.kind}"
                )
            data[field.name] = value
    except (KeyError, TypeError) as error:
        raise EvaluationFailed("a field is missing from the input") from error
    return data


def _fits(field: Field, value: Any) -> bool:
    match field.kind:
        case Kind.STRING:
            return _is_text(value)
        case Kind.INT:
            return type(value) is int and abs(value) < 2**63
        case Kind.TIMESTAMP:
            return isinstance(value, datetime) and value.tzinfo is not None
        case Kind.STRINGS:
            return _is_list(value, field.items) and all(_is_text(item) for item in value)
        case Kind.LABELS:
            return _is_labels(value, field.items)
        case Kind.RECORDS:
            return _is_list(value, field.items) and all(_is_labels(item, 16) for item in value)


def _is_list(value: Any, items: int) -> bool:
    return isinstance(value, list) and len(value) <= items


def _is_labels(value: object, items: int) -> bool:
    return (
        isinstance(value, dict)
        and len(value) <= items
        and all(_is_text(k) and _is_text(v) for k, v in value.items())
    )


def _is_text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= LONGEST_STRING and _is_unicode(value)


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
