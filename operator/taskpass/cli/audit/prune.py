"""`taskpass audit prune`."""

import dataclasses
from pathlib import Path

import click

from taskpass.cli.audit import options
from taskpass.cli.output import say, say_json
from taskpass.core.errors import UsageError
from taskpass.ledger.log.key_file import read_seed_file
from taskpass.ledger.log.reader import Incomplete, reading
from taskpass.ledger.log.signing import SeedSigner
from taskpass.ledger.maintain import through_operator
from taskpass.ledger.maintain.prune import Limit, Plan, plan
from taskpass.ledger.maintain.prune import prune as drop

PATIENCE_SECONDS = 600.0
"""How long the archive may take; it is some 100,000 entries in ten seconds."""


@click.command(
    epilog="Example: taskpass audit prune --db ledger.db --older-than 400d --archive ./2025 "
    "--key-file seed"
)
@options.database
@click.option("--older-than", metavar="DAYSd", help="Drop what is older, such as 400d.")
@click.option("--before", type=click.IntRange(min=0), help="Drop what is before this entry.")
@click.option("--archive", type=click.Path(path_type=Path), help="Where what is dropped goes.")
@click.option(
    "--key-file", type=click.Path(path_type=Path), help="Its key, where nobody has it open."
)
@click.option("--dry-run", is_flag=True, help="Only say what would be dropped.")
@options.as_json
def prune(
    db: Path | None, older_than: str | None, before: int | None, archive: Path | None,
    key_file: Path | None, dry_run: bool, as_json: bool,
) -> None:  # fmt: skip
    """Archive old entries and drop them.

    Where an operator has the ledger open, it does the work: run this beside it, and copy the
    archive from there; that it was done is proven by the log. A ledger that nobody has open needs
    its key. Hashes stay, so the log still verifies, and an entry that somebody kept can still be
    proven. Whole bundles of 256 entries go; none from the first entry of a held grant on.

    Exit code 1: what was answered is not so; 3: no operator answered, or the archive is not here.
    """
    from taskpass.runtime.clock import SystemClock

    now = SystemClock().now()
    with options.exit_on_error():
        limit = _limit(older_than, before)
        path = options.chosen(db)
        if dry_run:
            with reading(path) as log:
                done = plan(log, limit, now)
        elif archive is None:
            raise UsageError("Name --archive, or only look with --dry-run")
        elif key_file is None:
            _ask(path, limit, archive.absolute(), as_json)
            return
        else:
            signer = SeedSigner(read_seed_file(key_file))
            done = drop(path, limit, archive, signer, now, options.waiting)
    if as_json:
        say_json(dataclasses.asdict(done))
        return
    say(_said(done, dry_run))
    if done.holding:
        say(f"Grant {done.holding} is held: nothing from its first entry on may go.")
    if done.archive_sha256:
        say(f"Archive {archive}, SHA-256 of its SHA256SUMS: {done.archive_sha256}")


def _ask(path: Path, limit: Limit, archive: Path, as_json: bool) -> None:
    index, there = through_operator.prune(path, limit, archive, PATIENCE_SECONDS, options.waiting)
    if as_json:
        say_json({"index": index, "archive": str(archive)})
    elif there:
        say(f"Dropped; entry {index} says what. The archive is in {archive}")
    else:
        say(f"Dropped; entry {index} says what")
    if not there:
        raise Incomplete(
            f"The archive that entry {index} tells of is not in {archive}, as seen from here: look "
            "for it on the operator's disk, before anything is deleted there"
        )


def _limit(older_than: str | None, before: int | None) -> Limit:
    if (older_than is None) == (before is None):
        raise UsageError("Name one of --older-than DAYSd and --before ENTRY")
    if older_than is None:
        return Limit(before=before)
    days = older_than.removesuffix("d")
    is_number = older_than.endswith("d") and days.isdecimal() and len(days) <= 5
    if not is_number or not 1 <= int(days) <= 36_500:
        raise UsageError("--older-than must be a number of days, such as 400d")
    return Limit(days=int(days))


def _said(done: Plan, dry_run: bool) -> str:
    if done.min_index == done.first:
        return "There is nothing to drop."
    what = f"entries {done.first} to {done.min_index - 1}"
    return f"{'Would drop' if dry_run else 'Dropped'} {what}, {done.first_time} to {done.last_time}"
