"""End what tasks have open on the standbys of a server, while the role is there to be acted for.

A standby hears of a revocation a little later than the primary says so, and of its sessions the
primary knows nothing. So a standby is asked until it has heard that the role may not log in; then
its sessions are ended there as on the primary. Only after that is the role dropped: once it is
gone, no session of it is ours to end.
"""

import asyncio
from collections.abc import Callable

from taskpass.core.errors import ProviderUnavailable
from taskpass.providers.postgresql.servers import Purpose, Servers
from taskpass.providers.postgresql.watch import PAUSE_SECONDS, Watcher

BEHIND_SECONDS = 5.0
"""How far a standby may be behind before the revocation is owed."""
SYSTEM = "SELECT system_identifier::text FROM pg_control_system()"
WRITTEN = (
    "SELECT system_identifier::text, pg_current_wal_insert_lsn()::text FROM pg_control_system()"
)
HEARD = (
    "SELECT system_identifier::text, coalesce(pg_last_wal_replay_lsn() >= %s::pg_lsn, false) "
    "FROM pg_control_system()"
)
SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE usesysid = %s"


class Standbys:
    """Those of every server."""

    def __init__(self, servers: Servers, watcher: Watcher, monotonic: Callable[[], float]) -> None:
        """`watcher` is the one that watches primaries."""
        self._servers = servers
        self._watcher = watcher
        self._monotonic = monotonic

    async def until_quiet(self, server: str, oid: int) -> None:
        """End the role's sessions on each standby; return once none is there, and none comes.

        The role must be NOLOGIN, and the operator its member.

        Raises:
            ProviderUnavailable: One cannot be reached, or has not heard of it, or they do not end.

        """
        if not (names := self._servers.standbys(server)):
            return
        async with self._servers.session(server, Purpose.DROP) as session:
            [(system, written)] = await session.ask(WRITTEN)
        # Each by itself: one that is away keeps nobody in on another.
        done = await asyncio.gather(
            *(self._end(name, oid, system, written) for name in names), return_exceptions=True
        )
        for each in done:
            if each is not None:
                raise each

    async def prove(self, server: str, oid: int) -> None:
        """Raise `ProviderUnavailable` where a session of the role may be on one of them."""
        for name in self._servers.standbys(server):
            async with self._servers.session(name, Purpose.READ) as session:
                [(sessions,)] = await session.ask(SESSIONS, (oid,))
            if sessions:
                raise ProviderUnavailable(
                    f"PostgreSQL server '{name}' still has a session of the grant; where its role "
                    "is gone, only a superuser can end it"
                )

    async def obstacles(self, server: str) -> list[str]:
        """Return why sessions could not be ended on some of them now."""
        if not (names := self._servers.standbys(server)):
            return []
        async with self._servers.session(server, Purpose.READ) as session:
            [(system,)] = await session.ask(SYSTEM)
        found = await asyncio.gather(*(self._obstacle(name, system) for name in names))
        return [each for each in found if each is not None]

    async def _obstacle(self, name: str, system: str) -> str | None:
        try:
            async with self._servers.session(name, Purpose.READ) as session:
                [(its,)] = await session.ask(SYSTEM)
        except ProviderUnavailable as error:
            return str(error)
        return None if its == system else _anothers(name)

    async def _end(self, name: str, oid: int, system: str, written: str) -> None:
        until = self._monotonic() + BEHIND_SECONDS
        async with self._servers.session(name, Purpose.CUT) as session:
            while True:
                [(its, heard)] = await session.ask(HEARD, (written,))
                if its != system:
                    raise ProviderUnavailable(_anothers(name))
                if heard:
                    break
                if self._monotonic() > until:
                    raise ProviderUnavailable(
                        f"PostgreSQL server '{name}' has not heard of the revocation yet"
                    )
                await asyncio.sleep(PAUSE_SECONDS)
        await self._watcher.until_quiet(name, oid)


def _anothers(name: str) -> str:
    return f"PostgreSQL server '{name}' follows another primary: take it off the list of standbys"
