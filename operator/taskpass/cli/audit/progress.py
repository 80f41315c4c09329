"""How far long work has come, on standard error where that is a terminal."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

PAUSE_SECONDS = 0.5
"""The first line comes after it, and each next one: short work says nothing."""


@contextmanager
def shown(done_word: str) -> Iterator[Callable[[int, int], None]]:
    """Give a function that is told how many entries of how many are done."""
    if not sys.stderr.isatty():
        yield lambda done, size: None
        return
    said = time.monotonic()
    wrote = False

    def tell(done: int, size: int) -> None:
        nonlocal said, wrote
        if time.monotonic() - said >= PAUSE_SECONDS:
            said, wrote = time.monotonic(), True
            click.echo(f"\r{done:,} of {size:,} entries {done_word}", nl=False, err=True)

    try:
        yield tell
    finally:
        if wrote:
            click.echo("\r\033[K", nl=False, err=True)
