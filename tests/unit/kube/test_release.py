"""The operator gives up everything when it is asked to, and only while somebody waits for it."""

import asyncio
import json
from datetime import datetime

import pytest

from taskpass.core.errors import NotFound, TransientError
from taskpass.kube.writers import uninstall_hook as release
from taskpass.kube.writers.uninstall_hook import ReleaseRequests, request_release
from tests.unit.kube.scripted_server import Answer, Script, status_body

PATH = "/api/v1/namespaces/home/configmaps/taskpass-release"
MADE = "2027-03-01T12:00:00Z"


class UninstallSteps:
    """Gives up, and holds nothing."""

    def __init__(self) -> None:
        self.began = asyncio.Event()

    def begin(self) -> None:
        self.began.set()

    def end(self) -> None:
        self.began.clear()

    def left(self) -> tuple[tuple[()], tuple[()], tuple[()]]:
        return (), (), ()


def asked(**data: str) -> Answer:
    return Answer({"metadata": {"creationTimestamp": MADE}, "data": data})


@pytest.mark.parametrize(
    ("data", "at", "heeded"),
    [
        ({"withinSeconds": "30"}, "2027-03-01T12:00:29+00:00", True),
        ({"withinSeconds": "30"}, "2027-03-01T12:00:31+00:00", False),
        ({}, "2027-03-01T12:04:59+00:00", True),
        ({}, "2027-03-01T12:05:01+00:00", False),
        ({"withinSeconds": "never"}, "2027-03-01T12:05:01+00:00", False),
        ({"state": "done"}, "2027-03-01T12:00:01+00:00", False),
    ],
    ids=["in time", "too late", "as by default", "too late by default", "nonsense", "answered"],
)
async def test_a_request_is_heeded_while_somebody_waits(
    script: Script, data: dict[str, str], at: str, heeded: bool
) -> None:
    script.on(f"GET {PATH}", asked(**data))
    script.on(f"PATCH {PATH}", Answer({}))
    giving = UninstallSteps()
    async with script.client() as client:
        requests = ReleaseRequests(client, "home", giving, lambda: datetime.fromisoformat(at))
        await requests.once()

    assert giving.began.is_set() == heeded
    assert any(r.method == "PATCH" for r in script.requests) == heeded


@pytest.mark.parametrize(
    "left", [Answer(status_body(404, "no"), 404), asked(state="done")], ids=["taken away", "left"]
)
async def test_whom_nobody_uninstalled_after_all_is_served_again(
    script: Script, monkeypatch: pytest.MonkeyPatch, left: Answer
) -> None:
    script.on(f"GET {PATH}", asked(withinSeconds="30"), left)
    script.on(f"PATCH {PATH}", Answer({}))
    giving = UninstallSteps()
    async with script.client() as client:
        requests = ReleaseRequests(client, "home", giving, lambda: datetime.fromisoformat(MADE))
        await requests.once()
        await requests.once()
        soon = giving.began.is_set()
        monkeypatch.setattr(release, "AFTERWARDS_SECONDS", 0.0)
        await requests.once()

    assert soon
    assert not giving.began.is_set()


async def test_a_request_that_was_taken_back_while_it_was_carried_out_ends_as_well(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(release, "AFTERWARDS_SECONDS", 0.0)
    gone = Answer(status_body(404, "no"), 404)
    script.on(f"GET {PATH}", asked(withinSeconds="30"), gone)
    script.on(f"PATCH {PATH}", gone)
    giving = UninstallSteps()
    async with script.client() as client:
        requests = ReleaseRequests(client, "home", giving, lambda: datetime.fromisoformat(MADE))
        with pytest.raises(NotFound):
            await requests.once()
        assert giving.began.is_set()
        await requests.once()

    assert not giving.began.is_set()


async def test_who_asks_says_how_long_they_wait(script: Script) -> None:
    script.on(f"DELETE {PATH}", Answer(status_body(404, "no"), 404), Answer({}))
    script.on(f"POST {PATH.rpartition('/')[0]}", Answer({}, 201))
    script.on(f"GET {PATH}", asked(state="done", tasks="2"))

    async with script.client() as client:
        answer = await request_release(client, "home", 77)

    assert answer["tasks"] == "2"
    [body] = [json.loads(b) for r, b in zip(script.requests, script.bodies, strict=True)
              if r.method == "POST"]  # fmt: skip
    assert body["data"] == {"withinSeconds": "77"}


@pytest.mark.slow
async def test_who_gets_no_answer_in_time_takes_the_request_back(script: Script) -> None:
    script.on(f"DELETE {PATH}", Answer(status_body(404, "no"), 404), Answer({}))
    script.on(f"POST {PATH.rpartition('/')[0]}", Answer({}, 201))
    script.on(f"GET {PATH}", asked(withinSeconds="1"))

    async with script.client() as client:
        with pytest.raises(TransientError, match="did not answer within 1 s; see to it that it"):
            await request_release(client, "home", 1)

    assert script.requests[-1].method == "DELETE"


async def test_an_api_server_that_is_away_for_a_moment_does_not_end_the_asking(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(release, "ASK_SECONDS", 0.01)
    script.on(f"DELETE {PATH}", Answer(status_body(503, "no"), 503), Answer({}))
    script.on(f"POST {PATH.rpartition('/')[0]}", Answer({}, 201))
    script.on(f"GET {PATH}", asked(state="done", tasks="0"))

    async with script.client() as client:
        assert (await request_release(client, "home", 30))["tasks"] == "0"
