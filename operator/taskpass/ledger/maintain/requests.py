"""Asking the operator, which alone may write the ledger, from beside it: `kubectl exec`.

A request is a file in a directory beside the ledger's, and so is its answer. Whoever can put one
there can write the ledger itself, so it gives no right to anybody; and nothing is so because an
answer says it (`through_operator.py`).
"""

import functools
import json
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from taskpass.core.errors import StillRead, TaskpassError, UsageError
from taskpass.ledger.log.reader import Incomplete, located

PAUSE_SECONDS = 0.1
PATIENCE_SECONDS = 30.0
MOST_ANSWER = 100_000


def place_of(ledger: Path) -> Path:
    """Return where requests to the writer of a ledger go."""
    place = located(ledger)
    return place.with_name(place.name + ".requests")


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered, by whom ever."""

    index: int = -1
    """Of the entry that is said to tell of it; -1 where nothing was to be done."""
    refused: str = ""
    """Why nothing was done."""
    still_read: str = ""
    """Who is said to read an earlier state, so that bytes of it are left."""


def ask(
    ledger: Path, request: Mapping[str, str], patience: float = PATIENCE_SECONDS,
    waiting: Callable[[str], None] = lambda who: None,
) -> Answer:  # fmt: skip
    """Ask the operator to do something; return what was answered.

    `waiting` is told for whom the operator waits, each time that it is another.

    Raises:
        Incomplete: No operator answered, or not as one does; the request is taken back.

    """
    place = place_of(ledger)
    name = uuid4().hex
    request_file, answer_file = place / f"{name}.json", place / f"{name}.answer"
    waiting_file, said = place / f"{name}.waiting", ""
    try:
        place.mkdir(mode=0o700, exist_ok=True)
        _written(request_file, json.dumps(dict(request)))
        deadline = time.monotonic() + patience
        while not answer_file.exists():
            if time.monotonic() > deadline:
                raise Incomplete(
                    "No operator answered: it does not run, or has another ledger. Where nobody "
                    "has this one open, name the key that signs it with --key-file"
                )
            who = waiting_file.read_text("utf-8", "replace") if waiting_file.exists() else said
            if who != said:
                said = who
                waiting(who)
            time.sleep(PAUSE_SECONDS)
        return _answered(answer_file)
    except OSError as error:
        raise Incomplete(f"{place} cannot be used ({error.strerror})") from error
    finally:
        for each in (request_file, answer_file, waiting_file):
            each.unlink(missing_ok=True)


def _answered(path: Path) -> Answer:
    try:
        said = json.loads(path.read_text(encoding="utf-8")[:MOST_ANSWER])
        index, refused, still_read = (said.get(key) for key in ("index", "error", "still_read"))
        return Answer(
            -1 if index is None else int(index), str(refused or ""), str(still_read or "")
        )
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise Incomplete("What was answered cannot be read: it is not by an operator") from error


Do = Callable[[Mapping[str, str], Callable[[str], None]], Awaitable[int]]
"""Does what a request says; tells for whom it waits, and returns the index of the entry."""


async def answer_all(ledger: Path, do: Do) -> None:
    """Do what is asked, once each; a request that cannot be read is refused."""
    place = place_of(ledger)
    for each in sorted(place.glob("*.json")) if place.is_dir() else ():
        answer: dict[str, object]
        try:
            request = json.loads(each.read_text(encoding="utf-8"))
            tell = functools.partial(_written, each.with_suffix(".waiting"))
            answer = {"index": await do({str(k): str(v) for k, v in request.items()}, tell)}
        except StillRead as error:
            answer = {"index": error.index, "still_read": error.readers}
        except UsageError as error:
            answer = {"error": str(error)}
        except (ValueError, AttributeError, OSError):
            answer = {"error": "The request cannot be read"}
        try:
            _written(each.with_suffix(".answer"), json.dumps(answer))
            each.unlink(missing_ok=True)
        except OSError as error:
            raise TaskpassError(f"{place} cannot be written ({error.strerror})") from error


def _written(path: Path, text: str) -> None:
    """Write a file that is whole once it is there, and that only its owner can read."""
    new = path.with_suffix(".new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    new.replace(path)
