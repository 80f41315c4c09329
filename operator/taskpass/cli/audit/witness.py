"""`taskpass audit witness`: remember a log for somebody else, and say so with a signature."""

import asyncio
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import click

from taskpass.cli.audit import options
from taskpass.cli.output import say, say_json
from taskpass.core.errors import UsageError
from taskpass.ledger.export.files import in_directory
from taskpass.ledger.log.key_file import make_seed_file, read_seed_file
from taskpass.ledger.log.proven_reads import grown_from
from taskpass.ledger.log.reader import Source, TamperEvidence, reading
from taskpass.ledger.log.signing import SeedSigner
from taskpass.tlog.checkpoint import BadCheckpoint, parse_body, parse_note, parse_vkey
from taskpass.tlog.witness_protocol import Answer, Verdict
from taskpass.witness.server import Witness, logs_of

_OPTIONS = (
    click.option("--name", required=True, help="The witness's name, as in its key: example.org/w1"),
    click.option(
        "--key-file", required=True, type=click.Path(path_type=Path),
        help="Its seed; made if it is not there, for its owner's eyes only.",
    ),
    click.option(
        "--state", required=True, type=click.Path(path_type=Path),
        help="Directory in which it remembers. Whoever can change it can make it forget.",
    ),
    click.option(
        "--log", "logs", required=True, multiple=True,
        help="Key of a log that it knows (vkey, or a file). After a handover, both keys.",
    ),
)  # fmt: skip


def _about_the_witness(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.group()
def witness() -> None:
    """Remember a log for others: a second party that a fork or a rollback cannot pass."""


@witness.command(
    epilog="Example: taskpass audit witness once --name example.org/w1 --key-file w1.seed "
    "--state w1 --log vkey --dir export --out cosigned"
)
@_about_the_witness
@options.database
@click.option("--dir", "directory", type=click.Path(path_type=Path), help="An export instead.")
@click.option(
    "--out", type=click.Path(path_type=Path),
    help="Write the checkpoint with the cosignature: `audit verify --against` takes it.",
)  # fmt: skip
@options.as_json
def once(
    name: str, key_file: Path, state: Path, logs: tuple[str, ...], db: Path | None,
    directory: Path | None, out: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Look at a log once, from cron or a laptop: cosign it if it has only grown.

    Exit code 1: it is not what this witness remembers. Neither a cluster nor an operator is needed.
    """
    with options.exit_on_error():
        mine = _witness(name, key_file, state, logs)
        with ExitStack() as stack:
            source: Source
            if directory is not None:
                source = in_directory(directory)
            else:
                source = stack.enter_context(reading(options.chosen(db)))
            note = source.note
            answer, size = _asked(mine, source)
        if answer.verdict is not Verdict.COSIGNED:
            raise TamperEvidence(_refusal(answer, size))
        if out is not None:
            _write(out, note + answer.text)
    if as_json:
        say_json({"vkey": mine.key.vkey(), "cosignature": answer.text.strip()})
        return
    say(answer.text.removesuffix("\n"))
    say(f"witness {mine.key.vkey()}")


@witness.command(
    epilog="Example: taskpass audit witness serve --name example.org/w1 --key-file w1.seed "
    "--state w1 --log vkey --port 8080"
)
@_about_the_witness
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="TCP.")
def serve(
    name: str, key_file: Path, state: Path, logs: tuple[str, ...], host: str, port: int
) -> None:
    """Answer logs that push their checkpoints (C2SP tlog-witness), in plain HTTP.

    Nothing of it is secret; put a proxy with TLS before it where others could be in between.
    """
    from taskpass.witness.http import application, serve_until_stopped

    with options.exit_on_error():
        mine = _witness(name, key_file, state, logs)
    say(f"witness {mine.key.vkey()}")
    asyncio.run(serve_until_stopped(application(mine), host, port))


def _witness(name: str, key_file: Path, state: Path, logs: tuple[str, ...]) -> Witness:
    if not name or any(c.isspace() or c == "+" for c in name):
        raise UsageError("--name must be a word without spaces and '+'")
    try:
        keys = [parse_vkey(options.key(each)) for each in logs]
    except BadCheckpoint as error:
        raise UsageError(f"A log's key cannot be read: {error}") from error
    seed = read_seed_file(key_file) if key_file.exists() else make_seed_file(key_file)
    signer = SeedSigner(seed)
    if any(key.raw == signer.public_key for key in keys):
        raise UsageError("--key-file has the log's own key: a witness is somebody else, with one")
    return Witness(
        name=name, signer=signer, logs=logs_of(keys), directory=state,
        now=lambda: int(time.time()),
    )  # fmt: skip


def _asked(mine: Witness, source: Source) -> tuple[Answer, int]:
    """Have the log cosigned, from the size that the witness itself remembers; return its size too.

    Only a root that is proven from the signed checkpoint makes a fork: tiles, and what a ledger's
    file says of its own size, can be edited by anybody who can write them.

    Raises:
        TamperEvidence: They were.

    """
    first = mine.add(0, [], source.note)
    if first.verdict is not Verdict.STALE:
        return first, source.size
    old, head = int(first.text), parse_body(parse_note(source.note)[0])
    if old > head.size:
        return first, head.size
    if head.size != source.size:
        raise TamperEvidence("the ledger's head does not say what its checkpoint says")
    proof = grown_from(source, old, head.size, head.root)[1] if old < head.size else []
    return mine.add(old, proof, source.note), head.size


def _refusal(answer: Answer, size: int) -> str:
    match answer.verdict:
        case Verdict.STALE:
            return f"ROLLBACK: the log has {size} entries, and this witness has seen {answer.text}"
        case Verdict.INCONSISTENT:
            return "FORK: the log is not grown from what this witness has seen"
        case Verdict.NOT_SIGNED:
            return "no key that this witness knows has signed the log's checkpoint"
        case Verdict.UNKNOWN_LOG:
            return "the log is not one that this witness knows by --log"
    return f"the log's checkpoint does not hold: {answer.text}"


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written ({error.strerror})") from error
