"""What one tenant has computed is bounded, however often its objects change, however many."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from taskpass.core.model.key import Key
from taskpass.kube.cache.cluster_view import InformerCache
from taskpass.kube.cache.policies import MOST_POLICIES
from tests.unit.kube.objects import a_policy, a_task
from tests.unit.kube.scripted_server import Script

Owners = list[Key]


@pytest.fixture
def looked() -> Owners:
    return []


@pytest.fixture
async def caches(script: Script, looked: Owners) -> AsyncIterator[InformerCache]:
    async with script.client() as client:
        yield InformerCache(client, tenants=["support"], on_change=looked.extend)


@pytest.fixture
def crowd(caches: InformerCache, looked: Owners) -> InformerCache:
    """Return caches with a hundred tasks in one namespace."""
    for number in range(100):
        caches.apply("AgentTask", None, a_task(f"t-{number}", number + 1))
    looked.clear()
    return caches


async def test_the_first_change_is_looked_at_at_once_and_the_last_one_too(
    crowd: InformerCache, looked: Owners
) -> None:
    for version in range(50):
        crowd.apply("AgentPolicy", None, a_policy("p", 1000 + version, generation=version))
    first = len(looked)
    async with asyncio.timeout(10):
        while len(looked) < 200:
            await asyncio.sleep(0.001)

    assert first == 100
    assert len(looked) == 200
    assert crowd.policies("support")[0].policy.generation == 49


async def test_another_namespaces_change_waits_for_nothing(
    crowd: InformerCache, looked: Owners
) -> None:
    crowd.apply("AgentTask", None, a_task("ticket", 500, "sales"))
    for version in range(5):
        crowd.apply("AgentPolicy", None, a_policy("p", 1000 + version, generation=version))
    looked.clear()

    crowd.apply("AgentPolicy", None, a_policy("p", 2000, "sales"))

    assert looked == [("sales", "ticket")]


async def test_a_namespace_with_more_policies_than_count_is_told_so_and_allows_nothing(
    caches: InformerCache,
) -> None:
    for number in range(MOST_POLICIES + 1):
        caches.apply("AgentPolicy", None, a_policy(f"p-{number:04}", number + 1))
    caches.apply("ClusterAgentPolicy", None, a_policy("all", 999, ""))

    found = caches.policies("support")

    errors = {each.error for each in found if each.policy.namespace}
    assert len(found) == MOST_POLICIES + 1
    assert [each.error for each in found if not each.policy.namespace] == [""]
    assert errors == {
        "its namespace has 201 AgentPolicies, and none of them counts where there are more "
        "than 200; delete some, or write fewer that cover more"
    }
    caches.apply("AgentPolicy", "DELETED", a_policy("p-0000", 5000))
    assert {each.error for each in caches.policies("support")} == {""}
