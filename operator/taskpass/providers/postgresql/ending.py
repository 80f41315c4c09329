"""End what a grant made on one server, and prove it, from what is recorded alone.

The order, and why:

1. What an earlier call of ours still does for the grant is ended: it could make the role later.
2. The memberships go, in one transaction with which the operator takes the role over. Every open
   session has lost its access at its next statement, and nothing that a task holds delays that.
3. The role is NOLOGIN. A task that changes its own password in an open or a prepared transaction
   can hold this up, so it is asked for again while those are ended.
4. Sessions are terminated until none has been there for a quarter of a second: a cursor that is
   open reads on until then.
5. In each database where the server knows something of the role: prepared transactions are rolled
   back, and what it owns is dropped. Not given to somebody else: a view or a function would go on
   with the new owner's rights. Nor is anything dropped that is not its own.
6. The role is dropped, and the server has neither its OID nor a session of that.

2 and 3 do not wait for the server's disk. What a crash undoes of them is found undone: nothing
counts as gone before 6, which does wait.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from taskpass.core.errors import ProviderUnavailable
from taskpass.providers.postgresql.failures import (
    DEPENDENTS,
    LOCK_NOT_AVAILABLE,
    UNDEFINED,
    StatementFailed,
)
from taskpass.providers.postgresql.names import Mark, mark_of
from taskpass.providers.postgresql.servers import Purpose, Servers
from taskpass.providers.postgresql.session import Session
from taskpass.providers.postgresql.statements import (
    at_once,
    drop_owned,
    drop_role,
    forbid_login,
    leave_groups,
    roll_back_prepared,
    take_over,
)
from taskpass.providers.postgresql.watch import PAUSE_SECONDS, TERMINATE_ALL, Watcher

OWN_SECONDS = 3.0
"""How long an earlier call of ours may take to end."""
BRIEF_MILLISECONDS = 100
"""How long what ends access waits for somebody else's transaction."""
BARS = 3
"""How often NOLOGIN is asked for while the task's transactions are terminated."""
DROPS = 3
"""How often a role is dropped anew that somebody, as the role, makes something for meanwhile."""
OWN_CALLS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE usename = current_user AND application_name = %s AND pid <> pg_backend_pid()"
)
LOOK = (
    "SELECT oid, rolname, shobj_description(oid, 'pg_authid'), "
    "(SELECT system_identifier::text FROM pg_control_system()) "
    "FROM pg_roles RIGHT JOIN (SELECT) one ON rolname = %s OR oid = %s"
)
GROUPS = (
    "SELECT g.rolname FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid "
    "WHERE m.member = %s"
)
OUR_GROUPS = f"{GROUPS} AND m.grantor = current_user::regrole"
"""From 16 on, a membership is taken back by who gave it; what others gave goes with the role."""
DATABASES = (
    "SELECT d.datname FROM pg_shdepend s JOIN pg_database d ON d.oid = s.dbid "
    "WHERE s.refclassid = 'pg_authid'::regclass AND s.refobjid = %(oid)s "
    "UNION SELECT database FROM pg_prepared_xacts WHERE owner = %(role)s"
)
PREPARED_IN = "SELECT DISTINCT database FROM pg_prepared_xacts WHERE owner = %s"
PREPARED = "SELECT gid FROM pg_prepared_xacts WHERE owner = %s AND database = current_database()"
LEFT = (
    "SELECT EXISTS (SELECT FROM pg_roles WHERE oid = %(oid)s), "
    "EXISTS (SELECT FROM pg_stat_activity WHERE usesysid = %(oid)s)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is to be ended: the role of one grant on one server."""

    server: str
    grant_id: str
    installation: str
    role: str
    oid: int
    """0: not known."""
    system: str
    """Identifier of the cluster of databases; '' where it is not known."""


@dataclass(frozen=True, slots=True)
class Role:
    """The grant's role, as it is called now."""

    oid: int
    name: str


@dataclass(frozen=True, slots=True)
class Present:
    """What a server has by a grant's name and OID."""

    role: Role | None
    """None: it is not there."""
    anothers: str | None
    """Name of a role that may be somebody else's; None where there is none."""
    oids: frozenset[int]
    """Those of which nothing must be left."""


class NotItsOwn(ProviderUnavailable):
    """A role is there that may be another's: it is left alone, and nothing counts as gone."""


def call_name(grant_id: str) -> str:
    """Return what a session is called that issues a grant."""
    return f"taskpass {grant_id}"


class Ending:
    """Ends grants' roles."""

    def __init__(self, servers: Servers, watcher: Watcher, monotonic: Callable[[], float]) -> None:
        """`watcher` is shared by all that end."""
        self._servers = servers
        self._watcher = watcher
        self._monotonic = monotonic

    async def end(self, target: Target) -> None:
        """Return once the role is proven gone, and every session of it.

        Raises:
            ProviderUnavailable: Something is there, or nobody knows.

        """
        async with self._servers.session(target.server, Purpose.CUT) as session:
            await self._end_own_calls(session, target)
            present = await _find(session, target)
            barred = present.role is None or await _cut(session, present.role)
        if present.role is not None:
            if not barred:
                await self._bar(target.server, present.role)
            await self._watcher.until_quiet(target.server, present.role.oid)
        async with self._servers.session(target.server, Purpose.DROP) as session:
            if present.role is not None:
                await self._drop(session, target.server, present.role)
            for oid in present.oids:
                await _prove(session, oid)
        if present.anothers is not None:
            raise NotItsOwn(
                f"On PostgreSQL server '{target.server}' role '{present.anothers}' has the name or "
                f"the OID that is recorded of grant {target.grant_id}, and what marks it is not "
                "its own; drop it if nobody needs it"
            )

    async def _end_own_calls(self, session: Session, target: Target) -> None:
        """Return once no earlier call for the grant is at work."""
        until = self._monotonic() + OWN_SECONDS
        while await session.ask(OWN_CALLS, (call_name(target.grant_id),)):
            if self._monotonic() > until:
                raise ProviderUnavailable(
                    f"An earlier call on PostgreSQL server '{target.server}' does not end"
                )
            await asyncio.sleep(PAUSE_SECONDS)

    async def _bar(self, server: str, role: Role) -> None:
        """Forbid logins while what the task has begun is ended: some of it holds that up.

        Who waits for the role's row is served in turn, and those before us are the task's. A
        transaction that it has prepared keeps the row locked without any session.
        """
        for left in reversed(range(BARS)):
            watching = asyncio.ensure_future(self._watcher.until_quiet(server, role.oid))
            try:
                async with self._servers.session(server, Purpose.DROP) as session:
                    for (database,) in await session.ask(PREPARED_IN, (role.name,)):
                        await self._roll_back(server, database, role.name)
                    await session.run(forbid_login(role.name))
                return
            except StatementFailed as failure:
                if failure.sqlstate != LOCK_NOT_AVAILABLE or not left:
                    raise
            finally:
                await asyncio.wait({watching})
                watching.exception()

    async def _drop(self, session: Session, server: str, role: Role) -> None:
        for left in reversed(range(DROPS)):
            for (database,) in await session.ask(DATABASES, {"oid": role.oid, "role": role.name}):
                await self._clear(server, database, role.name)
            try:
                await session.run(drop_owned(role.name), drop_role(role.name))
                return
            except StatementFailed as failure:
                if failure.sqlstate == UNDEFINED:
                    return  # somebody was faster; the proof is by OID
                if failure.sqlstate != DEPENDENTS or not left:
                    raise

    async def _clear(self, server: str, database: str, role: str) -> None:
        """Drop what the role owns in one database, and what it was granted there."""
        await self._roll_back(server, database, role)
        async with self._servers.session(server, Purpose.CLEAR, database) as session:
            await session.run(drop_owned(role))

    async def _roll_back(self, server: str, database: str, role: str) -> None:
        """Undo what the role has prepared in one database."""
        async with self._servers.session(server, Purpose.CLEAR, database) as session:
            for (transaction,) in await session.ask(PREPARED, (role,)):
                for statement in roll_back_prepared(role, transaction):
                    await session.run(statement)


async def _find(session: Session, target: Target) -> Present:
    """Look for the grant's role, by name and by OID.

    Raises:
        ProviderUnavailable: Another cluster of databases answers than the one that has it.

    """
    rows = await session.ask(LOOK, (target.role, target.oid))
    role, anothers = None, None
    for oid, name, comment, _ in rows:
        if name is None:
            continue
        mark = mark_of(comment)
        marked = mark == Mark(target.grant_id, target.installation)
        if marked or (name, oid) == (target.role, target.oid):
            role = Role(oid, name)
        else:
            anothers = str(name)
    if role is None and anothers is None and target.system not in ("", rows[0][3]):
        raise ProviderUnavailable(
            f"PostgreSQL server '{target.server}' is another than the one that issued it; list the "
            "address of that one until nothing of it is held"
        )
    oids = {role.oid} if role else set()
    if target.oid and anothers is None:
        oids.add(target.oid)
    return Present(role, anothers, frozenset(oids))


async def _cut(session: Session, role: Role) -> bool:
    """End access; tell whether new sessions are refused already."""
    options = session.has_membership_options
    groups = [name for (name,) in await session.ask(OUR_GROUPS if options else GROUPS, (role.oid,))]
    begun = at_once(BRIEF_MILLISECONDS)
    taken = take_over(role.name, options)
    try:
        await session.run(*begun, *leave_groups(role.name, groups), taken)
    except StatementFailed:
        # A group that is being granted to somebody is locked (from 16 on), and one may not be ours
        # to take back any more: then its sessions end with what they have, and it with the role.
        try:
            await session.run(*begun, taken)
        except StatementFailed as failure:
            if failure.sqlstate == UNDEFINED:
                return True
            raise
    barred = await _forbid_login(session, role)
    await session.ask(TERMINATE_ALL, ([role.oid],))
    return barred


async def _forbid_login(session: Session, role: Role) -> bool:
    """Make the role NOLOGIN; False where the task has its row locked."""
    try:
        await session.run(*at_once(BRIEF_MILLISECONDS), forbid_login(role.name))
    except StatementFailed as failure:
        if failure.sqlstate == UNDEFINED:
            return True
        if failure.sqlstate != LOCK_NOT_AVAILABLE:
            raise
        return False
    return True


async def _prove(session: Session, oid: int) -> None:
    [(role, sessions)] = await session.ask(LEFT, {"oid": oid})
    if role or sessions:
        what = "a role" if role else "a session"
        raise ProviderUnavailable(
            f"PostgreSQL server '{session.server}' still has {what} of the grant"
        )
