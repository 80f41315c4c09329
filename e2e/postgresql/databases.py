"""What cases of the whole operator with PostgreSQL play on, and what there is to ask for."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from e2e.admission import TENANT, binding, cluster_role
from e2e.impersonate import Api, Object, thing
from e2e.postgresql.server import PostgresServer
from e2e.postgresql.stage import DATABASE, GROUP, SERVER, settings
from e2e.stage import Stage, policy, until

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

    def assert_holds(self, **tasks: int) -> None:
        """Assert that these tasks hold so many credentials each, and nobody else any, anywhere."""
        wanted = {name.replace("_", "-"): count for name, count in tasks.items()}
        grants = {n: [g["id"] for g in self.task(n)["status"]["grants"]] for n in wanted}
        held = {grant for ids in grants.values() for grant in ids}
        accounts = self.accounts()
        assert {n: len(ids) for n, ids in grants.items()} == wanted
        assert accounts | {role.removeprefix("taskpass-") for role in self.roles()} == held
        assert {name[9:43] for name in self.bindings()} == accounts
        assert self.secrets() == {f"taskpass-{n}" for n, count in wanted.items() if count}

    def wait_nothing_left(self) -> None:
        """Return once neither server has anything of a grant."""
        until(lambda: not self.roles() and not self.accounts() and not self.bindings(), 30)
        assert self.sessions() == 0


FIELDS = ("host", "port", "database", "username", "password")


def furnish_cluster(api: Api) -> None:
    """Make the class of the tickets' database, its policy, and let alice use it."""
    api.apply(cluster_role("use-databases", USE | {"resourceNames": [CLASS]}))
    api.apply(
        binding(
            "ClusterRoleBinding", "", "use-databases", "ClusterRole/use-databases", "User/alice"
        )
    )
    api.apply(database_policy("databases", CLASS))
    api.apply(database_class())


def database_policy(name: str, class_name: str, **spec: Any) -> Object:
    """Return a policy that allows to read the databases of the server."""
    allowed = {"actions": ["tickets.read"], "resources": [f"database/{SERVER}/*"]}
    return policy(name, class_name, namespace=TENANT, **{**allowed, **spec})


def environment_of(server: PostgresServer, directory: Path, **changes: Any) -> Mapping[str, str]:
    """Return the operator's setting that lists the server; its password lies in `directory`."""
    listed = settings(server, directory, **changes)
    shown = listed.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {"TASKPASS_POSTGRESQL_SERVERS": json.dumps({SERVER: shown})}
