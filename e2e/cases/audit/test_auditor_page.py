"""docs/auditor.md, as an auditor would type it, from the first line to the last.

The log is of an operator on a real control plane, which goes on writing it. There is no node here,
so what the page runs in the operator's pod runs beside the operator.
"""

import asyncio
import base64
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from e2e.admission import SYSTEM, TARGET, prepare
from e2e.cluster import places, tools
from e2e.impersonate import Api, thing
from e2e.operator_process import OperatorProcess
from e2e.stage import Stage, credential_class, policy
from taskpass.ledger.log.key_history import cluster_of
from taskpass.ledger.log.reader import reading
from taskpass.ledger.log.signing import SeedSigner
from taskpass.ledger.store.sqlite import SqliteLedger
from tests.unit.ledger import objects

PAGE = places.ROOT / "docs/auditor.md"
PROOF = places.ROOT / "docs/check-proof.sh"
PROGRAMS = {
    "kubectl": """#!/bin/sh
while [ "$1" != -- ]; do shift; done; shift
TASKPASS_LEDGER_PATH='{ledger}' exec "$@"
""",
    "sqlite3": """#!{python}
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute(sys.argv[2])
""",
}


def lines() -> list[str]:
    return re.findall(r"^ {4}(\S.*)$", PAGE.read_text(), re.MULTILINE)


@pytest.fixture(scope="module")
def stage(
    request: pytest.FixtureRequest, helm: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    """Return an operator on a control plane; TASKPASS_TEST_CONTROL_PLANE names another."""
    given = os.environ.get("TASKPASS_TEST_CONTROL_PLANE")
    kubeconfig = given or str(request.getfixturevalue("control_plane"))
    api = Api.from_kubeconfig(kubeconfig)
    prepare(api, helm, kubeconfig)
    api.apply(thing("v1", "ConfigMap", TARGET, "read-me", data={"answer": "42"}))
    api.apply(credential_class("tickets"))
    api.apply(policy("triage", "tickets"))
    operator = OperatorProcess(kubeconfig, tmp_path_factory.mktemp("operator"))
    operator.start()
    made = Stage(api, operator)
    made.clear("")
    yield made
    made.clear("")
    operator.stop()


@dataclass(frozen=True, slots=True)
class Desk:
    """Where the auditor sits."""

    place: Path
    environment: dict[str, str]

    def type(self, line: str) -> subprocess.CompletedProcess[str]:
        """Run a line as the auditor's shell does."""
        command = ["bash", "-c", line]
        return subprocess.run(
            command, cwd=self.place, env=self.environment, capture_output=True, text=True,
            check=False,
        )  # fmt: skip


@pytest.fixture(scope="module")
def desk(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """Return a directory with what the auditor was given, and what a cheat would put there."""
    place = tmp_path_factory.mktemp("auditor")
    programs = place / "bin"
    programs.mkdir()
    (programs / "tpverify").symlink_to(tools.tpverify())
    (programs / "taskpass").symlink_to(Path(sys.executable).with_name("taskpass"))
    for name, text in PROGRAMS.items():
        said = text.replace("{ledger}", str(stage.operator.ledger))
        (programs / name).write_text(said.replace("{python}", sys.executable))
        (programs / name).chmod(0o755)
    shutil.copyfile(PROOF, place / "check-proof.sh")
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    root = str(places.ROOT / "operator")
    made = Desk(place, {**os.environ, "PATH": path, "PYTHONPATH": root})
    _lived(stage, made)
    return made


def _lived(stage: Stage, desk: Desk) -> None:
    """Let three tasks live, and look at the log after each as an auditor or a cheat would."""
    beside = "taskpass audit {} --db " + str(stage.operator.ledger)
    _life(stage, "ticket-4711")
    for copy in ("older.db", "fork.db"):
        assert desk.type(beside.format(f"copy {copy}")).returncode == 0
    _life(stage, "ticket-4712")
    keys = desk.type(beside.format("keys list --json")).stdout
    (desk.place / "vkey").write_text(json.loads(keys)[0]["vkey"] + "\n")
    assert desk.type(beside.format("export visit")).returncode == 0
    shutil.copyfile(desk.place / "visit/checkpoint", desk.place / "kept.checkpoint")
    _life(stage, "ticket-4713")
    stage.begin_ready("ticket-4714")
    seed = base64.b64decode(stage.api.get("Secret", SYSTEM, "taskpass-signing-key")["data"]["seed"])
    _forked(desk.place / "fork.db", seed)


def _life(stage: Stage, name: str) -> None:
    stage.begin_ready(name)
    stage.end(name)
    stage.wait_finished(name, "Succeeded")


def _forked(path: Path, seed: bytes) -> None:
    """Write another history with the log's own key."""
    with reading(path) as log:
        cluster, size = cluster_of(log), log.size
    fork = SqliteLedger.open(
        path, signer=SeedSigner(seed), cluster_id=cluster, instance="cheat", now=objects.NOW
    )
    asyncio.run(objects.filled(fork, size + 300))
    fork.close()


@pytest.fixture(scope="module")
def typed(desk: Desk) -> dict[str, tuple[int, str]]:
    """Return the exit code and the words of each line, in the page's order."""
    said = {}
    for line in lines():
        done = desk.type(line)
        said[line] = (done.returncode, done.stdout + done.stderr)
    return said


@pytest.mark.parametrize("line", lines())
def test_each_line_of_the_page_does_what_it_says(
    typed: dict[str, tuple[int, str]], line: str
) -> None:
    code, said = typed[line]

    assert code == 0, said


def test_what_the_lines_say_is_what_the_page_says(typed: dict[str, tuple[int, str]]) -> None:
    told = {line: said for line, (_, said) in typed.items()}

    [proven] = [said for line, said in told.items() if line.startswith("sh check-proof.sh")]
    assert re.fullmatch(r"Signature Verified Successfully\nOK entry 3 of \d+\n", proven)
    [story] = [said for line, said in told.items() if "timeline" in line and "--db" in line]
    assert "tickets is gone, proven by Kubernetes" in story
    assert "asked for by alice" in " ".join(story.split())
    [named] = [said for line, said in told.items() if "swapped.db --vkey" in line and "who" in line]
    assert named.startswith("TAMPER EVIDENCE: the name noted for p-")
    older = [said for line, said in told.items() if "older.db" in line]
    forked = [said for line, said in told.items() if "fork.db" in line]
    assert "rollback and fork NOT excluded" in older[0]
    assert all("ROLLBACK" in said for said in older[1:])
    assert "rollback and fork NOT excluded" in forked[0]
    assert all("FORK" in said for said in forked[1:])
    assert len(older) == len(forked) == 3
    assert all(
        "Proven: every entry was hashed" in said
        for line, said in told.items()
        if " search " in line or " stats " in line or " open-ops " in line
    )


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(("3.json", b'"time":"2', b'"time":"1'), id="another time"),
        pytest.param(("3.json", b'"v":1', b'"v":2'), id="one digit"),
        pytest.param(("3.tlog-proof", b"index 3", b"index 2"), id="another index"),
        pytest.param(("3.tlog-proof", b"/log-", b"/gol-"), id="another log"),
    ],
)
def test_openssl_alone_refuses_a_proof_that_was_changed(
    desk: Desk, typed: dict[str, tuple[int, str]], tmp_path: Path, change: tuple[str, bytes, bytes]
) -> None:
    copy = Path(shutil.copytree(desk.place / "proofs", tmp_path / "proofs"))
    name, old, new = change
    before = (copy / name).read_bytes()
    (copy / name).write_bytes(before.replace(old, new, 1))
    command = ["sh", str(PROOF), "3.tlog-proof", "3.json", str(desk.place / "vkey")]

    done = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)

    assert before != (copy / name).read_bytes()
    assert done.returncode != 0
    assert "OK" not in done.stdout
