"""What the commands of `taskpass audit` share: options, exit codes, and how errors are told.

Exit codes are in `cli/exits.py`; 1 is evidence of tampering, and nothing else ends with it but an
answer that is no.
"""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from taskpass.cli.exits import (
    BelowLevel,
    CouldNotTell,
    Failed,
    FoundTampering,
    Unknown,
    of_system,
)
from taskpass.cli.output import say
from taskpass.core.errors import TaskpassError, UsageError
from taskpass.ledger.log.reader import Incomplete, TamperEvidence
from taskpass.ledger.verify.proven import LogLocation

__all__ = ["BelowLevel", "CouldNotTell", "Failed", "FoundTampering", "Unknown"]
database = click.option(
    "--db",
    type=click.Path(path_type=Path),
    envvar="TASKPASS_LEDGER_PATH",
    show_envvar=True,
    help="The ledger's file. An operator may be using it.",
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


@contextmanager
def exit_on_error() -> Iterator[None]:
    """Turn what can go wrong into one line and an exit code."""
    try:
        yield
    except TamperEvidence as error:
        raise FoundTampering(f"TAMPER EVIDENCE: {error}") from error
    except Incomplete as error:
        raise CouldNotTell(f"Error: {error}") from error
    except TaskpassError as error:
        raise Failed(f"Error: {error}") from error
    except BrokenPipeError:
        raise
    except OSError as error:
        raise CouldNotTell(f"Error: {of_system(error)}") from error


def waiting(who: str) -> None:
    """Say who keeps bytes of an earlier state in the file."""
    say(f"Waiting for {who}, who reads an earlier state of the ledger", err=True)


def chosen(db: Path | None) -> Path:
    """Return the ledger's path; one that was not named is a `UsageError`."""
    if db is None:
        raise UsageError("No ledger was named; use --db PATH, or set TASKPASS_LEDGER_PATH")
    return db


_SOURCE = (
    database,
    click.option(
        "--dir", "directory", type=click.Path(path_type=Path),
        help="An export instead: a directory, or a zip.",
    ),
    click.option("--vkey", help="The log's key as you know it, or a file that holds it."),
)  # fmt: skip


def source(command: Callable[..., None]) -> Callable[..., None]:
    """Give the command the options that name a log to read, as one argument `where`."""

    @functools.wraps(command)
    def asked(*, db: Path | None, directory: Path | None, vkey: str | None, **rest: Any) -> None:
        with exit_on_error():
            path = chosen(db) if directory is None else None
            where = LogLocation(
                database=path, directory=directory, vkey=known_key(vkey),
                vkey_is_its_own=lies_in(directory, vkey),
            )  # fmt: skip
        command(where=where, **rest)

    return functools.reduce(lambda made, option: option(made), reversed(_SOURCE), asked)


def lies_in(directory: Path | None, given: str | Path | None) -> bool:
    """Tell whether a file that was given is one of the export: it is the log's own word."""
    if directory is None or given is None:
        return False
    try:
        there = Path(given)
        return there.is_file() and there.resolve().is_relative_to(directory.resolve())
    except (OSError, RuntimeError, ValueError):  # a key itself, and too long for a path
        return False


def known_key(given: str | None) -> str:
    """Return the vkey that the reader knows the log by; '' where none was named, and then only."""
    return "" if given is None else key(given)


def key(given: str) -> str:
    """Return a vkey that was given itself, or as a file; a `UsageError` where it is empty.

    A download that failed or a variable that is not set leaves nothing, and names no key: the log's
    own word would be taken for it.
    """
    found = given if not given.strip() or given.count("+") >= 2 else text(Path(given), "key")
    if not found.strip():
        raise UsageError("A key was named, and is empty; name one, or leave the option out")
    return found


def text(path: Path, what: str) -> str:
    """Return what a file says; one that cannot be read is a `UsageError`."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"The {what} {path} cannot be read") from error
