"""What every command that reads the log says of where its lines are from, on standard error."""

from collections.abc import Iterator

from taskpass.cli import output
from taskpass.ledger.log.reader import Incomplete
from taskpass.ledger.query.part import where_the_rest_is
from taskpass.ledger.verify.log import Report


def say(report: Report, *, last: int | None = None) -> None:
    """Print it, so that what is printed for programs stays as it is.

    `last` is how many were asked for, and printed, of those that answer: the last.
    """
    output.say(*lines(report, last=last), err=True)


def conclude(report: Report, *, nothing: bool = False, last: int | None = None) -> None:
    """Print it of an answer that only the whole log can give; raise as `demand_answer`."""
    say(report, last=last)
    demand_answer(report, nothing=nothing)


def demand_answer(report: Report, *, nothing: bool = False) -> None:
    """Let what was found stand as the log's answer; `nothing` where that is "none".

    Raises:
        Incomplete: Entries are absent that could tell otherwise (`query/part.py`).

    """
    if not report.is_whole or (nothing and report.pruned):
        raise Incomplete(f"What the other entries tell is not known; {where_the_rest_is(report)}")


def lines(report: Report, *, last: int | None = None) -> Iterator[str]:
    """Return what was verified before a line was printed, and what nobody can tell from it."""
    yield f"Proven: every entry was hashed, under the checkpoint of size {report.size}, which key"
    here = "is here and answers" if report.pruned else "answers"
    shown = "none that {} is left out" if last is None else "of what {}, only the last {} are shown"
    every = shown.format(here, last) if report.is_whole else "and only a part can be read"
    yield f"{report.keys[-1].id} has signed; {every}."
    if not report.pinned:
        yield "That key is by the log's own word: name the one that you know with --vkey."
    if report.pruned:
        yield f"Entries before {report.pruned} are absent by policy: what they told is not here."
    if not report.is_whole:
        first, end = report.bodies
        yield f"Only the entries {first}..{end - 1} are here, and were looked through."
    yield "`audit verify` says whether the cluster or a witness remembers a newer log, or another."
