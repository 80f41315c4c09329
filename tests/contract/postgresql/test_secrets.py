"""No password, no verifier and nothing of ours is in anything that is said of what went wrong."""

import contextlib
import logging
import secrets
import traceback
from collections.abc import Iterator

import pytest
from psycopg import sql

from e2e.postgresql.stage import OPERATOR, PASSWORD, SERVER
from taskpass.core.errors import TaskpassError
from taskpass.providers.postgresql import issuing
from taskpass.providers.postgresql.provider import PostgresProvider
from taskpass.providers.postgresql.settings import Server
from tests.contract.postgresql.cutting import line
from tests.contract.postgresql.stage import INSTALLATION, Bench
from tests.contract.provider_suite import SystemClock
from tests.fake_provider import CANARY

pytestmark = pytest.mark.usefixtures("brisk")
FORBIDDEN = (CANARY, PASSWORD, "SCRAM-SHA-256", "postgresql://", "sslmode")


@pytest.fixture
def canary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "token_urlsafe", lambda size: f"{CANARY}{size}")


def texts(error: BaseException | None) -> Iterator[str]:
    """Yield all that can be said of an error, and of those that it came from."""
    if error is None:
        return
    yield from (str(error), repr(error), repr(error.args), repr(vars(error)))
    yield "".join(traceback.format_exception(error))
    yield from texts(error.__cause__)
    yield from texts(error.__context__)


def clean(*said: str) -> None:
    for text in said:
        for secret in FORBIDDEN:
            assert secret not in text


async def test_whatever_fails_while_it_is_issued_tells_no_secret(
    bench: Bench, listed: Server, canary: None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    failed = 0
    for done in (False, True):
        for at in range(1, 12):
            grant = bench.intent()
            async with line(listed.port, at=at, done=done) as way:
                provider = PostgresProvider(
                    {SERVER: listed.model_copy(update={"port": way.port})},
                    clock=SystemClock(), installation=INSTALLATION,
                )  # fmt: skip
                try:
                    await provider.issue(grant, "")
                except TaskpassError as error:
                    failed += 1
                    clean(*texts(error))
                await provider.close()
            await bench.provider.revoke(grant)

    assert failed >= 18
    clean(*(record.getMessage() + repr(vars(record)) for record in caplog.records))


@pytest.mark.parametrize(
    ("breaks", "mends"),
    [
        (f"ALTER ROLE {OPERATOR} NOCREATEROLE", f"ALTER ROLE {OPERATOR} CREATEROLE"),
        (f"ALTER ROLE {OPERATOR} PASSWORD 'x'", f"ALTER ROLE {OPERATOR} PASSWORD '{PASSWORD}'"),
        (f"ALTER ROLE {OPERATOR} SET default_transaction_read_only = on",
         f"ALTER ROLE {OPERATOR} RESET default_transaction_read_only"),
    ],
    ids=["no right", "wrong password", "read only"],
)  # fmt: skip
async def test_a_server_that_says_no_is_not_quoted(
    bench: Bench, canary: None, breaks: str, mends: str
) -> None:
    bench.do(breaks)
    try:
        with pytest.raises(TaskpassError) as caught:
            await bench.provider.issue(bench.intent(), "")
    finally:
        bench.do(mends)

    clean(*texts(caught.value))


async def test_a_statement_that_the_server_quotes_is_not_quoted_on(
    bench: Bench, canary: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it answers to one that does not parse shows the line, and the verifier in it."""

    def broken(role: str, verifier: str, *more: object) -> list[sql.Composed]:
        return [sql.SQL("CREATE ROLE x BROKEN PASSWORD {}").format(sql.Literal(verifier))]

    monkeypatch.setattr(issuing, "create_role", broken)

    with pytest.raises(TaskpassError, match="42601") as caught:
        await bench.provider.issue(bench.intent(), "")

    clean(*texts(caught.value))


async def test_what_was_issued_shows_no_secret_and_the_server_never_had_the_password(
    bench: Bench, canary: None
) -> None:
    bench.do("ALTER SYSTEM SET log_statement = 'all'", "SELECT pg_reload_conf()")
    with contextlib.ExitStack() as stack:
        stack.callback(bench.do, "ALTER SYSTEM RESET log_statement", "SELECT pg_reload_conf()")
        await bench.until(lambda: bench.ask("SHOW log_statement") == [("all",)])
        grant, issued = await bench.issued()
        await bench.provider.revoke(grant)

    said = bench.server.log()
    clean(repr(issued), repr(grant), repr(bench.provider), str(issued.provider_state))
    clean(repr(vars(bench.provider)), issued.credential_ref)
    assert "CREATE ROLE" in said
    assert CANARY not in said
    assert PASSWORD not in said.replace(f"PASSWORD '{PASSWORD}'", "")
