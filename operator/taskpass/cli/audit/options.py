"""What the commands of `taskpass audit` share: options, exit codes, and how errors are told.

Exit codes: 0 it holds; 1 it is evidence of tampering; 2 what was typed cannot be used; 3 something
that is needed is not there; 4 it holds, and fewer witnesses have seen it than was asked for.
"""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from taskpass.core.errors import TaskpassError, UsageError
from taskpass.core.model.text import plain
from taskpass.ledger.log.reader import Incomplete, TamperEvidence
from taskpass.ledger.verify.proven import LogLocation

database = click.option(
    "--db",
    type=click.Path(path_type=Path),
    envvar="TASKPASS_LEDGER_PATH",
    show_envvar=True,
    help="The ledger's file. An operator may be using it.",
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


class Failed(click.ClickException):
    """One line on stderr, and an exit code."""

    exit_code = 2

    def show(self, file: object = None) -> None:
        """Print the line."""
        click.echo(plain(self.format_message()), err=True)


class FoundTampering(Failed):
    """What was checked is not what was signed."""

    exit_code = 1


class Unknown(Failed):
    """The answer is no."""

    exit_code = 1


class BelowLevel(Failed):
    """It holds, and fewer have seen it than was asked for."""

    exit_code = 4


class CouldNotTell(Failed):
    """What was to be checked is not there."""

    exit_code = 3


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


def waiting(who: str) -> None:
    """Say who keeps bytes of an earlier state in the file."""
    click.echo(f"Waiting for {who}, who reads an earlier state of the ledger", err=True)


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
            where = LogLocation(database=path, directory=directory, vkey=key(vkey) if vkey else "")
        command(where=where, **rest)

    return functools.reduce(lambda made, option: option(made), reversed(_SOURCE), asked)


def key(given: str) -> str:
    """Return a vkey that was given itself, or as a file."""
    return given if given.count("+") >= 2 else text(Path(given), "key")


def text(path: Path, what: str) -> str:
    """Return what a file says; one that cannot be read is a `UsageError`."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"The {what} {path} cannot be read") from error
