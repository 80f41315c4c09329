"""What is kept of tasks: of each namespace that is served so much, of any other next to nothing."""

import pytest

from taskpass.kube.api.client import KubeClient
from taskpass.kube.api.connection import Connection
from taskpass.kube.cache.cluster_view import InformerCache
from taskpass.kube.cache.memory_limit import NamespaceMemory
from tests.unit.kube.objects import a_task


@pytest.fixture
def caches() -> InformerCache:
    """Return caches of one tenant, with nothing in them."""
    nowhere = KubeClient(Connection(server="http://127.0.0.1:1", tls=None))
    return InformerCache(nowhere, tenants=["support"], on_change=lambda keys: None)


def test_a_namespace_has_no_more_of_the_memory_than_its_room(caches: InformerCache) -> None:
    caches._room = NamespaceMemory(2000)
    made = [a_task(f"t{n}", 20 + n) for n in range(5)]
    for each in made:
        each["spec"]["sponsor"] = "x" * 700
        caches.apply("AgentTask", "ADDED", each)
    kept = [caches.task(("support", f"t{n}")) for n in range(5)]

    caches.apply("AgentTask", "DELETED", made[0])
    for each in made[1:]:  # as at the next list
        caches.apply("AgentTask", None, each)

    assert [task is not None and not task.left_out for task in kept] == [True] * 2 + [False] * 3
    assert kept[4] is not None
    assert "take more than" in kept[4].left_out
    assert kept[4].credentials == ()
    fits = caches.task(("support", "t2"))
    assert fits is not None
    assert (fits.left_out, len(fits.sponsor)) == ("", 700)


def test_of_a_namespace_that_is_not_served_nothing_whole_is_kept(caches: InformerCache) -> None:
    caches.apply("AgentTask", None, a_task("ticket", 10))
    caches.apply("AgentTask", None, a_task("ticket", 12, "sales"))

    unserved, served = caches.task(("sales", "ticket")), caches.task(("support", "ticket"))

    assert unserved is not None
    assert served is not None
    assert (unserved.credentials, unserved.phases) == ((), ())
    assert served.credentials
