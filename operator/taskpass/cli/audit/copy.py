"""`taskpass audit copy`."""

import shutil
import sys
import tempfile
from pathlib import Path

import click

from taskpass.cli.audit import options
from taskpass.cli.output import say
from taskpass.ledger.maintain import copy as copying


@click.command(
    epilog="Example: taskpass audit copy - > ledger.db (in the operator's pod: kubectl -n "
    "taskpass-system exec deploy/taskpass -- taskpass audit copy - > ledger.db)"
)
@click.argument("destination", metavar="FILE|-", type=click.Path(path_type=Path))
@options.database
def copy(destination: Path, db: Path | None) -> None:
    """Copy a ledger whole, into one file, also while it is written; - is standard output.

    `cp ledger.db` alone lacks what is still in the write-ahead log beside it. The copy has the
    names of people, as the ledger has: an export has none. Verify it where it is kept.
    """
    with options.exit_on_error():
        if destination == Path("-"):
            with tempfile.TemporaryDirectory(prefix="taskpass-") as place:
                size = copying.copy(options.chosen(db), Path(place) / "ledger.db")
                with (Path(place) / "ledger.db").open("rb") as file:
                    shutil.copyfileobj(file, sys.stdout.buffer)
        else:
            size = copying.copy(options.chosen(db), destination)
    say(f"Copied the ledger as it was at size {size}; verify the copy", err=True)
