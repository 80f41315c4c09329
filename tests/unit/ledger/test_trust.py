"""What witnesses come to: who counts as another, and how far enough of them have seen a log."""

import asyncio
import base64
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from taskpass.cli.audit import audit
from taskpass.ledger.log.key_history import declared_key
from taskpass.ledger.log.reader import reading
from taskpass.ledger.log.signing import SeedSigner
from taskpass.tlog.cosignature import WitnessKey
from taskpass.witness.server import Witness, logs_of
from tests.unit.ledger import objects

TIME = 1_795_510_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "ledger.db"
    grown(path, 20)
    return path


def grown(path: Path, size: int) -> None:
    async def write() -> None:
        ledger = objects.opened(path)
        await objects.filled(ledger, size)
        ledger.close()

    asyncio.run(write())


def cosigned(path: Path, number: int, name: str) -> tuple[WitnessKey, Path]:
    """Have a witness cosign a log; return its key, and the checkpoint with its line."""
    with reading(path) as log:
        note, key = log.note, declared_key(log)
    witness = Witness(
        name=name, signer=SeedSigner(bytes([number]) * 32), logs=logs_of([key]),
        directory=path.with_name(f"state-{name.replace('/', '-')}"), now=lambda: TIME,
    )  # fmt: skip
    file = path.with_name(f"cosigned-{number}")
    file.write_text(note + witness.add(0, [], note).text)
    return witness.key, file


def verify(path: Path, *arguments: object) -> Result:
    return CliRunner().invoke(audit, ["verify", "--db", str(path), *map(str, arguments)])


def test_one_key_under_two_names_is_one_witness(path: Path) -> None:
    one, file = cosigned(path, 9, "example.org/w1")
    other, again = cosigned(path, 9, "example.com/w2")
    policy = path.with_name("policy")
    policy.write_text(f"witness w1 {one.vkey()}\nquorum w1\n")
    notes = ["--against", file, "--against", again]

    by_option = ["--witness", one.vkey(), "--witness", other.vkey(), "--require-witness", 2]
    for asked in (by_option, ["--policy", policy, "--witness", other.vkey()]):
        done = verify(path, *asked, *notes)
        assert (done.exit_code, "have one key: they are one" in done.stderr) == (2, True)


def test_the_same_witness_may_be_named_twice_and_counts_once(path: Path) -> None:
    one, file = cosigned(path, 9, "example.org/w1")
    policy = path.with_name("policy")
    policy.write_text(f"witness w1 {one.vkey()}\nquorum w1\n")
    named = ["--policy", policy, "--witness", one.vkey(), "--against", file]

    assert verify(path, *named).exit_code == 0
    assert verify(path, *named, "--require-witness", 2).exit_code == 4


def test_the_logs_own_key_is_no_second_party(path: Path, tmp_path: Path) -> None:
    own, file = cosigned(path, objects.SEED[0], "example.org/w1")
    with reading(path) as log:
        vkey = declared_key(log).vkey()
    seed = tmp_path / "seed"
    seed.touch(0o600)
    seed.write_bytes(base64.b64encode(objects.SEED))

    believed = verify(path, "--witness", own.vkey(), "--against", file)
    made = CliRunner().invoke(
        audit,
        ["witness", "once", "--name", "example.org/w1", "--key-file", str(seed), "--state",
         str(tmp_path / "state"), "--log", vkey, "--db", str(path)],
    )  # fmt: skip

    assert (believed.exit_code, "has the log's own key" in believed.stderr) == (2, True)
    assert (made.exit_code, "has the log's own key" in made.stderr) == (2, True), made.output


def test_a_quorum_has_seen_a_log_as_far_as_each_that_it_needs(path: Path) -> None:
    """One of the two has cosigned far more: of that nobody but itself knows."""
    one, early = cosigned(path, 9, "example.org/w1")
    grown(path, 300)
    other, late = cosigned(path, 10, "example.com/w2")
    policy = path.with_name("policy")
    policy.write_text(
        f"witness w1 {one.vkey()}\nwitness w2 {other.vkey()}\ngroup g all w1 w2\nquorum g\n"
    )
    notes = ["--against", early, "--against", late]

    both = verify(path, "--policy", policy, *notes)
    told = json.loads(verify(path, "--policy", policy, *notes, "--json").stdout)
    policy.write_text(policy.read_text().replace("all", "any"))
    any_of_them = verify(path, "--policy", policy, *notes)

    said = "as many witnesses as were demanded have seen it up to size"
    assert f"{said} 20\n" in both.stdout
    assert (told["level"], told["seen"]) == (2, 20)
    assert f"{said} 300\n" in any_of_them.stdout
