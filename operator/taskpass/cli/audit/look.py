"""`taskpass audit show`, `search` and `tail`: read entries as they are."""

import functools
import json
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import click
import orjson

from taskpass.cli.audit import options, progress, proof, story
from taskpass.cli.output import say, say_bytes, say_json
from taskpass.core.audit.terms import moment
from taskpass.core.errors import UsageError
from taskpass.core.model.entry import PREFIX, EventType, Result
from taskpass.ledger.log.entry_filter import Query
from taskpass.ledger.log.reader import LogReader
from taskpass.ledger.query.part import demand_all, entries_here
from taskpass.ledger.verify import proofs as proving
from taskpass.ledger.verify.follow import Follower
from taskpass.ledger.verify.log import Report
from taskpass.ledger.verify.proven import LogLocation, VerifiedLog, proven

_COUNT, _LINES = click.IntRange(1, 10**9), click.IntRange(0, 10**9)
"""How many entries are kept to be printed: at most more than any log has."""
FOLLOW_SECONDS = 0.5
"""How often a followed ledger is looked at: its size is one row."""
_NAMED = ("task", "cred", "agent", "reason", "outcome")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_FILTERS = (
    click.option(
        "--type", "kind", default="", help="As credential.revoke, or credential. for all."
    ),
    click.option("--task", default="", help="namespace/name, or the task's UID."),
    click.option("--cred", default="", help="A grant's id."),
    click.option(
        "--outcome", default="", type=click.Choice(["", *(each.value for each in Result)]),
        metavar="OUTCOME", help="success, failure, denied, pending or unknown.",
    ),
    click.option("--agent", default="", help="A ServiceAccount's name."),
    click.option("--reason", default="", help="Why it was taken back or refused: PodEnded, …"),
    click.option("--since", default="", help="2026-11-26, 2026-11-26T10:00:00Z, or 90m, 24h, 7d."),
    click.option("--until", default="", help="The same; entries before it."),
)  # fmt: skip


def filters(command: Callable[..., None]) -> Callable[..., None]:
    """Give the command the options that choose entries, as one argument `query`."""

    @functools.wraps(command)
    def asked(
        *, kind: str, task: str, cred: str, outcome: str, agent: str, reason: str, since: str,
        until: str, **rest: Any,
    ) -> None:  # fmt: skip
        with options.exit_on_error():
            now = datetime.fromtimestamp(time.time(), UTC)
            first, end = _moment(since, now), _moment(until, now)
            if first and end and first >= end:
                raise UsageError("--since must be before --until; nothing is in between")
            query = Query(
                type=kind, task=task, cred=cred, outcome=outcome, agent=agent, reason=reason,
                since=first, until=end,
            )  # fmt: skip
        command(query=query, **rest)

    return functools.reduce(lambda made, option: option(made), reversed(_FILTERS), asked)


@click.command(epilog="Example: taskpass audit show 128 --db ledger.db")
@click.argument("entry", metavar="INDEX|EVENT-ID")
@options.source
@options.as_json
def show(entry: str, where: LogLocation, as_json: bool) -> None:
    """Show one entry whole, once it is proven to be under the signed checkpoint.

    --json prints its bytes as they are signed, and a newline.
    """
    with options.exit_on_error():
        asked = proving.identity_asked(entry)
        query = Query(index=asked) if isinstance(asked, int) else asked
        with proven(where, query) as log:
            if not log.entries and isinstance(asked, Query):
                demand_all(log.report, f"have none of the id {entry}")
            index, body = proving.only(log, entry)
            report = log.report
    if as_json:
        say_bytes(body)
        return
    text = json.dumps(orjson.loads(body), indent=2, ensure_ascii=False)
    say(f"entry {index}, under the checkpoint of size {report.size}", *text.split("\n"))
    proof.say(report)


@click.command("search", epilog="Example: taskpass audit search --reason PodEnded --since 24h")
@filters
@click.option("--limit", type=_COUNT, default=100, show_default=True, help="The last.")
@options.source
@options.as_json
def find(query: Query, limit: int, where: LogLocation, as_json: bool) -> None:
    """List the entries that match all that is asked for, the newest last.

    The whole log is verified first, so what is listed is in it, and nothing that matches is left
    out (but what is more than --limit): that none matches is proven as well. What people wrote is
    in quotes. Exit code 3: of the log only a part is there, and what is listed is of that; or it
    was pruned, and of what is left nothing matches.
    """
    with options.exit_on_error(), progress.shown("verified") as tell:
        with proven(where, query, newest=limit + 1, progress=tell) as log:
            _check_type(query, log)
            _print(log.entries[-limit:], as_json, _named(log))
            report, count = log.report, len(log.entries)
    if count > limit:
        say(f"These are the last {limit}; --limit shows more", err=True)
    with options.exit_on_error():
        if not count:
            _say_none(query, where, report)
        nothing = not count and _reaches_before(query, report)
        proof.conclude(report, nothing=nothing, last=limit if count > limit else None)


@click.command(epilog="Example: taskpass audit tail -f --type credential. --db ledger.db")
@filters
@click.option("--lines", "-n", type=_LINES, default=10, show_default=True, help="Last.")
@click.option("--follow", "-f", is_flag=True, help="Go on with what is recorded from now on.")
@options.source
@options.as_json
def tail(query: Query, lines: int, follow: bool, where: LogLocation, as_json: bool) -> None:
    """Show the last entries that match; with -f, each new one as it becomes durable.

    What is shown was verified: first the whole log, then that each state of it has grown from the
    one before, and is signed. With -f people are shown by their references.
    """
    with options.exit_on_error():
        if follow and where.directory is not None:
            raise UsageError("An export does not grow; --follow needs --db")
        with proven(where, query, newest=lines + 1) as log:
            _check_type(query, log)
            report, count = log.report, len(log.entries)
            shown = log.entries[max(0, count - lines) :]
            _print(shown, as_json, None if follow else _named(log))
            none = bool(lines) and not count
            if none:
                _say_none(query, where, report)
            # Who follows waits for what is to come.
            nothing = none and not follow and _reaches_before(query, report)
            proof.conclude(report, nothing=nothing, last=lines if count > lines else None)
            follower = Follower(where.database, query, log.replay) if where.database else None
        while follow and follower is not None:
            time.sleep(FOLLOW_SECONDS)
            _print(follower.grown(), as_json, None)


def _named(log: VerifiedLog) -> Mapping[str, str] | None:
    """Return the names of people by their references; None of an export, which has none."""
    if not isinstance(log.source, LogReader):
        return None
    return {ref: person.name for ref, person in log.people.items()}


def _reaches_before(query: Query, report: Report) -> bool:
    """Tell whether an entry that was pruned could match: times in a log never go back."""
    return not (query.since and query.since > report.first_time)


def _say_none(query: Query, where: LogLocation, report: Report) -> None:
    """Say that no entry matches, and which of several things that were asked for is never told."""
    asked = {name: getattr(query, name) for name in _NAMED if getattr(query, name)}
    alone = {name: Query(**{name: value}) for name, value in asked.items()}
    never = [
        f"--{name} {asked[name]}"
        for name, question in alone.items()
        if question == query or not _any(question, where)
    ]
    here = entries_here(report)
    said = f"None of the {here} matches" if here else "No entry matches"
    none = "none of them" if here else "no entry at all"
    also = f"; {none} has {' or '.join(never)}" if never else ""
    say(f"{said}{also}", err=True)


def _any(query: Query, where: LogLocation) -> bool:
    with proven(where, query, newest=1) as log:
        return bool(log.entries)


def _check_type(query: Query, log: VerifiedLog) -> None:
    """Refuse a type that neither this version knows nor the log has: nothing would say so."""
    kind = query.type.removeprefix(PREFIX)
    known = {each.value for each in EventType} | {name for name, _ in log.replay.counts}
    if kind and not any(
        each.startswith(kind) if kind[-1] == "." else each == kind for each in known
    ):
        raise UsageError(
            f"There is no type '{kind}' of entries; there are {', '.join(sorted(known))}"
        )


def _print(
    found: Iterable[tuple[int, bytes]], as_json: bool, people: Mapping[str, str] | None
) -> None:
    for index, body in found:
        event = orjson.loads(body)
        if as_json:
            say_json({"index": index, **event})
        else:
            say(story.line(index, event, people))


def _moment(text: str, now: datetime) -> str:
    """Return a time as the log writes it; '' for ''."""
    if not text:
        return ""
    number, unit = text[:-1], text[-1]
    try:
        if unit in _UNITS and number.isascii() and number.isdigit():
            return moment(now - timedelta(seconds=int(number) * _UNITS[unit]))
        read = datetime.fromisoformat(text)
        return moment(read.astimezone(UTC) if read.tzinfo else read)
    except (ValueError, OverflowError):
        raise UsageError(
            f"'{text[:40]}' is not a time; write 2026-11-26, 2026-11-26T10:00:00Z, or 90m, 24h, 7d"
        ) from None
