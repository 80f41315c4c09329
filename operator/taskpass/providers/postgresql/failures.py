"""What goes wrong between us and a server, in words that hold nothing a server or a file said.

psycopg's errors quote statements, and a statement of ours has a password's verifier. None of them
leaves this package, not even as another error's context: what is raised is made from its SQLSTATE.
"""

import re

import psycopg

from taskpass.core.errors import ProviderRefused, ProviderUnavailable

LOCK_NOT_AVAILABLE = "55P03"
DEPENDENTS = "2BP01"
UNDEFINED = "42704"
NO_RIGHT = "42501"
MOST_DEPENDENTS = 300
"""Characters of the server's list of what depends on a task's objects."""
SAID = {
    NO_RIGHT: "refuses it to the operator's role",
    UNDEFINED: "knows no such role",
    DEPENDENTS: "has objects of others that depend on the task's own",
    LOCK_NOT_AVAILABLE: "has somebody else hold a lock that is needed",
    "57014": "took too long",
    "25006": "takes no writes now",
    "42710": "has the role already: it is being made by another call",
    "53200": "has too few locks for all that the task has made: raise max_locks_per_transaction",
    "53300": "has no connection left",
}
"""By SQLSTATE."""
REFUSALS = frozenset({NO_RIGHT, UNDEFINED, "22021", "22023", "42602", "42939"})
"""What says no to an issue for good: a right, a role, a name. All else may come right by itself."""
CONNECTING = (
    ("password authentication failed", "does not accept the password of the operator's role"),
    ("certificate verify failed", "has a certificate that the CA file does not vouch for"),
    ("signature failure", "has a certificate that the CA file does not vouch for"),
    ("does not match host name", "has a certificate of another name"),
    ("root certificate", "cannot be verified: the CA file cannot be read"),
    ("no pg_hba.conf entry", "has no line in pg_hba.conf that lets the operator's role in"),
    ("permission denied for database", "refuses the operator's role CONNECT on the database"),
    ("is not permitted to log in", "does not let the operator's role log in"),
    ("does not exist", "has no such database, or not the operator's role"),
    ("too many", "has no connection left"),
    ("connection slots", "has no connection left"),
    ("starting up", "is starting"),
    ("shutting down", "is stopping"),
    ("startup parameter", "is PgBouncer's address, or another pooler's: list the server's own"),
    ("timeout", "does not answer"),
    ("refused", "is not running, or does not listen there"),
    ("resolve", "has a name that cannot be resolved"),
)
"""What libpq says of a connection that fails, by a piece of it; for people, nothing is decided by
it. A server that speaks another language than English has the last word only: it failed."""


class StatementFailed(ProviderUnavailable):
    """The server answered a statement with an error: nothing of its transaction was done."""

    def __init__(self, server: str, sqlstate: str, dependents: str = "") -> None:
        said = SAID.get(sqlstate, "answered with an error")
        more = f": {dependents}" if dependents else ""
        super().__init__(f"PostgreSQL server '{server}' {said} (SQLSTATE {sqlstate}){more}")
        self.sqlstate = sqlstate


def connection_failure(server: str, error: Exception) -> ProviderUnavailable:
    """Return what to raise where no connection came about."""
    text = str(error)
    said = next((words for piece, words in CONNECTING if piece in text), "cannot be reached")
    return ProviderUnavailable(f"PostgreSQL server '{server}' {said}; it is tried again")


def statement_failure(server: str, error: Exception) -> ProviderUnavailable:
    """Return what to raise where a statement was sent: without SQLSTATE it may have been done."""
    state = error.sqlstate if isinstance(error, psycopg.Error) else None
    if state is None or not re.fullmatch(r"[0-9A-Z]{5}", state):
        return ProviderUnavailable(
            f"PostgreSQL server '{server}' gave no answer, and may have done what was asked; it is "
            "tried again"
        )
    detail = error.diag.message_detail if isinstance(error, psycopg.Error) else None
    return StatementFailed(server, state, listed(detail) if state == DEPENDENTS else "")


def refused(failure: StatementFailed) -> ProviderRefused | None:
    """Return the refusal that an error is while something is issued; None where it is none."""
    if failure.sqlstate not in REFUSALS:
        return None
    return ProviderRefused(f"{failure}; docs/providers/postgresql.md has the rights that it needs")


def listed(detail: str | None) -> str:
    """Return the server's list of dependents on one line. Their names are others' words: cut."""
    text = " ".join((detail or "").split())
    clean = "".join(c if c.isprintable() else "?" for c in text)
    return clean if len(clean) <= MOST_DEPENDENTS else f"{clean[:MOST_DEPENDENTS]}…"
