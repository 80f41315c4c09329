"""What is no answer of the API server's proves nothing: neither that something is gone, nor no."""

from typing import Any

import pytest

from taskpass.core.errors import ApiUnavailable, NotFound
from taskpass.kube.writers.workloads import KubeWorkloads
from tests.unit.kube.objects import meta
from tests.unit.kube.scripted_server import Answer, Object, Script, status_body

PODS = "/api/v1/namespaces/support/pods"
JOB = "/apis/batch/v1/namespaces/support/jobs/nightly"
SANDBOX = "/apis/agents.x-k8s.io/{}/namespaces/support/sandboxes/one"
VERSION = {"resourceVersion": "7"}
NO_SUCH_PATH = Answer(text="404 page not found\n", status=404)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"metadata": VERSION}, id="no kind"),
        pytest.param({"kind": "PodList", "items": []}, id="no metadata"),
        pytest.param({"kind": "PodList", "metadata": {}, "items": []}, id="no version"),
        pytest.param({"kind": "PodList", "metadata": VERSION}, id="no items"),
        pytest.param({"kind": "PodList", "metadata": VERSION, "items": {}}, id="items, not a list"),
        pytest.param({"kind": "PodList", "metadata": VERSION, "items": ["a"]}, id="a text"),
        pytest.param(
            {"kind": "PodList", "metadata": VERSION, "items": [{"metadata": {"name": "a"}}]},
            id="one without uid",
        ),
        pytest.param({"kind": "Pod", "metadata": VERSION, "items": []}, id="one object"),
    ],
)
async def test_what_is_no_list_proves_no_absence(script: Script, body: Object) -> None:
    script.on(f"GET {PODS}", Answer(body))

    async with script.client() as client:
        with pytest.raises(ApiUnavailable, match="was no list"):
            await client.list(PODS)


async def test_an_empty_list_is_a_list(script: Script) -> None:
    script.on(f"GET {PODS}", Answer({"kind": "PodList", "metadata": VERSION, "items": None}))

    async with script.client() as client:
        assert await client.list(PODS) == ([], "7")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410, 422])
@pytest.mark.parametrize(
    "answer",
    [{"text": "<html>I am a gateway</html>"}, {"body": {"error": "no"}}, {"body": None}],
    ids=["a page", "other JSON", "null"],
)
async def test_a_refusal_in_other_words_than_the_api_servers_is_no_answer(
    script: Script, status: int, answer: dict[str, Any]
) -> None:
    script.on(f"DELETE {PODS}/a", Answer(status=status, **answer))

    async with script.client() as client:
        with pytest.raises(ApiUnavailable):
            await client.delete(f"{PODS}/a")


async def test_that_a_kind_is_not_served_is_told_from_an_object_that_is_gone(
    script: Script,
) -> None:
    script.on(f"GET {PODS}/a", NO_SUCH_PATH, Answer(status_body(404, "not found"), 404))

    async with script.client() as client:
        named = []
        for _ in range(2):
            with pytest.raises(NotFound) as caught:
                await client.get(f"{PODS}/a")
            named.append(caught.value.named)

    assert named == [False, True]


async def test_a_workload_is_gone_only_where_its_kind_is_known(script: Script) -> None:
    gone = Answer(status_body(404, "not found"), 404)
    script.on(f"GET {JOB}", NO_SUCH_PATH, gone)
    for version in ("v1beta1", "v1alpha1"):
        script.on(f"GET {SANDBOX.format(version)}", NO_SUCH_PATH)

    async with script.client() as client:
        reader = KubeWorkloads(client)
        with pytest.raises(ApiUnavailable, match="could not be found out"):
            await reader.workload("support", "batch", "Job", "nightly")
        assert await reader.workload("support", "batch", "Job", "nightly") is None
        with pytest.raises(ApiUnavailable, match="knows no sandboxes now"):
            await reader.workload("support", "agents.x-k8s.io", "Sandbox", "one")
        script.on(f"GET {SANDBOX.format('v1alpha1')}", gone)
        assert await reader.workload("support", "agents.x-k8s.io", "Sandbox", "one") is None
        assert await reader.workload("support", "example.com", "Unheard", "of") is None


@pytest.mark.parametrize(
    "event",
    [
        {"type": "MODIFIED", "object": {"metadata": ["x"]}},
        {"type": "MODIFIED", "object": {"metadata": {"name": "a"}}},
        {"type": "RENAMED", "object": {"metadata": meta("a", 1)}},
        {"type": "ERROR", "object": {"code": "410"}},
        {"object": {"metadata": meta("a", 1)}},
    ],
    ids=["no metadata", "no uid", "another type", "a code that is text", "no type"],
)
async def test_an_event_that_is_none_breaks_the_watch_off(script: Script, event: Object) -> None:
    script.on(f"WATCH {PODS}", Answer(lines=[event]))

    async with script.client() as client:
        with pytest.raises(ApiUnavailable):
            async for _ in client.watch(PODS, {}):
                pass
