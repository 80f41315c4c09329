"""The caches: lists that are taken anew, and when all is listed."""

from taskpass.kube.cache.cluster_view import InformerCache
from tests.unit.kube.caches import (
    ACCOUNTS,
    OTHER,
    PODS,
    SALES,
    TICKET,
    Enqueued,
    answers,
    reflected,
    running,
    until,
)
from tests.unit.kube.objects import (
    a_class,
    a_policy,
    a_task,
)
from tests.unit.kube.scripted_server import Answer, Script, page, status_body


class TestLists:
    async def test_seeding_fills_every_kind(self, caches: InformerCache, script: Script) -> None:
        answers(
            script,
            AgentTask=page(50, a_task("ticket", 10), kind="AgentTaskList"),
            ClusterAgentPolicy=page(50, a_policy("all", 15, ""), kind="ClusterAgentPolicyList"),
        )

        async with script.client() as client:
            await caches.seed(client)

        assert caches.task_keys() == [TICKET]
        assert [each.policy.label for each in caches.policies("support")] == [
            "ClusterAgentPolicy/all"
        ]

    async def test_what_kopf_never_said_was_deleted_is_dropped(
        self, filled: InformerCache, script: Script, looks: Enqueued
    ) -> None:
        answers(script)

        async with script.client() as client:
            await filled.resync(client)

        assert set(looks.take()) == {SALES, OTHER, TICKET}
        assert filled.credential_class("tickets") is None
        assert list(filled.policies("support")) == []
        assert filled.task(TICKET) is not None  # tasks are listed every tenth time

    async def test_tasks_are_listed_every_tenth_time(
        self, filled: InformerCache, script: Script
    ) -> None:
        answers(script)

        async with script.client() as client:
            for _ in range(9):
                await filled.resync(client)
            assert len(filled.task_keys()) == 3
            await filled.resync(client)

        assert filled.task_keys() == []

    async def test_a_list_says_nothing_of_what_is_newer_than_it(
        self, filled: InformerCache, script: Script
    ) -> None:
        filled.apply("CredentialClass", "ADDED", a_class("made-since", 60))
        filled.apply("CredentialClass", "DELETED", a_class("tickets", 61))
        answers(script, CredentialClass=page(50, a_class("tickets", 13)))

        async with script.client() as client:
            await filled.resync(client)

        assert filled.credential_class("made-since") is not None
        assert filled.credential_class("tickets") is None


class TestSynced:
    async def test_nothing_may_be_decided_before_all_of_it_is_there(
        self, caches: InformerCache, script: Script
    ) -> None:
        reflected(script)
        answers(script)
        assert not caches.synced

        async with running(caches):
            await until(lambda: all(r.synced.is_set() for r in caches._reflectors()))
            assert not caches.synced
            assert caches.unhealthy_reason == "AgentTasks, classes and policies are not listed yet"
            async with script.client() as client:
                await caches.seed(client)

            assert caches.synced
            assert caches.unhealthy_reason is None
            assert caches.enrolled("support")
            assert not caches.enrolled("sales")

    async def test_a_namespace_without_rights_is_issued_nothing_at_once_and_stops_no_other(
        self, caches: InformerCache, script: Script
    ) -> None:
        reflected(script)
        answers(script)
        for path in (PODS, ACCOUNTS):
            script.on(f"GET {path}", Answer(status_body(403, "no rights"), 403))

        async with running(caches):
            async with script.client() as client:
                await caches.seed(client)
            await until(lambda: caches.synced)

            assert caches.enrolled("support")
            said = caches.sight("support").issuance_blocked_reason
            assert "its pods may not be read" in said
            assert caches.unhealthy_reason is None

    async def test_tasks_are_looked_at_when_rights_come(
        self, filled: InformerCache, script: Script, looks: Enqueued
    ) -> None:
        reflected(script)
        answers(
            script,
            CredentialClass=page(50, a_class("tickets", 13)),
            AgentPolicy=page(50, a_policy("triage", 14)),
            ClusterAgentPolicy=page(50, a_policy("all", 15, "")),
        )

        async with script.client() as client:
            await filled.resync(client)
            async with running(filled):
                await until(lambda: filled.enrolled("support"))
                looks.take()
                await filled.resync(client)

            assert set(looks.take()) == {TICKET, OTHER}


async def test_tasks_that_wait_for_a_person_are_told_by_the_reason_in_their_status(
    caches: InformerCache,
) -> None:
    def stalled(name: str, status: str, reason: str) -> None:
        said = {"type": "Stalled", "status": status, "reason": reason}
        others = {"type": "Ready", "status": "True", "reason": "Ready"}
        task = a_task(name, 1, status={"conditions": [others, said]})
        caches.apply("AgentTask", None, task)

    stalled("one", "True", "NoPolicy")
    stalled("two", "False", "NotStalled")
    caches.apply("AgentTask", None, a_task("three", 1))

    assert list(caches.stalled()) == ["NoPolicy"]
