"""What kopf is given: lists and watches whose objects are cut before it sees them."""

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from taskpass.kube.cache.trim import cut
from taskpass.kube.cache.trim_response import LONGEST_LINE, CutResponse
from tests.unit.kube.objects import a_task

LARGE = "x" * 300_000


def large(name: str) -> dict[str, Any]:
    """Return a task with annotations that nobody looks at."""
    made = a_task(name, 10)
    made["metadata"]["annotations"] = {"notes": LARGE}
    return made


ERROR = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old"}}
EVENTS = [
    {"type": "ADDED", "object": large("a")},
    {"type": "BOOKMARK", "object": {"kind": "AgentTask", "metadata": {"resourceVersion": "11"}}},
    ERROR,
]


async def answer(request: web.Request) -> web.StreamResponse:
    """Answer as an API server does."""
    if request.path == "/refused":
        return web.json_response({"kind": "Status", "code": 403}, status=403)
    if request.query.get("watch") != "true":
        items = [large("a"), large("b")]
        return web.json_response({"kind": "AgentTaskList", "metadata": {}, "items": items})
    told = web.StreamResponse()
    await told.prepare(request)
    if request.path == "/endless":
        for _ in range(LONGEST_LINE // len(LARGE) + 2):
            await told.write(LARGE.encode())
        return told
    whole = b"".join(json.dumps(each).encode() + b"\n" for each in EVENTS)
    for begin in range(0, len(whole), 70_001):  # lines are broken anywhere
        await told.write(whole[begin : begin + 70_001])
    return told


@pytest.fixture
async def session() -> AsyncIterator[tuple[aiohttp.ClientSession, str]]:
    """Return a session as kopf has it, and where to ask."""
    app = web.Application()
    app.router.add_get("/{any}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    async with aiohttp.ClientSession(response_class=CutResponse) as made:
        yield made, f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_a_list_is_cut(session: tuple[aiohttp.ClientSession, str]) -> None:
    client, url = session
    async with client.get(f"{url}/tasks") as response:
        page = await response.json()

    assert page["items"] == [cut(large("a")), cut(large("b"))]
    assert page["kind"] == "AgentTaskList"


async def test_each_line_of_a_watch_is_cut_and_what_is_no_object_is_as_it_was(
    session: tuple[aiohttp.ClientSession, str],
) -> None:
    client, url = session
    async with client.get(f"{url}/tasks", params={"watch": "true"}) as response:
        lines = [json.loads(line) async for line in response.content.iter_chunked(1024)]

    assert lines == [{"type": "ADDED", "object": cut(large("a"))}, *EVENTS[1:]]


async def test_a_refusal_is_read_as_it_is(session: tuple[aiohttp.ClientSession, str]) -> None:
    client, url = session
    async with client.get(f"{url}/refused", params={"watch": "true"}) as response:
        said = await response.json()

    assert (response.status, said["code"]) == (403, 403)


async def test_a_line_without_end_breaks_the_watch_and_fills_nothing(
    session: tuple[aiohttp.ClientSession, str],
) -> None:
    client, url = session
    async with client.get(f"{url}/endless", params={"watch": "true"}) as response:
        lines = response.content.iter_chunked(1024).__aiter__()

        with pytest.raises(aiohttp.ClientPayloadError):
            await lines.__anext__()
