"""Watch roles that are being revoked until no session of theirs is left, and none comes.

One look serves all roles of a server: many that end together cost it no more than one. What is
terminated is what a role's OID shows, and logins that are under way and show no role yet. Such a
login takes a millisecond, unless the client asked the server to wait (`post_auth_delay`): then it
would open when its role is long gone, with the rights that everybody has, and out of our reach.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from taskpass.core.errors import ProviderRefused, ProviderUnavailable
from taskpass.providers.postgresql.failures import NO_RIGHT, StatementFailed
from taskpass.providers.postgresql.servers import Purpose, Servers
from taskpass.providers.postgresql.session import Session

QUIET_SECONDS = 0.25
"""How long nothing must be seen: a login that began before NOLOGIN has come up by then, or is seen
to hide. More than `HIDDEN_SECONDS`."""
PAUSE_SECONDS = 0.01
HIDDEN_SECONDS = 0.15
"""How long a login may show no role before it is terminated: our own would be ours to terminate
too, and take a few milliseconds. One that asked the server to wait takes a second at least."""
MOST_SECONDS = 6.0
SESSIONS = "SELECT pid, usesysid FROM pg_stat_activity WHERE usesysid = ANY(%s::oid[])"
TERMINATE = "SELECT pg_terminate_backend(%s)"
TERMINATE_ALL = (
    "SELECT usesysid, pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE usesysid = ANY(%s::oid[]) AND pid <> pg_backend_pid()"
)
HIDDEN = (
    "SELECT DISTINCT l.pid FROM pg_locks l LEFT JOIN pg_stat_activity a USING (pid) "
    "WHERE l.locktype = 'object' AND l.classid = 'pg_database'::regclass "
    "AND l.pid <> pg_backend_pid() AND a.usesysid IS NULL"
)


@dataclass(slots=True)
class _Watched:
    """One role that somebody waits for."""

    quiet: asyncio.Future[None]
    until: float
    since: float | None = None
    """When anything of it was last seen, or it was first looked for; None before that."""


@dataclass(slots=True)
class _Watch:
    """What is watched on one server."""

    watched: dict[int, _Watched] = field(default_factory=dict)
    doing: asyncio.Task[None] | None = None


class Watcher:
    """The watches of all servers."""

    def __init__(self, servers: Servers, monotonic: Callable[[], float]) -> None:
        """`monotonic` is a clock's."""
        self._servers = servers
        self._monotonic = monotonic
        self._watches: dict[str, _Watch] = {}

    async def until_quiet(self, server: str, oid: int) -> None:
        """Terminate every session of the role; return once none was seen for a quarter second.

        The role must be NOLOGIN, and the operator its member.

        Raises:
            ProviderUnavailable: They do not end, or nobody knows.

        """
        watch = self._watches.setdefault(server, _Watch())
        until = self._monotonic() + MOST_SECONDS
        watched = watch.watched.get(oid)
        if watched is None:
            watched = _Watched(asyncio.get_running_loop().create_future(), until)
            watch.watched[oid] = watched
        watched.until, watched.since = until, None  # what was quiet while it could log in is none
        if watch.doing is None or watch.doing.done():
            watch.doing = asyncio.ensure_future(self._run(server, watch))
        await asyncio.shield(watched.quiet)

    async def close(self) -> None:
        """End what is being watched."""
        for watch in self._watches.values():
            if watch.doing is not None:
                watch.doing.cancel()
                await asyncio.wait({watch.doing})

    async def _run(self, server: str, watch: _Watch) -> None:
        failure: ProviderUnavailable | None = ProviderUnavailable("The operator is ending")
        try:
            async with self._servers.session(server, Purpose.WATCH) as session:
                hidden: dict[int, float] = {}
                while watch.watched:
                    await self._look(session, watch, hidden)
                    await asyncio.sleep(PAUSE_SECONDS)
                watch.doing, failure = None, None  # who comes from here on begins another
        except (ProviderUnavailable, ProviderRefused) as error:
            failure = failure and ProviderUnavailable(str(error))
        finally:
            if failure is not None:
                for oid in list(watch.watched):
                    _settle(watch.watched.pop(oid), failure)

    async def _look(self, session: Session, watch: _Watch, hidden: dict[int, float]) -> None:
        """Terminate what is there, and let those go that have been quiet."""
        oids = list(watch.watched)  # those that come meanwhile are not looked for yet
        # First those that hide: one that shows itself meanwhile is among the others then.
        waiting = await self._terminate_hidden(session, hidden)
        seen = await _terminate(session, oids)
        now = self._monotonic()
        for oid in oids:
            each = watch.watched[oid]
            if each.since is None or oid in seen:
                each.since = now
            if now - each.since >= QUIET_SECONDS and not waiting:
                _settle(watch.watched.pop(oid), None)
            elif now > each.until:
                text = f"Sessions on PostgreSQL server '{session.server}' do not end"
                _settle(watch.watched.pop(oid), ProviderUnavailable(text))

    async def _terminate_hidden(self, session: Session, hidden: dict[int, float]) -> bool:
        """Terminate logins that show no role for longer than one takes; tell whether one was ours.

        Of what is not ours the server says so: it compares roles where we cannot see them.
        `hidden` has since when each is seen.
        """
        now = self._monotonic()
        pids = {pid for (pid,) in await session.ask(HIDDEN)}
        for gone in hidden.keys() - pids:
            del hidden[gone]
        ours = False
        for pid in pids:
            if now - hidden.setdefault(pid, now) < HIDDEN_SECONDS:
                continue
            if await _terminate_one(session, pid):
                ours = True
            else:  # asked again a little later: its role may be revoked by then
                hidden[pid] = now
        return ours


async def _terminate(session: Session, oids: list[int]) -> set[int]:
    """Terminate the sessions of roles; return whose there were."""
    try:
        return {oid for oid, _ in await session.ask(TERMINATE_ALL, (oids,))}
    except StatementFailed as failure:
        if failure.sqlstate != NO_RIGHT:
            raise
    # One of them is a role no more, or not ours: that keeps none of the others alive.
    sessions = await session.ask(SESSIONS, (oids,))
    for pid, _ in sessions:
        await _terminate_one(session, pid)
    return {oid for _, oid in sessions}


async def _terminate_one(session: Session, pid: int) -> bool:
    """Tell whether a session is being terminated; False where it is not ours to."""
    try:
        [(done,)] = await session.ask(TERMINATE, (pid,))
    except StatementFailed as failure:
        if failure.sqlstate != NO_RIGHT:
            raise
        return False
    return bool(done)


def _settle(watched: _Watched, failure: ProviderUnavailable | None) -> None:
    if watched.quiet.done():
        return
    if failure is None:
        watched.quiet.set_result(None)
    else:
        watched.quiet.set_exception(failure)
        watched.quiet.exception()  # whoever waited may have given up
