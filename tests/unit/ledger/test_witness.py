"""A witness lets a log grow, and nothing else; the log's own key is no help."""

import asyncio
import base64
import hashlib
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer
from click.testing import CliRunner, Result
from tlog_scales.signing import Ed25519CosignatureVerifier, Vkey
from tlog_scales.tlog import Checkpoint as TheirCheckpoint

from taskpass.cli.audit import audit
from taskpass.ledger.log.key_history import declared_key
from taskpass.ledger.log.reader import reading
from taskpass.ledger.log.signing import SeedSigner
from taskpass.ledger.verify.log import verify_database
from taskpass.ports.ledger import Batch
from taskpass.tlog.checkpoint import PublicKey, parse_body, parse_note, parse_vkey
from taskpass.tlog.merkle import consistency_proof
from taskpass.tlog.tiles import TileSubtrees
from taskpass.tlog.witness_protocol import Verdict
from taskpass.witness.http import application
from taskpass.witness.server import Witness, logs_of
from tests.unit.ledger import objects
from tests.unit.ledger.forging import execute

TIME = 1_795_510_000


class Log:
    """A ledger that is closed between growths."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def grow(self, size: int, *, fork: bool = False) -> None:
        async def write() -> None:
            ledger = objects.opened(self.path)
            if fork:
                await ledger.commit(Batch(entries=(objects.entry("another"),)))
            await objects.filled(ledger, size)
            ledger.close()

        asyncio.run(write())

    @property
    def note(self) -> str:
        with reading(self.path) as log:
            return log.note

    @property
    def key(self) -> PublicKey:
        with reading(self.path) as log:
            return declared_key(log)

    def proof(self, old: int) -> list[bytes]:
        with reading(self.path) as log:
            return list(consistency_proof(old, log.size, TileSubtrees(log.size, log.tile)))


@pytest.fixture
def log(tmp_path: Path) -> Log:
    made = Log(tmp_path / "ledger.db")
    made.grow(300)
    return made


@pytest.fixture
def witness(log: Log, tmp_path: Path) -> Witness:
    return Witness(
        name="example.org/w1", signer=SeedSigner(bytes([9]) * 32), logs=logs_of([log.key]),
        directory=tmp_path / "state", now=lambda: TIME,
    )  # fmt: skip


def test_a_log_is_cosigned_as_it_grows(log: Log, witness: Witness) -> None:
    first = witness.add(0, [], log.note)
    log.grow(700)
    second = witness.add(300, log.proof(300), log.note)

    assert (first.verdict, second.verdict) == (Verdict.COSIGNED, Verdict.COSIGNED)
    assert parse_body(parse_note(witness.remembered(log.key.name))[0]).size == 700


def test_a_program_of_others_takes_the_cosignature(log: Log, witness: Witness) -> None:
    text = log.note + witness.add(0, [], log.note).text
    theirs = TheirCheckpoint.from_text(text)
    key = Vkey.from_string(witness.key.vkey())
    [line] = [signature for signature in theirs.signatures if key.match(signature)]

    verifier = key.get_verifier()
    assert isinstance(verifier, Ed25519CosignatureVerifier)
    verifier.verify_note(line, theirs)
    assert verifier.get_timestamp(line.payload) == TIME


def test_whoever_asks_with_another_size_is_told_what_is_remembered(
    log: Log, witness: Witness
) -> None:
    witness.add(0, [], log.note)

    answer = witness.add(0, [], log.note)

    assert (answer.verdict, answer.text) == (Verdict.STALE, "300")


def test_a_fork_by_the_logs_own_key_verifies_alone_and_is_never_cosigned(
    log: Log, witness: Witness, tmp_path: Path
) -> None:
    shutil.copyfile(log.path, tmp_path / "fork.db")
    log.grow(310)
    witness.add(0, [], log.note)
    fork = Log(tmp_path / "fork.db")
    fork.grow(400, fork=True)

    answer = witness.add(310, fork.proof(310), fork.note)

    assert verify_database(fork.path).size == 400
    assert answer.verdict is Verdict.INCONSISTENT
    assert parse_body(parse_note(witness.remembered(log.key.name))[0]).size == 310
    [evidence] = witness.directory.glob("*.evidence")
    assert evidence.read_text() == fork.note


def test_another_log_of_the_same_size_is_not_cosigned(
    log: Log, witness: Witness, tmp_path: Path
) -> None:
    shutil.copyfile(log.path, tmp_path / "fork.db")
    log.grow(400)
    witness.add(0, [], log.note)
    fork = Log(tmp_path / "fork.db")
    fork.grow(400, fork=True)

    answer = witness.add(400, [], fork.note)

    assert (answer.verdict, answer.same_size) == (Verdict.INCONSISTENT, True)


async def test_over_http_two_roots_at_one_size_are_a_conflict_without_a_size(
    tmp_path: Path,
) -> None:
    ledger = objects.opened(tmp_path / "ledger.db")
    await objects.filled(ledger, 300)
    ledger.close()
    shutil.copyfile(tmp_path / "ledger.db", tmp_path / "fork.db")
    for name, first in (("ledger.db", "one"), ("fork.db", "another")):
        ledger = objects.opened(tmp_path / name)
        await ledger.commit(Batch(entries=(objects.entry(first),)))
        await objects.filled(ledger, 400)
        ledger.close()
    log, fork = Log(tmp_path / "ledger.db"), Log(tmp_path / "fork.db")
    witness = Witness(
        name="example.org/w1", signer=SeedSigner(bytes([9]) * 32), logs=logs_of([log.key]),
        directory=tmp_path / "state", now=lambda: TIME,
    )  # fmt: skip
    size = parse_body(parse_note(log.note)[0]).size

    async with TestClient(TestServer(application(witness))) as client:
        first_seen = await client.post("/add-checkpoint", data=f"old 0\n\n{log.note}")
        forked = await client.post("/add-checkpoint", data=f"old {size}\n\n{fork.note}")

        assert (first_seen.status, forked.status) == (200, 409)
        assert parse_body(parse_note(fork.note)[0]).size == size
        assert forked.content_type == "text/plain"


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        pytest.param(lambda n: n.replace("\n300\n", "\n301\n"), Verdict.NOT_SIGNED, id="a size"),
        pytest.param(lambda n: n.replace("/log-", "/fog-"), Verdict.UNKNOWN_LOG, id="a name"),
        pytest.param(lambda n: n.replace("\n\n", "\n"), Verdict.MALFORMED, id="no note"),
        pytest.param(lambda _: "", Verdict.MALFORMED, id="nothing"),
    ],
)
def test_what_the_logs_key_has_not_signed_is_refused(
    log: Log, witness: Witness, change: Callable[[str], str], verdict: Verdict
) -> None:
    assert witness.add(0, [], change(log.note)).verdict is verdict
    assert witness.remembered(log.key.name) == ""


def test_it_forgets_nothing_when_it_is_started_again(
    log: Log, witness: Witness, tmp_path: Path
) -> None:
    witness.add(0, [], log.note)
    again = Witness(
        name=witness.name, signer=witness.signer, logs=witness.logs,
        directory=witness.directory, now=lambda: TIME + 1,
    )  # fmt: skip

    assert again.add(0, [], log.note).verdict is Verdict.STALE


async def test_over_http_it_answers_as_the_protocol_says(tmp_path: Path) -> None:
    ledger = objects.opened(tmp_path / "ledger.db")
    await objects.filled(ledger, 300)
    log = Log(tmp_path / "ledger.db")
    witness = Witness(
        name="example.org/w1", signer=SeedSigner(bytes([9]) * 32), logs=logs_of([log.key]),
        directory=tmp_path / "state", now=lambda: TIME,
    )  # fmt: skip
    hashed = hashlib.sha256(log.key.name.encode()).hexdigest()

    def body(old: int) -> str:
        proof = "".join(f"{base64.b64encode(each).decode()}\n" for each in log.proof(old))
        return f"old {old}\n{proof}\n{log.note}"

    async with TestClient(TestServer(application(witness))) as client:
        nothing = await client.get(f"/{hashed}/checkpoint")
        cosigned = await client.post("/add-checkpoint", data=body(0))
        stale = await client.post("/add-checkpoint", data=body(0))
        remembered = await client.get(f"/{hashed}/checkpoint")
        await objects.filled(ledger, 700)
        grown = await client.post("/add-checkpoint", data=body(300))
        bad_proof = await client.post("/add-checkpoint", data=f"old 700\nAAAA\n\n{log.note}")
        no_note = await client.post("/add-checkpoint", data="old 700\n\nhello")
        too_long = await client.post("/add-checkpoint", data="x" * 80_000)
        ledger.close()

        assert nothing.status == 404
        assert (cosigned.status, (await cosigned.text())[:17]) == (200, "\u2014 example.org/w1 ")
        assert (stale.status, await stale.text()) == (409, "300\n")
        assert stale.content_type == "text/x.tlog.size"
        assert "\n300\n" in await remembered.text()
        assert grown.status == 200
        assert (bad_proof.status, no_note.status, too_long.status) == (400, 400, 413)


def once(place: Path, ledger: Path, *more: str) -> Result:
    arguments = [
        "witness", "once", "--name", "example.org/w1", "--key-file", str(place / "w1.seed"),
        "--state", str(place / "w1"), "--db", str(ledger), *more,
    ]  # fmt: skip
    return CliRunner().invoke(audit, arguments)


def test_from_a_laptop_a_log_is_cosigned_and_verified_with_it(log: Log, tmp_path: Path) -> None:
    cosigned = tmp_path / "cosigned"
    done = once(tmp_path, log.path, "--log", log.key.vkey(), "--out", str(cosigned))
    vkey = done.output.splitlines()[-1].removeprefix("witness ")
    log.grow(500)
    verify = ["verify", "--db", str(log.path), "--against", str(cosigned), "--witness", vkey]

    good = CliRunner().invoke(audit, [*verify, "--require-witness", "1", "--max-age", "600"])
    more = CliRunner().invoke(audit, [*verify, "--require-witness", "2"])

    assert done.exit_code == 0, done.output
    assert (tmp_path / "w1.seed").stat().st_mode & 0o077 == 0
    assert good.exit_code == 0, good.output
    assert "witness example.org/w1 has cosigned it at size 300, " in good.output
    assert "It begins with what was kept at size 300" in good.output
    assert more.exit_code == 4
    assert more.stderr == "BELOW LEVEL: 1 of 2 witnesses have cosigned it\n"


def test_from_a_laptop_a_rollback_and_a_fork_are_found(log: Log, tmp_path: Path) -> None:
    older, fork = tmp_path / "older.db", tmp_path / "fork.db"
    for copy in (older, fork):
        shutil.copyfile(log.path, copy)
    log.grow(400)
    known = ["--log", log.key.vkey()]
    once(tmp_path, log.path, *known)
    Log(fork).grow(500, fork=True)

    rolled_back, forked = once(tmp_path, older, *known), once(tmp_path, fork, *known)

    assert (rolled_back.exit_code, forked.exit_code) == (1, 1)
    assert "ROLLBACK: the log has 300 entries, and this witness has seen 400" in rolled_back.stderr
    assert "FORK: the log is not grown from what this witness has seen" in forked.stderr


@pytest.mark.parametrize("kind", ["a ledger", "an export", "an export whose tile is cut"])
def test_from_a_laptop_an_edited_tile_is_called_no_fork(
    log: Log, tmp_path: Path, kind: str
) -> None:
    """A fork is the word of the log's own key; a tile can be edited by anybody (ADR 33, 4)."""
    known = ["--log", log.key.vkey()]
    assert once(tmp_path, log.path, *known).exit_code == 0
    log.grow(600)
    if kind == "a ledger":
        execute(log.path, "UPDATE tile SET b = zeroblob(8192) WHERE l = 0 AND n = 0")
        done = once(tmp_path, log.path, *known)
    else:
        CliRunner().invoke(audit, ["export", str(tmp_path / "e"), "--db", str(log.path)])
        tile = tmp_path / "e/tile/0/001"
        tile.write_bytes(bytes(8192) if kind == "an export" else tile.read_bytes()[:-40])
        done = once(tmp_path, log.path, *known, "--dir", str(tmp_path / "e"))

    assert done.exit_code == 1
    assert done.stderr.startswith("TAMPER EVIDENCE: its tiles are not what its entries hash to")
    assert not list((tmp_path / "w1").glob("*.evidence"))


def test_from_a_laptop_a_size_that_nobody_has_signed_is_called_no_rollback(
    log: Log, tmp_path: Path
) -> None:
    known = ["--log", log.key.vkey()]
    assert once(tmp_path, log.path, *known).exit_code == 0
    log.grow(600)
    execute(log.path, "UPDATE head SET size = 200")

    done = once(tmp_path, log.path, *known)

    assert done.exit_code == 1
    assert "the ledger's head does not say what its checkpoint says" in done.stderr


def test_a_memory_that_cannot_be_read_is_not_begun_anew(log: Log, tmp_path: Path) -> None:
    known = ["--log", log.key.vkey()]
    once(tmp_path, log.path, *known)
    (memory,) = (tmp_path / "w1").glob("*.checkpoint")
    memory.write_bytes(b"\xff")

    done = once(tmp_path, log.path, *known)

    assert (done.exit_code, "remembers cannot be read" in done.stderr) == (2, True)


def test_a_log_that_it_does_not_know_is_not_cosigned(log: Log, tmp_path: Path) -> None:
    other = PublicKey("audit.example/log-2", parse_vkey(log.key.vkey()).raw)

    done = once(tmp_path, log.path, "--log", other.vkey())

    assert (done.exit_code, "not one that this witness knows" in done.stderr) == (1, True)


def policy_of(place: Path, log: PublicKey, witness: str, quorum: str = "w") -> Path:
    path = place / "trust.policy"
    path.write_text(f"log {log.vkey()}\nwitness w {witness}\nquorum {quorum}\n")
    return path


def cosigned_by_laptop(log: Log, place: Path) -> tuple[Path, str]:
    """Return the cosigned checkpoint, and the witness's vkey."""
    out = place / "cosigned"
    done = once(place, log.path, "--log", log.key.vkey(), "--out", str(out))
    return out, done.output.splitlines()[-1].removeprefix("witness ")


def kept_beside(log: Log, note: str) -> None:
    """Keep a cosigned checkpoint in the ledger, as the operator does."""

    async def write() -> None:
        ledger = objects.opened(log.path)
        await ledger.keep_cosigned(parse_body(parse_note(note)[0]).size, note)
        ledger.close()

    asyncio.run(write())


def verify(*arguments: str) -> Result:
    return CliRunner().invoke(audit, ["verify", *arguments])


@pytest.mark.parametrize("form", ["the ledger", "an export"])
def test_what_lies_with_the_log_meets_a_policy_whose_witness_has_cosigned_it(
    log: Log, tmp_path: Path, form: str
) -> None:
    cosigned, vkey = cosigned_by_laptop(log, tmp_path)
    kept_beside(log, cosigned.read_text())
    log.grow(500)
    source = ["--db", str(log.path)]
    if form == "an export":
        CliRunner().invoke(audit, ["export", str(tmp_path / "export"), *source])
        source = ["--dir", str(tmp_path / "export")]
    trusted = policy_of(tmp_path, log.key, vkey)

    good = verify(*source, "--policy", str(trusted), "--max-age", "600")
    alone = verify(*source)

    assert good.exit_code == 0, good.output
    assert "level 2: a second party remembers it" in good.output
    assert "--vkey" not in good.output
    assert alone.exit_code == 0
    assert "level 0: no memory given" in alone.output


def test_a_policy_whose_quorum_has_not_cosigned_is_below_its_level(
    log: Log, tmp_path: Path
) -> None:
    _, vkey = cosigned_by_laptop(log, tmp_path)

    done = verify("--db", str(log.path), "--policy", str(policy_of(tmp_path, log.key, vkey)))

    assert done.exit_code == 4
    assert done.stderr == "BELOW LEVEL: the policy's quorum 'w' has not cosigned it\n"
    assert "level 0" in done.output


def test_a_policy_of_another_log_refuses_this_one(log: Log, tmp_path: Path) -> None:
    _, vkey = cosigned_by_laptop(log, tmp_path)
    other = PublicKey(log.key.name, SeedSigner(bytes([77]) * 32).public_key)
    trusted = policy_of(tmp_path, other, vkey, "none")

    done = verify("--db", str(log.path), "--policy", str(trusted))

    assert (done.exit_code, "is one the policy names" in done.stderr) == (1, True)


def test_a_policy_that_is_none_is_refused_with_its_line(log: Log, tmp_path: Path) -> None:
    bad = tmp_path / "bad.policy"
    bad.write_text("quorum nobody\n")

    done = verify("--db", str(log.path), "--policy", str(bad))

    assert done.exit_code == 2
    assert "line 1: 'nobody' is not a witness or group of a line before" in done.stderr


@pytest.mark.parametrize(
    ("made_at", "fresh"), [(-700, False), (-500, True), (200, True), (400, False)]
)
def test_a_cosignature_counts_while_it_is_neither_old_nor_of_the_future(
    log: Log, tmp_path: Path, made_at: int, fresh: bool
) -> None:
    now = int(time.time())
    mine = Witness(
        name="example.org/w1", signer=SeedSigner(bytes([9]) * 32), logs=logs_of([log.key]),
        directory=tmp_path / "state", now=lambda: now + made_at,
    )  # fmt: skip
    cosigned = tmp_path / "cosigned"
    cosigned.write_text(log.note + mine.add(0, [], log.note).text)
    trusted = policy_of(tmp_path, log.key, mine.key.vkey())

    done = verify(
        "--db", str(log.path), "--policy", str(trusted), "--max-age", "600",
        "--against", str(cosigned),
    )  # fmt: skip

    assert done.exit_code == (0 if fresh else 4)


def test_a_rollback_behind_what_lies_with_the_log_is_found_without_anybody_else(
    log: Log, tmp_path: Path
) -> None:
    cosigned_by_laptop(log, tmp_path)
    older = tmp_path / "older"
    CliRunner().invoke(audit, ["export", str(older), "--db", str(log.path)])
    log.grow(400)
    later, _ = cosigned_by_laptop(log, tmp_path)
    (older / "cosigned").write_text(later.read_text())

    done = verify("--dir", str(older))

    assert (done.exit_code, "ROLLBACK" in done.stderr) == (1, True)
