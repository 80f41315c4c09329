"""How long an expression could take, told from its syntax tree before it ever runs.

The engine bounds the number of loop steps and the depth of the text, not the work of each step:
inside those bounds one evaluation was made to take three minutes. So each step has a price here,
measured on the longest texts that a field may have, and what is too expensive does not compile:

1. A unit is a tenth of a microsecond; all of an expression is at most `MOST_UNITS`, 5 ms.
2. A loop multiplies by the most items that its range can have.
3. What reads texts (equality, `in`, `size`, `matches` …) costs by how many they can be, and by how
   long: both are followed from the fields through lists, loops and calls, never guessed too low.
4. `matches` is compiled at every evaluation and simulates its pattern where a text is made for it
   (`patterns`): its price is by what the pattern repeats and leaves open.

The tree comes as the bytes of `cel.expr.CheckedExpr` (cel-spec, proto/cel/expr/checked.proto and
syntax.proto), of which we read no more than we need. `tests/unit/cel/test_prices.py`
searches for what takes longer than its price.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from taskpass.cel.patterns import pattern_price, zone
from taskpass.core.policy.variables import Field, Kind

MOST_UNITS = 50_000
"""5 ms."""
UNKNOWN_ITEMS = 512
"""Items of a range of which nothing is known."""
UNKNOWN_LENGTH = 1024
ENTRIES = 4
"""Texts that a record of a field has at most."""

# Prices, in tenths of a microsecond.
EVALUATION, NODE, FIELD, STEP, ELEMENT, CALL = 250, 2, 10, 6, 4, 6
OTHER_CALL = 60
ZONE = 60
READING = {
    "_==_": 0.03, "_!=_": 0.03, "@in": 0.03, "_in_": 0.03, "_<_": 0.03, "_<=_": 0.03,
    "_>_": 0.03, "_>=_": 0.03, "startsWith": 0.03, "endsWith": 0.03, "size": 0.2,
    "bytes": 0.06, "string": 0.25, "int": 0.1, "uint": 0.1, "double": 0.1, "timestamp": 0.1,
    "duration": 0.1,
}  # fmt: skip
"""For each character of a text that they may read."""
COMPARING = frozenset(
    {"_==_", "_!=_", "@in", "_in_", "_<_", "_<=_", "_>_", "_>=_", "startsWith", "endsWith"}
)
"""What reads each text of a list, no further than the shorter of both."""
CHEAP = frozenset(
    {"_&&_", "_||_", "!_", "_?_:_", "@not_strictly_false", "_+_", "_-_", "_*_", "_/_", "_%_",
     "-_", "_[_]", "type", "dyn", "bool"}
)  # fmt: skip
TIMES = frozenset(
    f"get{part}"
    for part in (
        "Date", "DayOfMonth", "DayOfWeek", "DayOfYear", "FullYear", "Hours", "Milliseconds",
        "Minutes", "Month", "Seconds",
    )
)  # fmt: skip

# Field numbers of cel.expr messages.
ANY_VALUE, CHECKED_EXPR = 2, 4
CONSTANT, IDENT, SELECT, CALL_EXPR, LIST, STRUCT, COMPREHENSION = 3, 4, 5, 6, 7, 8, 9
CONSTANT_STRING, CONSTANT_BYTES = 6, 7
IDENT_NAME = SELECT_OPERAND = CALL_TARGET = LIST_ELEMENTS = LOOP_VARIABLE = 1
SELECT_FIELD = CALL_FUNCTION = STRUCT_ENTRIES = 2
CALL_ARGUMENTS = 3
ENTRY_KEY, ENTRY_VALUE = 3, 4
RANGE, RESULT_VARIABLE, START, CONDITION, LOOP_STEP, RESULT = 2, 3, 4, 5, 6, 7
SECOND_VARIABLE = 8

Message = Mapping[int, list[bytes]]


@dataclass(frozen=True, slots=True)
class Price:
    """What an expression costs at most, and which fields it names."""

    units: int
    fields: frozenset[str]

    @property
    def milliseconds(self) -> float:
        """The same in milliseconds."""
        return self.units / 10_000


@dataclass(frozen=True, slots=True)
class Shape:
    """How much a value can hold."""

    items: int = 1
    """Of a range over it."""
    texts: int = 1
    """All in all."""
    longest: int = 0
    """Characters of the longest text."""

    @property
    def element(self) -> "Shape":
        """What one of its items can hold."""
        inner = max(1, self.texts if self.items < 2 else -(-self.texts // self.items))
        return Shape(items=inner, texts=inner, longest=self.longest)


def price(checked: bytes, fields: Mapping[str, Field]) -> Price:
    """Return the most that an evaluation can cost.

    Raises:
        ValueError: The bytes are no expression, or it names a pattern or time zone that cannot be
            used; one line, for people.

    """
    expression = _message(_message(checked)[ANY_VALUE][0])[CHECKED_EXPR][0]
    pricer = _Pricer(fields=fields)
    units, _ = pricer.of(expression, {})
    units += EVALUATION + sum(_reading(fields[name]) for name in pricer.named)
    return Price(units, frozenset(pricer.named))


def shape_of(each: Field) -> Shape:
    """Return how much a field can hold."""
    if each.kind in (Kind.INT, Kind.TIMESTAMP):
        return Shape()
    if each.kind is Kind.STRINGS:
        return Shape(each.items, each.items, each.length)
    if each.kind is Kind.LABELS:
        return Shape(each.items, each.items * 2, each.length)
    if each.kind is Kind.RECORDS:
        return Shape(each.items, each.items * ENTRIES, each.length)
    return Shape(1, 1, each.length)


def _reading(each: Field) -> int:
    """Return what it costs to hand a field to the engine, once for each evaluation."""
    shape = shape_of(each)
    return int(shape.texts * (12 + 0.022 * shape.longest))


@dataclass(slots=True, kw_only=True)
class _Pricer:
    fields: Mapping[str, Field]
    named: set[str] = field(default_factory=set)

    def of(self, expression: bytes, known: Mapping[str, Shape]) -> tuple[int, Shape]:
        """Return what a node costs, and how much its value can hold; `known` are loop variables."""
        node = _message(expression)
        if name := self._field(node, known):
            self.named.add(name)
            return FIELD, shape_of(self.fields[name])
        if CONSTANT in node:
            return NODE, _constant(_message(node[CONSTANT][0]))
        if IDENT in node:
            name = _message(node[IDENT][0])[IDENT_NAME][0].decode()
            return NODE, known.get(name, Shape())
        if SELECT in node:
            units, shape = self._all(_message(node[SELECT][0]), known, SELECT_OPERAND)
            return units + FIELD, shape.element
        if LIST in node:
            elements = _message(node[LIST][0])
            units, shape = self._all(elements, known, LIST_ELEMENTS)
            count = len(elements.get(LIST_ELEMENTS, ()))
            return units + ELEMENT * (count + 1), Shape(count, shape.texts, shape.longest)
        if STRUCT in node:
            return self._struct(_message(node[STRUCT][0]), known)
        if CALL_EXPR in node:
            return self._call(_message(node[CALL_EXPR][0]), known)
        if COMPREHENSION in node:
            return self._loop(_message(node[COMPREHENSION][0]), known)
        return NODE, Shape()

    def _field(self, node: Message, known: Mapping[str, Shape]) -> str:
        name = _name(node).removeprefix(".")
        return name if name in self.fields and name not in known else ""

    def _all(self, node: Message, known: Mapping[str, Shape], *numbers: int) -> tuple[int, Shape]:
        found = [self.of(child, known) for number in numbers for child in node.get(number, ())]
        return sum(units for units, _ in found), _together([shape for _, shape in found])

    def _struct(self, struct: Message, known: Mapping[str, Shape]) -> tuple[int, Shape]:
        entries = [_message(entry) for entry in struct.get(STRUCT_ENTRIES, ())]
        found = [self._all(entry, known, ENTRY_KEY, ENTRY_VALUE) for entry in entries]
        whole = _together([shape for _, shape in found])
        units = sum(units for units, _ in found) + (ELEMENT + FIELD) * (len(entries) + 1)
        return units, Shape(len(entries), whole.texts, whole.longest)

    def _call(self, call: Message, known: Mapping[str, Shape]) -> tuple[int, Shape]:
        function = call[CALL_FUNCTION][0].decode()
        parts = [*call.get(CALL_TARGET, ()), *call.get(CALL_ARGUMENTS, ())]
        found = [self.of(part, known) for part in parts]
        shapes = [shape for _, shape in found]
        whole = _together(shapes)
        units = sum(units for units, _ in found) + CALL
        if function == "matches":
            return units + pattern_price(_text(parts[-1]), whole.longest), Shape()
        if function == "contains":
            # Naive: each place of the text may be compared with all that is looked for.
            sought = shapes[-1].longest
            return units + int(0.03 * whole.longest * (1 + sought / 16)), Shape()
        if function in TIMES and len(parts) > 1:
            zone(_text(parts[-1]))
            return units + ZONE, Shape()
        if function in COMPARING:
            return units + _comparing(shapes, READING[function]), Shape()
        if function in READING:
            return units + ELEMENT + int(whole.longest * READING[function]), whole
        return units + (0 if function in CHEAP else OTHER_CALL), whole

    def _loop(self, loop: Message, known: Mapping[str, Shape]) -> tuple[int, Shape]:
        units, shape = self._all(loop, known, RANGE)
        inside = {**known, **{name: shape.element for name in _variables(loop)}}
        result = {name: Shape() for name in _names(loop, RESULT_VARIABLE)}
        before, _ = self._all(loop, known, START)
        each, _ = self._all(loop, {**inside, **result}, CONDITION, LOOP_STEP)
        after, whole = self._all(loop, {**known, **result}, RESULT)
        return units + before + after + (each + STEP) * shape.items, whole


def _comparing(shapes: list[Shape], per_character: float) -> int:
    """Return what it costs to compare: each text of one side, as far as the shorter goes."""
    texts = max((shape.texts for shape in shapes), default=1)
    longest = min((shape.longest for shape in shapes), default=0)
    return int(texts * (ELEMENT + longest * per_character))


def _together(shapes: list[Shape]) -> Shape:
    return Shape(
        items=sum(shape.items for shape in shapes) or 1,
        texts=sum(shape.texts for shape in shapes) or 1,
        longest=max((shape.longest for shape in shapes), default=0),
    )


def _constant(constant: Message) -> Shape:
    texts = [*constant.get(CONSTANT_STRING, ()), *constant.get(CONSTANT_BYTES, ())]
    return Shape(1, 1, max(map(len, texts), default=0))


def _text(expression: bytes) -> str | None:
    """Return the text that is written there; None where it is computed."""
    node = _message(expression)
    texts = _message(node[CONSTANT][0]).get(CONSTANT_STRING) if CONSTANT in node else None
    return texts[0].decode() if texts else None


def _variables(loop: Message) -> Iterator[str]:
    yield from _names(loop, LOOP_VARIABLE)
    yield from _names(loop, SECOND_VARIABLE)


def _names(loop: Message, number: int) -> Iterator[str]:
    for name in loop.get(number, ()):
        if name:
            yield name.decode()


def _name(node: Message) -> str:
    """Return the dotted name that a node is, or ''."""
    if IDENT in node:
        return _message(node[IDENT][0])[IDENT_NAME][0].decode()
    if SELECT in node:
        select = _message(node[SELECT][0])
        owner = _name(_message(select[SELECT_OPERAND][0]))
        return f"{owner}.{select[SELECT_FIELD][0].decode()}" if owner else ""
    return ""


def _message(raw: bytes) -> dict[int, list[bytes]]:
    """Split a message of the protocol buffers' wire format into its length-delimited fields."""
    fields: dict[int, list[bytes]] = {}
    for number, value in _fields(raw):
        fields.setdefault(number, []).append(value)
    return fields


def _fields(raw: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(raw):
        tag, at = _varint(raw, at)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == 0:
            _, at = _varint(raw, at)
        elif wire_type in (1, 5):
            at += 8 if wire_type == 1 else 4
        elif wire_type == 2:
            size, at = _varint(raw, at)
            yield number, raw[at : at + size]
            at += size
        else:
            raise ValueError(f"wire type {wire_type} is not known")
    if at != len(raw):
        raise ValueError("a field is cut short")


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(raw):
            raise ValueError("a number is cut short")
        byte = raw[at]
        value |= (byte & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if not byte & 0x80:
            return value, at
