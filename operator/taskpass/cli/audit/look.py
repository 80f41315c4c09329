"""`taskpass audit show`, `search` and `tail`: read entries as they are."""

import functools
import json
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import orjson

from taskpass.cli.audit import options, story
from taskpass.core.audit import moment
from taskpass.core.errors import UsageError
from taskpass.ledger import prove as proving
from taskpass.ledger.reader import reading
from taskpass.ledger.search import Query, newest, search

FOLLOW_SECONDS = 0.5
"""How often a followed ledger is looked at: its size is one row."""
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_FILTERS = (
    click.option(
        "--type", "kind", default="", help="As credential.revoke, or credential. for all."
    ),
    click.option("--task", default="", help="namespace/name, or the task's UID."),
    click.option("--cred", default="", help="A grant's id."),
    click.option("--outcome", default="", help="success, failure, denied, pending or unknown."),
    click.option("--agent", default="", help="A ServiceAccount's name."),
    click.option("--reason", default="", help="Why it was taken back or refused: PodEnded, …"),
    click.option("--since", default="", help="2026-11-26, 2026-11-26T10:00:00Z, or 90m, 24h, 7d."),
    click.option("--until", default="", help="The same; entries before it."),
)


def filters(command: Callable[..., None]) -> Callable[..., None]:
    """Give the command the options that choose entries, as one argument `query`."""

    @functools.wraps(command)
    def asked(
        *, kind: str, task: str, cred: str, outcome: str, agent: str, reason: str, since: str,
        until: str, **rest: Any,
    ) -> None:  # fmt: skip
        with options.told():
            query = Query(
                type=kind, task=task, cred=cred, outcome=outcome, agent=agent, reason=reason,
                since=_moment(since), until=_moment(until),
            )  # fmt: skip
        command(query=query, **rest)

    return functools.reduce(lambda made, option: option(made), reversed(_FILTERS), asked)


@click.command(epilog="Example: taskpass audit show 128 --db ledger.db")
@click.argument("entry", metavar="INDEX|EVENT-ID")
@options.database
@options.as_json
def show(entry: str, db: Path | None, as_json: bool) -> None:
    """Show one entry whole, once it is proven to be under the signed checkpoint.

    --json prints its bytes as they are signed, and a newline.
    """
    with options.told(), reading(options.chosen(db)) as log:
        index = proving.index_of(log, entry)
        proof = proving.prove_inclusion(log, index)
        body = log.entry(index)
    if as_json:
        click.echo(body.decode())
        return
    click.echo(f"entry {index}, under the checkpoint of size {proof.checkpoint.size}")
    text = json.dumps(orjson.loads(body), indent=2, ensure_ascii=False)
    for line in text.splitlines():
        click.echo(story.plain(line))


@click.command("search", epilog="Example: taskpass audit search --reason PodEnded --since 24h")
@filters
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="The last.")
@options.database
@options.as_json
def find(query: Query, limit: int, db: Path | None, as_json: bool) -> None:
    """List the entries that match all that is asked for, the newest last."""
    with options.told(), reading(options.chosen(db)) as log:
        _print(newest(log, query, limit), as_json)


@click.command(epilog="Example: taskpass audit tail -f --type credential. --db ledger.db")
@filters
@click.option("--lines", "-n", type=click.IntRange(0), default=10, show_default=True, help="Last.")
@click.option("--follow", "-f", is_flag=True, help="Go on with what is recorded from now on.")
@options.database
@options.as_json
def tail(query: Query, lines: int, follow: bool, db: Path | None, as_json: bool) -> None:
    """Show the last entries that match; with -f, each new one as it becomes durable."""
    with options.told():
        path = options.chosen(db)
        with reading(path) as log:
            _print(newest(log, query, lines) if lines else [], as_json)
            last = log.size - 1
        while follow:
            time.sleep(FOLLOW_SECONDS)
            with reading(path) as log:
                if log.size - 1 > last:
                    _print(search(log, query, after=last), as_json)
                    last = log.size - 1


def _print(found: Iterable[tuple[int, bytes]], as_json: bool) -> None:
    for index, body in found:
        event = orjson.loads(body)
        if as_json:
            click.echo(json.dumps({"index": index, **event}, ensure_ascii=True))
        else:
            click.echo(story.line(index, event))


def _moment(text: str) -> str:
    """Return a time as the log writes it; '' for ''."""
    if not text:
        return ""
    number, unit = text[:-1], text[-1]
    if unit in _UNITS and number.isascii() and number.isdigit():
        return moment(_now() - timedelta(seconds=int(number) * _UNITS[unit]))
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"'{text}' is not a time; write 2026-11-26, 2026-11-26T10:00:00Z, or 90m, 24h, 7d"
        ) from None
    return moment(read.astimezone(UTC) if read.tzinfo else read)


def _now() -> datetime:
    return datetime.fromtimestamp(time.time(), UTC)
