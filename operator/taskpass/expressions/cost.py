"""How long an expression could take, told from its syntax tree before it ever runs.

The engine bounds the number of loop steps and the depth of the text, not the work of each step:
inside those bounds one evaluation was made to take three minutes, during which nothing else in the
process runs. So each step has a price here, a loop multiplies by the most items that its range can
have, and what is too expensive does not compile. Prices are rough: one unit is a few microseconds,
at worst about forty.

The tree comes as the bytes of `cel.expr.CheckedExpr` (cel-spec, proto/cel/expr/checked.proto and
syntax.proto), of which we read no more than we need.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

MOST_UNITS = 10_000
UNKNOWN_RANGE = 512
"""Items of a range that is neither a field nor a list as written."""
SIMPLE_PATTERN = 50
DIFFICULT_PATTERN = 4_000
"""Counted repetitions (`{1,900}`) take RE2 up to 40 ms; so may a pattern that is not a literal."""
LONGEST_PATTERN = 256

# Field numbers of cel.expr messages.
ANY_VALUE, CHECKED_EXPR = 2, 4
CONSTANT, IDENT, SELECT, CALL, LIST, STRUCT, COMPREHENSION = 3, 4, 5, 6, 7, 8, 9
CONSTANT_STRING = 6
IDENT_NAME = SELECT_OPERAND = CALL_TARGET = LIST_ELEMENTS = 1
SELECT_FIELD = CALL_FUNCTION = STRUCT_ENTRIES = 2
CALL_ARGUMENTS = 3
ENTRY_KEY, ENTRY_VALUE = 3, 4
RANGE, START, CONDITION, STEP, RESULT = 2, 4, 5, 6, 7

Message = Mapping[int, list[bytes]]


def units(checked: bytes, sizes: Mapping[str, int]) -> int:
    """Return the most that an evaluation can cost; `sizes` has the most items of each list field.

    Raises:
        ValueError: The bytes are no expression.

    """
    expression = _message(_message(checked)[ANY_VALUE][0])[CHECKED_EXPR][0]
    return _Price(sizes=sizes).of(expression)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Price:
    sizes: Mapping[str, int]

    def of(self, expression: bytes) -> int:
        node = _message(expression)
        if CALL in node:
            return self._call(_message(node[CALL][0]))
        if COMPREHENSION in node:
            return self._loop(_message(node[COMPREHENSION][0]))
        if SELECT in node:
            return 1 + self._all(_message(node[SELECT][0]), SELECT_OPERAND)
        if LIST in node:
            return 1 + self._all(_message(node[LIST][0]), LIST_ELEMENTS)
        if STRUCT in node:
            entries = _message(node[STRUCT][0]).get(STRUCT_ENTRIES, [])
            return 1 + sum(
                1 + self._all(_message(entry), ENTRY_KEY, ENTRY_VALUE) for entry in entries
            )
        return 1

    def _all(self, node: Message, *fields: int) -> int:
        return sum(self.of(child) for field in fields for child in node.get(field, ()))

    def _call(self, call: Message) -> int:
        function = call[CALL_FUNCTION][0].decode()
        inner = self._all(call, CALL_TARGET, CALL_ARGUMENTS)
        return inner + (_pattern_price(call) if function == "matches" else 1)

    def _loop(self, loop: Message) -> int:
        each = self._all(loop, CONDITION, STEP)
        return self._all(loop, RANGE, START, RESULT) + each * self._items(loop[RANGE][0])

    def _items(self, expression: bytes) -> int:
        node = _message(expression)
        if LIST in node:
            return len(_message(node[LIST][0]).get(LIST_ELEMENTS, []))
        return self.sizes.get(_name(node), UNKNOWN_RANGE)


def _name(node: Message) -> str:
    """Return the dotted name that a node is, or ''."""
    if IDENT in node:
        return _message(node[IDENT][0])[IDENT_NAME][0].decode()
    if SELECT in node:
        select = _message(node[SELECT][0])
        owner = _name(_message(select[SELECT_OPERAND][0]))
        return f"{owner}.{select[SELECT_FIELD][0].decode()}" if owner else ""
    return ""


def _pattern_price(call: Message) -> int:
    pattern = _message(call[CALL_ARGUMENTS][-1])
    text = _message(pattern[CONSTANT][0]).get(CONSTANT_STRING) if CONSTANT in pattern else None
    if text is None or b"{" in text[0] or len(text[0]) > LONGEST_PATTERN:
        return DIFFICULT_PATTERN
    return SIMPLE_PATTERN


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
