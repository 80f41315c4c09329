"""What commands print, line by line: nothing that others wrote ends one, or moves the cursor.

Everything is printed here, so that no command can forget it (`tests/unit/cli/test_output.py`).
"""

import json
import unicodedata
from typing import Any

import click

from taskpass.core.model.text import plain


def say(*lines: str, err: bool = False, mark: str = "") -> None:
    """Print lines. A line break within one is somebody else's, and breaks nothing.

    `mark` is ours, and begins each: what has codes for colours in it.
    """
    for line in lines:
        click.echo(f"{mark}{plain(line)}", err=err)


def say_json(value: Any, *, indent: int | None = None) -> None:
    """Print a value for programs, in ASCII."""
    click.echo(json.dumps(value, indent=indent, ensure_ascii=True))


def say_bytes(body: bytes) -> None:
    """Print bytes that were signed as they are, and a newline; they are for programs."""
    click.echo(body)


def wrapped(text: str, width: int) -> list[str]:
    """Return a text in lines of at most so many columns; there is one at least.

    A terminal wraps what is wider by itself, and what follows then begins where our lines begin.
    """
    lines, line, used = [], "", 0
    for part in text.split():
        needs = columns(part)
        if line and used + 1 + needs <= width:
            line, used = f"{line} {part}", used + 1 + needs
            continue
        if line:
            lines.append(line)
        *whole, line = _cut(part, width)
        lines += whole
        used = columns(line)
    return [*lines, line]


def columns(text: str) -> int:
    """Return how many columns of a terminal a text takes; most signs of East Asia take two."""
    return sum(map(_columns, text))


def _columns(sign: str) -> int:
    return 2 if unicodedata.east_asian_width(sign) in "WF" else 1


def _cut(part: str, width: int) -> list[str]:
    """Cut a word into pieces of at most so many columns."""
    pieces, used = [""], 0
    for sign in part:
        if used + _columns(sign) > width and pieces[-1]:
            pieces.append("")
            used = 0
        pieces[-1] += sign
        used += _columns(sign)
    return pieces
