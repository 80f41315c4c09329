"""A real server for these tests, and the provider with the rights that its page asks for."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from e2e.postgresql.server import PostgresServer, running
from e2e.postgresql.stage import SERVER, furnish, settings
from taskpass.providers.postgresql import watch
from taskpass.providers.postgresql.provider import PostgresProvider
from taskpass.providers.postgresql.settings import Server
from tests.contract.postgresql.stage import INSTALLATION, Bench
from tests.contract.provider_suite import Subject, SystemClock


@pytest.fixture(scope="session")
def server() -> Iterator[PostgresServer]:
    with running() as server:
        furnish(server)
        yield server


@pytest.fixture
def listed(server: PostgresServer, tmp_path: Path) -> Server:
    """How the operator reaches it; each test has a password file of its own."""
    return settings(server, tmp_path)


@pytest.fixture
async def provider(listed: Server) -> AsyncIterator[PostgresProvider]:
    made = PostgresProvider({SERVER: listed}, clock=SystemClock(), installation=INSTALLATION)
    yield made
    await made.close()


@pytest.fixture
def bench(server: PostgresServer, provider: PostgresProvider) -> Bench:
    return Bench(server, provider)


@pytest.fixture
def subject(bench: Bench) -> Subject:
    return bench.subject


@pytest.fixture
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a revocation wait no longer than it must where nobody attacks it."""
    monkeypatch.setattr(watch, "QUIET_SECONDS", 0.02)
