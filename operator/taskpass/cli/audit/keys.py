"""`taskpass audit keys`: the keys that signed the log, and how another takes over."""

import dataclasses
from pathlib import Path

import click

from taskpass.cli.audit import options, progress, proof
from taskpass.cli.output import say, say_json
from taskpass.core.errors import UsageError
from taskpass.ledger.log.key_file import make_seed_file, read_seed_file
from taskpass.ledger.log.signing import SeedSigner
from taskpass.ledger.maintain.rotate import rotate as hand_over
from taskpass.ledger.verify.log import keys_of
from taskpass.ledger.verify.proven import LogLocation, proven

RUNNING = """\
An operator that runs goes over to another key by its settings:

  1. Set the chart's value signingKeyGeneration to one more than it is, and upgrade. At its next
     start the operator makes the Secret taskpass-signing-key-N, and both keys sign the handover.
  2. Look: `taskpass audit keys list` shows the new key, and since which size.
  3. Delete the Secret before it, and its copies: whoever has it can sign logs that end before the
     handover. `taskpass audit whois-token` needs it for tokens that were issued before.

A ledger that nobody has open: name it with --db, and both keys with --old-key-file and
--new-key-file."""


@click.group()
def keys() -> None:
    """Show the keys that signed the log, or hand over to another."""


@keys.command("list", epilog="Example: taskpass audit keys list --db ledger.db")
@options.source
@options.as_json
def list_keys(where: LogLocation, as_json: bool) -> None:
    """List each key, the sizes that it signs, and the entry that handed over to it.

    The log is verified first: the keys follow from its entries.
    """
    with (
        options.exit_on_error(),
        progress.shown("verified") as tell,
        proven(where, progress=tell) as log,
    ):
        report = log.report
    found = report.keys
    proof.say(report)
    if as_json:
        say_json([dataclasses.asdict(key) for key in found])
        return
    say("ID        FROM SIZE  TO SIZE    ENTRY      VKEY")
    for key in found:
        until = "now" if key.until is None else str(key.until)
        entry = max(key.since - 1, 0)
        say(f"{key.id:<8}  {key.since:<9}  {until:<9}  {entry:<9}  {key.vkey}")


@keys.command(
    epilog="Example: taskpass audit keys rotate --db ledger.db --old-key-file old.seed "
    "--new-key-file new.seed --reason 'yearly'"
)
@options.database
@click.option("--old-key-file", type=click.Path(path_type=Path), help="The key that signs it now.")
@click.option(
    "--new-key-file", type=click.Path(path_type=Path), help="The next one; made if it is not there."
)
@click.option("--reason", default="", help="Why, as the log is to tell; up to 200 characters.")
@options.as_json
def rotate(
    db: Path | None, old_key_file: Path | None, new_key_file: Path | None, reason: str,
    as_json: bool,
) -> None:  # fmt: skip
    """Hand the log over to another key, on a ledger that nobody has open.

    Without key files it says what to do for an operator that runs.
    """
    from taskpass.runtime.clock import SystemClock

    if old_key_file is None and new_key_file is None:
        if as_json:
            say_json({"what_to_do": RUNNING})
        else:
            say(*RUNNING.split("\n"))
        return
    with options.exit_on_error():
        if old_key_file is None or new_key_file is None:
            raise UsageError("Both are needed: --old-key-file and --new-key-file")
        if not 0 < len(reason) <= 200 or not reason.isprintable():
            raise UsageError("Say why with --reason, in one line of up to 200 characters")
        path = options.chosen(db)
        old = SeedSigner(read_seed_file(old_key_file))
        made = not new_key_file.exists()
        seed = make_seed_file(new_key_file) if made else read_seed_file(new_key_file)
        chain = hand_over(path, old, SeedSigner(seed), reason=reason, now=SystemClock().now())
    last = keys_of(chain)[-1]
    if as_json:
        say_json({**dataclasses.asdict(last), "made": made})
        return
    say(f"The log is signed by {last.vkey} from size {last.since} on.")
    say(f"Give the operator {new_key_file}, and destroy {old_key_file} and its copies.")
