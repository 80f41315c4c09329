"""`taskpass audit`: verify the log, read a task's story in it, export it.

Exit codes: 0 it holds; 1 it is evidence of tampering; 2 what was typed cannot be used; 3 something
that is needed is not there.
"""

import dataclasses
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from taskpass.cli import timeline as story
from taskpass.core.errors import TaskpassError, UsageError
from taskpass.ledger import export as exporting
from taskpass.ledger import timeline as telling
from taskpass.ledger.reader import Incomplete, TamperEvidence, reading
from taskpass.ledger.verify import Report, verify_database, verify_directory

_database = click.option(
    "--db",
    type=click.Path(path_type=Path),
    envvar="TASKPASS_LEDGER_PATH",
    show_envvar=True,
    help="The ledger's file. An operator may be using it.",
)
_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


class Failed(click.ClickException):
    """One line on stderr, and an exit code."""

    exit_code = 2

    def show(self, file: object = None) -> None:
        """Print the line."""
        click.echo(self.format_message(), err=True)


class FoundTampering(Failed):
    """What was checked is not what was signed."""

    exit_code = 1


class CouldNotTell(Failed):
    """What was to be checked is not there."""

    exit_code = 3


@click.group()
def audit() -> None:
    """Check the audit log, and read it."""


@audit.command(epilog="Example: taskpass audit verify --dir export --against kept.checkpoint")
@_database
@click.option("--dir", "directory", type=click.Path(path_type=Path), help="An export to verify.")
@click.option("--vkey", help="The log's key as you know it, or a file that holds it.")
@click.option(
    "--against",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A checkpoint that you kept: rollback and fork are excluded by it. Repeatable.",
)
@_as_json
def verify(
    db: Path | None,
    directory: Path | None,
    vkey: str | None,
    against: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Compute every hash again, and check the signature.

    Exit code 1 means evidence of tampering, 3 that something is missing or cannot be read.
    """
    with _told():
        key = _key(vkey) if vkey else ""
        kept = [_text(path, "checkpoint") for path in against]
        if directory is not None:
            report = verify_directory(directory, vkey=key, against=kept)
        else:
            report = verify_database(_chosen(db), vkey=key, against=kept)
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(report)))
    else:
        click.echo("\n".join(_lines(report)))


@audit.command(epilog="Example: taskpass audit timeline support/ticket-4711 --db ledger.db")
@click.argument("task", metavar="[NAMESPACE/]TASK")
@_database
@_as_json
def timeline(task: str, db: Path | None, as_json: bool) -> None:
    """Tell what happened to a task: who was given what, when, and when it was taken back.

    Each entry is proven to be under the signed checkpoint.
    """
    with _told(), reading(_chosen(db)) as log:
        told = telling.timeline(log, task)
    if as_json:
        for index, event in told.entries:
            click.echo(json.dumps({"index": index, **event}, ensure_ascii=True))
        return
    for line in story.lines(told):
        click.echo(line)
    click.echo(
        f"Each entry is under the checkpoint of size {told.checkpoint.size}; "
        "`audit verify` shows that none is left out."
    )


@audit.command(epilog="Example: taskpass audit export ./export --db ledger.db")
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@_database
@click.option("--jsonl", is_flag=True, help="Add entries.jsonl, one entry a line.")
def export(directory: Path, db: Path | None, jsonl: bool) -> None:
    """Write the log as files (C2SP tlog-tiles) that other programs verify; VERIFY.md says how."""
    with _told():
        size = exporting.export(_chosen(db), directory, lines=jsonl)
    click.echo(f"Wrote {size} entries to {directory}; {directory / 'VERIFY.md'} says how to verify")


@contextmanager
def _told() -> Iterator[None]:
    """Turn what can go wrong into one line and an exit code."""
    try:
        yield
    except TamperEvidence as error:
        raise FoundTampering(f"TAMPER EVIDENCE: {error}") from error
    except Incomplete as error:
        raise CouldNotTell(f"Error: {error}") from error
    except TaskpassError as error:
        raise Failed(f"Error: {error}") from error


def _chosen(db: Path | None) -> Path:
    if db is None:
        raise UsageError("No ledger was named; use --db PATH, or set TASKPASS_LEDGER_PATH")
    return db


def _key(given: str) -> str:
    return given if given.count("+") >= 2 else _text(Path(given), "key")


def _text(path: Path, what: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"The {what} {path} cannot be read") from error


def _lines(report: Report) -> Iterator[str]:
    yield f"OK    {report.origin}"
    yield f"size  {report.size} entries, {report.first_time} to {report.last_time}"
    yield f"root  {report.root}"
    yield f"key   {report.vkey}"
    if not report.pinned:
        yield "      as the log itself says; name the key that you know with --vkey"
    if report.remembered:
        sizes = ", ".join(str(size) for size in report.remembered)
        yield f"It begins with what was kept at size {sizes}"
    else:
        yield "no memory given: rollback and fork NOT excluded (use --against CHECKPOINT)"
