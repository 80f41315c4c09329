"""`taskpass audit whois-token`."""

import dataclasses
import sys
from pathlib import Path

import click

from taskpass.cli.audit import options, proof
from taskpass.cli.output import say, say_json
from taskpass.core.errors import UsageError
from taskpass.ledger.log.key_file import read_seed_file
from taskpass.ledger.log.reader import Incomplete
from taskpass.ledger.query.part import demand_all
from taskpass.ledger.query.whois import Owner, asked_for, keys_missing, whois
from taskpass.ledger.verify.proven import LogLocation, proven

MOST_TOKEN = 65_536


@click.command(
    "whois-token",
    epilog="Example: taskpass audit whois-token --key-file seed --db ledger.db < token",
)
@click.option(
    "--key-file", "key_files", multiple=True, required=True, type=click.Path(path_type=Path),
    help="A key that signed the log (its seed): fingerprints follow from it. Repeatable.",
)  # fmt: skip
@options.source
@options.as_json
def whois_token(key_files: tuple[Path, ...], where: LogLocation, as_json: bool) -> None:
    """Say whose a token is that was found somewhere. It is read from standard input.

    Where several grants had it, there is a line for each, first of those that still hold it.

    Exit code 1: the log knows it not; 3: that cannot be told of a part of the log (one that was
    pruned is a part, where nothing is found), or without the seed of each key that signed it.
    """
    token = sys.stdin.buffer.read(MOST_TOKEN + 1).strip()
    with options.exit_on_error():
        if not 0 < len(token) <= MOST_TOKEN:
            raise UsageError("Give the token on standard input, as in: … < token")
        seeds = [read_seed_file(path) for path in key_files]
        with proven(where, asked_for(token, seeds)) as log:
            owners, report = whois(log), log.report
        missing = keys_missing(report, seeds)
    for owner in owners:
        if as_json:
            say_json(dataclasses.asdict(owner))
        else:
            say(_line(owner))
    with options.exit_on_error():
        proof.say(report)
        for key in missing:
            say(f"What was issued under {key.vkey} is told by its own seed alone", err=True)
        if owners:
            proof.demand_answer(report)
            return
        demand_all(report, "tell of no credential of that fingerprint")
        if missing:
            raise Incomplete("No credential has that fingerprint by the seeds that were given")
    raise options.Unknown("No credential of this log has that fingerprint")


def _line(owner: Owner) -> str:
    gone = f"revoked {owner.revoked}" if owner.revoked else "not known to be revoked"
    return (
        f"'{owner.name}' of task {owner.task}, for agent {owner.agent}: issued {owner.issued}, "
        f"expires {owner.expires}, {gone} (grant {owner.grant}, entry {owner.index})"
    )
