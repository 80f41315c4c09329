"""Credentials for databases: a login role of its own for each grant, in the class's group roles.

What is made for a grant, in one transaction: role `taskpass-<grant id>` with a password that the
server is only told the verifier of, until a time and for so many sessions; a comment that marks it
as the grant's; its memberships (`issuing`). Before that the groups are looked at: what their
members could make outlive a credential is refused (`rights`).

How it is taken back, and proven, is in `ending`. A role is the grant's by its mark, or by name and
OID together. A server that is not listed any more, that is a standby, or that is another cluster of
databases than the one that issued proves nothing.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from taskpass.core.errors import DeclaredGone, ProviderRefused, ProviderUnavailable
from taskpass.core.model.capabilities import Capabilities
from taskpass.core.model.grant import Grant, Issued
from taskpass.core.model.task import CredentialClass, CredentialRequest
from taskpass.ports.clock import Clock
from taskpass.providers.postgresql.capabilities import capabilities_of
from taskpass.providers.postgresql.ending import Ending, Target
from taskpass.providers.postgresql.issuing import issue, must_be_able, must_be_fit
from taskpass.providers.postgresql.names import grant_of_role, mark_of, refusal_of_name, role_of
from taskpass.providers.postgresql.rights import describe_access, digest_of, read_rights
from taskpass.providers.postgresql.servers import Purpose, Servers
from taskpass.providers.postgresql.session import FailPoint, nowhere
from taskpass.providers.postgresql.settings import Server
from taskpass.providers.postgresql.standbys import Standbys
from taskpass.providers.postgresql.state import (
    MOUNT_PATH,
    State,
    groups_of,
    initial_state,
    resource_of,
)
from taskpass.providers.postgresql.watch import Watcher

INVENTORY = (
    "SELECT system_identifier::text, rolname, oid, shobj_description(oid, 'pg_authid') "
    "FROM pg_control_system(), pg_roles WHERE starts_with(rolname, 'taskpass-g-')"
)
FIRST_LIST_SECONDS = 1.0
"""How long the first inventory waits for a server: the operator's start waits for it."""
LIST_SECONDS = 15.0
NONE: Mapping[str, str] = MappingProxyType({})
logger = logging.getLogger(__name__)


class PostgresProvider:
    """`ports.CredentialProvider`."""

    def __init__(
        self, servers: Mapping[str, Server], *, clock: Clock, installation: str,
        retired: Mapping[str, str] = NONE, mount_path: str = MOUNT_PATH,
        fail_point: FailPoint = nowhere,
    ) -> None:  # fmt: skip
        """`installation` tells this cluster's roles from another's on the same server.

        It is a word without spaces, and the same for as long as the cluster lives. `retired` has
        why servers that were listed will never come back. `mount_path` is where a task's pod finds
        its Secret. `fail_point` is called around each change on a server.
        """
        self._retired = retired
        self._mount_path = mount_path
        self._patience = FIRST_LIST_SECONDS
        self._looked_at: frozenset[str] = frozenset()
        """Servers that answered the last inventory."""
        self._servers = Servers(servers, clock.monotonic, fail_point)
        self._watcher = Watcher(self._servers, clock.monotonic)
        self._standbys = Standbys(self._servers, self._watcher, clock.monotonic)
        self._ending = Ending(self._servers, self._watcher, clock.monotonic)
        self._installation = installation

    async def close(self) -> None:
        """Close what is open."""
        await self._watcher.close()
        await self._servers.close()

    def capabilities(self, credential_class: CredentialClass) -> Capabilities:
        """Return what `capabilities_of` says of it."""
        return capabilities_of(credential_class)

    def problem(self, credential_class: CredentialClass) -> str | None:
        """See `ports.CredentialProvider`: what the settings list may keep it from that."""
        config = credential_class.config
        if credential_class.locations:
            return "spec.locations must not be set: the server is spec.postgresql.server"
        if config["server"] in self._retired:
            return _declared(config["server"], self._retired[config["server"]])
        server = self._servers.listed.get(config["server"])
        if server is None:
            return (
                f"PostgreSQL server '{config['server']}' is not listed; an administrator lists it "
                "in the value `postgresql.servers` of the chart"
            )
        for name in (config["database"], *(role["name"] for role in config["roles"])):
            if refusal := refusal_of_name(name):
                return f"spec.postgresql: {refusal}"
        for role in config["roles"]:
            if role["name"] not in server.databases.get(config["database"], ()):
                return (
                    f"Group role '{role['name']}' may not be used in database "
                    f"'{config['database']}' of PostgreSQL server '{config['server']}'; an "
                    "administrator lists it in the value `postgresql.servers` of the chart"
                )
        return None

    async def obstacles(self, credential_class: CredentialClass) -> list[str]:
        """Return what would be refused at issue, each once; nothing is made.

        Raises:
            ProviderUnavailable: It could not be found out.

        """
        if problem := self.problem(credential_class):
            return [problem]
        found: dict[str, None] = {}
        for role in credential_class.config["roles"]:
            try:
                await self._examine(credential_class, role["action"])
            except ProviderRefused as refusal:
                found[str(refusal)] = None
        found |= dict.fromkeys(await self._standbys.obstacles(credential_class.config["server"]))
        return list(found)

    def prepare(
        self, request: CredentialRequest, credential_class: CredentialClass, grant_id: str
    ) -> Mapping[str, Any]:
        """Return the name of the role that will be made, and where. Pure.

        Raises:
            ProviderRefused: The class or the settings do not give what is asked for.

        """
        if problem := self.problem(credential_class):
            raise ProviderRefused(problem)
        return initial_state(request, credential_class, grant_id, self._mount_path)

    async def permissions_digest(self, credential_class: CredentialClass) -> str:
        """Return a digest of what the group roles may do in the class's database.

        Raises:
            ProviderUnavailable, ProviderRefused: See `ports.CredentialProvider`.

        """
        groups = groups_of(credential_class, credential_class.actions)
        return digest_of(await self._rights(credential_class, groups))

    async def describe(self, credential_class: CredentialClass, actions: Sequence[str]) -> str:
        """Return what the actions give, for people: which roles where, and what those may do now.

        Raises:
            ProviderUnavailable, ProviderRefused: As `permissions_digest`.

        """
        config = credential_class.config
        groups = groups_of(credential_class, actions)
        rights = await self._rights(credential_class, groups)
        tls = config.get("tls", "VerifyFull")
        return describe_access(groups, config["database"], config["server"], tls, rights)

    async def issue(self, grant: Grant, audience: str) -> Issued:
        """Issue what `grant.provider_state` says. Usable on return.

        `audience` is that of the agent's identity, which a database knows nothing of.
        """
        state = State.fitting(grant)
        if state is None:
            raise ProviderRefused(f"What is recorded of grant {grant.id} is not its own")
        return await issue(self._servers, self._installation, grant, state)

    async def revoke(self, grant: Grant) -> None:
        """End the grant's role and its sessions; return once the server has neither.

        A record that is not what was prepared for the grant was edited. What bears the grant's name
        and mark is ended then, on every server, and nothing counts as gone.
        """
        state = State.fitting(grant)
        if state is not None and state.server in self._retired:
            raise DeclaredGone(_declared(state.server, self._retired[state.server]))
        if state is not None:
            tenant = grant.task.namespace
            await self._ending.end(
                self._target(state.server, grant.id, state.oid, state.system, tenant)
            )
            return
        endings = (
            self._ending.end(self._target(name, grant.id, 0, "")) for name in self._servers.listed
        )
        await asyncio.gather(*endings, return_exceptions=True)
        raise ProviderUnavailable(
            f"What is recorded of grant {grant.id} names a role or a database that is not its own. "
            "What is found under its own name is dropped, and whether that is all is not known; "
            "restore a copy of the ledger that `taskpass audit verify` accepts"
        )

    async def inventory(self) -> Mapping[str, Mapping[str, Any]]:
        """Return this installation's roles by grant id, of all servers that answer.

        Of the others nothing is known, and nothing of them counts as gone until they do. A start
        waits for the first of these, so that one waits for no server that hangs; a later one does.

        Raises:
            ProviderUnavailable: None of them does.

        """
        found: dict[str, dict[str, Any]] = {}
        names = tuple(self._servers.listed)
        patience, self._patience = self._patience, LIST_SECONDS
        lists = await asyncio.gather(
            *(self._list(name, patience) for name in names), return_exceptions=True
        )
        failed = {
            n: each for n, each in zip(names, lists, strict=True) if isinstance(each, BaseException)
        }
        for name, error in failed.items():
            if len(failed) == len(names) or not isinstance(error, ProviderUnavailable):
                raise error
            logger.warning(
                "A server was not looked at, the others were",
                extra={"server": name, "error": str(error)},
            )
        self._looked_at = frozenset(names) - failed.keys()
        for name, roles in zip(names, lists, strict=True):
            for grant_id, system, oid in () if isinstance(roles, BaseException) else roles:
                roles_of_it = found.setdefault(grant_id, {"roles": []})["roles"]
                roles_of_it.append({"server": name, "system": system, "oid": oid})
        return found

    def is_gone(self, grant: Grant, found: Mapping[str, Any] | None) -> bool:
        """Tell whether the grant's role is gone: one of another OID has another password.

        Where its server did not answer the last inventory, or is not listed, nobody knows.
        """
        state = grant.provider_state
        if state.get("server") not in self._looked_at:
            return False
        recorded = (state.get("system"), state.get("oid"))
        return found is None or all((r["system"], r["oid"]) != recorded for r in found["roles"])

    def surplus(self, grant: Grant, found: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Return the roles of the grant's name that are not the one that it records.

        One cluster of databases may be listed under two names, so it is known by its identifier.
        While its OID is not known, any may be the one that is being made. A record that is not the
        grant's says of none that it is too much.
        """
        state = State.fitting(grant)
        if state is None or not state.oid:
            return None
        own = (state.system, state.oid)
        more = [role for role in found["roles"] if (role["system"], role["oid"]) != own]
        return {"roles": more} if more else None

    async def undo(self, grant_id: str, state: Mapping[str, Any]) -> None:
        """Remove what `inventory` found and no live grant answers for."""
        for role in state.get("roles", ()):
            await self._ending.end(self._target(role["server"], grant_id, role["oid"], ""))

    def _target(
        self, server: str, grant_id: str, oid: int, system: str, tenant: str = ""
    ) -> Target:
        return Target(
            server=server, grant_id=grant_id, installation=self._installation,
            role=role_of(grant_id), oid=oid, system=system, tenant=tenant,
        )  # fmt: skip

    async def _list(self, name: str, patience: float) -> list[tuple[str, str, int]]:
        """Return grant id, the server's identifier and OID of each role of ours on one server."""
        try:
            async with (
                asyncio.timeout(patience),
                self._servers.session(name, Purpose.READ) as session,
            ):
                rows = await session.ask(INVENTORY)
        except TimeoutError:
            raise ProviderUnavailable(
                f"PostgreSQL server '{name}' did not answer within {patience:.0f} s"
            ) from None
        ours: list[tuple[str, str, int]] = []
        for system, role, oid, comment in rows:
            grant_id, mark = grant_of_role(role), mark_of(comment)
            if grant_id is None:
                continue
            if mark is None or mark.grant_id != grant_id:
                logger.warning(
                    "A role with the name of a grant's is not marked as one, and is left alone",
                    extra={"server": name, "role": role},
                )
            elif mark.installation == self._installation:
                ours.append((grant_id, system, oid))
        return ours

    async def _rights(self, credential_class: CredentialClass, groups: Sequence[str]) -> Any:
        if problem := self.problem(credential_class):
            raise ProviderRefused(problem)
        config = credential_class.config
        async with self._servers.session(
            config["server"], Purpose.READ, config["database"]
        ) as session:
            return await read_rights(session, groups)

    async def _examine(self, credential_class: CredentialClass, action: str) -> None:
        config = credential_class.config
        request = CredentialRequest(
            name="doctor",
            class_name=credential_class.name,
            actions=(action,),
            resources=(resource_of(config["server"], config["database"]),),
        )
        state = State(self.prepare(request, credential_class, "doctor"))
        async with self._servers.session(state.server, Purpose.READ, state.database) as session:
            await must_be_fit(session, state)
            await must_be_able(session, state)


def _declared(server: str, reason: str) -> str:
    return f"PostgreSQL server '{server}' was declared gone by configuration: {reason}"
