"""Fixtures of the adapters' unit tests."""

from collections.abc import AsyncIterator

import pytest

from taskpass.kube.cache.cluster_view import InformerCache
from tests.unit.kube.caches import (
    Enqueued,
)
from tests.unit.kube.objects import (
    a_class,
    a_policy,
    a_task,
)
from tests.unit.kube.scripted_server import Script, scripted


@pytest.fixture
async def script() -> AsyncIterator[Script]:
    async with scripted() as running:
        yield running


@pytest.fixture
def looks() -> Enqueued:
    return Enqueued()


@pytest.fixture
async def caches(script: Script, looks: Enqueued) -> AsyncIterator[InformerCache]:
    async with script.client() as client:
        yield InformerCache(client, tenants=["support"], on_change=looks)


@pytest.fixture
def filled(caches: InformerCache, looks: Enqueued) -> InformerCache:
    """Return caches with three tasks, a class, and a policy of each kind."""
    caches.apply("AgentTask", None, a_task("ticket", 10))
    caches.apply("AgentTask", None, a_task("other", 11, account="sales", of_class="crm"))
    caches.apply("AgentTask", None, a_task("ticket", 12, "sales"))
    caches.apply("CredentialClass", None, a_class("tickets", 13))
    caches.apply("AgentPolicy", None, a_policy("triage", 14))
    caches.apply("ClusterAgentPolicy", None, a_policy("all", 15, ""))
    looks.take()
    return caches
