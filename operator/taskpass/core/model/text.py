"""How a line shows what others wrote: as theirs, and so that it cannot pass for ours.

Reasons, sponsors, users' and groups' names are free text of whoever may write them.
"""

import json
import re

_BLANKS = re.compile("[\\s\u115f\u1160\u2800\u3164\uffa0]+")
"""Runs of what shows nothing; the named ones are letters or symbols by their category."""
_HIDDEN = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
"""Unicode's Default_Ignorable_Code_Point, and Braille's blank: a text looks alike without them."""
_WORD = re.compile(r"[^\"\\,;()]+")


def plain(text: str) -> str:
    """Return the text with nothing in it that could move the reader's cursor."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def quoted(text: str) -> str:
    """Return free text in quotes, those in it escaped, and no wider than its words.

    So it neither ends early nor lines up with a column of ours.
    """
    return json.dumps(_BLANKS.sub(" ", text).strip(), ensure_ascii=False)


def word(text: str) -> str:
    """Return a name as it is where it is one word, and in quotes where it could be read as more.

    What shows nothing, and every blank but the common one, is escaped there: no two names look
    alike for what cannot be seen of them.
    """
    if _WORD.fullmatch(text) and " " not in text and all(map(_is_seen, text)):
        return text
    seen = "".join(c if _is_seen(c) else json.dumps(c)[1:-1] for c in _quotable(text))
    return f'"{re.sub(" +", " ", seen).strip()}"'


def _quotable(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _is_seen(sign: str) -> bool:
    return sign.isprintable() and not _HIDDEN.match(sign)


def shortened(text: str, most: int) -> str:
    """Return at most so many characters of a text, on one line, that others' names are in."""
    line = plain(_BLANKS.sub(" ", text)).strip()
    return line if len(line) <= most else f"{line[: most - 1]}…"
