"""Secrets are nowhere but where they are delivered, whatever fails: also not in what a process has.

Beside e2e/cases/operator/test_without_a_trace.py, which looks at the end of a whole session.
"""

import base64
import json
import subprocess
import sys
from pathlib import Path

import pytest

from e2e.admission import GRANTS, ROOT, TENANT
from e2e.cases.faults.proxy import Proxy, Rule
from e2e.cases.faults.test_answers import everything_said
from e2e.cases.faults.test_ledger_volume import audit
from e2e.stage import Stage, until

TOKEN = f"namespaces/{GRANTS}/serviceaccounts/.*/token"


def needles_of(token: str) -> list[bytes]:
    """Return parts of a token by which it would be known, as it is and as a Secret has it."""
    payload, signature = token.split(".")[1:]
    encoded = base64.b64encode(token.encode())
    return [p.encode() for p in (payload[:60], signature[:60], signature[-60:])] + [encoded[:200]]


def found(token: str, hay: bytes) -> list[bytes]:
    return [each for each in needles_of(token) if each in hay]


def own_token(stage: Stage) -> str:
    config = json.loads((stage.operator.directory / "kubeconfig").read_text())
    return str(config["users"][0]["user"]["token"])


def test_a_traceback_shows_none(stage: Stage, proxy: Proxy, name: str) -> None:
    rule = Rule("POST", TOKEN, garble=True)
    proxy.rules.append(rule)

    stage.begin(name)
    until(lambda: rule.met)
    until(lambda: "Traceback" in stage.operator.log.read_text(), said=stage.operator.tail)
    stage.wait_ready(name)

    token = json.loads(proxy.echoed[-1])["status"]["token"]
    told = everything_said(stage, name)
    assert {where: found(token, hay) for where, hay in told.items()} == {w: [] for w in told}


def test_an_export_and_a_timeline_show_none(stage: Stage, name: str, tmp_path: Path) -> None:
    stage.begin_ready(name)
    token = stage.token(name)
    folder = tmp_path / "export"

    assert audit(stage.operator, "export", str(folder))[0] == 0
    command = [sys.executable, "-m", "taskpass", "audit", "timeline", f"{TENANT}/{name}"]
    timeline = subprocess.run(
        [*command, "--db", str(stage.operator.ledger)],
        capture_output=True, cwd=ROOT / "operator", check=True,
    ).stdout  # fmt: skip

    files = [f for f in folder.rglob("*") if f.is_file()]
    assert len(files) > 4
    assert b"CredentialIssued" in timeline or b"issue" in timeline
    assert [f.name for f in files if found(token, f.read_bytes())] == []
    assert found(token, timeline) == []


@pytest.mark.skipif(sys.platform != "linux", reason="NOT RUN: it reads /proc")
def test_arguments_and_environment_of_the_process_have_none(stage: Stage, name: str) -> None:
    stage.begin_ready(name)
    process = Path(f"/proc/{stage.operator.pid}")
    environment, arguments = (process / "environ").read_bytes(), (process / "cmdline").read_bytes()

    for token in (stage.token(name), own_token(stage)):
        assert found(token, environment + arguments) == []
    assert b"TASKPASS_NAMESPACE" in environment


@pytest.mark.skipif(sys.platform != "linux", reason="NOT RUN: it reads /proc")
def test_the_process_leaves_no_core(stage: Stage) -> None:
    limits = Path(f"/proc/{stage.operator.pid}/limits").read_text().splitlines()

    (core,) = (line.split()[4:6] for line in limits if line.startswith("Max core file size"))
    assert core == ["0", "0"]
