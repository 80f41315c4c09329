"""`taskpass audit timeline`."""

import click

from taskpass.cli.audit import options, progress, proof, story
from taskpass.cli.output import say, say_json
from taskpass.ledger.query import timeline as telling
from taskpass.ledger.verify.proven import LogLocation, proven


@click.command(epilog="Example: taskpass audit timeline support/ticket-4711 --db ledger.db")
@click.argument("task", metavar="[NAMESPACE/]TASK")
@options.source
@options.as_json
def timeline(task: str, where: LogLocation, as_json: bool) -> None:
    """Tell what happened to a task: who was given what, when, and when it was taken back.

    The whole log is verified first: each line is of an entry under the signed checkpoint, none is
    left out, and a name is shown only where it opens the entry's commitment. An export has no
    names, so people are shown by their references. What people wrote is in quotes.

    Exit code 3: of the log only a part is there, and what is told is of that.
    """
    names = where.directory is None
    with options.exit_on_error(), progress.shown("verified") as tell:
        with proven(where, telling.asked_for(task), progress=tell) as log:
            told, report = telling.timeline(log, task, names=names), log.report
    if as_json:
        for index, event in told.entries:
            say_json({"index": index, **event})
        proof.say(report)
    else:
        say(*story.lines(told), *proof.lines(report))
    with options.exit_on_error():
        proof.demand_answer(report)
