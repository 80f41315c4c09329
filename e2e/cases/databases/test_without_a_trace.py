"""At the end of the session: no password, verifier or connection string was written down."""

import base64

from e2e.impersonate import Api
from e2e.postgresql.databases import ROLE, Databases
from e2e.postgresql.stage import PASSWORD

KINDS = ("agenttasks", "agentpolicies", "credentialclasses")


def written(stage: Databases) -> dict[str, bytes]:
    """Return all that the operator wrote, but for the tasks' Secrets, by where it is."""
    operator = stage.operator
    return {
        "/metrics": operator.http("/metrics")[1].encode(),
        "Events": listed(stage.api, "/apis/events.k8s.io/v1/events"),
        "pods": listed(stage.api, "/api/v1/pods"),
        **{k: listed(stage.api, f"/apis/taskpass.dev/v1alpha1/{k}") for k in KINDS},
        **{f.name: f.read_bytes() for f in operator.directory.iterdir() if f.name != "kubeconfig"},
    }


def listed(api: Api, path: str) -> bytes:
    """Return a whole list, as the API server sends it."""
    return str(api.call("GET", path)).encode()


def test_no_password_and_no_verifier_was_written_down(stage: Databases, name: str) -> None:
    stage.begin_ready(name, credentials=[ROLE])
    stage.login(name).execute("SELECT 1")
    needles = [*(p.encode() for p in stage.passwords), PASSWORD.encode(), b"SCRAM-SHA-256$"]
    needles += [base64.b64encode(p.encode())[:40] for p in stage.passwords]

    places = written(stage)

    assert len(stage.passwords) >= 1
    assert all(len(each) > 20 for each in stage.passwords)
    assert all(places[each] for each in ("ledger.db", "operator.log"))
    assert {where: [n for n in needles if n in hay] for where, hay in places.items()} == {
        where: [] for where in places
    }


def test_the_servers_log_has_no_password_of_a_task(stage: Databases, name: str) -> None:
    """It logs statements that fail; what it was told is a verifier at most."""
    stage.begin_ready(name, credentials=[ROLE])
    stage.login(name).execute("SELECT 1")

    log = stage.server.log()

    assert [each for each in stage.passwords if each in log] == []
