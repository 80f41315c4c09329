"""`taskpass audit stats` and `open-ops`, `taskpass pending`: what a ledger holds."""

import dataclasses
import sys
from collections.abc import Sequence

import click

from taskpass.cli.audit import options, progress, proof
from taskpass.cli.output import say, say_json
from taskpass.core.model.grant import GrantState
from taskpass.ledger.log.reader import Incomplete, located
from taskpass.ledger.query import stats as query
from taskpass.ledger.verify.log import Report
from taskpass.ledger.verify.proven import LogLocation, proven


@click.command(epilog="Example: taskpass audit stats --db ledger.db")
@options.source
@options.as_json
def stats(where: LogLocation, as_json: bool) -> None:
    """Count entries by kind and day, what is held, and what it takes on disk."""
    with options.exit_on_error(), progress.shown("verified") as tell:
        with proven(where, progress=tell) as log:
            _demand_whole(log.report)
            found, report = query.stats(log, _size(where)), log.report
    if as_json:
        say_json(dataclasses.asdict(found))
        proof.say(report)
        return
    say(found.origin)
    absent = f", {found.pruned} of them absent by policy" if found.pruned else ""
    say(f"{found.entries:>10}  entries{absent}; {found.bytes / 2**20:.1f} MiB on disk")
    say(f"{found.held:>10}  credentials held, {found.owed} of them to be taken back")
    if found.declared_gone:
        say(f"{found.declared_gone:>10}  declared gone by configuration, not proven")
    for name, count in found.by_type.items():
        say(f"{count:>10}  {name}")
    for day, count in found.by_day.items():
        say(f"{count:>10}  on {day}")
    if more := found.days - len(found.by_day):
        say(f"{'':>10}  and on {more} days before")
    proof.say(report)


@click.command("open-ops", epilog="Example: taskpass audit open-ops --db ledger.db")
@options.source
@options.as_json
def open_ops(where: LogLocation, as_json: bool) -> None:
    """List operations that have begun and not ended: what is issued, and what is taken back.

    By the entries of the log, which is verified first.
    """
    found, _, report = _open_operations(where)
    _show(found, report, as_json, "Nothing is open.")


@click.command(
    epilog="Example: kubectl -n taskpass-system exec deploy/taskpass -- taskpass pending",
    short_help="List what is still to be taken back.",
)
@options.source
@options.as_json
def pending(where: LogLocation, as_json: bool) -> None:
    """List credentials that are to be taken back, and that no provider has proven to be gone.

    Each is tried again for ever, with back-off, also where its task, namespace or class is gone.
    What was declared gone by configuration (the value `postgresql.retired`) is not pending; it is
    listed after the others, as it was not proven. By the entries of the log, which is verified
    first.

    Exit code 1: something is pending.
    """
    going, declared, report = _open_operations(where)
    found = [each for each in going if each.state == GrantState.REVOKING.value]
    _show(found, report, as_json, "Nothing is pending.", () if as_json else declared)
    if found:
        sys.exit(1)


def _show(
    found: Sequence[query.OpenOperation], report: Report, as_json: bool, nothing: str,
    declared: Sequence[query.DeclaredEnd] = (),
) -> None:  # fmt: skip
    if as_json:
        say_json([dataclasses.asdict(each) for each in found])
    elif not found:
        say(nothing)
    else:
        _list(found)
    for each in declared:
        say(
            f"Declared gone by configuration, not proven:  since {each.since}  {each.task}  "
            f"'{each.name}', grant {each.grant}: {each.reason}"
        )
    proof.say(report)


def _open_operations(
    where: LogLocation,
) -> tuple[list[query.OpenOperation], list[query.DeclaredEnd], Report]:
    with (
        options.exit_on_error(),
        progress.shown("verified") as tell,
        proven(where, progress=tell) as log,
    ):
        _demand_whole(log.report)
        return query.open_operations(log), query.declared_ends(log), log.report


def _demand_whole(report: Report) -> None:
    if not report.is_whole:
        first, end = report.bodies
        raise Incomplete(
            f"Of the log's {report.size} entries only {first}..{end - 1} are here: what is held "
            "and open is told by all of them; name a ledger or an export of the whole log"
        )


def _size(where: LogLocation) -> int:
    """Return how many bytes a log takes on disk."""
    path = where.database or where.directory
    assert path is not None  # noqa: S101 (`options.source` has named one)
    path = located(path)
    every = path.rglob("*") if path.is_dir() else (path, path.with_name(f"{path.name}-wal"))
    return sum(each.stat().st_size for each in every if each.is_file())


def _list(found: Sequence[query.OpenOperation]) -> None:
    for each in found:
        why = f", {each.reason}" if each.reason else ""
        dies = f"; it dies by itself at {each.until}" if each.until else ""
        text = (
            f"{each.state:<8}  since {each.since}  {each.task}  '{each.name}' of {each.provider}, "
            f"grant {each.grant}{why}{dies}"
        )
        say(text)
