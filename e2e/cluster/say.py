"""Progress for people: what is being done, and how long it took."""

import contextlib
import sys
import threading
import time
from collections.abc import Iterator


def say(text: str) -> None:
    """Print one line of progress, at once, on standard error (standard output is for results)."""
    print(f"cluster: {text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def step(text: str, *, usually: str = "", every: float = 30) -> Iterator[None]:
    """Say that something began, that it goes on (`every` seconds), and how long it took."""
    began = time.monotonic()
    over = threading.Event()

    def remind() -> None:
        while not over.wait(every):
            say(f"{text}: {time.monotonic() - began:.0f} s so far")

    say(f"{text} …" + (f" (usually {usually})" if usually else ""))
    thread = threading.Thread(target=remind, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    say(f"{text}: done after {time.monotonic() - began:.1f} s")
