"""The PostgreSQL server of the demo: on this machine, where pods reach it, for as long as it runs.

It is set up as docs/providers/postgresql.md says, word for word, but for the password.
"""

import secrets
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields

import psycopg

from e2e.demo.stage import EXAMPLES, PATIENCE
from e2e.demo.telling import DidNotComeOut
from e2e.postgresql.server import PostgresServer, binaries, running
from e2e.postgresql.stage import DATABASE, LATER, PASSWORD, SERVER, page_statements, run

TABLE = EXAMPLES / "05-databases/tickets.sql"
LOOK = (
    "SELECT NOT EXISTS (SELECT FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member"
    " WHERE r.rolname = %(role)s) AS groups,"
    " NOT EXISTS (SELECT FROM pg_stat_activity WHERE usename = %(role)s) AS sessions,"
    " NOT EXISTS (SELECT FROM pg_roles WHERE rolname = %(role)s) AS role"
)


@dataclass
class End:
    """When a role was first seen without something, as the clock has it; 0 for not yet."""

    groups: float = 0
    sessions: float = 0
    role: float = 0


class Database:
    """The server, as its superuser and who kept a password see it."""

    def __init__(self, server: PostgresServer) -> None:
        self.server = server
        self.is_later = server.version >= LATER
        """Whether memberships have options, and a command of psql of their own."""

    def furnish(self) -> None:
        """Make the table, and all that the page tells an administrator to; write the password."""
        password = secrets.token_urlsafe(24)
        with self.server.admin() as admin:
            admin.execute(f"CREATE DATABASE {DATABASE}")
        with self.server.admin(DATABASE) as admin:
            for statement in (TABLE.read_text(), *page_statements(self.is_later)):
                run(admin, statement.replace(PASSWORD, password))
        (self.server.directory / "password").write_text(password)

    def values(self) -> list[str]:
        """Return helm's options that say where the server is."""
        prefix = f"postgresql.servers.{SERVER}"
        where = f"{prefix}.host={self.server.host},{prefix}.port={self.server.port}"
        return ["--values", "examples/values-databases.yaml", "--set", where]

    def psql(self, command: str, *options: str) -> list[str]:
        """Return what psql prints for the superuser, without empty lines."""
        where = ["--host", str(self.server.directory), "--port", str(self.server.port)]
        done = subprocess.run(
            [binaries() / "psql", "-X", *where, "-U", "postgres", *options, "-c", command],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        return [line.rstrip() for line in done.stdout.splitlines() if line.strip()]

    def refusal(self, credential: Mapping[str, str]) -> str:
        """Log in with a copy of a credential; return how the server refuses it."""
        try:
            psycopg.connect(
                host=credential["host"], port=credential["port"], dbname=credential["database"],
                user=credential["username"], password=credential["password"],
                sslmode="verify-full", sslrootcert=str(self.server.directory / "ca.crt"),
            ).close()  # fmt: skip
        except psycopg.OperationalError as error:
            return str(error).rpartition("FATAL:")[2].strip()
        raise DidNotComeOut("a copy of the credential still logs in")

    def watch(self, role: str) -> End:
        """Look at a role again and again; return once it has nothing and is gone."""
        end, names = End(), [field.name for field in fields(End)]
        deadline = time.time() + PATIENCE
        with self.server.admin() as admin:
            while not end.role:
                row = admin.execute(LOOK.encode(), {"role": role}).fetchone() or ()
                now = time.time()
                for name, gone in zip(names, row, strict=True):
                    if gone and not getattr(end, name):
                        setattr(end, name, now)
                if now > deadline:
                    raise DidNotComeOut(f"role {role} is still there; seen of its end: {end}")
                time.sleep(0.002)
        return end


@contextmanager
def database(address: str) -> Iterator[Database]:
    """Give a server at an address of this machine; nothing of it is left afterwards."""
    try:
        with socket.socket() as listener:
            listener.bind((address, 0))
    except OSError as error:
        raise DidNotComeOut(
            f"pods reach this machine at {address}, which is no address of its own ({error}): the "
            "container engine runs in another one. Run this where the engine is"
        ) from error
    with running(address=address, max_prepared_transactions="0") as server:
        made = Database(server)
        made.furnish()
        yield made
