"""At the end of the session: nothing that was issued is left, works, or was written down."""

import base64
import json
import subprocess
import sys
from pathlib import Path

import pytest

from e2e.admission import ROOT
from e2e.impersonate import Api
from e2e.stage import Stage, until

KINDS = (
    "agenttasks", "agentpolicies", "clusteragentpolicies", "credentialclasses", "killswitches",
    "taskapprovals", "agenttasktemplates",
)  # fmt: skip


@pytest.fixture
def needles(stage: Stage, name: str) -> list[bytes]:
    """Return what must be nowhere: every token that was issued, as it is and as a Secret has it."""
    stage.begin_ready(name)
    stage.secret(name)
    assert stage.tokens
    # The signature alone is enough to know it again, and to make the token whole.
    signatures = [token.rpartition(".")[2].encode() for token in stage.tokens]
    assert all(len(each) > 100 for each in signatures)
    return [*signatures, *(base64.b64encode(t.encode())[:200] for t in stage.tokens)]


def found(needles: list[bytes], hay: bytes) -> list[bytes]:
    return [each for each in needles if each in hay]


def test_no_token_was_written_down(stage: Stage, needles: list[bytes]) -> None:
    operator = stage.operator
    places = {
        "the log": operator.log.read_bytes(),
        "/metrics": operator.http("/metrics")[1].encode(),
        "Events": _list(stage.api, "/apis/events.k8s.io/v1/events"),
        "pods": _list(stage.api, "/api/v1/pods"),
        "ConfigMaps": _list(stage.api, "/api/v1/configmaps"),
        **{k: _list(stage.api, f"/apis/taskpass.dev/v1alpha1/{k}") for k in KINDS},
        **{f.name: f.read_bytes() for f in operator.directory.iterdir() if f.name != "kubeconfig"},
    }

    assert all(places[f"ledger.db{suffix}"] for suffix in ("", "-wal"))
    assert {where: found(needles, hay) for where, hay in places.items()} == {
        where: [] for where in places
    }


def test_the_operators_own_token_was_not_written_down(stage: Stage) -> None:
    config = json.loads((stage.operator.directory / "kubeconfig").read_text())
    token = config["users"][0]["user"]["token"].rpartition(".")[2]

    assert token not in stage.operator.log.read_text()


def test_every_token_that_was_issued_is_dead(stage: Stage) -> None:
    until(lambda: not stage.accounts())

    for token in sorted(stage.tokens):
        until(lambda token=token: not stage.known_to_token_review(token))
        assert stage.reads(token) == 401


def test_nothing_is_left(stage: Stage) -> None:
    stage.assert_holds()

    assert stage.operator.metric("taskpass_grants_held") == 0
    assert stage.operator.metric("taskpass_pending_revocations") == 0
    assert stage.operator.metric("taskpass_events_dropped_total") == 0


def test_the_log_of_the_whole_session_holds_together(stage: Stage, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "taskpass", "audit", "verify", "--db"]
    done = subprocess.run(
        [*command, str(stage.operator.ledger)],
        capture_output=True,
        text=True,
        cwd=ROOT / "operator",
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("OK ")


def _list(api: Api, path: str) -> bytes:
    return json.dumps(api.call("GET", path)).encode()
