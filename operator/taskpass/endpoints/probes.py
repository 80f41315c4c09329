"""`/livez`, `/readyz` and `/metrics` on a port of their own, in plain HTTP: nothing here is secret.

`/readyz` answers 503 with one line for each thing that is missing.
"""

from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

Check = Callable[[], str]
"""Returns '' where all is well, else what is missing in a sentence."""


class Probes:
    """The server; `start` binds, `stop` closes."""

    def __init__(
        self, registry: CollectorRegistry, live: Mapping[str, Check], ready: Mapping[str, Check]
    ) -> None:
        self._registry = registry
        self._live = live
        self._ready = ready
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def start(self, port: int) -> None:
        """Listen on the port, on every address; port 0 takes a free one (`self.port`)."""
        app = web.Application()
        app.router.add_get("/livez", self._answer(self._live))
        app.router.add_get("/readyz", self._answer(self._ready))
        app.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "0.0.0.0", port)  # noqa: S104 (the kubelet calls it)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Close."""
        if self._runner is not None:
            await self._runner.cleanup()

    def _answer(
        self, checks: Mapping[str, Check]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def answer(_: web.Request) -> web.Response:
            said = {name: check() for name, check in checks.items()}
            lines = [f"{name}: {text or 'ok'}" for name, text in said.items()]
            status = 503 if any(said.values()) else 200
            return web.Response(text="\n".join(lines) + "\n", status=status)

        return answer

    async def _metrics(self, request: web.Request) -> web.Response:
        encoder, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encoder(self._registry), headers={"Content-Type": content_type})
