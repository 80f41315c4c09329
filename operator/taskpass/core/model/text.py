"""How a line shows what others wrote: as theirs, and so that it cannot pass for ours.

Reasons, sponsors, users' and groups' names are free text of whoever may write them.
"""

import json
import re

_BLANKS = re.compile("[\\s\u115f\u1160\u2800\u3164\uffa0]+")
"""Runs of what shows nothing; the named ones are letters or symbols by their category."""
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
    """Return a name as it is where it is one word, and `quoted` where it could be read as more."""
    alone = _WORD.fullmatch(text) and text.isprintable() and not _BLANKS.search(text)
    return text if alone else quoted(text)


def shortened(text: str, most: int) -> str:
    """Return at most so many characters of a text, on one line, that others' names are in."""
    line = plain(_BLANKS.sub(" ", text)).strip()
    return line if len(line) <= most else f"{line[: most - 1]}…"
