"""Print the story: plain text, a time before each line, at most 100 columns."""

import sys
import textwrap
import time
from collections.abc import Iterable

WIDTH = 100
MARGIN = 11
"""Columns for the time."""
BAR = "  | "
"""Stands before what a program printed."""


class DidNotComeOut(Exception):
    """A step of the demo did not do what it should; the text is what was seen."""


class Telling:
    """Standard output, and the time since the beginning."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def heading(self, text: str) -> None:
        """Begin a chapter."""
        print(f"\n{text}", flush=True)

    def say(self, text: str) -> None:
        """Print one line of what has just happened."""
        passed = f"{time.monotonic() - self._began:7.1f} s  "
        print(wrapped(text, passed, " " * MARGIN), flush=True)

    def show(self, lines: Iterable[str], hang: int = 0) -> None:
        """Print what a program printed; what does not fit goes on `hang` columns to the right."""
        for line in lines:
            print(wrapped(line, BAR, BAR + " " * hang), flush=True)

    def plain(self, text: str = "") -> None:
        """Print one line without a time."""
        print(text, flush=True)

    def failed(self, text: str) -> None:
        """Say what did not come out."""
        sys.stdout.flush()
        print(f"\nThe demo ends here: {text}", file=sys.stderr, flush=True)


def wrapped(text: str, first: str, rest: str) -> str:
    """Return the text in lines of at most 100 columns, unless a word is longer."""
    if len(first) + len(text) <= WIDTH:
        return (first + text).rstrip()
    lines = textwrap.wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=rest,
        break_on_hyphens=False,
        break_long_words=False,
    )
    return "\n".join(lines)
