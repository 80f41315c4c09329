"""Which providers a process has: those that are set up, and those of which something is held."""

import contextlib
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from taskpass.core.errors import UsageError
from taskpass.runtime.settings import load
from taskpass.runtime.wiring import Identity, providers_of
from tests.contract.provider_suite import SystemClock

IDENTITY = Identity(seed=b"", previous=None, cluster_id="c-1")


async def made(holds: set[str], **settings: str) -> set[str]:
    """Return the names of the providers that a process makes."""
    process: Any = SimpleNamespace(
        settings=load({}, {"TASKPASS_NAMESPACE": "a", **settings}), clock=SystemClock(),
        client=None, ca="",
    )  # fmt: skip
    async with contextlib.AsyncExitStack() as stack:
        return set(providers_of(process, IDENTITY, stack, holds))


@pytest.fixture
def without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "taskpass.providers.postgresql.provider", None)


async def test_a_provider_whose_last_server_was_taken_off_is_there_while_it_holds_something() -> (
    None
):
    """Else each try of what is owed there would ask every other provider, and say less."""
    assert await made(set()) == {"Kubernetes"}
    assert await made({"Kubernetes", "PostgreSQL"}) == {"Kubernetes", "PostgreSQL"}


async def test_a_server_that_is_retired_is_reason_enough() -> None:
    retired = {"TASKPASS_POSTGRESQL_RETIRED": '{"old": "disks lost"}'}

    assert await made(set(), **retired) == {"Kubernetes", "PostgreSQL"}


@pytest.mark.usefixtures("without_the_library")
async def test_without_its_library_the_operator_starts_and_owes_what_is_held() -> None:
    assert await made({"PostgreSQL"}) == {"Kubernetes"}
    with pytest.raises(UsageError, match="needs a client library"):
        await made(set(), TASKPASS_POSTGRESQL_RETIRED='{"old": "disks lost"}')
