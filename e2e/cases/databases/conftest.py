"""The whole operator with a real API server and a real PostgreSQL server, and both providers.

Each case finds both servers and the operator well, and leaves nothing at any of them.
"""

import json
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest

from e2e.admission import TARGET, binding, cluster_role, prepare
from e2e.impersonate import Api, Object, thing
from e2e.operator_process import OperatorProcess
from e2e.postgresql.server import PostgresServer, running
from e2e.postgresql.stage import DATABASE, GROUP, SERVER, furnish, settings
from e2e.stage import Stage, credential_class, policy, until

CLASS = "tickets-db"
ROLE = {
    "name": "db",
    "classRef": {"name": CLASS},
    "actions": ["tickets.read"],
    "resources": [f"database/{SERVER}/{DATABASE}"],
}
"""What a task asks for."""
USE = {"apiGroups": ["taskpass.dev"], "resources": ["credentialclasses"], "verbs": ["use"]}


def database_class(name: str = CLASS, **section: Any) -> Object:
    """Return a class of the tickets' database."""
    roles = [{"action": "tickets.read", "name": GROUP}]
    spec = {
        "provider": "PostgreSQL",
        "postgresql": {"server": SERVER, "database": DATABASE, "roles": roles, **section},
        "actions": ["tickets.read"],
        "namespaceSelector": {},
    }
    return thing("taskpass.dev/v1alpha1", "CredentialClass", "", name, spec=spec)


@dataclass
class Databases(Stage):
    """A stage with a PostgreSQL server."""

    server: PostgresServer = field(kw_only=True)
    open: list[psycopg.Connection] = field(default_factory=list)
    """Sessions of tasks; the end of a case closes them."""
    passwords: set[str] = field(default_factory=set)
    """Every password that the cases have read."""

    def login(self, name: str, credential: str = "db", **more: Any) -> psycopg.Connection:
        """Connect as a task does, by what its Secret says."""
        content = self.secret(name) or {}
        text = {each: content[f"{credential}.{each}"] for each in FIELDS}
        self.passwords.add(text["password"])
        ca = self.server.directory / "ca.crt"
        assert content[f"{credential}.sslrootcert"] == ca.read_text()
        session = psycopg.connect(
            host=text["host"], port=text["port"], dbname=text["database"], user=text["username"],
            password=text["password"], sslmode="verify-full", sslrootcert=str(ca), autocommit=True,
            connect_timeout=5, **more,
        )  # fmt: skip
        self.open.append(session)
        return session

    def roles(self) -> set[str]:
        """Return the roles of grants, as the server's superuser sees them."""
        with self.server.admin() as admin:
            query = "SELECT rolname FROM pg_roles WHERE starts_with(rolname, 'taskpass-g-')"
            return {name for (name,) in admin.execute(query).fetchall()}

    def sessions(self) -> int:
        """Return how many sessions tasks have."""
        with self.server.admin() as admin:
            query = "SELECT 1 FROM pg_stat_activity WHERE starts_with(usename, 'taskpass-g-')"
            return len(admin.execute(query).fetchall())

    def assert_holds_databases(self, name: str, count: int) -> None:
        """Assert that a task holds so many credentials, and that both servers have just those."""
        grants = self.task(name)["status"]["grants"]
        assert len(grants) == count
        ids = {each["id"] for each in grants}
        assert {role.removeprefix("taskpass-") for role in self.roles()} | self.accounts() == ids

    def wait_nothing_left(self) -> None:
        """Return once neither server has anything of a grant."""
        until(lambda: not self.roles() and not self.accounts() and not self.bindings(), 30)
        assert self.sessions() == 0


FIELDS = ("host", "port", "database", "username", "password")


@pytest.fixture(scope="session")
def kubeconfig(request: pytest.FixtureRequest) -> str:
    """Return the administrator's kubeconfig; TASKPASS_TEST_CONTROL_PLANE names another."""
    given = os.environ.get("TASKPASS_TEST_CONTROL_PLANE")
    return given or str(request.getfixturevalue("control_plane"))


@pytest.fixture(scope="session")
def server() -> Iterator[PostgresServer]:
    """Return a server that is set up as the provider's page says."""
    with running(durable=True) as made:
        furnish(made)
        yield made


@pytest.fixture(scope="session")
def api(kubeconfig: str, helm: str) -> Api:
    """Return the API server as its administrator sees it, with the chart, classes and policies."""
    admin = Api.from_kubeconfig(kubeconfig)
    prepare(admin, helm, kubeconfig)
    admin.apply(thing("v1", "ConfigMap", TARGET, "read-me", data={"answer": "42"}))
    admin.apply(cluster_role("use-databases", USE | {"resourceNames": [CLASS]}))
    admin.apply(
        binding(
            "ClusterRoleBinding", "", "use-databases", "ClusterRole/use-databases", "User/alice"
        )
    )
    admin.apply(credential_class("tickets"))
    admin.apply(policy("triage", "tickets"))
    allowed = {"actions": ["tickets.read"], "resources": [f"database/{SERVER}/*"]}
    admin.apply(policy("databases", CLASS, **allowed))
    admin.apply(database_class())
    return admin


@pytest.fixture(scope="session")
def everything(
    api: Api, kubeconfig: str, server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Databases]:
    """Return the stage of the whole session."""
    listed = settings(server, tmp_path_factory.mktemp("password"))
    shown = listed.model_dump(mode="json", by_alias=True, exclude_none=True)
    process = OperatorProcess(
        kubeconfig, tmp_path_factory.mktemp("operator"),
        environment={"TASKPASS_POSTGRESQL_SERVERS": json.dumps({SERVER: shown})},
    )  # fmt: skip
    process.start()
    made = Databases(api, process, server=server)
    made.clear("")
    yield made
    process.stop()


@pytest.fixture
def stage(everything: Databases) -> Databases:
    """Return the stage with the operator running and ready."""
    if everything.operator.ended():
        everything.operator.kill()
        everything.operator.start()
    everything.operator.wait_ready()
    return everything


@pytest.fixture
def name(stage: Databases) -> Iterator[str]:
    """Return a name for a task and its pod; afterwards they are deleted, and nothing is left."""
    chosen = f"t-{uuid.uuid4().hex[:8]}"
    yield chosen
    while stage.open:
        stage.open.pop().close()
    if stage.operator.ended():
        stage.operator.kill()
        stage.operator.start()
    stage.clear(chosen)
    stage.wait_nothing_left()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return where an operator that dies once at a step leaves its mark."""
    return tmp_path
