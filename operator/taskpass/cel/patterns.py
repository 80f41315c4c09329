r"""Which regular expressions and time zones an expression may name, and what a pattern costs.

1. A pattern is written in the expression, never computed: what a task says is data, not a program.
2. It has at most `LONGEST_PATTERN` ASCII characters, and neither `\p` nor `\P` (compiling a class
   of Unicode takes 0.25 ms, at every evaluation), no flag (`(?i)` doubles each class), and no `{`
   (a counted repetition is written out inside).
3. RE2 never backtracks, but where a text is made for it, it follows each open place of the pattern
   (`.`, a class, a repetition, an alternative) at each character. So a pattern costs by these and
   by the longest text: `a` and fifty dots took 2.3 ms on 1,024 characters of a and b, and 32 ms on
   4,096. A negated class is several places, one for each length of a character in UTF-8.
4. A time zone is a name of the IANA's as it is written (`Europe/Berlin`), and no path.
"""

import re

LONGEST_PATTERN = 64
COMPILING = 300
"""Tenths of a microsecond; that of the shortest pattern is 60."""
COMPILING_PLACE = 25
READING_PLACE = 0.85
"""For each open place and each character of the text."""
NEGATED = 6
"""Places that a negated class counts as."""
PLACE = re.compile(r"\\[DWSBC]|\[\^|\\.|\[|[.*+?|(]", re.DOTALL)
WIDE = frozenset({"\\D", "\\W", "\\S", "\\C", "[^"})
ZONE = re.compile(r"[A-Za-z]+(?:[/_+-][A-Za-z0-9]+)*|[+-][0-9]{2}:[0-9]{2}")
LONGEST_ZONE = 64


def pattern_price(pattern: str | None, longest: int) -> int:
    """Return what one `matches` costs, in tenths of a microsecond.

    Raises:
        ValueError: The pattern cannot be used, in one line.

    """
    if pattern is None:
        raise ValueError("the pattern of matches() must be written there, not computed")
    if len(pattern) > LONGEST_PATTERN:
        raise ValueError(
            f"the pattern of matches() must be at most {LONGEST_PATTERN} characters, not "
            f"{len(pattern)}; split it, or use startsWith() and contains()"
        )
    if not pattern.isascii():
        raise ValueError("the pattern of matches() must be ASCII; use contains() for other text")
    if said := _refused(pattern):
        raise ValueError(f"the pattern of matches() must have no {said}")
    places = sum(NEGATED if p in WIDE else 1 for p in PLACE.findall(pattern))
    return int(COMPILING + places * (COMPILING_PLACE + READING_PLACE * longest) + 0.1 * longest)


def zone(name: str | None) -> None:
    """Raise `ValueError` for what is no time zone that can be asked for."""
    if name is None:
        raise ValueError("a time zone must be written there, not computed")
    if len(name) > LONGEST_ZONE or not ZONE.fullmatch(name):
        raise ValueError("a time zone must be a name such as 'Europe/Berlin', or '+01:00'")


def _refused(pattern: str) -> str | None:
    """Return what a pattern may not have, as "must have no" goes on; None where it has none."""
    escaped = re.findall(r"\\(.)", pattern, re.DOTALL)
    if "p" in escaped or "P" in escaped:
        return "\\p or \\P; write the characters as a class, such as [A-Za-z]"
    if "{" in pattern:
        return "{; write a repetition out, or use + and *"
    if re.search(r"\(\?(?!:)", pattern):
        return "flags such as (?i), and no named groups; write [Aa] for both cases"
    return None
