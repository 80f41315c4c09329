"""`taskpass audit verify`."""

import dataclasses
import json
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from taskpass.cli.audit import options, progress
from taskpass.ledger.cosigned import Cosigner, cosigners, witness_keys
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
@click.option(
    "--witness",
    "witnesses",
    multiple=True,
    help="Key of a witness (vkey, or a file): who has cosigned what is named by --against.",
)
@click.option(
    "--require-witness",
    "required",
    type=click.IntRange(0),
    default=0,
    help="How many of them must have: else the exit code is 4.",
)
@click.option(
    "--max-age",
    type=click.IntRange(1),
    metavar="SECONDS",
    help="Count only cosignatures that are no older.",
)
@options.as_json
def verify(
    db: Path | None,
    directory: Path | None,
    vkey: str | None,
    against: tuple[Path, ...],
    witnesses: tuple[str, ...],
    required: int,
    max_age: int | None,
    as_json: bool,
) -> None:
    """Compute every hash again, and check the signatures of all the log's keys.

    Exit code 1 means evidence of tampering, 3 that something is missing or cannot be read, 4 that
    fewer witnesses have seen it than was asked for.
    """
    with options.told():
        key = options.key(vkey) if vkey else ""
        kept = [options.text(path, "checkpoint") for path in against]
        asked = witness_keys(options.key(each) for each in witnesses)
        with progress.shown("verified") as tell:
            if directory is not None:
                report = verify_directory(directory, vkey=key, against=kept, progress=tell)
            else:
                path = options.chosen(db)
                report = verify_database(path, vkey=key, against=kept, progress=tell)
        seen = cosigners(kept, asked)
    now = int(time.time())
    if as_json:
        by = [dataclasses.asdict(each) for each in seen]
        click.echo(json.dumps({**dataclasses.asdict(report), "cosigners": by}))
    else:
        click.echo("\n".join((*_lines(report), *_witnessed(seen, now))))
    fresh = [each for each in seen if max_age is None or now - each.time <= max_age]
    if len(fresh) < required:
        young = "" if max_age is None else f" within {max_age} s"
        raise options.BelowLevel(
            f"BELOW LEVEL: {len(fresh)} of {required} witnesses have cosigned it{young}"
        )


def _witnessed(seen: Iterable[Cosigner], now: int) -> Iterator[str]:
    for each in seen:
        yield f"witness {each.name} has cosigned it at size {each.size}, {now - each.time} s ago"


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
