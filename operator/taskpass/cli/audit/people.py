"""`taskpass audit who` and `erase`: the people that entries refer to."""

from pathlib import Path

import click

from taskpass.cli.audit import options, progress, proof
from taskpass.cli.output import say, say_json
from taskpass.core.errors import UsageError
from taskpass.core.model.text import word
from taskpass.ledger.log.key_file import read_seed_file
from taskpass.ledger.log.signing import SeedSigner
from taskpass.ledger.maintain import through_operator
from taskpass.ledger.maintain.erase import erase as erase_offline
from taskpass.ledger.query.part import demand_all
from taskpass.ledger.verify.proven import LogLocation, proven

MOST_NAME = 1024
PATIENCE_SECONDS = 60.0


@click.command(epilog="Example: taskpass audit who p-0f3a9c1b2d4e5f60 --db ledger.db")
@click.argument("ref", metavar="[REF]", default="")
@options.database
@click.option("--vkey", help="The log's key as you know it, or a file that holds it.")
@options.as_json
def who(ref: str, db: Path | None, vkey: str | None, as_json: bool) -> None:
    """Say who is behind a reference in the log (`data.by`), or list everybody.

    The log is verified first, and each name opens the commitment of every entry about it. With the
    salt, whoever is shown it can check that too: SHA-256 of the salt's bytes and {"name":"…"}. A
    name that is no single word is in quotes. Exit code 1: it was erased, or never was; 3: what is
    left of a pruned log does not speak of it.
    """
    with options.exit_on_error(), progress.shown("verified") as tell:
        where = LogLocation(database=options.chosen(db), vkey=options.known_key(vkey))
        with proven(where, progress=tell) as log:
            people, report, erased = log.people, log.report, log.replay.erased
    proof.say(report)
    found = [each for each in people.values() if ref in ("", each.ref)]
    if not found and ref:
        if ref not in erased:
            with options.exit_on_error():
                demand_all(report, f"do not speak of {ref}")
        gone = "erased, as the log says" if ref in erased else "no entry that is here speaks of it"
        raise options.Unknown(f"Nobody is known as {ref}: {gone}")
    for each in found:
        said = {
            "ref": each.ref,
            "name": each.name,
            "salt": each.salt.hex(),
            "c": each.fields()["c"],
        }
        if as_json:
            say_json(said)
        else:
            salt = f"  salt {said['salt']}" if ref else ""
            say(f"{each.ref}  {word(each.name)}{salt}")


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
    it does the work: run this beside it. That it was done is then proven by the log. Copies that
    were made before (`who`, backups of the volume) are yours to erase.

    Exit code 1: nothing is known of them, or what was answered is not so; 2: a task that is there
    names them, or bytes are left, and the message says which.
    """
    from taskpass.runtime.clock import SystemClock

    with options.exit_on_error():
        path = options.chosen(db)
        if not 0 < len(subject) <= MOST_NAME:
            raise UsageError(f"--subject must be a name of at most {MOST_NAME} characters")
        if key_file is None:
            index = through_operator.erase(path, subject, PATIENCE_SECONDS, options.waiting)
        else:
            signer = SeedSigner(read_seed_file(key_file))
            index = erase_offline(path, subject, signer, SystemClock().now(), options.waiting)
    if index < 0:
        raise options.Unknown("Nothing is known of them")
    if as_json:
        say_json({"index": index})
    else:
        say(f"Erased; entry {index} says so")
