"""`taskpass audit export`."""

import re
import shutil
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path

import click

from taskpass.cli.audit import options, progress
from taskpass.cli.output import say
from taskpass.core.errors import UsageError
from taskpass.ledger.export import directory as exporting
from taskpass.ledger.export.formats import FORMATS


@click.command(epilog="Example: taskpass audit export ./export --db ledger.db")
@click.argument("destination", metavar="DIR|FILE.zip|-", type=click.Path(path_type=Path))
@options.database
@click.option(
    "--format",
    "form",
    type=click.Choice([exporting.TLOG, *FORMATS]),
    default=exporting.TLOG,
    show_default=True,
    help="tlog: files that other verifiers read. Else one entry a line, each with its own bytes.",
)
@click.option(
    "--range", "wanted", metavar="A:B", help="Entries from A up to, without, B; either may lack."
)
def export(destination: Path, db: Path | None, form: str, wanted: str | None) -> None:
    """Write the log as files that programs verify and read; VERIFY.md in it says how.

    - writes a zip to standard output, as out of a pod: kubectl exec … audit export - > log.zip.

    Each has checkpoint, keys, hashes and a policy to begin with. Lines are for SIEMs and
    spreadsheets: jsonl as they are, ocsf (1.8), ecs (8), csv.
    """
    with options.exit_on_error(), progress.shown("written") as tell:
        piped = destination == Path("-")
        with tempfile.TemporaryDirectory(prefix="taskpass-") if piped else nullcontext("") as place:
            target = Path(place) / "log.zip" if piped else destination
            size, here = exporting.export(
                options.chosen(db), target, form=form, wanted=_range(wanted), progress=tell
            )
            if piped:
                with target.open("rb") as file:
                    shutil.copyfileobj(file, sys.stdout.buffer)
    some = f"{len(here)} of {size} entries ({here.start}:{here.stop})"
    what = f"{size} entries" if len(here) == size else some
    say(f"Wrote {what} to {destination}; VERIFY.md in it says how to verify", err=piped)


def _range(text: str | None) -> tuple[int, int | None]:
    found = re.fullmatch(r"(\d{0,15}):(\d{0,15})", text or ":")
    if found is None:
        raise UsageError("--range must be A:B, two numbers, as 0:1000, 256: or :512")
    return int(found[1] or 0), int(found[2]) if found[2] else None
