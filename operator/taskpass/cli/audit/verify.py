"""`taskpass audit verify`."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import click

from taskpass.cli.audit import options, progress
from taskpass.ledger.verify import Report, verify_database, verify_directory


@click.command(epilog="Example: taskpass audit verify --dir export --against kept.checkpoint")
@options.database
@click.option("--dir", "directory", type=click.Path(path_type=Path), help="An export to verify.")
@click.option("--vkey", help="The log's key as you know it, or a file that holds it.")
@click.option(
    "--against",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A checkpoint that you kept: rollback and fork are excluded by it. Repeatable.",
)
@options.as_json
def verify(
    db: Path | None,
    directory: Path | None,
    vkey: str | None,
    against: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Compute every hash again, and check the signatures of all the log's keys.

    Exit code 1 means evidence of tampering, 3 that something is missing or cannot be read.
    """
    with options.told():
        key = options.key(vkey) if vkey else ""
        kept = [options.text(path, "checkpoint") for path in against]
        with progress.shown("verified") as tell:
            if directory is not None:
                report = verify_directory(directory, vkey=key, against=kept, progress=tell)
            else:
                path = options.chosen(db)
                report = verify_database(path, vkey=key, against=kept, progress=tell)
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(report)))
    else:
        click.echo("\n".join(_lines(report)))


def _lines(report: Report) -> Iterator[str]:
    yield f"OK    {report.origin}"
    yield f"size  {report.size} entries, {report.first_time} to {report.last_time}"
    yield f"root  {report.root}"
    yield f"key   {report.vkey}"
    for key in report.keys[:-1]:
        yield f"      before it, up to size {key.until}: {key.vkey}"
    if not report.pinned:
        yield "      as the log itself says; name the key that you know with --vkey"
    if report.pruned:
        yield f"bodies absent by policy 0..{report.pruned - 1}; their hashes are verified"
    first, end = report.bodies
    if first > report.pruned or end < report.size:
        yield f"only the entries {first}..{end - 1} are here; of the others, hashes are verified"
    if report.remembered:
        sizes = ", ".join(str(size) for size in report.remembered)
        yield f"It begins with what was kept at size {sizes}"
    else:
        yield "no memory given: rollback and fork NOT excluded (use --against CHECKPOINT)"
