"""`taskpass doctor` as a person or a script uses it; on a real cluster: e2e/cases/doctor."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from click.testing import CliRunner

from taskpass.cli.doctor import examination, posture
from taskpass.cli.doctor.command import as_text, doctor
from taskpass.cli.doctor.examination import Examination
from taskpass.core.errors import ApiUnavailable, UsageError
from taskpass.core.model.diagnosis import Level, doubtful, failed, well
from tests.unit.kube.scripted_server import Answer, Script, scripted, status_body
from tests.unit.ledger import objects

SAID = [
    well("clock", "within 5 s of the API server's"),
    doubtful("namespaces", "none is enrolled", "name some in the value `tenants`"),
    failed("crds", "'a' cannot be read (not found)", "upgrade"),
]


def test_each_thing_is_a_line_with_its_remedy() -> None:
    assert list(as_text(SAID)) == [
        "ok       clock: within 5 s of the API server's",
        "warning  namespaces: none is enrolled  name some in the value `tenants`",
        "failed   crds: 'a' cannot be read (not found)  upgrade",
    ]


def test_programs_get_the_same_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run(self: Examination) -> list[object]:
        return list(SAID)

    monkeypatch.setattr(Examination, "run", run)
    done = CliRunner().invoke(doctor, ["--namespace", "taskpass-system", "--json"])

    assert json.loads(done.stdout)[2] == {
        "level": "failed",
        "about": "crds",
        "what": "'a' cannot be read (not found)",
        "remedy": "upgrade",
    }


def test_a_server_that_is_declared_gone_is_a_warning_for_as_long_as_it_is() -> None:
    [said] = posture.retired({"old": "INC-4711: disks lost"})

    assert said.level is Level.WARNING
    assert said.what.endswith("counts as over, not proven: INC-4711: disks lost")
    assert posture.retired({}) == []


@pytest.mark.parametrize(
    ("level", "unanswered", "code"),
    [
        (Level.OK, False, 0),
        (Level.WARNING, False, 0),
        (Level.FAILED, False, 1),
        (Level.FAILED, True, 3),
    ],
)
def test_the_exit_code_says_the_worst(
    monkeypatch: pytest.MonkeyPatch, level: Level, unanswered: bool, code: int
) -> None:
    async def run(self: Examination) -> list[object]:
        self.unanswered = unanswered
        return [each for each in SAID if each.level is level]

    monkeypatch.setattr(Examination, "run", run)

    done = CliRunner().invoke(doctor, ["--namespace", "taskpass-system"])

    assert done.exit_code == code
    assert done.output.startswith(level)


@pytest.fixture
async def script() -> AsyncIterator[Script]:
    async with scripted() as running:
        yield running


def outside(server: str, directory: Path, **more: object) -> Examination:
    """Return an examination by a kubeconfig that names the server."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path = directory / "kubeconfig"
    path.write_text(json.dumps(config))
    whole: dict[str, object] = {"namespace": "taskpass-system", "operator": None, "volume": True}
    whole |= {"environment": {}, "kubeconfig": path, **more}
    return Examination(**whole)  # type: ignore[arg-type]


async def test_an_api_server_that_does_not_answer_is_said(tmp_path: Path) -> None:
    with pytest.raises(ApiUnavailable, match="did not answer"):
        await outside("http://127.0.0.1:1", tmp_path).run()


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (404, "There is no Deployment 'taskpass' in namespace 'taskpass-system'; name the"),
        (403, "use a kubeconfig of somebody who may read it and impersonate the operator"),
    ],
)
async def test_without_the_deployment_there_is_nothing_to_look_at(
    script: Script, tmp_path: Path, status: int, said: str
) -> None:
    script.on("GET /version", Answer({"major": "1", "minor": "37"}))
    path = "/apis/apps/v1/namespaces/taskpass-system/deployments/taskpass"
    script.on(f"GET {path}", Answer(status_body(status, "no"), status))

    with pytest.raises(UsageError, match=said):
        await outside(script.url, tmp_path).run()


async def test_outside_a_pod_and_without_a_kubeconfig_it_says_what_to_do() -> None:
    nowhere = Examination(
        namespace="n", kubeconfig=None, operator=None, volume=True, environment={}
    )

    with pytest.raises(UsageError, match="run it in the operator's pod, or say --kubeconfig FILE"):
        await nowhere.run()


async def test_what_is_not_answered_is_a_line_and_the_rest_goes_on(
    script: Script, tmp_path: Path
) -> None:
    deployment = {
        "spec": {"template": {"spec": {"serviceAccountName": "taskpass", "containers": []}}}
    }
    script.on("GET /version", Answer({"major": "1", "minor": "37", "gitVersion": "v1.37.0"}))
    path = "/apis/apps/v1/namespaces/taskpass-system/deployments/taskpass"
    script.on(f"GET {path}", Answer(deployment))
    key = "GET /api/v1/namespaces/taskpass-system/secrets/taskpass-signing-key"
    script.on(key, Answer(status_body(403, "no"), 403))
    examined = outside(script.url, tmp_path)

    # Whatever is not in the script is answered 500.
    said = {each.about: each for each in await examined.run()}

    assert examined.unanswered
    assert said["kubernetes"].level is Level.OK
    assert said["crds"].what.startswith("it could not be found out: The API server answered 500")
    assert "may not be read" in said["signing key"].what
    assert said["ledger volume"].what == "the Deployment mounts none"
    as_whom = {r.headers.get("Impersonate-User") for r in script.requests if "secrets" in r.path}
    assert as_whom == {"system:serviceaccount:taskpass-system:taskpass"}


def test_a_ledger_that_another_key_signed_fails(tmp_path: Path) -> None:
    objects.opened(tmp_path / "ledger.db").close()

    other = examination._signs(bytes(32), tmp_path / "ledger.db")

    assert other is not None
    assert other.what.startswith("it is not the one that signs the ledger")
    assert examination._signs(objects.SEED, tmp_path / "ledger.db") is None
    assert examination._signs(objects.SEED, tmp_path / "absent.db") is None


def test_a_ledger_that_cannot_be_read_is_no_proof_of_either(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_bytes(b"no database" * 500)

    said = examination._signs(objects.SEED, tmp_path / "ledger.db")

    assert said is not None
    assert said.what.startswith("the ledger cannot be read: ")


@contextmanager
def operator(status: int, text: str) -> Iterator[str]:
    """Give the address of something that answers every GET so."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("status", "text", "said"),
    [
        (200, "ledger: ok\n", [(Level.OK, "it is ready")]),
        (
            503,
            "ledger: ok\ncaches: not synced yet\nlimits: a policy is missing\n",
            [
                (Level.FAILED, "it is not ready; caches: not synced yet"),
                (Level.FAILED, "it is not ready; limits: a policy is missing"),
            ],
        ),
        (404, "?", [(Level.FAILED, "/readyz answered 404")]),
    ],
    ids=["ready", "not ready", "something else"],
)
async def test_what_the_operator_says_of_itself(
    status: int, text: str, said: list[tuple[Level, str]]
) -> None:
    with operator(status, text) as address:
        found = await examination._ready_at(address)

    assert [(each.level, each.what) for each in found] == said


async def test_an_operator_that_does_not_answer_fails() -> None:
    [said] = await examination._ready_at("127.0.0.1:1")

    assert said.level is Level.FAILED
    assert said.what.startswith("it does not answer at 127.0.0.1:1")


@pytest.mark.parametrize("address", ["taskpass", ":9090", "host:"])
async def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match="must be HOST:PORT"):
        await examination._ready_at(address)
