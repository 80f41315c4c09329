"""Issue: look at what the groups may do, then make the role and its memberships in one go.

What is made is one transaction in one round trip: a role without its mark, or without its groups,
is never there. A call that lost its answer may have made it, or make it yet: it says whose it is in
`application_name`, and a revocation ends it first.
"""

import secrets
from datetime import UTC, datetime, timedelta
from typing import cast

from taskpass.core.errors import ProviderRefused, ProviderUnavailable
from taskpass.core.model.grant import Grant, Issued
from taskpass.providers.postgresql.capabilities import PUBLIC_FIELDS
from taskpass.providers.postgresql.ending import call_name
from taskpass.providers.postgresql.failures import StatementFailed, refused
from taskpass.providers.postgresql.fields import credential_fields
from taskpass.providers.postgresql.names import Mark, comment_of, mark_of
from taskpass.providers.postgresql.rights import (
    Right,
    connects_to,
    describe_access,
    exists,
    privilege_escalation,
    read_rights,
)
from taskpass.providers.postgresql.servers import Purpose, Servers
from taskpass.providers.postgresql.session import Session
from taskpass.providers.postgresql.settings import Server
from taskpass.providers.postgresql.state import State
from taskpass.providers.postgresql.statements import (
    alter_role,
    create_role,
    default_timeouts,
    join_groups,
    made,
)

PASSWORD_BYTES = 32
BEGIN = (
    "SELECT set_config('application_name', %(call)s, false), clock_timestamp(), "
    "system_identifier::text, oid, shobj_description(oid, 'pg_authid') "
    "FROM pg_control_system() LEFT JOIN pg_roles ON rolname = %(role)s"
)
ABLE = "SELECT rolname::text, rolcreaterole OR rolsuper FROM pg_roles WHERE rolname = current_user"
NOT_ADMIN = (
    "SELECT rolname::text FROM pg_roles WHERE rolname = ANY(%s) "
    "AND NOT pg_has_role(current_user, oid, 'MEMBER WITH ADMIN OPTION')"
)
OVER = "SELECT set_config('application_name', 'taskpass', false)"


async def issue(servers: Servers, installation: str, grant: Grant, state: State) -> Issued:
    """Issue what the state says, and complete it; `installation` is in the role's mark.

    Raises:
        ProviderUnavailable, ProviderRefused: See `ports.CredentialProvider`.

    """
    server = servers.get(state.server)
    ca = _read_ca(state.server, server)
    password = secrets.token_urlsafe(PASSWORD_BYTES)
    failure: StatementFailed | None = None
    try:
        async with servers.session(
            state.server, Purpose.ISSUE, state.database, tenant=grant.task.namespace
        ) as session:
            expires_at, rights = await _make(session, installation, grant, state, password)
    except StatementFailed as error:
        failure = error
    if failure is not None:
        raise refused(failure) or failure
    return Issued(
        provider_state=state.as_json(),
        expires_at=expires_at,
        credential_ref=f"{state.role}/{state.oid}",
        fields=credential_fields(grant.name, state, server, password, ca),
        primary="password",
        public=PUBLIC_FIELDS,
        gives=describe_access(state.groups, state.database, state.server, state.tls, rights),
    )


async def must_be_fit(session: Session, state: State) -> frozenset[Right]:
    """Return what the groups may do.

    Raises:
        ProviderRefused: They are not there, or give what could not be taken back.
        ProviderUnavailable: The server could not tell.

    """
    rights = await read_rights(session, state.groups)
    missing = [group for group in state.groups if not exists(rights, group)]
    if missing:
        raise ProviderRefused(
            f"Group role '{missing[0]}' does not exist on PostgreSQL server '{state.server}'; "
            "create it, or name another in the CredentialClass"
        )
    if not connects_to(rights, state.database):
        raise ProviderRefused(
            f"Group role '{state.groups[0]}' may not connect to database '{state.database}' on "
            f"PostgreSQL server '{state.server}'; GRANT CONNECT ON DATABASE to it"
        )
    escape = privilege_escalation(rights, session.has_membership_options)
    if escape and not state.privilege_escalation_allowed:
        raise ProviderRefused(
            f"On PostgreSQL server '{state.server}' {escape}, and revocation would not reach that; "
            "narrow the group role, or set spec.postgresql.privilegeEscalation of the "
            "CredentialClass to Allowed"
        )
    return rights


async def must_be_able(session: Session, state: State) -> None:
    """Raise `ProviderRefused` where the operator's own role may not make members of the groups.

    Raises:
        ProviderUnavailable: The server could not tell.

    """
    [(user, makes_roles)] = await session.ask(ABLE)
    if not makes_roles:
        raise ProviderRefused(
            f"The operator's role '{user}' may not make roles on PostgreSQL server "
            f"'{state.server}'; ALTER ROLE it CREATEROLE"
        )
    if not session.has_membership_options:
        return  # before 16 CREATEROLE is enough for any group
    for [group] in await session.ask(NOT_ADMIN, (list(state.groups),)):
        raise ProviderRefused(
            f"The operator's role '{user}' may not make members of group role '{group}' on "
            f"PostgreSQL server '{state.server}'; GRANT it WITH ADMIN TRUE, INHERIT FALSE, SET "
            "FALSE"
        )


async def _make(
    session: Session, installation: str, grant: Grant, state: State, password: str
) -> tuple[datetime, frozenset[Right]]:
    """Make the role; return when the server ends it, by its own clock, and what it may do."""
    begun = {"call": call_name(grant.id), "role": state.role}
    [(_, now, system, oid, comment)] = await session.ask(BEGIN, begun)
    rights = await must_be_fit(session, state)
    if oid is not None and mark_of(comment) != Mark(grant.id, installation):
        raise ProviderRefused(
            f"Role '{state.role}' exists on PostgreSQL server '{state.server}' and was not made by "
            "taskpass; drop it"
        )
    until = now.astimezone(UTC).replace(microsecond=0) + timedelta(seconds=grant.lifetime_seconds)
    verifier = session.verifier(state.role, password)
    if oid is None:
        made_for = comment_of(grant.id, installation, str(grant.task))
        making = create_role(state.role, verifier, until, state.connections, made_for)
    else:
        making = alter_role(state.role, verifier, until, state.connections)
    [(state.oid, stated)] = await session.run(
        *making,
        *join_groups(state.role, state.groups, session.has_membership_options),
        *default_timeouts(state.role, state.statement_seconds, state.idle_seconds),
        made(state.role),
    )
    state.system = system
    # By itself: until its transaction is over, the session is one that a revocation must end.
    await session.ask(OVER)
    return cast(datetime, stated).astimezone(UTC), rights


def _read_ca(name: str, server: Server) -> str:
    try:
        return server.ca_file.read_text()
    except (OSError, UnicodeError):
        pass
    raise ProviderUnavailable(f"The CA file of PostgreSQL server '{name}' cannot be read")
