"""A database of tickets on a server, set up as docs/providers/postgresql.md says, word for word."""

from pathlib import Path
from typing import Any

import psycopg

from e2e.demo.documents import ROOT, fenced
from e2e.postgresql.server import HOST, PostgresServer
from taskpass.providers.postgresql.settings import Server

PAGE = ROOT / "docs/providers/postgresql.md"
SERVER, DATABASE, GROUP = "support", "support", "tickets_ro"
OPERATOR = "taskpass_op"
PASSWORD = "a long random password"
TICKETS = (
    "CREATE SCHEMA tickets",
    "CREATE TABLE tickets.ticket (id int PRIMARY KEY, text text)",
    "INSERT INTO tickets.ticket SELECT i, 'ticket ' || i FROM generate_series(1, 5000) i",
)
LATER = 160_000
"""From this version on memberships have options."""


CARELESS, WRITERS = "careless", "careless_rw"
"""A database that nobody has hardened, and a group that may make objects in it."""


def furnish(server: PostgresServer) -> None:
    """Make the databases, and all that the page tells an administrator to."""
    with server.admin() as admin:
        for name in (DATABASE, CARELESS):
            admin.execute(f"CREATE DATABASE {name}")
        options = admin.info.server_version >= LATER
    with server.admin(DATABASE) as admin:
        for statement in (*TICKETS, *page_statements(options)):
            run(admin, statement)
    with server.admin(CARELESS) as admin:
        admin.execute(f"CREATE ROLE {WRITERS}")
        admin.execute(f"GRANT CREATE, USAGE ON SCHEMA public TO {WRITERS}")
        admin.execute("CREATE ROLE bystander LOGIN")
        admin.execute("GRANT CREATE, USAGE ON SCHEMA public TO bystander")
        if options:
            admin.execute(
                f"GRANT {WRITERS} TO {OPERATOR} WITH ADMIN TRUE, INHERIT FALSE, SET FALSE"
            )


def page_statements(options: bool) -> list[str]:
    """Return the page's statements, those for 16 and later only where they are for it."""
    statements = [
        each.strip() for block in fenced(PAGE, "sql") for each in block.split(";") if each.strip()
    ]
    return [each for each in statements if options or "ADMIN TRUE" not in each]


def run(connection: psycopg.Connection, statement: str) -> None:
    """Carry out a statement of the page."""
    connection.execute(statement.encode())


def settings(server: PostgresServer, directory: Path, **changes: Any) -> Server:
    """Return how the operator reaches the server; its password is a file in `directory`."""
    file = directory / "password"
    file.write_text(f"{PASSWORD}\n")
    return Server.model_validate(
        {
            "host": HOST,
            "port": server.port,
            "user": OPERATOR,
            "caFile": server.directory / "ca.crt",
            "passwordFile": file,
            "databases": {DATABASE: [GROUP], CARELESS: [WRITERS]},
            **changes,
        }
    )
