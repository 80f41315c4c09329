"""One connection to a server, on which every wait ends, whatever the server does."""

import asyncio
import contextlib
import logging
import os
import select
import socket
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import psycopg
from psycopg import sql

from taskpass.core.errors import ProviderRefused, ProviderUnavailable
from taskpass.providers.postgresql.failures import connection_failure, statement_failure
from taskpass.providers.postgresql.settings import Server

CONNECT_SECONDS = 4
STATEMENT_SECONDS = 5
LOCK_MILLISECONDS = 1000
IDLE_SECONDS = 60
"""The server closes a connection that was kept and that nobody has used since."""
ANSWER_SECONDS = STATEMENT_SECONDS + 1.0
"""The server ends a statement itself; a second later the socket is closed."""
CLOSING_SECONDS = 1.0
OLDEST, FIRST_WITH_OPTIONS = 150_000, 160_000
"""Versions, as libpq has them. From 16 on a membership says whether it inherits and may be set."""
SSL_MODES = {
    "VerifyFull": "verify-full",
    "VerifyCA": "verify-ca",
    "Require": "require",
    "Disable": "disable",
}
T = TypeVar("T")
Row = tuple[Any, ...]
Statement = sql.Composable
FailPoint = Callable[[str], None]
"""Called with a step's name; tests of crashes end the process there."""
logger = logging.getLogger(__name__)


def nowhere(_: str) -> None:
    """Pass every step."""


class Session:
    """A connection of the operator's role. Not for two calls at a time."""

    def __init__(
        self, server: str, raw: psycopg.AsyncConnection[Row], fail_point: FailPoint = nowhere
    ) -> None:
        """`server` is its name among the settings, for people."""
        self.server = server
        self._raw = raw
        self._fail_point = fail_point

    @classmethod
    async def open(
        cls, name: str, server: Server, database: str, fail_point: FailPoint = nowhere, *,
        standby: bool = False,
    ) -> "Session":  # fmt: skip
        """Connect.

        Raises:
            ProviderUnavailable: It did not come about, or it is to a standby where a primary is
                wanted, or the other way round.
            ProviderRefused: The server is too old.

        """
        failure: ProviderUnavailable | None = None
        if (unreadable := _unreadable(server)) is not None:
            raise ProviderUnavailable(
                f"The file {unreadable.name} for PostgreSQL server '{name}' cannot be read: see "
                "the Secret that the chart's value `secretName` names; it is tried again"
            )
        try:
            async with asyncio.timeout(CONNECT_SECONDS + 1):
                raw = await psycopg.AsyncConnection.connect(
                    **_parameters(server, database), autocommit=True
                )
        except (psycopg.Error, OSError, TimeoutError, UnicodeError) as error:
            failure = connection_failure(name, error)
            if isinstance(error, psycopg.Error) and error.pgconn is not None:
                error.pgconn.finish()  # libpq keeps the socket of one that was refused
        if failure is not None:
            raise failure  # here, so that psycopg's own is not its context
        session = cls(name, raw, fail_point)
        # What a standby has not heard of yet is no proof of anything.
        if standby != (raw.info.parameter_status("in_hot_standby") == "on"):
            await session.close()
            raise ProviderUnavailable(
                f"PostgreSQL server '{name}' is no standby: take it off the list of those"
                if standby
                else f"PostgreSQL server '{name}' is a standby: list the address of its primary"
            )
        if session.version < OLDEST:
            await session.close()
            raise ProviderRefused(f"PostgreSQL server '{name}' is older than version 15")
        return session

    @property
    def version(self) -> int:
        """As libpq has it: 150018 is 15.18."""
        return self._raw.info.server_version

    @property
    def has_membership_options(self) -> bool:
        """Whether a membership says if it inherits and may be set (16 and later)."""
        return self.version >= FIRST_WITH_OPTIONS

    @property
    def is_quiet(self) -> bool:
        """Whether it can be used again: an end of the server's would be there to be read."""
        if self._raw.closed or self._raw.broken:
            return False
        poll = select.poll()
        poll.register(self._raw.pgconn.socket, select.POLLIN)
        return not poll.poll(0)

    def verifier(self, role: str, password: str) -> str:
        """Return what the server keeps of a password (SCRAM); nothing is sent."""
        made = self._raw.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256")
        return made.decode()

    async def ask(self, query: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> list[Row]:
        """Return the rows of one query."""

        async def asking() -> list[Row]:
            # `query` is text of this package; values are bound.
            cursor = await self._raw.execute(query.encode(), values)
            return await cursor.fetchall()

        return await self._bounded(asking())

    async def run(self, *statements: Statement) -> list[Row]:
        """Carry out all or nothing, in one round trip; return the rows of the last that has any.

        Where one cannot be in a transaction it must be the only one.
        """
        script = sql.SQL("; ").join(statements)

        async def running() -> list[Row]:
            cursor = self._raw.cursor()
            await cursor.execute(script)
            rows: list[Row] = []
            more: bool | None = True
            while more:
                if cursor.description is not None:
                    rows = await cursor.fetchall()
                more = cursor.nextset()
            return rows

        self._fail_point("postgresql.before-change")
        rows = await self._bounded(running())
        self._fail_point("postgresql.after-change")
        return rows

    async def close(self) -> None:
        """Close it; never fails."""
        with contextlib.suppress(psycopg.Error, OSError):
            await self._raw.close()

    async def _bounded(self, work: Coroutine[Any, Any, T]) -> T:
        """Await one exchange; close the socket where it takes too long or nobody waits for it.

        psycopg, when it is cancelled itself, asks the server to cancel and then waits for that: for
        ever, if the server is halted.
        """
        doing = asyncio.ensure_future(work)
        doing.add_done_callback(_retrieved)
        try:
            await asyncio.wait({doing}, timeout=ANSWER_SECONDS)
        finally:
            if not doing.done():
                self._cut()
                await asyncio.wait({doing}, timeout=CLOSING_SECONDS)
        if not doing.done():
            raise ProviderUnavailable(f"PostgreSQL server '{self.server}' does not answer")
        error = doing.exception()
        if error is None:
            return doing.result()
        if isinstance(error, psycopg.Error | OSError):
            raise statement_failure(self.server, error)
        raise error

    def _cut(self) -> None:
        """End the connection for whoever reads of it now."""
        with contextlib.suppress(OSError, psycopg.Error):
            with socket.socket(fileno=os.dup(self._raw.pgconn.socket)) as line:
                line.shutdown(socket.SHUT_RDWR)


def _retrieved(doing: "asyncio.Future[Any]") -> None:
    """Take note of an error that nobody waits for any more."""
    if not doing.cancelled():
        doing.exception()


def _unreadable(server: Server) -> Path | None:
    """Return a file that is needed and cannot be read; None where all can."""
    files = (server.ca_file, server.password_file, server.certificate_file, server.key_file)
    return next((each for each in files if each and not os.access(each, os.R_OK)), None)


def _parameters(server: Server, database: str) -> dict[str, Any]:
    """Return libpq's parameters: nothing is left to its environment and its files."""
    parameters: dict[str, Any] = {
        "host": server.host,
        "port": server.port,
        "dbname": database,
        "user": server.user,
        "sslmode": SSL_MODES[server.tls],
        "sslrootcert": str(server.ca_file),
        "sslcert": str(server.certificate_file or ""),
        "sslkey": str(server.key_file or ""),
        "gssencmode": "disable",
        "passfile": os.devnull,
        "application_name": "taskpass",
        "client_encoding": "utf-8",
        "connect_timeout": CONNECT_SECONDS,
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 2,
        "tcp_user_timeout": 1000 * STATEMENT_SECONDS,
        # No schema but the server's own: a task may be able to make functions in others, and what
        # is meant as one of the server's would run the task's with the operator's rights.
        "options": f"-c search_path=pg_catalog -c statement_timeout={1000 * STATEMENT_SECONDS} "
        f"-c lock_timeout={LOCK_MILLISECONDS} "
        f"-c idle_in_transaction_session_timeout={1000 * STATEMENT_SECONDS} "
        f"-c idle_session_timeout={1000 * IDLE_SECONDS}",
    }
    if server.password_file is not None:
        parameters["password"] = _password(server.password_file)
    return parameters


def _password(path: Path) -> str:
    return path.read_text().rstrip("\r\n")
