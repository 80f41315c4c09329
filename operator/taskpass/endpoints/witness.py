r"""A witness over HTTP, as C2SP tlog-witness has it; logs push to it.

    POST /add-checkpoint     "old " size "\n" (base64(hash) "\n")* "\n" checkpoint
    GET  /<hex SHA-256 of the origin>/checkpoint

200 with the line of the cosignature; 400, 403 (no known key has signed it), 404 (unknown log), 409
with the size that is remembered, or without one (another root at the size that is remembered), 422
(not grown from what is remembered).
"""

import asyncio
import base64
import binascii
import hashlib
import re

from aiohttp import web

from taskpass.core.merkle import HASH_SIZE
from taskpass.ledger.witness import Answer, Verdict, Witness

MOST_BYTES = 70_000
MOST_HASHES = 63


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


def parse_request(text: str) -> tuple[int, list[bytes], str]:
    """Return old size, proof and checkpoint; a `ValueError` says in a line what is wrong."""
    head, found, note = text.partition("\n\n")
    first, *hashes = head.split("\n")
    size = re.fullmatch(r"old (0|[1-9][0-9]{0,18})", first)
    if not found or size is None:
        raise ValueError("it must begin with 'old', a size, a proof and an empty line")
    if len(hashes) > MOST_HASHES:
        raise ValueError(f"a proof has at most {MOST_HASHES} hashes")
    return int(size[1]), [_hash(line) for line in hashes], note


def _hash(line: str) -> bytes:
    try:
        raw = base64.b64decode(line, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("a line of the proof is not base64") from None
    if len(raw) != HASH_SIZE:
        raise ValueError("a line of the proof is not a hash")
    return raw


def _said(answer: Answer) -> web.Response:
    # The protocol has the same status for a fork at the same size as for a size that is stale.
    status = Verdict.STALE.value if answer.same_size else answer.verdict.value
    if answer.verdict is Verdict.COSIGNED:
        return web.Response(text=answer.text)
    if answer.verdict is Verdict.STALE:
        body = f"{answer.text}\n".encode()
        return web.Response(status=status, body=body, content_type="text/x.tlog.size")
    return web.Response(status=status, text=f"{answer.text}\n" if answer.text else "")
