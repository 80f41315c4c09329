"""`taskpass audit who` and `erase`: the people that entries refer to."""

import json
from pathlib import Path

import click

from taskpass.cli.audit import options, story
from taskpass.core.errors import UsageError
from taskpass.ledger.erase import erase as erase_offline
from taskpass.ledger.key_file import read_seed_file
from taskpass.ledger.keys import SeedSigner
from taskpass.ledger.people import known
from taskpass.ledger.reader import reading
from taskpass.ledger.requests import ask

MOST_NAME = 1024


@click.command(epilog="Example: taskpass audit who p-0f3a9c1b2d4e5f60 --db ledger.db")
@click.argument("ref", metavar="[REF]", default="")
@options.database
@options.as_json
def who(ref: str, db: Path | None, as_json: bool) -> None:
    """Say who is behind a reference in the log (`data.by`), or list everybody.

    With the salt, whoever is shown it can check that an entry's commitment was always to this name:
    SHA-256 of the salt's bytes and {"name":"…"}. Exit code 1: it was erased, or never was.
    """
    with options.told(), reading(options.chosen(db)) as log:
        people = known(log)
    found = [each for each in people.values() if ref in ("", each.ref)]
    if not found and ref:
        raise options.Unknown(f"Nobody is known as {ref}: erased, or never was")
    for each in found:
        said = {"ref": each.ref, "name": each.name, "salt": each.salt.hex(), "c": each.told()["c"]}
        if as_json:
            click.echo(json.dumps(said))
        else:
            proof = f"  salt {said['salt']}" if ref else ""
            click.echo(story.plain(f"{each.ref}  {each.name}{proof}"))


@click.command(epilog="Example: taskpass audit erase --subject jane@example.org --db ledger.db")
@click.option("--subject", required=True, help="The user's name, as the cluster knows it.")
@options.database
@click.option(
    "--key-file",
    type=click.Path(path_type=Path),
    help="Its key, where nobody has the ledger open.",
)
@options.as_json
def erase(subject: str, db: Path | None, key_file: Path | None, as_json: bool) -> None:
    """Erase what is known of a person. The log still verifies, and says that it was done.

    What is left in it are references that confirm no guess. Where an operator has the ledger open,
    it does the work: run this beside it. Copies that were made before (`who`, backups of the
    volume) are yours to erase. Exit code 1: nothing is known of them.
    """
    from taskpass.main import SystemClock

    with options.told():
        path = options.chosen(db)
        if not 0 < len(subject) <= MOST_NAME:
            raise UsageError(f"--subject must be a name of at most {MOST_NAME} characters")
        if key_file is None:
            index = ask(path, {"do": "erase", "subject": subject})
        else:
            signer = SeedSigner(read_seed_file(key_file))
            index = erase_offline(path, subject, signer, SystemClock().now())
    if index < 0:
        raise options.Unknown("Nothing is known of them")
    click.echo(json.dumps({"index": index}) if as_json else f"Erased; entry {index} says so")
