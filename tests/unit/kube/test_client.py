"""The API client: what answers mean, what is retried, what is never said."""

import asyncio
import json
from pathlib import Path

import pytest

from taskpass.core import errors
from taskpass.kube.api.client import FIRST_PAGE, MOST_PAGE_BYTES
from taskpass.kube.api.connection import TokenFile
from taskpass.kube.api.errors import resource_of
from tests.unit.kube.scripted_server import Answer, Script, events, item, page, status_body

POD = "/api/v1/namespaces/support/pods/agent"
PODS = "/api/v1/namespaces/support/pods"
DENIED = (
    "secrets \"taskpass-x\" is forbidden: ValidatingAdmissionPolicy 'taskpass-operator-secrets' "
    "with binding 'taskpass-operator-secrets' denied request: the operator must not"
)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, errors.Invalid),
        (401, errors.Unauthenticated),
        (403, errors.Forbidden),
        (404, errors.NotFound),
        (405, errors.ApiError),
        (409, errors.Conflict),
        (410, errors.Gone),
        (422, errors.Invalid),
        (429, errors.ApiUnavailable),
        (500, errors.ApiUnavailable),
        (503, errors.ApiUnavailable),
        (504, errors.ApiUnavailable),
    ],
)
async def test_a_status_becomes_an_error_of_ours(
    script: Script, status: int, expected: type[Exception]
) -> None:
    script.on(f"GET {POD}", Answer(status_body(status, "it is so"), status))

    async with script.client() as client:
        with pytest.raises(expected, match=f"{status} to get of pods: it is so") as raised:
            await client.get(POD)

    assert type(raised.value) is expected


@pytest.mark.parametrize(
    "secret",
    [
        pytest.param("eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhZ2VudCJ9.c2lnbmF0dXJl_-x", id="a token"),
        pytest.param("eyJhbGciOiJSUzI1NiIsImtpZCI6Ij", id="a token's beginning"),
        pytest.param("c2VjcmV0" * 8 + "MTIzNA==", id="base64"),
    ],
)
async def test_what_looks_like_a_secret_in_its_words_is_left_out(
    script: Script, secret: str
) -> None:
    words = f"admission of {secret} failed for taskpass-{'0' * 32}-{'a' * 40}"
    script.on(f"GET {POD}", Answer(status_body(500, words), 500))

    async with script.client() as client:
        with pytest.raises(errors.ApiUnavailable) as raised:
            await client.get(POD)

    assert secret[:12] not in str(raised.value)
    assert str(raised.value).endswith(
        f"admission of (left out) failed for taskpass-{'0' * 32}-{'a' * 40}"
    )


async def test_a_refusal_by_admission_names_the_policy(script: Script) -> None:
    script.on(f"GET {POD}", Answer(status_body(403, DENIED), 403))

    async with script.client() as client:
        with pytest.raises(errors.AdmissionDenied) as raised:
            await client.get(POD)

    assert raised.value.policy == "taskpass-operator-secrets"


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({"kind": "Secret", "apiVersion": "v1", "message": "hunter2"}, id="an object"),
        pytest.param({"message": "hunter2"}, id="no kind"),
        pytest.param(["hunter2"], id="a list"),
        pytest.param({"kind": "Status", "apiVersion": "v1", "message": ["hunter2"]}, id="no text"),
    ],
)
async def test_text_that_is_no_status_is_never_passed_on(script: Script, body: object) -> None:
    script.on(f"GET {POD}", Answer(body, 500))

    async with script.client() as client:
        with pytest.raises(errors.ApiUnavailable) as raised:
            await client.get(POD)

    assert "hunter2" not in str(raised.value)


async def test_the_page_of_a_proxy_is_never_passed_on(script: Script) -> None:
    script.on(f"GET {POD}", Answer(status=502, text="<html>hunter2</html>"))

    async with script.client() as client:
        with pytest.raises(errors.ApiUnavailable) as raised:
            await client.get(POD)

    assert "hunter2" not in str(raised.value)


async def test_a_message_is_one_line_and_not_long(script: Script) -> None:
    script.on(f"GET {POD}", Answer(status_body(400, "a\nb" + 9000 * "x"), 400))

    async with script.client() as client:
        with pytest.raises(errors.Invalid) as raised:
            await client.get(POD)

    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 600


@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_is_honoured(script: Script, status: int) -> None:
    busy = Answer(status_body(status, "busy"), status, {"Retry-After": "0"})
    script.on(f"POST {PODS}", busy, Answer({"ok": True}))

    async with script.client() as client:
        answer = await client.create(PODS, {"a": 1})

    assert answer == {"ok": True}
    assert script.bodies == [b'{"a":1}', b'{"a":1}']


async def test_it_is_not_honoured_for_ever(script: Script) -> None:
    busy = Answer(status_body(429, "busy"), 429, {"Retry-After": "0"})
    script.on(f"GET {POD}", busy)

    async with script.client() as client:
        with pytest.raises(errors.ApiUnavailable):
            await client.get(POD)

    assert len(script.requests) == 3


async def test_a_long_pause_is_left_to_the_work_queue(script: Script) -> None:
    script.on(f"GET {POD}", Answer(status_body(429, "busy"), 429, {"Retry-After": "60"}))

    async with script.client() as client, asyncio.timeout(5):
        with pytest.raises(errors.ApiUnavailable):
            await client.get(POD)

    assert len(script.requests) == 1


async def test_a_call_that_takes_too_long_is_unavailable(script: Script) -> None:
    script.on(f"GET {POD}", Answer(silent=True))

    async with script.client(call_seconds=0.1) as client:
        with pytest.raises(errors.ApiUnavailable, match="did not answer get of pods"):
            await client.get(POD)


async def test_a_server_that_is_not_there_is_unavailable(script: Script) -> None:
    script.url = "http://127.0.0.1:1"

    async with script.client() as client:
        with pytest.raises(errors.ApiUnavailable) as raised:
            await client.get(POD)

    assert "127.0.0.1" not in str(raised.value)


async def test_a_redirect_does_not_take_the_token_elsewhere(script: Script) -> None:
    script.on(f"GET {POD}", Answer(status=302, headers={"Location": f"{script.url}/elsewhere"}))

    async with script.client() as client:
        with pytest.raises(errors.ApiError, match="302"):
            await client.get(POD)

    assert [request.path for request in script.requests] == [POD]


async def test_every_call_says_what_it_sends(script: Script) -> None:
    for verb in ("PUT", "PATCH", "DELETE"):
        script.on(f"{verb} {POD}", Answer({}))
    script.on(f"POST {PODS}", Answer({}))

    async with script.client(
        impersonate=[("Impersonate-Group", "a"), ("Impersonate-Group", "b")]
    ) as client:
        await client.create(PODS, {}, dryRun="All")
        await client.replace(POD, {})
        await client.merge_patch(POD, {})
        await client.json_patch(POD, [])
        await client.delete(POD, uid="u-1")

    contents = [request.headers["Content-Type"] for request in script.requests]
    assert contents == [
        "application/json",
        "application/json",
        "application/merge-patch+json",
        "application/json-patch+json",
        "application/json",
    ]
    assert script.requests[0].query["dryRun"] == "All"
    assert json.loads(script.bodies[4])["preconditions"] == {"uid": "u-1"}
    assert script.requests[0].headers.getall("Impersonate-Group") == ["a", "b"]
    assert script.requests[0].headers["Authorization"] == "Bearer t0ken"


async def test_every_call_is_counted(script: Script) -> None:
    script.on(f"GET {POD}", Answer({}), Answer(status_body(404, "no"), 404))
    script.on(f"GET {PODS}", page(7))
    script.on(f"WATCH {PODS}", events(hold=False))
    counted: list[tuple[str, str, int]] = []

    async with script.client(on_call=lambda *call: counted.append(call[:3])) as client:
        await client.get(POD)
        with pytest.raises(errors.NotFound):
            await client.get(POD)
        await client.list(PODS, "taskpass.dev/task")
        assert [event async for event in client.watch(PODS, {})] == []

    assert counted == [
        ("get", "pods", 200),
        ("get", "pods", 404),
        ("list", "pods", 200),
        ("watch", "pods", 200),
    ]


async def test_a_list_is_read_by_pages(script: Script) -> None:
    script.on(
        f"GET {PODS}",
        page(7, item("a", 1), following="more"),
        page(7, item("b", 2)),
    )

    async with script.client() as client:
        items, version = await client.list(PODS, "taskpass.dev/task")

    assert [each["metadata"]["name"] for each in items] == ["a", "b"]
    assert items[0]["kind"] == "Pod"
    assert version == "7"
    first, second = script.requests
    assert dict(first.query) == {"limit": str(FIRST_PAGE), "labelSelector": "taskpass.dev/task"}
    assert second.query["continue"] == "more"
    assert int(second.query["limit"]) == 4 * FIRST_PAGE  # they are small


async def test_a_page_that_is_too_large_is_asked_for_in_parts(script: Script) -> None:
    large = "x" * (MOST_PAGE_BYTES // 4)
    script.on(
        f"GET {PODS}",
        page(7, *(item(f"a{n}", 1, text=large) for n in range(5))),
        page(7, *(item(f"a{n}", 1, text=large) for n in range(3)), following="more"),
        page(7, item("b", 2)),
    )

    async with script.client() as client:
        items, _ = await client.list(PODS)

    first, second, third = (dict(each.query) for each in script.requests)
    assert [each["metadata"]["name"] for each in items] == ["a0", "a1", "a2", "b"]
    assert int(second["limit"]) < int(first["limit"])
    assert "continue" not in second  # nothing of the first was taken
    assert int(third["limit"]) <= int(second["limit"])


async def test_an_object_that_is_too_large_by_itself_is_read_alone(script: Script) -> None:
    huge = item("a", 1, text="x" * (MOST_PAGE_BYTES + 1))
    script.on(f"GET {PODS}", page(7, huge))

    async with script.client() as client:
        items, _ = await client.list(PODS)

    assert [each["metadata"]["name"] for each in items] == ["a"]
    assert script.requests[-1].query["limit"] == "1"


async def test_a_watch_yields_events_larger_than_any_buffer(script: Script) -> None:
    large = item("a", 8, text="x" * 1_000_000)
    script.on(f"WATCH {PODS}", events(("ADDED", large), ("DELETED", item("a", 9)), hold=False))

    async with script.client() as client:
        seen = [e async for e in client.watch(PODS, {"resourceVersion": "7"})]

    assert [(e["type"], e["object"]["metadata"]["resourceVersion"]) for e in seen] == [
        ("ADDED", "8"),
        ("DELETED", "9"),
    ]
    assert script.requests[0].query["resourceVersion"] == "7"
    assert script.requests[0].query["allowWatchBookmarks"] == "true"


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(Answer(status_body(410, "too old"), 410), id="as the answer"),
        pytest.param(events(("ERROR", status_body(410, "too old"))), id="as an event"),
    ],
)
async def test_a_watch_from_too_long_ago_is_gone(script: Script, answer: Answer) -> None:
    script.on(f"WATCH {PODS}", answer)

    async with script.client() as client:
        with pytest.raises(errors.Gone):
            async for _ in client.watch(PODS, {"resourceVersion": "7"}):
                pass


async def test_a_silent_watch_counts_as_broken(script: Script) -> None:
    script.on(f"WATCH {PODS}", events(("ADDED", item("a", 8))))

    async with script.client(idle_seconds=0.1) as client:
        with pytest.raises(errors.ApiUnavailable, match="The watch of pods broke off"):
            async for _ in client.watch(PODS, {}):
                pass


async def test_a_watch_that_sends_nonsense_is_broken(script: Script) -> None:
    script.on(f"WATCH {PODS}", Answer(text="hunter2\n"))

    async with script.client() as client:
        with pytest.raises(errors.ApiUnavailable) as raised:
            async for _ in client.watch(PODS, {}):
                pass

    assert "hunter2" not in str(raised.value)


def test_a_token_file_is_read_again_after_a_minute(tmp_path: Path) -> None:
    path, now = tmp_path / "token", [0.0]
    path.write_text("first\n")
    token = TokenFile(path, lambda: now[0])
    assert token() == "Bearer first"
    path.write_text("second\n")

    now[0] = 59.0
    assert token() == "Bearer first"
    now[0] = 60.0
    assert token() == "Bearer second"
    assert "second" not in repr(token)


@pytest.mark.parametrize(
    ("path", "resource"),
    [
        ("/api/v1/namespaces", "namespaces"),
        ("/api/v1/namespaces/support", "namespaces"),
        ("/api/v1/namespaces/support/pods", "pods"),
        ("/api/v1/namespaces/g/serviceaccounts/g-1/token", "serviceaccounts/token"),
        ("/apis/taskpass.dev/v1alpha1/agenttasks?limit=1", "agenttasks"),
        ("/apis/taskpass.dev/v1alpha1/namespaces/s/agenttasks/t/status", "agenttasks/status"),
        ("/apis/taskpass.dev/v1alpha1/credentialclasses/c/status", "credentialclasses/status"),
        ("/apis/authorization.k8s.io/v1/subjectaccessreviews", "subjectaccessreviews"),
        ("/version", "version"),
    ],
)
def test_a_path_says_what_it_is_of(path: str, resource: str) -> None:
    assert resource_of(path) == resource


@pytest.mark.parametrize(("dry_run", "policy"), [(False, "Background"), (True, "Foreground")])
async def test_a_deletion_names_how_what_hangs_on_the_object_goes(
    script: Script, dry_run: bool, policy: str
) -> None:
    """The API server knows three words for it, and refuses any other."""
    script.on(f"DELETE {POD}", Answer(item("a", 9)))

    async with script.client() as client:
        await client.delete(POD, uid="u-1", dry_run=dry_run)

    options = json.loads(script.bodies[0])
    assert options["propagationPolicy"] == policy
    assert options["preconditions"] == {"uid": "u-1"}
