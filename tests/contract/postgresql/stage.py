"""One provider at work on a real server, seen from outside by its superuser and by tasks."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import psycopg

from e2e.postgresql.server import PostgresServer
from e2e.postgresql.stage import DATABASE, GROUP, SERVER
from taskpass.core.model.grant import Grant, Issued
from taskpass.core.model.task import CredentialClass, CredentialRequest
from taskpass.providers.postgresql.provider import PostgresProvider
from taskpass.providers.postgresql.state import resource_of
from tests.contract.provider_suite import Subject, grant_for, issued_grant, new_grant_id

T = TypeVar("T")
INSTALLATION = "c-59851135"
CONFIG = {
    "server": SERVER,
    "database": DATABASE,
    "roles": [{"action": "tickets.read", "name": GROUP}],
    "connectionLimit": 4,
    "tls": "VerifyFull",
}
CLASS = CredentialClass(
    name="tickets", uid="c", generation=1, provider="PostgreSQL", config=CONFIG,
    actions=("tickets.read",),
)  # fmt: skip
REQUEST = CredentialRequest(
    name="tickets", class_name="tickets", actions=("tickets.read",),
    resources=(resource_of(SERVER, DATABASE),),
)  # fmt: skip


def a_class(**config: Any) -> CredentialClass:
    """Return the class with another configuration."""
    return replace(CLASS, config={**CONFIG, **config})


class Bench:
    """What a test needs to issue, to be the task, and to look."""

    def __init__(self, server: PostgresServer, provider: PostgresProvider) -> None:
        self.server = server
        self.provider = provider

    @property
    def subject(self) -> Subject:
        async def works(issued: Issued) -> bool:
            try:
                with self.login(issued) as task:
                    return bool(task.execute("SELECT count(*) FROM tickets.ticket").fetchone())
            except psycopg.Error:
                return False

        def now() -> datetime:
            with self.server.admin() as admin:
                [moment] = admin.execute("SELECT clock_timestamp()").fetchone() or [None]
            assert isinstance(moment, datetime)
            return moment.astimezone(UTC)

        return Subject(
            provider=self.provider, credential_class=CLASS, request=REQUEST,
            refused=replace(REQUEST, resources=(resource_of(SERVER, "postgres"),)),
            refused_field="resources", works=works, now=now,
        )  # fmt: skip

    def intent(self, credential_class: CredentialClass = CLASS) -> Grant:
        """Return a grant before the provider is called."""
        config = credential_class.config
        request = replace(REQUEST, resources=(resource_of(config["server"], config["database"]),))
        return grant_for(replace(self.subject, credential_class=credential_class), request)

    async def issued(self, credential_class: CredentialClass = CLASS) -> tuple[Grant, Issued]:
        """Return a grant that was issued, as the ledger has it, and what was issued."""
        grant = self.intent(credential_class)
        issued = await self.provider.issue(grant, "")
        return issued_grant(grant, issued), issued

    def prepare(self, credential_class: CredentialClass, **changes: Any) -> Mapping[str, Any]:
        """Return the state before the first call."""
        return self.provider.prepare(replace(REQUEST, **changes), credential_class, new_grant_id())

    def login(self, issued: Issued, **parameters: Any) -> psycopg.Connection:
        """Connect as the task."""
        return psycopg.connect(**{**login_of(issued, self.server), **parameters}, autocommit=True)

    def ask(self, query: str, *values: Any, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Return what the superuser sees."""
        with self.server.admin(database) as admin:
            cursor = admin.execute(query.encode(), values)
            return cursor.fetchall() if cursor.description else []

    def do(self, *statements: str, database: str = "postgres") -> None:
        """Carry statements out as the superuser."""
        with self.server.admin(database) as admin:
            for statement in statements:
                admin.execute(statement.encode())

    def begin(self, call: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Have a call made beside the test."""
        return asyncio.ensure_future(call)

    async def until(self, holds: Callable[[], Any]) -> None:
        """Wait for a state."""
        await until(holds)

    def left(self, grant: Grant) -> dict[str, Any]:
        """Return what the server has of a grant, by OID; empty where nothing is left."""
        oid = grant.provider_state["oid"]
        looked = {
            "role": self.ask("SELECT rolname FROM pg_roles WHERE oid = %s", oid),
            "sessions": self.ask("SELECT pid FROM pg_stat_activity WHERE usesysid = %s", oid),
            "owned": self.ask("SELECT classid FROM pg_shdepend WHERE refobjid = %s", oid),
            "prepared": self.ask(
                "SELECT gid FROM pg_prepared_xacts WHERE owner = %s", grant.provider_state["role"]
            ),
        }
        return {what: rows for what, rows in looked.items() if rows}


async def until(holds: Callable[[], Any]) -> None:
    """Wait for a state."""
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.005)


def login_of(issued: Issued, server: PostgresServer) -> dict[str, Any]:
    """Return libpq's parameters for what was issued; the CA is the server's file."""
    text = {name: value.reveal().decode() for name, value in issued.fields.items()}
    return {
        "host": text["host"], "port": text["port"], "dbname": text["database"],
        "user": text["username"], "password": text["password"], "sslmode": "verify-full",
        "sslrootcert": str(server.directory / "ca.crt"), "connect_timeout": 5,
    }  # fmt: skip


@contextlib.contextmanager
def written(path: Path, text: str) -> Iterator[None]:
    """Have other text in a file for a while."""
    before = path.read_text()
    path.write_text(text)
    try:
        yield
    finally:
        path.write_text(before)
