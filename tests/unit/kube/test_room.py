"""What is kept of tasks: of each namespace that is served so much, of any other next to nothing."""

from typing import Any

import pytest

from taskpass.kube.api.client import KubeClient
from taskpass.kube.api.connection import Connection
from taskpass.kube.cache.cluster_view import InformerCache
from taskpass.kube.cache.memory_limit import NamespaceMemory
from tests.unit.kube.objects import a_pod, a_task, a_template, an_approval


@pytest.fixture
def caches() -> InformerCache:
    """Return caches of one tenant, that have listed nothing."""
    nowhere = KubeClient(Connection(server="http://127.0.0.1:1", tls=None))
    made = InformerCache(nowhere, tenants=["support"], on_change=lambda keys: None)
    for each in made._reflectors():
        each.synced.set()
    return made


def test_a_namespace_has_no_more_of_the_memory_than_its_room(caches: InformerCache) -> None:
    caches._bounded.memory["AgentTask"] = NamespaceMemory(2000)
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
    assert "take more than" in (kept[4].left_out or "")
    assert kept[4].credentials == ()
    fits = caches.task(("support", "t2"))
    assert fits is not None
    assert (fits.left_out, len(fits.sponsor)) == (None, 700)


@pytest.mark.parametrize("kind", ["TaskApproval", "AgentTaskTemplate"])
def test_while_there_is_no_room_for_an_approval_or_template_its_namespace_is_issued_nothing(
    caches: InformerCache, kind: str
) -> None:
    caches._bounded.memory[kind].most = 2000
    make = an_approval if kind == "TaskApproval" else a_template
    made = [make(f"o{n}", 20 + n) for n in range(3)]
    for each in made:
        each["spec"]["reason"] = "x" * 300
        caches.apply(kind, "ADDED", each)
    blocked = caches.sight("support")

    caches.apply(kind, "DELETED", made[0])
    caches.apply(kind, None, made[2])  # as at the next list

    assert f"{kind} 'o2' could not be read; the {kind}s of namespace 'support' take more than" in (
        blocked.issuance_blocked_reason
    )
    assert not blocked.decisions
    assert caches.sight("support").decisions
    assert caches.sight("support").issuance_blocked_reason is None


async def test_a_pod_for_which_there_is_no_room_stops_issuing_until_the_next_list_has_room(
    caches: InformerCache,
) -> None:
    caches._bounded.memory["pod"].most = 2000
    pods, names = caches._pods["support"], ["p1", "p2", "p3"]
    for n, name in enumerate(names):
        pods._apply("ADDED", a_pod(name, 20 + n, "ticket" + "x" * 200))
    blocked = caches.sight("support")

    pods._apply("DELETED", a_pod("p1", 30, "ticket" + "x" * 200))
    pods._apply("MODIFIED", a_pod("p3", 22, "ticket" + "x" * 200))  # as at the next list

    assert "one of its pods, 'p3', cannot be read: the pods of namespace 'support' take more" in (
        blocked.issuance_blocked_reason
    )
    assert not blocked.pods
    assert caches.sight("support").pods
    assert caches.sight("support").issuance_blocked_reason is None


class Forbidding(dict[str, Any]):
    """What nobody may look into."""

    def __iter__(self) -> Any:
        raise AssertionError("it was looked through")

    items = values = keys = __iter__  # type: ignore[assignment]


def test_what_one_namespace_has_no_room_for_costs_no_look_at_another(
    caches: InformerCache,
) -> None:
    caches._unreadable._in["support"] = Forbidding({"TaskApproval": {"o1": "no room"}})

    assert caches.sight("sales").decisions
    assert caches.unhealthy_reason == "AgentTasks, classes and policies are not listed yet"
    caches._seeded = True
    assert caches.unhealthy_reason is None


def test_of_all_that_there_is_no_room_for_one_line_is_logged(
    caches: InformerCache, caplog: pytest.LogCaptureFixture
) -> None:
    caches._bounded.memory["TaskApproval"].most = 100
    for n in range(50):
        caches.apply("TaskApproval", "ADDED", an_approval(f"o{n}", 20 + n))
        caches.apply("TaskApproval", None, an_approval(f"o{n}", 20 + n))  # as at the next list
    for n in range(50):
        caches._bounded.memory["pod"].most = 0
        caches._pods["support"]._apply("ADDED", a_pod(f"p{n}", 20 + n, "ticket"))

    assert [r.message for r in caplog.records] == ["No room for an object"] * 2


def test_of_a_namespace_that_is_not_served_nothing_whole_is_kept(caches: InformerCache) -> None:
    caches.apply("AgentTask", None, a_task("ticket", 10))
    caches.apply("AgentTask", None, a_task("ticket", 12, "sales"))

    unserved, served = caches.task(("sales", "ticket")), caches.task(("support", "ticket"))

    assert unserved is not None
    assert served is not None
    assert (unserved.credentials, unserved.phases) == ((), ())
    assert served.credentials
