"""Connections to the servers that are listed: how many at a time, and which are kept.

Connecting costs 8 ms of TLS and SCRAM, a statement less than one. So a few connections are kept for
half a minute. One that was cut shows it before it is used, and a password that was changed has all
of them made anew. What is being done on one server waits for no other, and what ends access waits
for nothing but that: each purpose has places of its own, for which namespaces take turns.
"""

import contextlib
import enum
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from taskpass.core.errors import ProviderUnavailable
from taskpass.providers.postgresql.places import Places
from taskpass.providers.postgresql.session import FailPoint, Session, nowhere
from taskpass.providers.postgresql.settings import Server

MOST_IDLE = 8
"""Idle connections that are kept to one database of one server."""
IDLE_SECONDS = 30.0
Stamp = tuple[tuple[int, int], ...]
"""Which files a connection was made with."""


class Purpose(enum.Enum):
    """What a connection is for, and how many of it there may be at a time on one server."""

    ISSUE = ("issue", 4)
    CUT = ("cut", 6)
    """What ends access. Each waits for a lock for a tenth of a second at most."""
    WATCH = ("watch", 1)
    DROP = ("drop", 4)
    """What removes the role: here a task may have left something that makes it wait."""
    CLEAR = ("clear", 4)
    """The same, in another database."""
    READ = ("read", 2)

    @property
    def places(self) -> int:
        """How many there may be at a time."""
        return self.value[1]


@dataclass(slots=True)
class _Idle:
    session: Session
    at: float
    stamp: Stamp


@dataclass(slots=True)
class _Connections:
    """Those to one server."""

    places: dict[Purpose, Places] = field(
        default_factory=lambda: {each: Places(each.places) for each in Purpose}
    )
    idle: dict[str, list[_Idle]] = field(default_factory=dict)


class Servers:
    """The servers by name."""

    def __init__(
        self, listed: Mapping[str, Server], monotonic: Callable[[], float],
        fail_point: FailPoint = nowhere,
    ) -> None:  # fmt: skip
        """`monotonic` is a clock's."""
        self.listed = listed
        self._fail_point = fail_point
        self._monotonic = monotonic
        self._standbys = {
            name: {f"{name}, standby {each}": server.standby(each) for each in server.standbys}
            for name, server in listed.items()
        }
        self._follow = {
            name: server for each in self._standbys.values() for name, server in each.items()
        }
        self._connections = {name: _Connections() for name in (*listed, *self._follow)}

    def standbys(self, name: str) -> tuple[str, ...]:
        """Return what the standbys of a listed server are called here."""
        return tuple(self._standbys.get(name, ()))

    def get(self, name: str) -> Server:
        """Return a server's settings.

        Raises:
            ProviderUnavailable: It is not listed (any more).

        """
        server = self.listed.get(name)
        if server is None:
            raise ProviderUnavailable(
                f"PostgreSQL server '{name}' is not listed; list it in the value "
                "`postgresql.servers` of the chart until nothing of it is held, or, where it never "
                "comes back, in `postgresql.retired`"
            )
        return server

    @contextlib.asynccontextmanager
    async def session(
        self, name: str, purpose: Purpose, database: str | None = None, *, tenant: str = ""
    ) -> AsyncIterator[Session]:
        """Yield a connection; None is the database that is listed for what is of no one database.

        `name` is a listed server's, or one of `standbys`, where nothing can be changed. After an
        error it is closed: nobody knows what state it is in. Tenants take turns at the places.

        Raises:
            ProviderUnavailable: There is none.

        """
        standby = name in self._follow
        server = self._follow[name] if standby else self.get(name)
        connections = self._connections[name]
        database = database or server.database
        async with connections.places[purpose].taken(tenant):
            stamp = _stamp(server)
            session = await self._idle(connections, database, stamp)
            session = session or await Session.open(
                name, server, database, self._fail_point, standby=standby
            )
            whole = False
            try:
                yield session
                whole = True
            finally:
                idle = connections.idle.setdefault(database, [])
                if whole and session.is_quiet and len(idle) < MOST_IDLE:
                    idle.append(_Idle(session, self._monotonic(), stamp))
                else:
                    await session.close()

    async def close(self) -> None:
        """Close what is kept."""
        for connections in self._connections.values():
            for idle in connections.idle.values():
                while idle:
                    await idle.pop().session.close()

    async def _idle(self, connections: _Connections, database: str, stamp: Stamp) -> Session | None:
        """Return the connection that was used last; close those that are no good any more."""
        idle, now = connections.idle.get(database, []), self._monotonic()
        while idle:
            last = idle.pop()
            fresh = now - last.at < IDLE_SECONDS and last.stamp == stamp
            if fresh and last.session.is_quiet:
                return last.session
            await last.session.close()
        return None


def _stamp(server: Server) -> Stamp:
    """Return what changes when one of the files is written anew, or another takes its place."""
    files = (server.ca_file, server.password_file, server.certificate_file, server.key_file)
    return tuple(_version(each) for each in files if each is not None)


def _version(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()  # of what a link leads to: the kubelet switches links
    except OSError:
        return 0, 0
    return found.st_ino, found.st_mtime_ns
