"""`/livez`, `/readyz` and `/metrics` on a port of their own, in plain HTTP: nothing here is secret.

`/readyz` answers 503 with one line for each thing that is missing. Any pod may reach it: see
`server/listener.py`; and what metrics are is found out at most once a second, however many ask.
"""

import time
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from taskpass.server.listener import Handler, Listener

KEEP_SECONDS = 1.0
Check = Callable[[], str | None]
"""Returns what is missing, in a sentence; None where all is well."""


class Probes:
    """The server; `start` binds, `stop` closes."""

    def __init__(
        self, registry: CollectorRegistry, live: Mapping[str, Check], ready: Mapping[str, Check]
    ) -> None:
        self._registry = registry
        self._live = live
        self._ready = ready
        self._kept: dict[str, tuple[float, bytes]] = {}
        """By content type: what was last answered, and when."""
        app = web.Application(middlewares=[_one_each])
        app.router.add_get("/livez", self._answer(self._live))
        app.router.add_get("/readyz", self._answer(self._ready))
        app.router.add_get("/metrics", self._metrics)
        self._listener = Listener(app)

    @property
    def port(self) -> int:
        """The port that it listens on; 0 before `start`."""
        return self._listener.port

    @property
    def refused(self) -> int:
        """Connections that were closed unanswered."""
        return self._listener.refused

    async def start(self, port: int) -> None:
        """Listen on the port, on every address; port 0 takes a free one (`self.port`)."""
        await self._listener.start(port)

    async def stop(self) -> None:
        """Close."""
        await self._listener.stop()

    def _answer(
        self, checks: Mapping[str, Check]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def answer(_: web.Request) -> web.Response:
            said = {name: check() for name, check in checks.items()}
            lines = [f"{name}: {'ok' if text is None else text}" for name, text in said.items()]
            status = 200 if all(text is None for text in said.values()) else 503
            return web.Response(text="\n".join(lines) + "\n", status=status)

        return answer

    async def _metrics(self, request: web.Request) -> web.Response:
        encoder, content_type = choose_encoder(request.headers.get("Accept", ""))
        at, body = self._kept.get(content_type, (float("-inf"), b""))
        if time.monotonic() - at >= KEEP_SECONDS:
            body = encoder(self._registry)
            self._kept = {content_type: (time.monotonic(), body)}
        return web.Response(body=body, headers={"Content-Type": content_type})


@web.middleware
async def _one_each(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Close each connection after its answer: whoever asks again is weighed again."""
    answer = await handler(request)
    answer.force_close()
    return answer
