"""End what a grant made on one server, and prove it, from what is recorded alone.

The order, and why:

1. What an earlier call of ours still does for the grant is ended: it could make the role later.
2. The memberships go: every open session has lost its access at its next statement. The operator
   takes the role over, so that it may do what follows.
3. The role is NOLOGIN. A task that changes its own password in an open or a prepared transaction
   can hold this up, so 2 is done without it then, and it is asked for again while those are ended.
4. Sessions are terminated until none has been there for a quarter of a second: a cursor that is
   open reads on until then. So they are on the standbys that are listed, once those have heard.
5. In each database where the server knows something of the role: prepared transactions are rolled
   back, and what it owns is dropped. Not given to somebody else: a view or a function would go on
   with the new owner's rights. Nor is anything dropped that is not its own.
6. The role is dropped, and the server has neither its OID nor a session of that.

2 and 3 do not wait for the server's disk. What a crash undoes of them is found undone: nothing
counts as gone before 6, which does wait.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
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
from taskpass.providers.postgresql.session import Row, Session
from taskpass.providers.postgresql.standbys import Standbys
from taskpass.providers.postgresql.statements import (
    at_once,
    drop_owned,
    drop_role,
    forbid_login,
    leave_groups,
    roll_back_prepared,
    take_over,
)
from taskpass.providers.postgresql.watch import PAUSE_SECONDS, Watcher

OWN_SECONDS = 3.0
"""How long an earlier call of ours may take to end."""
BRIEF_MILLISECONDS = 100
"""How long what ends access waits for somebody else's transaction."""
BARS = 3
"""How often NOLOGIN is asked for while the task's transactions are terminated."""
DROPS = 3
"""How often a role is dropped anew that somebody, as the role, makes something for meanwhile."""
FIND = """
SELECT own.calls, system_identifier::text, r.oid, r.rolname, shobj_description(r.oid, 'pg_authid'),
       ARRAY(SELECT g.rolname FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid
              WHERE m.member = r.oid {ours})
  FROM pg_control_system(), ({calls}) own
  LEFT JOIN pg_roles r ON r.rolname = %(role)s OR r.oid = %(oid)s
"""
CALLS = (
    "SELECT count(pg_terminate_backend(pid)) AS calls FROM pg_stat_activity "
    "WHERE usename = current_user AND application_name = %(call)s AND pid <> pg_backend_pid()"
)
NO_CALLS = "SELECT 0 AS calls"
OURS = "AND m.grantor = current_user::regrole"
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
    tenant: str = ""
    """Whose turn it takes: the task's namespace."""


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
    groups: tuple[str, ...]
    """What it is a member of, by us."""
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
        self._standbys = Standbys(servers, watcher, monotonic)
        self._monotonic = monotonic

    async def end(self, target: Target) -> None:
        """Return once the role is proven gone, and every session of it.

        Raises:
            ProviderUnavailable: Something is there, or nobody knows.

        """
        async with self._session(target, Purpose.CUT) as session:
            present = await self._find(session, target)
            barred = present.role is None or await _cut(session, present.role, present.groups)
        if present.role is not None:
            if not barred:
                await self._bar(target, present.role)
            await self._until_quiet(target.server, present.role.oid)
        async with self._session(target, Purpose.DROP) as session:
            if present.role is not None:
                await self._drop(session, target, present.role)
            for oid in present.oids:
                await _prove(session, oid)
        for oid in present.oids:
            await self._standbys.prove(target.server, oid)
        if present.anothers is not None:
            raise NotItsOwn(
                f"On PostgreSQL server '{target.server}' role '{present.anothers}' has the name or "
                f"the OID that is recorded of grant {target.grant_id}, and what marks it is not "
                "its own; drop it if nobody needs it"
            )

    async def _until_quiet(self, server: str, oid: int) -> None:
        """End all sessions; what cannot be ended on one server keeps nobody in on another."""
        both = (self._watcher.until_quiet(server, oid), self._standbys.until_quiet(server, oid))
        for each in await asyncio.gather(*both, return_exceptions=True):
            if each is not None:
                raise each

    async def _find(self, session: Session, target: Target) -> Present:
        """Find the grant's role, by name and by OID, once no earlier call for it is at work."""
        ours = OURS if session.has_membership_options else ""
        # Where the OID is recorded, the call that made it was answered.
        calls = NO_CALLS if target.oid else CALLS
        query = FIND.replace("{ours}", ours).replace("{calls}", calls)
        asked = {"call": call_name(target.grant_id), "role": target.role, "oid": target.oid}
        until = self._monotonic() + OWN_SECONDS
        while (rows := await session.ask(query, asked))[0][0]:
            if self._monotonic() > until:
                raise ProviderUnavailable(
                    f"An earlier call on PostgreSQL server '{target.server}' does not end"
                )
            await asyncio.sleep(PAUSE_SECONDS)
        return _present(target, rows)

    async def _bar(self, target: Target, role: Role) -> None:
        """Forbid logins while what the task has begun is ended: some of it holds that up.

        Who waits for the role's row is served in turn, and those before us are the task's. A
        transaction that it has prepared keeps the row locked without any session.
        """
        for left in reversed(range(BARS)):
            watching = asyncio.ensure_future(self._watcher.until_quiet(target.server, role.oid))
            try:
                async with self._session(target, Purpose.DROP) as session:
                    for (database,) in await session.ask(PREPARED_IN, (role.name,)):
                        await self._roll_back(target, database, role.name)
                    await session.run(forbid_login(role.name))
                return
            except StatementFailed as failure:
                if failure.sqlstate != LOCK_NOT_AVAILABLE or not left:
                    raise
            finally:
                watching.cancel()
                await asyncio.wait({watching})

    async def _drop(self, session: Session, target: Target, role: Role) -> None:
        for left in reversed(range(DROPS)):
            for (database,) in await session.ask(DATABASES, {"oid": role.oid, "role": role.name}):
                await self._clear(target, database, role.name)
            try:
                await session.run(drop_owned(role.name), drop_role(role.name))
                return
            except StatementFailed as failure:
                if failure.sqlstate == UNDEFINED:
                    return  # somebody was faster; the proof is by OID
                if failure.sqlstate != DEPENDENTS or not left:
                    raise

    async def _clear(self, target: Target, database: str, role: str) -> None:
        """Drop what the role owns in one database, and what it was granted there."""
        await self._roll_back(target, database, role)
        async with self._session(target, Purpose.CLEAR, database) as session:
            await session.run(drop_owned(role))

    def _session(
        self, target: Target, purpose: Purpose, database: str | None = None
    ) -> AbstractAsyncContextManager[Session]:
        return self._servers.session(target.server, purpose, database, tenant=target.tenant)

    async def _roll_back(self, target: Target, database: str, role: str) -> None:
        """Undo what the role has prepared in one database."""
        async with self._session(target, Purpose.CLEAR, database) as session:
            for (transaction,) in await session.ask(PREPARED, (role,)):
                for statement in roll_back_prepared(role, transaction):
                    await session.run(statement)


def _present(target: Target, rows: Sequence[Row]) -> Present:
    """Return what of the rows is the grant's.

    Raises:
        ProviderUnavailable: Another cluster of databases answers than the one that has it.

    """
    role, groups, anothers = None, (), None
    for _, _, oid, name, comment, members in rows:
        if name is None:
            continue
        marked = mark_of(comment) == Mark(target.grant_id, target.installation)
        if marked or (name, oid) == (target.role, target.oid):
            role, groups = Role(oid, name), tuple(members)
        else:
            anothers = str(name)
    system = rows[0][1]
    if role is None and anothers is None and target.system not in ("", system):
        raise ProviderUnavailable(
            f"PostgreSQL server '{target.server}' is another than the one that issued it; list the "
            "address of that one until nothing of it is held"
        )
    oids = {role.oid} if role else set()
    if target.oid and anothers is None:
        oids.add(target.oid)
    return Present(role, groups, anothers, frozenset(oids))


async def _cut(session: Session, role: Role, groups: Sequence[str]) -> bool:
    """End access; tell whether new sessions are refused already."""
    briefly = at_once(BRIEF_MILLISECONDS)
    taken = take_over(role.name, session.has_membership_options)
    left = leave_groups(role.name, groups)
    barred = forbid_login(role.name)
    # All at once; where one part has to wait for somebody, the others do not.
    for bars, statements in (
        (True, (*left, taken, barred)),
        (False, (*left, taken)),
        (False, (taken,)),
    ):
        try:
            await session.run(*briefly, *statements)
        except StatementFailed as failure:
            last = failure
        else:
            return bars or await _forbid_login(session, role)
    if last.sqlstate == UNDEFINED:
        return True
    raise last


async def _forbid_login(session: Session, role: Role) -> bool:
    """Make the role NOLOGIN; False where the task has its row locked."""
    try:
        await session.run(*at_once(BRIEF_MILLISECONDS), forbid_login(role.name))
    except StatementFailed as failure:
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
