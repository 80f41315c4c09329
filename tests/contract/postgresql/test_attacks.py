"""A task that wants to keep what it has, by its own login, while it is taken back."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from e2e.postgresql.stage import CARELESS, DATABASE, GROUP, WRITERS
from taskpass.core.errors import ProviderRefused, ProviderUnavailable
from taskpass.core.model.task import CredentialClass
from tests.contract.postgresql.stage import Bench, a_class, until

ALLOWED = a_class(
    database=CARELESS,
    roles=[{"action": "tickets.read", "name": WRITERS}],
    privilegeEscalation="Allowed",
)
"""Of a database where tasks can make objects: before 16 that needs to be allowed."""
EVERYWHERE = pytest.mark.parametrize("where", [a_class(), ALLOWED], ids=[DATABASE, CARELESS])
"""Where a role that is in no group may not even connect, and where everybody may."""
HIDDEN = (
    "SELECT l.pid FROM pg_locks l LEFT JOIN pg_stat_activity a USING (pid) WHERE "
    "l.locktype = 'object' AND l.classid = 'pg_database'::regclass AND a.usesysid IS NULL"
)


@contextlib.contextmanager
def beside(*attacks: Callable[[threading.Event], None]) -> Iterator[None]:
    """Have attacks run in threads; each ends when its event is set."""
    over = threading.Event()
    threads = [threading.Thread(target=attack, args=(over,)) for attack in attacks]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


@EVERYWHERE
async def test_a_task_that_logs_in_again_without_end_is_out(
    bench: Bench, where: CredentialClass
) -> None:
    grant, issued = await bench.issued(where)
    counts: list[int] = []

    def again(over: threading.Event) -> None:
        while not over.is_set():
            with contextlib.suppress(psycopg.Error), bench.login(issued) as task:
                counts.append(1)
                while task.execute("SELECT 1"):
                    pass

    with beside(*[again] * 4):
        await until(lambda: len(counts) >= 4)
        await bench.provider.revoke(grant)
        assert bench.left(grant) == {}

    assert bench.left(grant) == {}


@EVERYWHERE
async def test_logins_in_the_same_moment_leave_no_session(
    bench: Bench, where: CredentialClass
) -> None:
    grant, issued = await bench.issued(where)
    counts: list[int] = []

    def log_in(over: threading.Event) -> None:
        while not over.is_set():
            with contextlib.suppress(psycopg.Error):
                bench.login(issued).close()
                counts.append(1)

    with beside(*[log_in] * 4):
        await until(lambda: len(counts) >= 8)
        await bench.provider.revoke(grant)

    assert bench.left(grant) == {}
    assert not await bench.subject.works(issued)


async def test_a_login_that_hides_until_its_role_is_gone_never_opens(bench: Bench) -> None:
    grant, issued = await bench.issued()
    opened: list[Any] = []

    def hide(over: threading.Event) -> None:
        with contextlib.suppress(psycopg.Error):
            with bench.login(issued, options="-c post_auth_delay=30", connect_timeout=60) as task:
                opened.append(task.execute("SELECT current_user").fetchone())

    with beside(hide):
        await until(lambda: bench.ask(HIDDEN))
        await bench.provider.revoke(grant)
        assert bench.ask(HIDDEN) == []

    assert opened == []
    assert bench.left(grant) == {}


async def test_a_cursor_that_is_open_reads_no_further(bench: Bench) -> None:
    grant, issued = await bench.issued()
    with contextlib.closing(bench.login(issued)) as task:
        task.execute("BEGIN")
        task.execute("DECLARE c CURSOR FOR SELECT * FROM tickets.ticket")
        assert task.execute("FETCH 1 FROM c").fetchall()

        await bench.provider.revoke(grant)

        with pytest.raises(psycopg.OperationalError):
            task.execute("FETCH 1 FROM c")
    assert bench.left(grant) == {}


async def test_a_transaction_that_it_prepared_is_rolled_back(bench: Bench) -> None:
    grant, issued = await bench.issued(ALLOWED)
    with bench.login(issued) as task:
        for name in ("plain", "quoted ' \" ; -- %s"):
            task.execute("BEGIN")
            task.execute(f"CREATE TABLE own_{len(name)} ()")
            task.execute(
                psycopg.sql.SQL("PREPARE TRANSACTION {}").format(psycopg.sql.Literal(name))
            )

    await bench.provider.revoke(grant)

    assert bench.left(grant) == {}
    assert bench.ask("SELECT gid FROM pg_prepared_xacts") == []


OWN = (
    "CREATE TABLE own (id int)",
    "CREATE VIEW own_view AS SELECT * FROM own",
    "CREATE FUNCTION own_function() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    "CREATE TRIGGER t BEFORE INSERT ON own FOR EACH ROW EXECUTE FUNCTION own_function()",
    "CREATE TYPE own_type AS ENUM ('a')",
    "CREATE SEQUENCE own_sequence",
    "CREATE FUNCTION read() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT 1::bigint'",
    "SELECT lo_create(0)",
    "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC",
    "ALTER DEFAULT PRIVILEGES GRANT ALL ON FUNCTIONS TO bystander",
    "GRANT ALL ON own, own_view TO bystander",
    "GRANT EXECUTE ON FUNCTION read TO PUBLIC",
    "CREATE TEMPORARY TABLE own_temporary ()",
    "ALTER ROLE CURRENT_USER SET search_path = evil",
)


async def test_what_it_made_goes_with_it_whatever_it_is(bench: Bench) -> None:
    grant, issued = await bench.issued(ALLOWED)
    with bench.login(issued) as task:
        for statement in OWN:
            task.execute(statement.encode())

    await bench.provider.revoke(grant)

    assert bench.left(grant) == {}
    owners = "SELECT 1 FROM pg_class WHERE relname LIKE 'own%%'"
    assert bench.ask(owners, database=CARELESS) == []


async def test_what_it_made_in_another_database_goes_too(bench: Bench) -> None:
    grant, issued = await bench.issued()
    bench.do("GRANT CREATE ON SCHEMA public TO PUBLIC", database=CARELESS)
    with bench.login(issued, dbname=CARELESS) as task:
        for statement in OWN:
            task.execute(statement.encode())

    await bench.provider.revoke(grant)

    bench.do("REVOKE CREATE ON SCHEMA public FROM PUBLIC", database=CARELESS)
    assert bench.left(grant) == {}


async def test_what_others_made_of_its_objects_is_theirs_and_is_owed(bench: Bench) -> None:
    grant, issued = await bench.issued(ALLOWED)
    with bench.login(issued) as task:
        task.execute("CREATE TABLE lent ()")
        task.execute("GRANT ALL ON lent TO bystander")
    with bench.server.admin(CARELESS, "bystander") as bystander:
        bystander.execute('CREATE VIEW "theirs \n%s" AS SELECT 1 AS one FROM lent')

        with pytest.raises(ProviderUnavailable, match=r"depend on the task's own.*theirs %s"):
            await bench.provider.revoke(grant)

        assert bench.ask("SELECT rolcanlogin FROM pg_roles WHERE oid = %s", oid(grant)) == [
            (False,)
        ]
        assert "sessions" not in bench.left(grant)
        bystander.execute('DROP VIEW "theirs \n%s"')
    await bench.provider.revoke(grant)
    assert bench.left(grant) == {}


def oid(grant: Any) -> int:
    return int(grant.provider_state["oid"])


async def test_a_task_becomes_its_group_only_before_16_and_is_cut_there_too(bench: Bench) -> None:
    grant, issued = await bench.issued()
    with contextlib.closing(bench.login(issued)) as task:
        if bench.server.version >= 160_000:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                task.execute(f"SET ROLE {GROUP}")
        else:
            task.execute(f"SET ROLE {GROUP}")

        await bench.provider.revoke(grant)

        with pytest.raises(psycopg.OperationalError):
            task.execute("SELECT 1")
    assert bench.left(grant) == {}


async def test_no_function_of_the_groups_survives_a_task(bench: Bench) -> None:
    narrow = a_class(database=CARELESS, roles=[{"action": "tickets.read", "name": WRITERS}])
    if bench.server.version < 160_000:
        with pytest.raises(
            ProviderRefused, match="may CREATE in schema 'public': before version 16"
        ):
            await bench.issued(narrow)
        return
    grant, issued = await bench.issued(narrow)
    with bench.login(issued) as task:
        task.execute("CREATE FUNCTION f() RETURNS int SECURITY DEFINER LANGUAGE sql AS 'SELECT 1'")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            task.execute(f"ALTER FUNCTION f OWNER TO {WRITERS}")

    await bench.provider.revoke(grant)

    assert bench.ask("SELECT 1 FROM pg_proc WHERE proname = 'f'", database=CARELESS) == []


async def test_another_password_of_its_own_choice_is_of_no_use(bench: Bench) -> None:
    grant, issued = await bench.issued()
    with bench.login(issued) as task:
        task.execute("ALTER ROLE CURRENT_USER PASSWORD 'my own'")
        for forbidden in ("VALID UNTIL 'infinity'", "CONNECTION LIMIT -1", "CREATEROLE"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                task.execute(f"ALTER ROLE CURRENT_USER {forbidden}".encode())
    bench.login(issued, password="my own").close()

    await bench.provider.revoke(grant)

    with pytest.raises(psycopg.OperationalError):
        bench.login(issued, password="my own")
    assert bench.left(grant) == {}


@EVERYWHERE
async def test_a_task_that_holds_its_own_row_locked_and_comes_back_without_end_is_out(
    bench: Bench, where: CredentialClass
) -> None:
    grant, issued = await bench.issued(where)
    counts: list[int] = []

    def hold(over: threading.Event) -> None:
        while not over.is_set():
            with contextlib.suppress(psycopg.Error), bench.login(issued) as task:
                task.execute("BEGIN")
                task.execute("ALTER ROLE CURRENT_USER PASSWORD 'x'")
                counts.append(1)
                task.execute("SELECT pg_sleep(60)")

    with beside(*[hold] * 4):
        await until(lambda: counts)
        await bench.provider.revoke(grant)

    assert bench.left(grant) == {}


@EVERYWHERE
async def test_a_prepared_transaction_that_holds_its_own_row_is_no_shelter(
    bench: Bench, where: CredentialClass
) -> None:
    grant, issued = await bench.issued(where)
    with bench.login(issued) as task:
        task.execute("BEGIN")
        task.execute("ALTER ROLE CURRENT_USER PASSWORD 'x'")
        task.execute("PREPARE TRANSACTION 'shelter'")

    await bench.provider.revoke(grant)

    assert bench.left(grant) == {}


async def test_a_group_that_an_administrator_has_locked_holds_no_session(bench: Bench) -> None:
    """From 16 on, who grants a group to somebody has it locked until their transaction ends."""
    grant, issued = await bench.issued()
    with contextlib.closing(bench.login(issued)) as task, bench.server.admin() as admin:
        admin.execute("BEGIN")
        admin.execute(f"GRANT {GROUP} TO bystander")

        await bench.provider.revoke(grant)

        with pytest.raises(psycopg.OperationalError):
            task.execute("SELECT 1")
        admin.execute("ROLLBACK")
    assert bench.left(grant) == {}


async def test_a_lock_that_an_accomplice_holds_is_owed_until_it_goes(bench: Bench) -> None:
    grant, issued = await bench.issued(ALLOWED)
    with bench.login(issued) as task:
        task.execute("CREATE TABLE lent ()")
        task.execute("GRANT SELECT ON lent TO bystander")
    with bench.server.admin(CARELESS, "bystander") as bystander:
        bystander.execute("BEGIN")
        bystander.execute("SELECT * FROM lent")

        with pytest.raises(ProviderUnavailable, match="somebody else hold a lock"):
            await bench.provider.revoke(grant)

        assert not await bench.subject.works(issued)
        bystander.execute("COMMIT")
    await bench.provider.revoke(grant)
    assert bench.left(grant) == {}


async def test_a_group_that_is_not_the_operators_to_take_back_any_more_goes_with_the_role(
    bench: Bench,
) -> None:
    grant, issued = await bench.issued()
    bench.do(f'GRANT pg_signal_backend TO "{issued_role(grant)}"', f"ALTER ROLE {GROUP} SUPERUSER")
    try:
        with contextlib.closing(bench.login(issued)) as task:
            await bench.provider.revoke(grant)
            with pytest.raises(psycopg.OperationalError):
                task.execute("SELECT 1")
    finally:
        bench.do(f"ALTER ROLE {GROUP} NOSUPERUSER")

    assert bench.left(grant) == {}


async def test_a_task_takes_nobody_into_its_role(bench: Bench) -> None:
    grant, issued = await bench.issued(ALLOWED)
    with bench.login(issued) as task, pytest.raises(psycopg.errors.InsufficientPrivilege):
        task.execute(
            psycopg.sql.SQL("GRANT {} TO bystander").format(identifier(issued_role(grant)))
        )

    await bench.provider.revoke(grant)

    assert bench.left(grant) == {}


async def test_who_became_the_role_as_an_administrator_let_them_has_nothing_of_it(
    bench: Bench,
) -> None:
    grant, _ = await bench.issued(ALLOWED)
    role = identifier(issued_role(grant))
    with bench.server.admin(CARELESS) as admin:
        admin.execute(psycopg.sql.SQL("GRANT {} TO bystander").format(role))
    with bench.server.admin(CARELESS, "bystander") as bystander:
        bystander.execute(psycopg.sql.SQL("SET ROLE {}").format(role))
        bystander.execute("CREATE TABLE as_the_task ()")

        await bench.provider.revoke(grant)

        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            bystander.execute("CREATE TABLE public.later ()")
    assert bench.left(grant) == {}


def issued_role(grant: Any) -> str:
    return str(grant.provider_state["role"])


def identifier(name: str) -> psycopg.sql.Identifier:
    return psycopg.sql.Identifier(name)


async def test_of_two_roles_of_one_group_the_other_is_left_alone(bench: Bench) -> None:
    (grant, issued), (other, kept) = await bench.issued(), await bench.issued()
    with bench.login(issued), bench.login(kept) as task:
        task.execute("BEGIN")
        task.execute("DECLARE c CURSOR FOR SELECT * FROM tickets.ticket")

        await bench.provider.revoke(grant)

        assert task.execute("FETCH 1 FROM c").fetchall()
        task.execute("COMMIT")
    assert await bench.subject.works(kept)
    assert bench.left(grant) == {}
    await bench.provider.revoke(other)


async def test_a_tasks_function_with_the_name_of_the_servers_is_not_called_by_the_operator(
    bench: Bench,
) -> None:
    grant, issued = await bench.issued(ALLOWED)
    called = "SELECT who FROM caught"
    with bench.login(issued) as task:
        task.execute("CREATE TABLE caught (who text)")
        task.execute("GRANT INSERT ON caught TO PUBLIC")
        task.execute(
            "CREATE FUNCTION public.unnest(text[]) RETURNS SETOF text LANGUAGE sql AS "
            "'INSERT INTO public.caught VALUES (current_user) RETURNING who'"
        )
        bench.do("SELECT unnest(ARRAY['a'])", database=CARELESS)
        assert task.execute(called).fetchall() == [("postgres",)]  # who is less careful calls it

        await bench.provider.permissions_digest(ALLOWED)

        assert task.execute(called).fetchall() == [("postgres",)]
    await bench.provider.revoke(grant)
    assert bench.left(grant) == {}
