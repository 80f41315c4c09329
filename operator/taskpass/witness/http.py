r"""A witness over HTTP, as C2SP tlog-witness has it; logs push to it.

    POST /add-checkpoint     "old " size "\n" (base64(hash) "\n")* "\n" checkpoint
    GET  /<hex SHA-256 of the origin>/checkpoint

200 with the line of the cosignature; 400, 403 (no known key has signed it), 404 (unknown log), 409
with the size that is remembered, or without one (another root at the size that is remembered), 422
(not grown from what is remembered).
"""

import asyncio
import hashlib
import signal

from aiohttp import web

from taskpass.server.listener import Bounds, Listener
from taskpass.tlog.witness_protocol import Answer, Verdict, parse_request
from taskpass.witness.server import Witness

MOST_BYTES = 70_000
BOUNDS = Bounds(of_one_address=64, each_second=200)
"""A proxy asks in the name of many."""


def application(witness: Witness) -> web.Application:
    """Return the server of a witness."""
    by_hash = {hashlib.sha256(origin.encode()).hexdigest(): origin for origin in witness.logs}

    async def add(request: web.Request) -> web.Response:
        try:
            old, proof, note = parse_request((await request.read()).decode())
        except ValueError as error:
            return web.Response(status=400, text=f"{error}\n")
        answer = await asyncio.to_thread(witness.add, old, proof, note)
        return _said(answer)

    async def read(request: web.Request) -> web.Response:
        origin = by_hash.get(request.match_info["hash"], "")
        note = await asyncio.to_thread(witness.remembered, origin) if origin else ""
        return web.Response(text=note) if note else web.Response(status=404)

    app = web.Application(client_max_size=MOST_BYTES)
    app.router.add_post("/add-checkpoint", add)
    app.router.add_get("/{hash:[0-9a-f]{64}}/checkpoint", read)
    return app


async def serve_until_stopped(app: web.Application, host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT."""
    listener, stopped = Listener(app, bounds=BOUNDS), asyncio.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(each, stopped.set)
    await listener.start(port, host)
    await stopped.wait()
    await listener.stop()


def _said(answer: Answer) -> web.Response:
    # The protocol has the same status for a fork at the same size as for a size that is stale.
    status = Verdict.STALE.value if answer.same_size else answer.verdict.value
    if answer.verdict is Verdict.COSIGNED:
        return web.Response(text=answer.text)
    if answer.verdict is Verdict.STALE:
        body = f"{answer.text}\n".encode()
        return web.Response(status=status, body=body, content_type="text/x.tlog.size")
    return web.Response(status=status, text=f"{answer.text}\n" if answer.text else "")
