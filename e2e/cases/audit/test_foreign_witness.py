"""litewitness, a witness we did not write, is asked by the client that the operator asks with."""

import asyncio
import base64
import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pytest

from e2e.admission import ROOT
from e2e.cluster import tools
from e2e.operator_process import free_port
from e2e.stage import until
from taskpass.flows.cluster.witnessing import Witnessing, WitnessState
from taskpass.ledger.log.signing import verify_signature
from taskpass.ledger.query.history import History
from taskpass.ledger.store.sqlite import SqliteLedger
from taskpass.ledger.verify.log import verify_database
from taskpass.ports.ledger import Batch
from taskpass.runtime.clock import SystemClock
from taskpass.tlog.trust_policy import parse_policy
from taskpass.witness.client import HttpWitnesses
from tests.unit.ledger import objects


@dataclass
class Litewitness:
    """The program, as its operator would run it for one log."""

    folder: Path
    vkey: str = ""
    port: int = 0

    @property
    def database(self) -> Path:
        return self.folder / "witness.db"

    def know(self, vkey: str) -> None:
        """Add the log: what its `witnessctl add-log` and `add-key` write."""
        origin, empty = vkey.split("+")[0], base64.b64encode(sha256().digest()).decode()
        with contextlib.closing(sqlite3.connect(self.database)) as db, db:
            db.execute(
                "INSERT INTO log (origin, tree_size, tree_hash) VALUES (?, 0, ?)", (origin, empty)
            )
            db.execute("INSERT INTO key (origin, key) VALUES (?, ?)", (origin, vkey))

    def policy(self, log: str) -> str:
        """Return what trusts the log, and demands this witness."""
        url = f"http://127.0.0.1:{self.port}"
        return f"log {log}\nwitness lite {self.vkey} {url}\nquorum lite\n"


def run(command: list[object], **environment: str) -> str:
    done = subprocess.run(
        [str(each) for each in command], capture_output=True, text=True,
        env={**os.environ, **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a ledger of 300 entries."""
    made = tmp_path / "ledger.db"
    asyncio.run(grown(made, 300))
    return made


@pytest.fixture
def lite(tmp_path: Path) -> Iterator[Litewitness]:
    """Return the witness, listening; its key is in an ssh-agent, where it wants it."""
    made, key = Litewitness(tmp_path, port=free_port()), tmp_path / "id"
    agent_socket = tmp_path / "agent"
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key])
    fingerprint = run(["ssh-keygen", "-l", "-f", key]).split()[1]
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(agent_socket)], stdout=subprocess.PIPE)
    witness = None
    try:
        until(agent_socket.exists)
        run(["ssh-add", "-q", key], SSH_AUTH_SOCK=str(agent_socket))
        log = tmp_path / "litewitness.log"
        with log.open("wb") as output:
            witness = subprocess.Popen(
                [tools.litewitness(), "-name", "lite.example.org/w1", "-key", fingerprint,
                 "-db", made.database, "-ssh-agent", agent_socket,
                 "-listen", f"127.0.0.1:{made.port}"],
                stdout=output, stderr=output,
            )  # fmt: skip
        until(lambda: "msg=listening" in log.read_text(), said=log.read_text)
        made.vkey = log.read_text().split("vkey=")[1].split()[0]
        yield made
    finally:
        for process in (witness, agent):
            if process is not None:
                process.terminate()
                process.wait(10)
        assert agent.stdout is not None
        agent.stdout.close()


def log_key(path: Path) -> str:
    return verify_database(path).keys[0].vkey


async def grown(path: Path, size: int) -> None:
    ledger = objects.opened(path)
    await objects.filled(ledger, size)
    ledger.close()


def asked(path: Path, lite: Litewitness, log: str) -> WitnessState:
    """Return how the witness stands to a ledger, after it was opened and asked once."""

    async def one_round(ledger: SqliteLedger) -> WitnessState:
        asker = HttpWitnesses()
        made = Witnessing(
            parse_policy(lite.policy(log)), asker, History(path), ledger.keep_cosigned,
            SystemClock(), verify_signature,
        )  # fmt: skip
        try:
            await made.round()
        finally:
            await asker.close()
        assert made.proven is None  # a witness that shows no checkpoint proves nothing
        return made.stands["lite"]

    async def opened() -> WitnessState:
        ledger = objects.opened(path)
        try:
            return await one_round(ledger)
        finally:
            ledger.close()

    return asyncio.run(opened())


def verify(path: Path, policy: Path) -> tuple[int, str]:
    """Verify as a reader who demands the witness."""
    command = [sys.executable, "-m", "taskpass", "audit", "verify", "--db", str(path)]
    done = subprocess.run(
        [*command, "--policy", str(policy)], capture_output=True, text=True, cwd=ROOT / "operator"
    )
    return done.returncode, done.stdout + done.stderr


def test_it_cosigns_what_grows_and_a_reader_can_demand_its_line(
    lite: Litewitness, path: Path
) -> None:
    log = log_key(path)
    lite.know(log)
    policy = path.with_name("policy")
    policy.write_text(lite.policy(log))

    before = verify(path, policy)
    first = asked(path, lite, log)
    asyncio.run(grown(path, 700))
    second = asked(path, lite, log)
    after = verify(path, policy)

    assert before[0] == 4, before
    assert (first.unhealthy_reason, first.cosigned >= 300) == (None, True)
    assert (second.unhealthy_reason, second.cosigned >= 700) == (None, True)
    assert after[0] == 0, after
    assert "level 2: a second party remembers it" in after[1]


def test_a_log_that_it_does_not_know_is_told_with_the_remedy(lite: Litewitness, path: Path) -> None:
    stand = asked(path, lite, log_key(path))

    assert (stand.cosigned, stand.failures) == (0, 1)
    assert stand.unhealthy_reason == "it does not know this log or its key; give it the log's vkey"


def test_it_cosigns_no_older_copy_and_no_fork(lite: Litewitness, path: Path) -> None:
    """It shows no checkpoint, so that nothing is proven: it is told, and the level stays lower."""
    log = log_key(path)
    lite.know(log)
    older, fork = path.with_name("older.db"), path.with_name("fork.db")
    shutil.copyfile(path, older)
    shutil.copyfile(path, fork)
    asyncio.run(grown(path, 400))
    assert asked(path, lite, log).unhealthy_reason is None
    asyncio.run(forked(fork))

    for changed in (older, fork):
        stand = asked(changed, lite, log)
        policy = path.with_name("policy")
        policy.write_text(lite.policy(log))

        assert stand.cosigned == 0
        assert "does not show what it remembers (status 404)" in stand.unhealthy_reason
        assert verify(changed, policy)[0] == 4


async def forked(path: Path) -> None:
    ledger = objects.opened(path)
    await ledger.commit(Batch(entries=(objects.entry("another history"),)))
    await objects.filled(ledger, 500)
    ledger.close()
