"""What every command that reads the log says of where its lines are from, on standard error."""

from collections.abc import Iterator

import click

from taskpass.ledger.verify import Report


def say(report: Report) -> None:
    """Print it, so that what is printed for programs stays as it is."""
    for line in lines(report):
        click.echo(line, err=True)


def lines(report: Report) -> Iterator[str]:
    """Return what was verified before a line was printed, and what nobody can tell from it."""
    yield f"Proven: every entry was hashed, under the checkpoint of size {report.size}, which key"
    yield f"{report.keys[-1].id} has signed; none that answers is left out."
    if not report.pinned:
        yield "That key is by the log's own word: name the one that you know with --vkey."
    first, end = report.bodies
    if report.pruned:
        yield f"Entries before {report.pruned} are absent by policy: what they told is not here."
    if first > report.pruned or end < report.size:
        yield f"Only the entries {first}..{end - 1} are here, and were looked through."
    yield "Whether it is the newest state, and the only one, `audit verify` tells by a memory."
