"""The parts of the PostgreSQL provider that need no server."""

import subprocess
import sys
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from taskpass.providers.postgresql.failures import (
    MOST_DEPENDENTS,
    StatementFailed,
    connection_failure,
    listed,
    refused,
    statement_failure,
)
from taskpass.providers.postgresql.names import grant_of_role, mark_of, refusal_of_name, role_of
from taskpass.providers.postgresql.settings import Server, ServerName

GRANT = "g-" + 32 * "a"
SERVER = {"host": "db.example.com", "user": "taskpass_op", "caFile": "/ca", "passwordFile": "/p"}


def test_the_settings_need_no_psycopg() -> None:
    """Who lists no server need not have it."""
    code = (
        "import sys, taskpass.providers.postgresql.settings\n"
        "sys.exit(any(name.startswith('psycopg') for name in sys.modules))"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("host", ["db.example.com", "10.0.0.1", "fd00::1", "localhost"])
def test_a_server_is_a_name_or_an_address(host: str) -> None:
    assert Server.model_validate({**SERVER, "host": host}).host == host


@pytest.mark.parametrize(
    "changes",
    [{"host": ""}, {"host": "a,b"}, {"host": "/run/postgresql"}, {"host": "a b"},
     {"host": "db?sslmode=disable"}, {"port": 0}, {"port": 65536}, {"tls": "Disable"},
     {"tls": "Require"}, {"user": ""}, {"user": "x" * 64}, {"database": "a\nb"},
     {"databases": {"a\0": []}}, {"databases": {"a": ["x" * 64]}}, {"passwordFile": None},
     {"keyFile": "/k"}, {"certificateFile": "/c"}, {"password": "in clear"}, {"caFile": None}],
    ids=str,
)  # fmt: skip
def test_what_is_no_server_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Server.model_validate({**SERVER, **changes})


@pytest.mark.parametrize("name", ["", "Support", "a/b", "-a", "a-", "x" * 64, "a\n"])
def test_a_servers_name_is_a_label(name: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(ServerName).validate_python(name)


def test_a_roles_name_follows_from_the_grant_and_leads_back_to_it() -> None:
    assert grant_of_role(role_of(GRANT)) == GRANT
    assert refusal_of_name(role_of(GRANT)) is None
    for other in ("postgres", GRANT, f"taskpass-{GRANT}x", f"taskpass-{GRANT}\n", "taskpass-"):
        assert grant_of_role(other) is None


@pytest.mark.parametrize(
    "comment", [None, "", "taskpass", f"taskpass grant {GRANT} of c", f"x grant {GRANT} of c for t"]
)
def test_a_comment_of_somebody_elses_is_no_mark(comment: str | None) -> None:
    assert mark_of(comment) is None


def test_an_error_without_a_state_may_have_been_done_and_is_no_refusal() -> None:
    failure = statement_failure("support", OSError("a secret"))

    assert "may have done what was asked" in str(failure)
    assert "secret" not in str(failure)
    assert not isinstance(failure, StatementFailed)


@pytest.mark.parametrize(
    ("state", "is_refusal"),
    [("42501", True), ("42704", True), ("55P03", False), ("57014", False), ("XX000", False)],
)
def test_what_may_come_right_by_itself_is_no_refusal(state: str, is_refusal: bool) -> None:
    assert (refused(StatementFailed("support", state)) is not None) == is_refusal


def test_what_a_connections_error_says_is_not_passed_on() -> None:
    said = str(connection_failure("support", OSError("FATAL: password='x' postgresql://")))

    assert said == "PostgreSQL server 'support' cannot be reached; it is tried again"


def test_a_list_of_dependents_is_one_line_of_bounded_length() -> None:
    text = listed("view a\nview \x1b[31mb\u202e " + 2 * MOST_DEPENDENTS * "x")

    assert len(text) == MOST_DEPENDENTS + 1
    assert text.isprintable()
    assert listed(None) == ""
