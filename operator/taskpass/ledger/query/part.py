"""What an answer is worth where not every entry of the log is there to be looked through.

A log that was pruned still tells all that is held, as nothing from the first entry of a held grant
on may go; so what it finds is an answer, and that it finds nothing is none. Of any other part
neither is.
"""

from taskpass.ledger.log.reader import Incomplete
from taskpass.ledger.verify.log import Report


def entries_here(report: Report) -> str | None:
    """Return which entries were looked through; None where that is all the log ever had."""
    if report.is_whole and not report.pruned:
        return None
    first, end = report.bodies
    return f"entries {first}..{end - 1}"


def demand_all(report: Report, nothing: str) -> None:
    """Let nothing be said of a log of which entries are absent, for whatever reason.

    `nothing` goes on from "The entries A..B, which alone are here,", as "have no task 'x'".

    Raises:
        Incomplete: Some are, and could tell otherwise.

    """
    if here := entries_here(report):
        raise Incomplete(
            f"The {here}, which alone are here, {nothing}; {where_the_rest_is(report)}"
        )


def where_the_rest_is(report: Report) -> str:
    """Return what to do about the entries that are not here."""
    if report.is_whole:
        return "what is before was pruned: look in the archive that was written then"
    return "name a ledger or an export of the whole log"
