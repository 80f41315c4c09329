"""The statements that change something, as psycopg composes them. Pure.

PostgreSQL takes no bound values in them, so names are `Identifier` and texts `Literal`, always.
"""

from collections.abc import Sequence
from datetime import datetime

from psycopg import sql

Statement = sql.Composable


def create_role(
    role: str, verifier: str, until: datetime, connections: int, comment: str
) -> list[Statement]:
    """Make the role, and mark it as ours."""
    return [
        sql.SQL(
            "CREATE ROLE {} LOGIN INHERIT NOSUPERUSER NOCREATEROLE NOCREATEDB NOREPLICATION "
            "NOBYPASSRLS PASSWORD {} VALID UNTIL {} CONNECTION LIMIT {}"
        ).format(
            sql.Identifier(role),
            sql.Literal(verifier),
            sql.Literal(until.isoformat()),
            sql.Literal(connections),
        ),
        sql.SQL("COMMENT ON ROLE {} IS {}").format(sql.Identifier(role), sql.Literal(comment)),
    ]


def alter_role(role: str, verifier: str, until: datetime, connections: int) -> list[Statement]:
    """Give a role that a first call made another password and time."""
    return [
        sql.SQL("ALTER ROLE {} LOGIN PASSWORD {} VALID UNTIL {} CONNECTION LIMIT {}").format(
            sql.Identifier(role),
            sql.Literal(verifier),
            sql.Literal(until.isoformat()),
            sql.Literal(connections),
        )
    ]


def default_timeouts(role: str, statement_seconds: int, idle_seconds: int) -> list[Statement]:
    """Set what sessions of the role start with: against mistakes, as a task can turn it off."""
    settings = {
        "statement_timeout": statement_seconds,
        "idle_in_transaction_session_timeout": idle_seconds,
    }
    return [
        sql.SQL("ALTER ROLE {} SET {} = {}").format(
            sql.Identifier(role), sql.Identifier(name), sql.Literal(f"{seconds}s")
        )
        for name, seconds in settings.items()
        if seconds
    ]


def join_groups(role: str, groups: Sequence[str], options: bool) -> list[Statement]:
    """Make the role a member. Where that can be said, it may not become the group.

    As the group it could make a function that is the group's, and runs with its rights for
    whoever calls it when the role is long gone.
    """
    how = sql.SQL(" WITH INHERIT TRUE, SET FALSE" if options else "")
    return [
        sql.SQL("GRANT {} TO {}{}").format(sql.Identifier(group), sql.Identifier(role), how)
        for group in groups
    ]


def made(role: str) -> Statement:
    """Read what the server has of the role now."""
    return sql.SQL("SELECT oid, rolvaliduntil FROM pg_roles WHERE rolname = {}").format(
        sql.Literal(role)
    )


def leave_groups(role: str, groups: Sequence[str]) -> list[Statement]:
    """Take the memberships back: open sessions have lost them at their next statement."""
    return [
        sql.SQL("REVOKE {} FROM {}").format(sql.Identifier(group), sql.Identifier(role))
        for group in groups
    ]


def take_over(role: str, options: bool) -> Statement:
    """Give the operator the role's rights: to end its sessions, and to drop what it owns."""
    how = sql.SQL(" WITH INHERIT TRUE, SET TRUE" if options else "")
    return sql.SQL("GRANT {} TO CURRENT_USER{}").format(sql.Identifier(role), how)


def at_once(milliseconds: int) -> list[Statement]:
    """Have this transaction wait for locks only so long, and for the disk not at all."""
    return [
        sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(milliseconds)),
        sql.SQL("SET LOCAL synchronous_commit = off"),
    ]


def forbid_login(role: str) -> Statement:
    """Refuse new sessions."""
    return sql.SQL("ALTER ROLE {} NOLOGIN").format(sql.Identifier(role))


def roll_back_prepared(role: str, transaction: str) -> list[Statement]:
    """Become the role, undo a transaction that it has prepared, and be oneself again.

    The second cannot be in a transaction with others.
    """
    return [
        sql.SQL("SET ROLE {}").format(sql.Identifier(role)),
        sql.SQL("ROLLBACK PREPARED {}").format(sql.Literal(transaction)),
        sql.SQL("RESET ROLE"),
    ]


def drop_owned(role: str) -> Statement:
    """Drop what the role owns in this database, and nothing of anybody else."""
    return sql.SQL("DROP OWNED BY {} RESTRICT").format(sql.Identifier(role))


def drop_role(role: str) -> Statement:
    """Drop the role."""
    return sql.SQL("DROP ROLE {}").format(sql.Identifier(role))
