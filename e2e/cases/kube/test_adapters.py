"""The adapters on a real API server, with the operator's rights: what admission lets them write."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from e2e.admission import GATE, TENANT, pod, remove, task
from e2e.as_operator import T0, pod_view
from e2e.impersonate import Api, thing
from taskpass.core.errors import Forbidden
from taskpass.core.model.notice import Severity
from taskpass.core.model.task import CREDENTIALS_VERSION, FINALIZER, Task, User
from taskpass.kube.api.client import KubeClient
from taskpass.kube.cache.reflector import Reflector
from taskpass.kube.writers.access_reviews import KubeReviews
from taskpass.kube.writers.events import KubeEvents
from taskpass.kube.writers.pods import KubePods
from taskpass.kube.writers.tasks import KubeTasks


class TestPod:
    async def test_the_gates_of_others_stay(self, client: KubeClient, api: Api, name: str) -> None:
        gates = [{"name": "example.com/quota"}, {"name": "example.com/scan"}]
        live = api.create(pod(name, spec={"schedulingGates": gates}))
        assert live["spec"]["schedulingGates"][2] == {"name": GATE}

        await KubePods(client).lift_gate(pod_view(live))

        assert api.get("Pod", TENANT, name)["spec"]["schedulingGates"] == gates

    async def test_a_gate_that_is_lifted_already_is_success(
        self, client: KubeClient, api: Api, name: str
    ) -> None:
        live = api.create(pod(name))
        pods = KubePods(client)

        await pods.lift_gate(pod_view(live))
        await pods.lift_gate(pod_view(live))
        api.delete(live, gracePeriodSeconds="0")
        await pods.lift_gate(pod_view(live))

    async def test_the_gate_of_a_pod_made_anew_is_not_lifted(
        self, client: KubeClient, api: Api, name: str
    ) -> None:
        before = api.create(pod(name))
        api.delete(before, gracePeriodSeconds="0")
        api.create(pod(name))

        await KubePods(client).lift_gate(pod_view(before))

        assert api.get("Pod", TENANT, name)["spec"]["schedulingGates"] == [{"name": GATE}]

    async def test_a_nudge_sets_our_annotation_on_that_pod_only(
        self, client: KubeClient, api: Api, name: str
    ) -> None:
        live = api.create(pod(name))
        pods = KubePods(client)

        await pods.nudge(pod_view(live), "17")
        stale = {**live, "metadata": {**live["metadata"], "uid": str(uuid.uuid4())}}
        await pods.nudge(pod_view(stale), "18")

        annotations = api.get("Pod", TENANT, name)["metadata"]["annotations"]
        assert annotations[CREDENTIALS_VERSION] == "17"

    async def test_a_pod_is_gone_once_there_is_none_or_another_of_its_name(
        self, client: KubeClient, api: Api, name: str
    ) -> None:
        live, pods = api.create(pod(name)), KubePods(client)
        uid = live["metadata"]["uid"]

        there = await pods.is_gone(TENANT, name, uid)
        api.delete(live, gracePeriodSeconds="0")
        none = await pods.is_gone(TENANT, name, uid)
        api.create(pod(name))
        another = await pods.is_gone(TENANT, name, uid)

        assert (there, none, another) == (False, True, True)

    async def test_nobody_knows_of_a_pod_where_none_may_be_read(
        self, client: KubeClient, name: str
    ) -> None:
        with pytest.raises(Forbidden):
            await KubePods(client).is_gone("kube-system", name, "uid-1")


class TestTask:
    async def test_status_is_merged(self, client: KubeClient, api: Api, made: Task) -> None:
        tasks = KubeTasks(client)
        first = {"phaseName": "a", "observedGeneration": 1}

        await tasks.patch_status(made, first)
        await tasks.patch_status(replace(made, status=first), {"phaseName": None})

        assert api.get("AgentTask", TENANT, made.name)["status"] == {"observedGeneration": 1}

    async def test_status_of_a_task_made_anew_is_not_written(
        self, client: KubeClient, api: Api, made: Task
    ) -> None:
        before = replace(made, uid=str(uuid.uuid4()))

        await KubeTasks(client).patch_status(before, {"observedGeneration": 7})

        assert "status" not in api.get("AgentTask", TENANT, made.name)

    async def test_only_our_finalizer_is_released(
        self, client: KubeClient, api: Api, made: Task
    ) -> None:
        api.merge(task(made.name), {"metadata": {"finalizers": ["example.com/a", FINALIZER]}})
        tasks = KubeTasks(client)

        await tasks.release(made)
        await tasks.release(made)

        metadata = api.get("AgentTask", TENANT, made.name)["metadata"]
        assert metadata["finalizers"] == ["example.com/a"]

    async def test_what_is_gone_is_success(self, client: KubeClient, api: Api, made: Task) -> None:
        remove(api, task(made.name))
        tasks = KubeTasks(client)

        await tasks.patch_status(made, {"observedGeneration": 1})
        await tasks.release(made)
        await tasks.delete(made)


class TestEvents:
    async def test_an_event_that_is_told_twice_is_there_once(
        self, client: KubeClient, api: Api, made: Task
    ) -> None:
        events = KubeEvents(client, instance="test")
        told = {
            "kind": "AgentTask", "namespace": TENANT, "name": made.name, "uid": made.uid,
            "unique": "17", "reason": "CredentialIssued", "message": "ü" * 2000,
            "severity": Severity.NORMAL, "at": T0,
        }  # fmt: skip

        await _post(events, told)
        await _post(events, told)

        listed = api.call("GET", f"/apis/events.k8s.io/v1/namespaces/{TENANT}/events")["items"]
        mine = [e for e in listed if e["regarding"].get("uid") == made.uid]
        assert [e["reason"] for e in mine] == ["CredentialIssued"]
        assert mine[0]["note"].endswith("ü…")
        assert len(mine[0]["note"].encode()) <= 1024
        assert events.dropped == 0

    async def test_an_event_about_an_object_of_the_cluster_is_posted_in_default(
        self, client: KubeClient, api: Api
    ) -> None:
        events = KubeEvents(client, instance="test")
        uid = str(uuid.uuid4())

        await _post(events, {
            "kind": "CredentialClass", "namespace": "", "name": "tickets", "uid": uid, "at": T0,
            "unique": "1", "reason": "Broken", "message": "m", "severity": Severity.WARNING,
        })  # fmt: skip

        listed = api.call("GET", "/apis/events.k8s.io/v1/namespaces/default/events")["items"]
        assert [e["type"] for e in listed if e["regarding"].get("uid") == uid] == ["Warning"]

    async def test_an_event_that_is_refused_is_counted(self, client: KubeClient) -> None:
        events = KubeEvents(client, instance="test")

        await _post(events, {
            "kind": "Pod", "namespace": "kube-system", "name": "p", "uid": "u",
            "unique": "1", "reason": "R", "message": "m", "severity": Severity.NORMAL, "at": T0,
        })  # fmt: skip

        assert events.dropped == 1


class TestReviews:
    async def test_the_verb_use_decides(self, client: KubeClient, api: Api) -> None:
        reviews = KubeReviews(client)

        assert await reviews.may_use(User(username="alice"), "tickets")
        assert not await reviews.may_use(User(username="alice"), "another")
        assert not await reviews.may_use(User(username="bob"), "tickets")
        assert not await reviews.may_use(User(), "tickets")
        assert await reviews.may_use(User(username="bob", groups=("system:masters",)), "tickets")


class TestReflector:
    async def test_a_deletion_that_no_watch_saw_is_seen_in_the_next_list(
        self, client: KubeClient, kubeconfig: str, api: Api, name: str
    ) -> None:
        kept = thing("v1", "ConfigMap", TENANT, name, labels={"for": name}, data={"v": "1"})
        gone = thing("v1", "ConfigMap", TENANT, f"{name}-gone", labels={"for": name})
        for each in (kept, gone):
            api.create(each)
        changes: list[tuple[str, str | None, str | None]] = []
        async with KubeClient.from_kubeconfig(kubeconfig) as admin:
            reflector: Reflector[str] = Reflector(
                admin,
                f"/api/v1/namespaces/{TENANT}/configmaps",
                lambda obj: str(obj.get("data", {}).get("v", "")),
                lambda key, old, new: changes.append((key[1], old, new)),
                label_selector=f"for={name}",
            )
            await _run_until(reflector, reflector.synced.wait())
            api.delete(gone)
            api.merge(kept, {"data": {"v": "2"}})
            reflector._from = ""  # as after an answer 410: list again

            await _run_until(reflector, _holds(lambda: len(changes) == 4))

        remove(api, kept)
        assert sorted(changes[:2]) == [(name, None, "1"), (f"{name}-gone", None, "")]
        assert sorted(changes[2:]) == [(name, "1", "2"), (f"{name}-gone", "", None)]


async def _holds(what: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not what():
            await asyncio.sleep(0.02)


async def _run_until(reflector: Reflector[str], what: Awaitable[object]) -> None:
    running = asyncio.create_task(reflector.run())
    await what
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def _post(events: KubeEvents, told: Mapping[str, Any]) -> None:
    running = asyncio.create_task(events.run())
    await events.post(**told)
    await events.drain(10)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
