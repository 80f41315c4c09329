"""The audit log over HTTPS, for those who may read it: as an export, but of now.

    GET /checkpoint, /vkey, /keys, /cosigned, /handover/…      right: get auditanchors
    GET /tile/…, /kept/…                                       right: get auditanchors/log

401 without a token that counts, 403 without the right, 404 where the log has no such file, 503
where the API server cannot be asked, or too many ask at once. Nothing else is served. Any pod may
reach the port: see `server/listener.py`.
"""

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web

from taskpass.core.errors import ApiError, Forbidden, TaskpassError, Unauthenticated, UsageError
from taskpass.server.listener import Bounds, Handler, Listener

logger = logging.getLogger(__name__)
CHECKPOINT, LOG = "", "log"
AT_ONCE = 4
"""Reads of the ledger."""
WAITING = 32
"""Requests whose token is asked about, or that wait for a read; one more is sent away."""
BOUNDS = Bounds(waiting=256, served=64, of_one_address=48, each_second=100, all_second=200)
POLL_SECONDS = 30.0
"""Between two looks whether the certificate was replaced."""
MOST_TOKEN = 16_384
Check = Callable[[str, str], Awaitable[None]]
"""Given token and subresource, raises where they may not read it (`kube.log_access`)."""
Serve = Callable[[str], bytes | None]


class LogServer:
    """The server; `start` binds, `stop` closes."""

    def __init__(self, directory: Path, check: Check, serve: Serve, whole: Callable[[str], bool]):
        """`directory` has `tls.crt` and `tls.key`; `serve` returns a file, and blocks.

        Raises:
            UsageError: They cannot be used.

        """
        self._directory = directory
        self._check = check
        self._serve = serve
        self._whole = whole
        self._at_once = asyncio.Semaphore(AT_ONCE)
        self.busy = 0
        """Requests that are not answered yet."""
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.minimum_version = ssl.TLSVersion.TLSv1_2
        self._seen = self._load()
        app = web.Application(client_max_size=1024, middlewares=[_close_unless_served])
        app.router.add_get("/{name:.+}", self._answer)
        self._listener = Listener(app, bounds=BOUNDS, tls=self._tls)

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

    async def renew(self) -> None:
        """Take over a certificate that was replaced, for new connections."""
        self.reload()

    def reload(self) -> None:
        """Take over a certificate that was replaced; one that cannot be used is told, and left."""
        try:
            if self._stamp() != self._seen:
                self._seen = self._load()
                logger.info("The certificate of the read API was replaced")
        except UsageError as error:
            logger.warning("A new certificate cannot be used", extra={"error": str(error)})

    async def _answer(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if request.rel_url.raw_path != f"/{name}" or request.query_string:
            return _said(404, "There is no such file")
        token = _token(request.headers.get("Authorization", ""))
        if self.busy >= WAITING:
            return _said(503, "Too many ask at once", **{"Retry-After": "1"})
        self.busy += 1
        try:
            return await self._checked(name, token)
        finally:
            self.busy -= 1

    async def _checked(self, name: str, token: str) -> web.Response:
        first = name.partition("/")[0]
        try:
            if not token:
                raise Unauthenticated("It needs 'Authorization: Bearer TOKEN'")
            await self._check(token, LOG if first in ("tile", "kept") else CHECKPOINT)
        except Unauthenticated as error:
            return _said(401, str(error), **{"WWW-Authenticate": "Bearer"})
        except Forbidden as error:
            return _said(403, str(error))
        except (ApiError, TaskpassError):
            return _said(503, "The API server could not be asked", **{"Retry-After": "5"})
        return await self._read(name)

    async def _read(self, name: str) -> web.Response:
        try:
            async with self._at_once:
                data = await asyncio.to_thread(self._serve, name)
        except TaskpassError as error:
            logger.warning("Failed to read the log for somebody", extra={"error": str(error)})
            return _said(503, "The ledger cannot be read", **{"Retry-After": "5"})
        if data is None:
            return _said(404, "There is no such file")
        kept = "private, max-age=31536000, immutable" if self._whole(name) else "no-store"
        kind = "application/octet-stream" if name.startswith("tile/") else "text/plain"
        return web.Response(body=data, content_type=kind, headers={"Cache-Control": kept})

    def _load(self) -> tuple[int, ...]:
        seen = self._stamp()
        try:
            self._tls.load_cert_chain(self._directory / "tls.crt", self._directory / "tls.key")
        except (OSError, ssl.SSLError, ValueError) as error:
            raise UsageError(
                f"{self._directory} has no tls.crt and tls.key that belong together "
                f"({type(error).__name__})"
            ) from error
        return seen

    def _stamp(self) -> tuple[int, ...]:
        try:
            files = (self._directory / "tls.crt", self._directory / "tls.key")
            return tuple(file.stat().st_mtime_ns for file in files)
        except OSError as error:
            raise UsageError(
                f"{error.filename} cannot be read ({error.strerror}); it needs tls.crt and tls.key"
            ) from error


@web.middleware
async def _close_unless_served(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let only those keep their connection who got something."""
    answer = await handler(request)
    if answer.status != 200:
        answer.force_close()
    return answer


def _token(header: str) -> str:
    """Return the token of a header; '' where there is none that could be one."""
    kind, _, token = header.partition(" ")
    fine = kind.lower() == "bearer" and 0 < len(token) <= MOST_TOKEN and token.isascii()
    return token if fine and token.isprintable() and " " not in token else ""


def _said(status: int, text: str, **headers: str) -> web.Response:
    return web.Response(status=status, text=f"{text}\n", headers=headers)
