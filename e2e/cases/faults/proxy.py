"""Something between the operator and the API server that fails as a test says.

It speaks plain HTTP to the operator and TLS to the API server, so it sees each call: it can be
away, hang, cut, delay, answer in the API server's stead, lose an answer, and let watches stall
without closing them. It runs on a thread and a loop of its own; faults are set from the test.
"""

import asyncio
import json
import re
import ssl
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import formatdate, parsedate_to_datetime
from types import TracebackType
from typing import Any, Self

import aiohttp
import kubernetes
from aiohttp import web

HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "host"})


@dataclass
class Rule:
    """What happens to calls of a method and path, the first `times` times."""

    method: str
    """'WATCH' for those."""
    path: str
    """A pattern that the path contains."""
    status: int = 0
    """Answer with it, and do not carry the call out; 0: carry it out."""
    message: str = "the proxy says so"
    lose: bool = False
    """Carry it out, and break the connection instead of answering."""
    leave: bool = False
    """And be away from then on."""
    echo: bool = False
    """Carry it out, and put what was answered into the message of an error of `status`."""
    garble: bool = False
    """Carry it out, and answer with something that has what it should, where it should not be."""
    half: bool = False
    """Carry it out, answer with the first half, and break the connection."""
    text: str = ""
    """Answer with it in place of JSON, and do not carry it out."""
    retry_after: str = ""
    """Header of an answer with `status`."""
    delay: float = 0.0
    """Seconds before it is carried out."""
    times: int = 1
    met: int = 0

    def meets(self, method: str, path: str) -> bool:
        """Tell whether it is this call's turn; count it."""
        if self.met >= self.times or method != self.method or not re.search(self.path, path):
            return False
        self.met += 1
        return True


@dataclass
class Proxy:
    """Faults are plain attributes; they hold for calls that begin after they are set."""

    upstream: str
    tls: ssl.SSLContext
    rules: list[Rule] = field(default_factory=list)
    away: bool = False
    """Break every connection at once, those of watches too."""
    hanging: bool = False
    """Answer nothing, and keep the connection."""
    delay: float = 0.0
    """Seconds before each call is carried out."""
    expired: bool = False
    """Tell each new watch 410, in an event as the API server does: it begins too long ago."""
    ahead: float = 0.0
    """Seconds by which the API server's clock is ahead, as its answers have it."""
    port: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    """Calls by method, and 'WATCH'."""
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    echoed: list[str] = field(default_factory=list)
    """What was put into errors."""
    _open: dict[int, web.Request] = field(default_factory=dict)
    """By their identity: they have no hash."""
    _stalled: set[int] = field(default_factory=set)

    @classmethod
    def of_kubeconfig(cls, path: str) -> Self:
        """Return one in front of a kubeconfig's API server."""
        config = kubernetes.client.Configuration()
        kubernetes.config.load_kube_config(path, client_configuration=config)  # type: ignore[no-untyped-call]
        return cls(config.host, ssl.create_default_context(cafile=config.ssl_ca_cert))

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(started,), name="proxy")
        self._thread.start()
        assert started.wait(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(20)
        assert not self._thread.is_alive()

    def heal(self) -> None:
        """End every fault."""
        self.rules.clear()
        self.away = self.hanging = self.expired = False
        self.delay = self.ahead = 0.0

    def cut(self) -> None:
        """Break every connection that is open now."""
        self._loop.call_soon_threadsafe(self._cut)

    def stall(self) -> None:
        """Let the watches that are open now be silent for ever, without closing them."""
        done = threading.Event()

        def now() -> None:
            self._stalled |= {i for i, r in self._open.items() if "watch" in r.query}
            done.set()

        self._loop.call_soon_threadsafe(now)
        assert done.wait(5)

    def go_away(self) -> None:
        """Refuse from now on, and break what is open."""
        self.away = True
        self.cut()

    def _cut(self) -> None:
        for request in self._open.values():
            if request.transport is not None:
                request.transport.abort()

    def _run(self, started: threading.Event) -> None:
        self._loop.run_until_complete(self._serve(started))
        self._loop.close()

    async def _serve(self, started: threading.Event) -> None:
        self._end = asyncio.Event()
        connector = aiohttp.TCPConnector(ssl=self.tls, limit=0)
        timeout = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(
            connector=connector, timeout=timeout, auto_decompress=False
        ) as self._session:
            application = web.Application(client_max_size=2**26)
            application.router.add_route("*", "/{path:.*}", self._handle)
            runner = web.AppRunner(
                application, access_log=None, handler_cancellation=True, shutdown_timeout=0.2
            )
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.port = runner.addresses[0][1]
            started.set()
            await self._end.wait()
            self._cut()
            await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        watching = "watch" in request.query
        self.counts["WATCH" if watching else request.method] += 1
        self._open[id(request)] = request
        try:
            if self.away:
                raise _broken(request)
            if self.hanging:
                await asyncio.Event().wait()
            if self.delay and not watching:
                await asyncio.sleep(self.delay)
            return await (self._watch(request) if watching else self._call(request))
        except (ConnectionError, aiohttp.ClientError):
            raise _broken(request) from None
        finally:
            del self._open[id(request)]
            self._stalled.discard(id(request))

    async def _call(self, request: web.Request) -> web.StreamResponse:
        rule = next((r for r in self.rules if r.meets(request.method, request.path)), None)
        if rule and rule.delay:
            await asyncio.sleep(rule.delay)
        if rule and rule.status and not rule.echo:
            return _status(rule.status, rule.message, rule.retry_after)
        if rule and rule.text:
            return web.Response(text=rule.text, content_type="application/json")
        async with self._upstream(request, await request.read()) as answer:
            body = await answer.read()
            if rule and rule.leave:
                self.away = True
            if rule and rule.lose:
                raise _broken(request)
            if rule and rule.half:
                return await _half(request, body)
            if rule and (rule.echo or rule.garble):
                self.echoed.append(body.decode())
            if rule and rule.garble:
                return web.json_response({"kind": "Nothing", "status": {"x": body.decode()}})
            if rule and rule.echo:
                return _status(rule.status, f"it failed after all: {body.decode()}")
            headers = {k: v for k, v in answer.headers.items() if k.lower() not in HOP}
            if self.ahead:
                told = parsedate_to_datetime(headers["Date"]).timestamp()
                headers["Date"] = formatdate(told + self.ahead, usegmt=True)
            return web.Response(status=answer.status, body=body, headers=headers)

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        if self.expired:
            event = {"type": "ERROR", "object": _told(410, "too old resource version", "Expired")}
            return web.Response(text=json.dumps(event) + "\n", content_type="application/json")
        rule = next((r for r in self.rules if r.meets("WATCH", request.path)), None)
        if rule and rule.status:
            return _status(rule.status, rule.message, rule.retry_after)
        if rule and rule.lose:
            raise _broken(request)
        if rule and rule.half:
            return await _half(request, b'{"type": "MODIFIED", "object": {"metadata": {"name":')
        if rule and (rule.text or rule.garble):
            line = rule.text or json.dumps({"type": "MODIFIED", "object": {"metadata": ["x"]}})
            return web.Response(text=f"{line}\n", content_type="application/json")
        async with self._upstream(request, None) as answer:
            response = web.StreamResponse(status=answer.status)
            response.content_type = "application/json"
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                while id(request) in self._stalled:
                    await asyncio.sleep(0.05)
                await response.write(chunk)
            return response

    def _upstream(self, request: web.Request, body: bytes | None) -> Any:
        headers = {k: v for k, v in request.headers.items() if k.lower() not in HOP}
        url = self.upstream + request.raw_path
        return self._session.request(
            request.method, url, data=body or None, headers=headers, allow_redirects=False
        )


def _told(code: int, message: str, reason: str = "") -> Mapping[str, object]:
    return {
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
        "message": message, "reason": reason,
    }  # fmt: skip


def _status(code: int, message: str, retry_after: str = "") -> web.Response:
    text = json.dumps(_told(code, message))
    headers = {"Retry-After": retry_after} if retry_after else {}
    return web.Response(status=code, text=text, content_type="application/json", headers=headers)


async def _half(request: web.Request, body: bytes) -> web.StreamResponse:
    """Send the beginning of an answer, and break the connection."""
    response = web.StreamResponse(headers={"Content-Length": str(len(body) + 1)})
    response.content_type = "application/json"
    await response.prepare(request)
    await response.write(body[: len(body) // 2 + 1])
    raise _broken(request)


def _broken(request: web.Request) -> BaseException:
    """Break the connection; what is raised ends the handler."""
    if request.transport is not None:
        request.transport.abort()
    return asyncio.CancelledError()
