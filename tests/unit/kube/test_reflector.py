"""The reflector: no deletion is missed, and nothing but cancellation ends it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from taskpass.kube.api.client import KubeClient
from taskpass.kube.cache.reflector import Reflector, key_of
from tests.unit.kube.scripted_server import Answer, Script, events, item, page, status_body

PODS = "/api/v1/namespaces/support/pods"
Changes = list[tuple[str, str | None, str | None]]


def text_of(obj: Mapping[str, Any]) -> str:
    return str(obj["text"])


def reflector_of(client: KubeClient, changes: Changes, **more: Any) -> Reflector[str]:
    return Reflector(
        client,
        PODS,
        text_of,
        lambda key, old, new: changes.append((key[1], old, new)),
        first_pause=0.01,
        **more,
    )


@asynccontextmanager
async def running(script: Script, **more: Any) -> AsyncIterator[tuple[Reflector[str], Changes]]:
    changes: Changes = []
    async with script.client(idle_seconds=more.pop("idle_seconds", 60.0)) as client:
        reflector = reflector_of(client, changes, **more)
        task = asyncio.create_task(reflector.run())
        try:
            yield reflector, changes
            assert not task.done()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def until(what: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not what():
            await asyncio.sleep(0.005)


async def test_it_lists_then_watches_from_there(script: Script) -> None:
    script.on(f"GET {PODS}", page(7, item("a", 1, text="1"), item("b", 2, text="2")))
    script.on(
        f"WATCH {PODS}",
        events(("MODIFIED", item("a", 8, text="3")), ("DELETED", item("b", 9, text="2"))),
    )

    async with running(script, label_selector="taskpass.dev/task") as (reflector, changes):
        await until(lambda: len(changes) == 4)

        assert reflector.synced.is_set()
        assert reflector.healthy
        assert reflector.items == {("support", "a"): "3"}
    assert changes == [("a", None, "1"), ("b", None, "2"), ("a", "1", "3"), ("b", "2", None)]
    watch = script.requests[1]
    assert watch.query["resourceVersion"] == "7"
    assert watch.query["labelSelector"] == "taskpass.dev/task"


async def test_what_vanished_while_nobody_watched_is_reported_after_410(script: Script) -> None:
    script.on(
        f"GET {PODS}",
        page(7, item("a", 1, text="1"), item("b", 2, text="2"), item("c", 3, text="3")),
        page(20, item("a", 1, text="1"), item("c", 15, text="4")),
    )
    script.on(f"WATCH {PODS}", events(("ERROR", status_body(410, "too old"))), events())

    async with running(script) as (reflector, changes):
        await until(lambda: len(changes) == 5)

        assert reflector.items == {("support", "a"): "1", ("support", "c"): "4"}
    assert sorted(changes[3:]) == [("b", "2", None), ("c", "3", "4")]


async def test_a_list_that_breaks_off_midway_reports_no_deletion(script: Script) -> None:
    first = page(7, item("a", 1, text="1"), item("b", 2, text="2"))
    half = page(20, item("a", 1, text="1"), following="more")
    script.on(f"GET {PODS}", first, half, Answer(status_body(500, "etcd"), 500), first)
    script.on(f"WATCH {PODS}", Answer(status_body(410, "too old"), 410), events())

    async with running(script) as (reflector, changes):
        await until(lambda: len(script.requests) >= 6)

        assert len(reflector.items) == 2
    assert changes == [("a", None, "1"), ("b", None, "2")]


async def test_a_name_that_was_made_anew_between_lists_is_a_change(script: Script) -> None:
    script.on(
        f"GET {PODS}",
        page(7, item("a", 1, uid="first", text="1")),
        page(20, item("a", 1, uid="second", text="2")),
    )
    script.on(f"WATCH {PODS}", Answer(status_body(410, "too old"), 410), events())

    async with running(script) as (_, changes):
        await until(lambda: len(changes) == 2)

    assert changes[1] == ("a", "1", "2")


async def test_a_bookmark_moves_where_the_next_watch_begins(script: Script) -> None:
    script.on(f"GET {PODS}", page(7))
    bookmark = {"metadata": {"resourceVersion": "30"}}
    script.on(f"WATCH {PODS}", events(("BOOKMARK", bookmark), hold=False), events())

    async with running(script):
        await until(lambda: len(script.requests) == 3)

    assert script.requests[2].query["resourceVersion"] == "30"


async def test_a_silent_watch_is_begun_again_where_it_was(script: Script) -> None:
    script.on(f"GET {PODS}", page(7))
    script.on(f"WATCH {PODS}", events(("ADDED", item("a", 8, text="1"))), events())

    async with running(script, idle_seconds=0.1) as (_, changes):
        await until(lambda: len(script.requests) >= 3)

    assert changes == [("a", None, "1")]
    assert [r.query.get("resourceVersion") for r in script.requests[1:3]] == ["7", "8"]


async def test_a_watch_that_was_begun_again_is_well_before_anything_happens(
    script: Script,
) -> None:
    script.on(f"GET {PODS}", page(7))
    script.on(f"WATCH {PODS}", Answer(lines=[]), events())

    async with running(script, idle_seconds=0.1) as (reflector, _):
        script.on(f"WATCH {PODS}", events())
        await until(lambda: reflector.last_error)  # the silence of the first was noticed
        script.on(f"WATCH {PODS}", events())
        await until(lambda: reflector.healthy)


async def test_it_is_unhealthy_while_the_server_fails_and_well_afterwards(script: Script) -> None:
    script.on(f"GET {PODS}", Answer(status_body(500, "etcd is away"), 500))
    script.on(f"WATCH {PODS}", events(("ADDED", item("a", 8, text="1"))))

    async with running(script) as (reflector, _):
        await until(lambda: reflector.last_error)
        assert not reflector.healthy
        assert not reflector.synced.is_set()
        assert "etcd is away" in reflector.last_error

        script.on(f"GET {PODS}", page(7))
        await until(lambda: reflector.healthy)


async def test_a_refusal_is_told_from_a_failure(script: Script) -> None:
    script.on(f"GET {PODS}", Answer(status_body(403, "no rights"), 403))
    script.on(f"WATCH {PODS}", events())

    async with running(script) as (reflector, _):
        await until(lambda: reflector.refused)

        script.on(f"GET {PODS}", page(7))
        await until(lambda: reflector.synced.is_set())
        assert not reflector.refused


async def test_one_that_cannot_be_read_stays_what_it_was_and_hurts_no_other(
    script: Script,
) -> None:
    script.on(f"GET {PODS}", page(7, item("odd", 1), item("a", 2, text="1")))
    script.on(
        f"WATCH {PODS}", events(("MODIFIED", item("a", 8)), ("ADDED", item("b", 9, text="2")))
    )

    async with running(script) as (reflector, changes):
        await until(lambda: len(changes) == 2)

        assert reflector.healthy
        assert {name for _, name in reflector.unreadable} == {"odd", "a"}
        assert reflector.items[key_of(item("a", 8))] == "1"
    assert changes == [("a", None, "1"), ("b", None, "2")]


async def test_one_that_was_made_anew_and_cannot_be_read_is_not_taken_for_the_old_one(
    script: Script,
) -> None:
    anew = item("a", 8, uid="another")
    script.on(f"GET {PODS}", page(7, item("a", 2, text="1")))
    script.on(f"WATCH {PODS}", events(("DELETED", item("b", 8)), ("ADDED", anew)))

    async with running(script) as (reflector, changes):
        await until(lambda: len(changes) == 2)

        assert reflector.has(key_of(anew))
        assert key_of(anew) not in reflector.items
    assert changes == [("a", None, "1"), ("a", "1", None)]


async def test_a_refusal_is_told_from_an_outage_and_counts_only_while_nothing_else_comes(
    script: Script,
) -> None:
    refused = Answer(status_body(403, "no rights"), 403)
    script.on(f"GET {PODS}", refused, refused, Answer({}, 500), refused, page(7))
    script.on(f"WATCH {PODS}", events())
    said: list[tuple[bool, bool]] = []

    async with script.client() as client:
        reflector: Reflector[str] = Reflector(
            client, PODS, text_of, lambda *_: None, first_pause=0.01,
            on_state=lambda: said.append((reflector.refused, reflector.refused_seconds > 0)),
        )  # fmt: skip
        task = asyncio.create_task(reflector.run())
        await until(lambda: reflector.healthy)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    # The second of two in a row lasted; after an outage the row begins anew, but what it was stays
    # until something is seen.
    assert said == [(True, False), (True, True), (True, True), (False, False)]
    assert reflector.refused_seconds == 0


async def test_a_fault_of_ours_does_not_end_it(script: Script) -> None:
    script.on(f"GET {PODS}", page(7, item("a", 1, text="1")))
    script.on(f"WATCH {PODS}", events())
    told: list[str] = []

    def fails_once(key: tuple[str, str], old: str | None, new: str | None) -> None:
        told.append(key[1])
        if len(told) == 1:
            raise RuntimeError("a fault")

    async with script.client() as client:
        reflector: Reflector[str] = Reflector(client, PODS, text_of, fails_once, first_pause=0.01)
        task = asyncio.create_task(reflector.run())
        await until(lambda: reflector.healthy)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    assert told[0] == "a"
