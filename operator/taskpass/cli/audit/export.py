"""`taskpass audit export`."""

from pathlib import Path

import click

from taskpass.cli.audit import options
from taskpass.ledger import export as exporting


@click.command(epilog="Example: taskpass audit export ./export --db ledger.db")
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@options.database
@click.option("--jsonl", is_flag=True, help="Add entries.jsonl, one entry a line.")
def export(directory: Path, db: Path | None, jsonl: bool) -> None:
    """Write the log as files (C2SP tlog-tiles) that other programs verify; VERIFY.md says how."""
    with options.told():
        size = exporting.export(options.chosen(db), directory, lines=jsonl)
    click.echo(f"Wrote {size} entries to {directory}; {directory / 'VERIFY.md'} says how to verify")
