"""`taskpass audit timeline`."""

import json
from pathlib import Path

import click

from taskpass.cli.audit import options, story
from taskpass.ledger import timeline as telling
from taskpass.ledger.reader import reading


@click.command(epilog="Example: taskpass audit timeline support/ticket-4711 --db ledger.db")
@click.argument("task", metavar="[NAMESPACE/]TASK")
@options.database
@options.as_json
def timeline(task: str, db: Path | None, as_json: bool) -> None:
    """Tell what happened to a task: who was given what, when, and when it was taken back.

    Each entry is proven to be under the signed checkpoint.
    """
    with options.told(), reading(options.chosen(db)) as log:
        told = telling.timeline(log, task)
    if as_json:
        for index, event in told.entries:
            click.echo(json.dumps({"index": index, **event}, ensure_ascii=True))
        return
    for line in story.lines(told):
        click.echo(line)
    if told.pruned:
        click.echo(f"Entries before {told.pruned} were pruned, so the beginning may be missing.")
    click.echo(
        f"Each entry is under the checkpoint of size {told.checkpoint.size}; "
        "`audit verify` shows that none is left out."
    )
