"""`taskpass audit prune`."""

import dataclasses
import json
from pathlib import Path

import click

from taskpass.cli.audit import options
from taskpass.core.errors import UsageError
from taskpass.ledger.log.key_file import read_seed_file
from taskpass.ledger.log.reader import reading
from taskpass.ledger.log.signing import SeedSigner
from taskpass.ledger.maintain.prune import Limit, Plan, plan
from taskpass.ledger.maintain.prune import prune as drop
from taskpass.ledger.maintain.requests import ask

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
    archive from there. A ledger that nobody has open needs its key. Hashes stay, so the log still
    verifies, and an entry that somebody kept can still be proven. Whole bundles of 256 entries go;
    none from the first entry of a held grant on.
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
            asked = {"before": limit.before, "older_than_days": limit.days}
            given = {name: str(value) for name, value in asked.items() if value is not None}
            where = str(archive.absolute())
            request = {"do": "prune", "archive": where, **given}
            index = ask(path, request, PATIENCE_SECONDS, options.waiting)
            said = f"Dropped; entry {index} says what. The archive is in {where}"
            click.echo(json.dumps({"index": index, "archive": where}) if as_json else said)
            return
        else:
            signer = SeedSigner(read_seed_file(key_file))
            done = drop(path, limit, archive, signer, now, options.waiting)
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(done)))
        return
    click.echo(_said(done, dry_run))
    if done.holding:
        click.echo(f"Grant {done.holding} is held: nothing from its first entry on may go.")
    if done.archive_sha256:
        click.echo(f"Archive {archive}, SHA-256 of its SHA256SUMS: {done.archive_sha256}")


def _limit(older_than: str | None, before: int | None) -> Limit:
    if (older_than is None) == (before is None):
        raise UsageError("Name one of --older-than DAYSd and --before ENTRY")
    if older_than is None:
        return Limit(before=before)
    days = older_than.removesuffix("d")
    if not older_than.endswith("d") or not days.isdecimal() or not 1 <= int(days) <= 36_500:
        raise UsageError("--older-than must be a number of days, such as 400d")
    return Limit(days=int(days))


def _said(done: Plan, dry_run: bool) -> str:
    if done.min_index == done.first:
        return "There is nothing to drop."
    what = f"entries {done.first} to {done.min_index - 1}"
    return f"{'Would drop' if dry_run else 'Dropped'} {what}, {done.first_time} to {done.last_time}"
