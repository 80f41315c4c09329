"""An HTTP server that answers as a test says: for what a real API server does only rarely."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from taskpass.kube.api.client import KubeClient
from taskpass.kube.api.connection import Connection

Object = dict[str, Any]


@dataclass
class Answer:
    """One answer. `hold` keeps the connection open after the body, until the client is gone."""

    body: object = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    text: str | None = None
    lines: list[Object] | None = None
    hold: bool = False
    silent: bool = False


class Script:
    """Answers by `VERB path` in order; the last one of each is repeated."""

    def __init__(self) -> None:
        self.answers: dict[str, list[Answer]] = {}
        self.requests: list[web.Request] = []
        self.bodies: list[bytes] = []
        self.url = ""

    def on(self, what: str, *answers: Answer) -> None:
        """Say what is answered to `GET /path` or `WATCH /path`."""
        self.answers[what] = list(answers)

    def client(self, **options: Any) -> KubeClient:
        """Return a client of this server."""
        authorization: Callable[[], str] = options.pop("authorization", lambda: "Bearer t0ken")
        where = Connection(server=self.url, tls=None, authorization=authorization)
        return KubeClient(where, **options)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        self.bodies.append(await request.read())
        verb = "WATCH" if request.query.get("watch") else request.method
        queue = self.answers[f"{verb} {request.path}"]
        answer = queue.pop(0) if len(queue) > 1 else queue[0]
        if answer.silent:
            await asyncio.Event().wait()
        if answer.lines is None and answer.text is None:
            return web.json_response(answer.body, status=answer.status, headers=answer.headers)
        response = web.StreamResponse(status=answer.status, headers=answer.headers)
        await response.prepare(request)
        text = answer.text or "".join(json.dumps(line) + "\n" for line in answer.lines or ())
        await response.write(text.encode())
        if answer.hold:
            await asyncio.Event().wait()
        return response


@asynccontextmanager
async def scripted() -> AsyncIterator[Script]:
    """Run a server; a test that ends takes every held connection with it."""
    script = Script()
    application = web.Application(client_max_size=2**24)
    application.router.add_route("*", "/{path:.*}", script.handle)
    server = TestServer(application, handler_cancellation=True, shutdown_timeout=0.1)
    await server.start_server()
    script.url = str(server.make_url("/")).rstrip("/")
    try:
        yield script
    finally:
        await server.close()


def status_body(code: int, message: str) -> Object:
    """Return a Kubernetes Status."""
    return {"kind": "Status", "apiVersion": "v1", "code": code, "message": message}


def item(
    name: str, version: int, *, uid: str = "", namespace: str = "support", **more: Any
) -> Object:
    """Return an object of a list."""
    metadata: Object = {"name": name, "uid": uid or f"uid-{name}", "resourceVersion": str(version)}
    if namespace:
        metadata["namespace"] = namespace
    return {"metadata": metadata, **more}


def page(version: int, *items: Object, following: str = "", kind: str = "PodList") -> Answer:
    """Return one page of a list."""
    metadata = {"resourceVersion": str(version), **({"continue": following} if following else {})}
    return Answer({"kind": kind, "metadata": metadata, "items": list(items)})


def events(*told: tuple[str, Object], hold: bool = True) -> Answer:
    """Return a watch that tells something, and then holds or ends."""
    return Answer(lines=[{"type": kind, "object": obj} for kind, obj in told], hold=hold)
