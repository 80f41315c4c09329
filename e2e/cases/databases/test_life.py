"""A task's role of PostgreSQL, from its pod to its end, beside a credential of another provider."""

import threading
from collections.abc import Callable
from signal import SIGKILL

import psycopg
import pytest

from e2e.admission import TENANT
from e2e.postgresql.databases import CLASS, ROLE, Databases, database_class
from e2e.stage import condition, request, until

COUNT = "SELECT count(*) FROM tickets.ticket"
CUT = (psycopg.errors.AdminShutdown, psycopg.OperationalError)


def cut(session: psycopg.Connection) -> bool:
    """Tell whether a session is refused what it was given, or is gone."""
    try:
        session.execute(COUNT)
    except psycopg.errors.InsufficientPrivilege:
        return True
    except CUT:
        return True
    return False


def test_a_class_of_a_listed_server_is_ready_and_says_what_it_promises(stage: Databases) -> None:
    def status() -> dict[str, object] | None:
        found = stage.api.get("CredentialClass", "", CLASS).get("status", {})
        return found if condition(found, "Ready").get("status") == "True" else None

    found = until(status)

    assert found is not None
    assert condition(found, "Ready")["message"] == "Provider PostgreSQL can issue it"
    assert found["capabilities"] == {
        "revocation": "Immediate", "revocationSeconds": 0, "minimumSeconds": 60, "listable": True,
        "endsSessions": True, "deliveries": ["Secret"],
        "fields": [
            "database", "host", "password", "pg_service.conf", "port", "sslrootcert", "uri",
            "username",
        ],
    }  # fmt: skip


def test_a_class_of_a_group_role_that_is_not_listed_is_not_ready_and_says_who_lists_it(
    stage: Databases,
) -> None:
    roles = [{"action": "tickets.read", "name": "postgres"}]
    stage.api.apply(database_class("greedy", roles=roles))
    try:
        until(lambda: _ready(stage, "greedy").get("status") == "False")
        assert _ready(stage, "greedy")["reason"] == "ProviderRefused"
        assert "an administrator lists it in the value `postgresql.servers`" in str(
            _ready(stage, "greedy")["message"]
        )
    finally:
        stage.api.delete(database_class("greedy"))


def test_an_agent_reads_with_a_role_of_its_own_and_both_end_with_its_pod(
    stage: Databases, name: str
) -> None:
    stage.begin_ready(name, credentials=[ROLE, request()])
    session, token = stage.login(name), stage.token(name)
    assert session.execute(COUNT).fetchone() == (5000,)
    assert session.execute("SELECT session_user").fetchone() == (stage.roles().pop(),)
    assert stage.reads(token) == 200

    stage.end(name)
    stage.wait_finished(name, "Succeeded")

    assert cut(session)
    assert stage.roles() == set()
    assert stage.reads(token) in (401, 403)
    assert stage.secret(name) is None


def test_a_transaction_that_is_open_is_cut_when_the_task_leaves_its_path(
    stage: Databases, name: str
) -> None:
    phases = [
        {"name": "read", "next": ["write"], "credentials": [ROLE]},
        {"name": "write", "credentials": [request()]},
        {"name": "elsewhere", "credentials": [request("more")]},
    ]
    stage.begin_ready(name, credentials=None, phases=phases, phase="read")
    session = stage.login(name)
    session.execute("BEGIN")
    session.execute("DECLARE all_of_it CURSOR FOR SELECT * FROM tickets.ticket")
    assert len(session.execute("FETCH 10 FROM all_of_it").fetchall()) == 10

    stage.change(name, {"phase": "elsewhere"})

    until(lambda: stage.roles() == set())
    with pytest.raises(CUT):
        session.execute("FETCH 10 FROM all_of_it")
    assert stage.sessions() == 0


def test_a_renewal_is_another_role_and_the_one_before_ends_after_the_overlap(
    stage: Databases, name: str
) -> None:
    stage.begin_ready(name, credentials=[{**ROLE, "expirationSeconds": 60}, request()])
    first, session, token = stage.roles(), stage.login(name), stage.token(name)

    until(lambda: stage.roles() > first, seconds=60)
    second = stage.roles() - first
    until(lambda: stage.roles() == second)

    assert cut(session)
    assert stage.login(name).execute(COUNT).fetchone() == (5000,)
    assert stage.token(name) == token


def test_a_lifetime_below_what_the_provider_issues_is_refused_by_name(
    stage: Databases, name: str
) -> None:
    stage.begin(name, credentials=[{**request(), "expirationSeconds": 120}])

    stage.wait_condition(
        name, "Authorized", "False", "Denied",
        saying="must be greater than or equal to 600, the shortest that provider Kubernetes",
    )  # fmt: skip
    assert stage.api.get("AgentTask", TENANT, name)["status"].get("grants", []) == []


def test_a_server_that_hangs_keeps_no_other_credential_from_being_taken_back(
    stage: Databases, name: str
) -> None:
    stage.begin_ready(name, credentials=[ROLE, request()])
    token = stage.token(name)
    stage.server.freeze()
    try:
        stage.end(name)

        until(lambda: stage.reads(token) in (401, 403), seconds=5)
        until(lambda: stage.secret(name) is None, seconds=5)
        assert stage.accounts() == set()
    finally:
        stage.server.thaw()
    stage.wait_nothing_left()


def test_a_server_that_is_killed_in_between_owes_the_revocation_until_it_is_back(
    stage: Databases, name: str
) -> None:
    stage.begin_ready(name, credentials=[ROLE])
    role = stage.roles()
    stage.server.stop(SIGKILL)
    try:
        stage.end(name)
        stage.wait_event(name, "RevocationFailed")
    finally:
        stage.server.start()
    assert role

    stage.wait_nothing_left()


def test_a_task_that_logs_in_again_and_again_is_out_in_the_end(stage: Databases, name: str) -> None:
    stage.begin_ready(name, credentials=[ROLE])
    content = stage.secret(name) or {}
    stop, errors = threading.Event(), []

    def hammer(login: Callable[[], psycopg.Connection]) -> None:
        while not stop.is_set():
            try:
                with login() as session:
                    session.execute(COUNT)
            except psycopg.Error as error:
                errors.append(type(error).__name__)

    dsn = f"{content['db.uri'].partition('?')[0]}?sslmode=require"
    threads = [
        threading.Thread(target=hammer, args=(lambda: psycopg.connect(dsn, autocommit=True),))
        for _ in range(3)
    ]
    for each in threads:
        each.start()
    try:
        stage.end(name)
        until(lambda: stage.roles() == set(), seconds=20)
    finally:
        stop.set()
        for each in threads:
            each.join()

    assert errors
    assert stage.sessions() == 0


def _ready(stage: Databases, name: str) -> dict[str, object]:
    return condition(stage.api.get("CredentialClass", "", name).get("status", {}), "Ready")
