"""`taskpass audit prove` and `verify-proof`: what somebody outside can keep, and check alone."""

import base64
from pathlib import Path

import click

from taskpass.cli.audit import options
from taskpass.cli.audit.proof import conclude
from taskpass.cli.output import say, say_json
from taskpass.core.errors import UsageError
from taskpass.ledger.log.entry_filter import Query
from taskpass.ledger.query.part import demand_all
from taskpass.ledger.verify import proofs as proving
from taskpass.ledger.verify.proven import LogLocation, VerifiedLog, proven


@click.group()
def prove() -> None:
    """Prove that an entry is in the log, or that the log has only grown."""


@prove.command(epilog="Example: taskpass audit prove inclusion 128 --out proofs --db ledger.db")
@click.argument("entry", metavar="[INDEX|EVENT-ID]", required=False)
@click.option("--cred", default="", help="Every entry of this grant instead.")
@click.option("--task", default="", help="Every entry of this task: namespace/name, or its UID.")
@click.option(
    "--out", "destination", required=True, type=click.Path(path_type=Path), help="Where to put it."
)
@options.source
@options.as_json
def inclusion(
    entry: str | None, cred: str, task: str, destination: Path, where: LogLocation, as_json: bool
) -> None:
    """Write entries, and for each a proof that it is in the log.

    INDEX.json is the entry, INDEX.tlog-proof the proof (C2SP tlog-proof): `taskpass audit
    verify-proof`, or any program for that format, checks it with nothing but the log's key.

    Exit code 3: all entries of a grant or a task were asked for, and of the log only a part is
    there; what it has of them was written.
    """
    with options.exit_on_error():
        if bool(entry) + bool(cred) + bool(task) != 1:
            raise UsageError("Name one: an entry, --cred or --task")
        with proven(where, _asked(entry, Query(cred=cred, task=task))) as log:
            report = log.report
            if not log.entries and not (entry and entry.isdigit()):
                demand_all(report, "have none of those that were asked for")
            found = log.entries if entry is None else (proving.only(log, entry),)
            if not found:
                raise UsageError("The log has no such entries")
            written = [_written(log, index, body, destination) for index, body in found]
    if as_json:
        say_json(written)
    else:
        for each in written:
            say(f"Entry {each['index']} is in {each['entry']}, its proof in {each['proof']}")
    if entry is None:
        with options.exit_on_error():
            conclude(report)


@prove.command(epilog="Example: taskpass audit prove consistency kept.checkpoint --db ledger.db")
@click.argument("kept", metavar="CHECKPOINT", type=click.Path(path_type=Path))
@options.source
@options.as_json
def consistency(kept: Path, where: LogLocation, as_json: bool) -> None:
    """Prove that the log begins with the one that a kept checkpoint tells of."""
    with options.exit_on_error():
        text = options.text(kept, "checkpoint")
        with proven(where) as log:
            old, head, hashes = proving.prove_consistency(log, text)
    lines = [base64.b64encode(each).decode() for each in hashes]
    if as_json:
        say_json({"old": old.size, "size": head.size, "proof": lines})
        return
    say(f"OK    the log of {head.size} entries begins with that of {old.size}; the proof:")
    say(*lines)


@click.command(
    "verify-proof",
    epilog="Example: taskpass audit verify-proof 128.tlog-proof --entry 128.json --vkey vkey",
)
@click.argument("proof", metavar="PROOF", type=click.Path(path_type=Path))
@click.option("--entry", required=True, type=click.Path(path_type=Path), help="The entry's bytes.")
@click.option("--vkey", required=True, help="The log's key as you know it, or a file that has it.")
@options.as_json
def verify_proof(proof: Path, entry: Path, vkey: str, as_json: bool) -> None:
    """Check a proof of one entry. Neither a ledger nor a cluster is needed."""
    with options.exit_on_error():
        shown = proving.check_proof(
            options.text(proof, "proof"), proving.body_of(entry), options.key(vkey)
        )
    size = shown.checkpoint.size
    if as_json:
        say_json({"index": shown.index, "size": size})
        return
    say(f"OK    it is entry {shown.index} of the log, as signed at size {size}")


def _asked(entry: str | None, query: Query) -> Query:
    if not entry:
        return query
    asked = proving.identity_asked(entry)
    return Query(index=asked) if isinstance(asked, int) else asked


def _written(log: VerifiedLog, index: int, body: bytes, directory: Path) -> dict[str, object]:
    proof = proving.prove_inclusion(log, index, body)
    entry = directory / f"{index}.json"
    path = directory / f"{index}.tlog-proof"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        entry.write_bytes(body)
        path.write_text(proof.text(), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{directory} cannot be written ({error.strerror})") from error
    return {"index": index, "entry": str(entry), "proof": str(path)}
