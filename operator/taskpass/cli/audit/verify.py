"""`taskpass audit verify`."""

import dataclasses
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from taskpass.cli import cluster
from taskpass.cli.audit import memory, options, progress
from taskpass.cli.audit.remote import at_url
from taskpass.cli.output import say, say_json
from taskpass.core.errors import UsageError
from taskpass.ledger.export.files import FileReader
from taskpass.ledger.verify.log import Report, verify_database, verify_directory, verify_files
from taskpass.ledger.verify.trust import Demand, Trust, checked
from taskpass.tlog.checkpoint import BadCheckpoint
from taskpass.tlog.cosignature import parse_witness_vkey
from taskpass.tlog.trust_policy import NONE, BadPolicy, PolicyWitness, TrustPolicy, parse_policy

KEPT = -1
ANCHOR = "the AuditAnchor"
"""Is of this very state where all is well; it was asked, and not taken from beside the log."""
WHO = {
    0: "no memory given: rollback and fork NOT excluded (use --against CHECKPOINT)",
    KEPT: "neither the cluster nor a witness was asked; what you gave is yours to vouch for",
    1: "the cluster remembers it: an older volume is excluded, its administrators are not",
    2: "a second party remembers it: rollback and fork before what it saw are excluded",
}


@click.command(epilog="Example: taskpass audit verify --dir export --against kept.checkpoint")
@options.database
@click.option("--dir", "directory", type=click.Path(path_type=Path), help="An export to verify.")
@click.option("--url", help="An operator's read API to verify from, https://…")
@click.option(
    "--token-file",
    type=click.Path(path_type=Path),
    envvar="TASKPASS_TOKEN_FILE",
    show_envvar=True,
    help="Token for --url, of audience taskpass-audit.",
)
@click.option("--ca-file", type=click.Path(path_type=Path), help="Whom to trust for --url (PEM).")
@click.option("--vkey", help="The log's key as you know it, or a file that holds it.")
@click.option(
    "--policy",
    type=click.Path(path_type=Path),
    help="Whom to believe (C2SP tlog-policy): the log's keys, witnesses, and the quorum that must "
    "have cosigned it, else the exit code is 4.",
)
@click.option(
    "--against",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A checkpoint that you kept: rollback and fork are excluded by it. Repeatable.",
)
@click.option(
    "--anchor", "anchored", is_flag=True, help="Ask the cluster's AuditAnchor what it remembers."
)
@cluster.kubeconfig
@click.option("--witness", "witnesses", multiple=True, help="A witness's key (vkey, or a file).")
@click.option(
    "--require-witness",
    "required",
    type=click.IntRange(0),
    default=0,
    help="How many witnesses must have cosigned it: else the exit code is 4.",
)
@click.option(
    "--max-age",
    type=click.IntRange(1),
    metavar="SECONDS",
    help="Count only cosignatures that are no older.",
)
@options.as_json
def verify(
    db: Path | None,
    directory: Path | None,
    url: str | None,
    token_file: Path | None,
    ca_file: Path | None,
    vkey: str | None,
    against: tuple[Path, ...],
    anchored: bool,
    kubeconfig: Path | None,
    as_json: bool,
    **demands: Any,
) -> None:
    """Compute every hash again, check all keys' signatures, and say who else remembers the log.

    Exit code 1 means evidence of tampering, 3 that something is missing or cannot be read, 4 that
    fewer witnesses have seen it than was asked for.
    """
    with options.exit_on_error():
        demand = _demand(**demands)
        kept = [options.text(path, "checkpoint") for path in against]
        known = [memory.remembered(kubeconfig)] if anchored else []
        key = options.known_key(vkey)
        if url is not None:
            report = _from_afar(at_url(url, token_file, ca_file), key, [*kept, *known])
        else:
            report = _verified(db, directory, key, [*kept, *known])
        now = int(time.time())
        report, trust = checked(report, demand, kept=kept, anchored=anchored, now=now)
        policy = demands["policy"] if demand.policy.logs else None
        by_others = any(
            each is not None and not options.lies_in(directory, each) for each in (vkey, policy)
        )
        own = report.pinned and not by_others
        report = dataclasses.replace(report, pinned=by_others)
    if as_json:
        say_json(_as_object(report, trust))
    else:
        names = [*(str(path) for path in against), *([ANCHOR] if anchored else [])]
        say(*_lines(report, own=own), *_remembered(report, trust, names, now))
    if trust.missing is not None:
        raise options.BelowLevel(f"BELOW LEVEL: {trust.missing}")


def _verified(db: Path | None, directory: Path | None, key: str, kept: Sequence[str]) -> Report:
    with progress.shown("verified") as tell:
        if directory is not None:
            return verify_directory(directory, vkey=key, against=kept, progress=tell)
        return verify_database(options.chosen(db), vkey=key, against=kept, progress=tell)


def _from_afar(files: FileReader, key: str, kept: Sequence[str]) -> Report:
    with progress.shown("verified") as tell:
        return verify_files(files, vkey=key, against=kept, progress=tell)


def _demand(
    policy: Path | None, witnesses: Sequence[str], required: int, max_age: int | None
) -> Demand:
    try:
        named = parse_policy(options.text(policy, "policy")) if policy else None
    except BadPolicy as error:
        raise UsageError(f"The policy {policy} cannot be used: {error}") from error
    base = named or TrustPolicy((), {}, {}, NONE)
    members = {**base.witnesses, **_witnesses(witnesses)}
    return Demand(
        policy=dataclasses.replace(base, witnesses=members), least=required, max_age=max_age
    )


def _witnesses(given: Iterable[str]) -> dict[str, PolicyWitness]:
    try:
        keys = {parse_witness_vkey(options.key(each)) for each in given}
    except BadCheckpoint as error:
        raise UsageError(f"The key of a witness cannot be read: {error}") from error
    return {key.vkey(): PolicyWitness(key.vkey(), key, "") for key in keys}


def _as_object(report: Report, trust: Trust) -> dict[str, Any]:
    by = [{"name": c.key.name, "size": c.size, "time": c.time} for c in trust.cosigners]
    return {**dataclasses.asdict(report), "level": trust.level, "cosigners": by, "seen": trust.seen}


def _lines(report: Report, *, own: bool) -> Iterator[str]:
    """Say what was verified; `own`: whoever reads it names a key, and took it from the log."""
    yield f"OK    {report.origin}"
    first, end = report.bodies
    span = f"{report.first_time} to {report.last_time}"
    of_all = f", {span}" if report.bodies == (0, report.size) and report.size else ""
    yield f"size  {report.size} entries{of_all}"
    yield f"root  {report.root}"
    yield f"key   {report.vkey}"
    for key in report.keys[:-1]:
        yield f"      before it, up to size {key.until}: {key.vkey}"
    if own:
        yield "      as a file of this very export says; name the key that you were given otherwise"
    elif not report.pinned:
        yield "      as the log itself says; name the key that you know with --vkey"
    if report.pruned:
        yield f"bodies absent by policy 0..{report.pruned - 1}; their hashes are verified"
    for name, start, stop in report.lines:
        yield f"{name} says what the log's entries {start}..{stop - 1} say"
    if first == end:
        yield "the entries are in no bundle here; their hashes are verified"
    elif not report.is_whole:
        here = f"only the entries {first}..{end - 1} are here, {span}"
        yield f"{here}; of the others, hashes are verified"
    elif first:
        yield f"the entries {first}..{end - 1} are here, {span}"


def _remembered(report: Report, trust: Trust, names: Sequence[str], now: int) -> Iterator[str]:
    """Say what the log was compared with, one line for each, and what that comes to."""
    for name, size in zip(names, report.remembered, strict=True):
        yield f"It begins with what was kept at size {size}: {name}"
        if size == report.size and name != ANCHOR:
            yield "      which is of this very state: taken from here, it was compared with itself"
        else:
            yield f"      so rollback and fork before {size} are excluded, if that was out of reach"
    for each in trust.cosigners:
        ago = f"{now - each.time} s ago"
        yield f"witness {each.key.name} has cosigned it at size {each.size}, {ago}"
    if trust.level == 2:
        yield f"as many witnesses as were demanded have seen it up to size {trust.seen}"
    level = KEPT if names and not trust.level else trust.level
    yield f"level {trust.level}: {WHO[level]}"
