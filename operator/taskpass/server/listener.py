"""A port that any pod may reach, and what nobody may use up there: descriptors, memory, time.

1. A connection is looked at before a server is made for it: nothing but a descriptor is spent until
   a request's headers (with TLS: the first message) have come as a whole, and they have 5 s.
2. So many may wait, so many of one address; one more and the oldest goes, not the new one. Who
   sends a whole request at once (a kubelet, Prometheus) never waits behind those who do not.
3. Each address has a rate, and a share of what is served at once; whoever is over it waits.
4. A served connection that is silent, or takes its answer too slowly, is closed.
5. Where descriptors run out all the same, one is kept to take a connection with and close it.
"""

import asyncio
import contextlib
import os
import resource
import socket
import ssl
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from aiohttp import web

from taskpass.server.rate_limit import FairRate

BACKLOG = 1024
AT_ONCE = 32
"""Connections that are taken before others have their turn on the loop."""
PEEK = 16_384
"""Headers of more bytes are not waited for."""
LOOK_SECONDS = 0.01
LOOK_SECONDS_IN_A_CROWD = 0.1
CROWD = 16
SWEEP_SECONDS = 1.0
RESERVE = 384
"""Descriptors that are left for the ledger, the API server and providers."""
HANDSHAKE = 0x16
WANTED = 65_536
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What all connections of one listener may use."""

    waiting: int = 512
    served: int = 64
    of_one_address: int = 16
    each_second: float = 20
    """Connections of one address that are served; it may have twice as many at once."""
    all_second: float = 200
    header_seconds: float = 5
    idle_seconds: float = 30
    busy_seconds: float = 60


@dataclass(slots=True, eq=False)
class _Guest:
    socket: socket.socket
    address: str
    since: float
    busy: bool = False
    answered: bool = False
    transport: asyncio.Transport | None = None
    opening: asyncio.Task[None] | None = field(default=None, repr=False)

    @property
    def gone(self) -> bool:
        """Whether nothing is left of it."""
        if self.transport is not None:
            return self.transport.is_closing()
        return self.opening is not None and self.opening.done()

    def end(self) -> None:
        """Close it at once, whatever it is at."""
        if self.transport is not None:
            self.transport.abort()
        elif self.opening is not None:
            self.opening.cancel()
        else:
            self.socket.close()


class Listener:
    """Serves one application on one port; `start` binds, `stop` closes."""

    def __init__(
        self, app: web.Application, *, bounds: Bounds | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:  # fmt: skip
        self._bounds = bounds or Bounds()
        self._tls = tls
        app.middlewares.append(self._noted)
        self._runner = web.AppRunner(
            app, access_log=None, handle_signals=False, shutdown_timeout=5.0,
            keepalive_timeout=self._bounds.idle_seconds, lingering_time=0.0,
        )  # fmt: skip
        self._socket: socket.socket | None = None
        self._waiting: defaultdict[str, dict[_Guest, None]] = defaultdict(dict)
        self._in_order: dict[_Guest, None] = {}
        self._served: dict[tuple[str, int], _Guest] = {}
        self._spare = -1
        self._looking = False
        self.refused = 0
        """Connections that were closed unanswered."""
        self.port = 0

    async def start(self, port: int, host: str = "0.0.0.0") -> None:  # noqa: S104
        """Listen on the port; port 0 takes a free one (`self.port`)."""
        await self._runner.setup()
        loop = asyncio.get_running_loop()
        self._rate = FairRate(self._bounds.each_second, self._bounds.all_second, loop.time)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, port), family=family, backlog=BACKLOG)
        self._socket.setblocking(False)
        self._spare = os.open(os.devnull, os.O_RDONLY)
        self._most_waiting = min(self._bounds.waiting, _share())
        self.port = self._socket.getsockname()[1]
        loop.add_reader(self._socket.fileno(), self._accept)
        loop.call_later(SWEEP_SECONDS, self._sweep)

    @property
    def open(self) -> int:
        """How many connections it holds."""
        return len(self._in_order) + sum(not each.gone for each in self._served.values())

    async def stop(self) -> None:
        """Close everything."""
        if self._socket is None:
            return
        asyncio.get_running_loop().remove_reader(self._socket.fileno())
        self._socket.close()
        self._socket = None
        if self._spare >= 0:
            os.close(self._spare)
        for guest in list(self._in_order):
            self._forget(guest)
            guest.end()
        await self._runner.cleanup()
        for guest in self._served.values():
            guest.end()
        self._served.clear()

    def _accept(self) -> None:
        assert self._socket is not None  # noqa: S101 (there is no reader without it)
        for _ in range(AT_ONCE):
            try:
                made, peer = self._socket.accept()
            except BlockingIOError:
                return
            except OSError:
                self._shed()
                return
            made.setblocking(False)
            self._welcome(_Guest(made, peer[0], asyncio.get_running_loop().time()))

    def _shed(self) -> None:
        """Close the connection that waits for longest, with the descriptor that is kept for it."""
        assert self._socket is not None  # noqa: S101
        if self._spare >= 0:  # else somebody else was quicker to take it, the last time
            os.close(self._spare)
            self._spare = -1
        with contextlib.suppress(OSError):
            self._socket.accept()[0].close()
            self.refused += 1
        with contextlib.suppress(OSError):
            self._spare = os.open(os.devnull, os.O_RDONLY)

    def _welcome(self, guest: _Guest) -> None:
        if self._admitted(guest):
            return
        own = self._waiting[guest.address]
        if len(own) >= self._bounds.of_one_address:
            self._turn_away(next(iter(own)))
        elif len(self._in_order) >= self._most_waiting:
            self._turn_away(next(iter(self._in_order)))
        self._waiting[guest.address][guest] = None
        self._in_order[guest] = None
        self._look_again()

    def _look_again(self) -> None:
        if self._in_order and not self._looking:
            self._looking = True
            crowd = len(self._in_order) > CROWD
            seconds = LOOK_SECONDS_IN_A_CROWD if crowd else LOOK_SECONDS
            asyncio.get_running_loop().call_later(seconds, self._look)

    def _admitted(self, guest: _Guest) -> bool:
        """Tell whether nothing more is waited for: it is served from now on, or closed."""
        try:
            sent = guest.socket.recv(PEEK, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            guest.end()
            return True
        whole = _is_hello(sent) if self._tls else b"\r\n\r\n" in sent
        if not whole and 0 < len(sent) < PEEK:
            return False
        if not whole:  # they are gone, or will never come to an end
            self.refused += bool(sent)
            guest.end()
            return True
        if not self._has_room(guest.address) or not self._rate.take(guest.address):
            return False
        self._serve(guest)
        return True

    def _has_room(self, address: str) -> bool:
        if self._fits(address):
            return True
        self._served = {key: each for key, each in self._served.items() if not each.gone}
        return self._fits(address)

    def _fits(self, address: str) -> bool:
        own = sum(each.address == address for each in self._served.values())
        return len(self._served) < self._bounds.served and own < self._bounds.of_one_address

    def _serve(self, guest: _Guest) -> None:
        with contextlib.suppress(OSError):
            self._served[guest.socket.getpeername()[:2]] = guest
            guest.since = asyncio.get_running_loop().time()
            guest.opening = asyncio.ensure_future(self._opened(guest))
            return
        guest.end()

    async def _opened(self, guest: _Guest) -> None:
        """Have the server take it over."""
        server = self._runner.server
        assert server is not None  # noqa: S101
        loop = asyncio.get_running_loop()
        patience = self._bounds.header_seconds if self._tls else None
        with contextlib.suppress(OSError, ssl.SSLError):  # whoever it was, they gave up
            guest.transport, _ = await loop.connect_accepted_socket(
                server, guest.socket, ssl=self._tls, ssl_handshake_timeout=patience
            )

    def _look(self) -> None:
        self._looking = False
        if self._socket is None:
            return
        try:
            for guest in list(self._in_order):
                if self._admitted(guest):
                    self._forget(guest)
        finally:  # whatever one of them did, the others are looked at again
            self._look_again()

    def _sweep(self) -> None:
        """Close what is silent for too long, and forget what is closed; again in a second."""
        if self._socket is None:
            return
        try:
            self._close_the_silent()
        finally:
            asyncio.get_running_loop().call_later(SWEEP_SECONDS, self._sweep)

    def _close_the_silent(self) -> None:
        now, bounds = asyncio.get_running_loop().time(), self._bounds
        for guest in list(self._in_order):
            if now - guest.since < bounds.header_seconds:
                break
            self._turn_away(guest)
        for key, guest in list(self._served.items()):
            patience = bounds.idle_seconds if guest.answered else bounds.header_seconds
            if guest.gone:
                del self._served[key]
            elif now - guest.since > (bounds.busy_seconds if guest.busy else patience):
                guest.end()

    def _turn_away(self, guest: _Guest) -> None:
        self.refused += 1
        self._forget(guest)
        guest.end()

    def _forget(self, guest: _Guest) -> None:
        del self._in_order[guest]
        own = self._waiting[guest.address]
        del own[guest]
        if not own:
            del self._waiting[guest.address]

    @web.middleware
    async def _noted(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Note when a connection is at something, and when it has its answer."""
        peer = request.get_extra_info("peername")
        guest = self._served.get(peer[:2]) if peer else None
        if guest is None:
            return await handler(request)
        loop = asyncio.get_running_loop()
        guest.busy, guest.since = True, loop.time()
        try:
            return await handler(request)
        finally:
            guest.busy, guest.answered, guest.since = False, True, loop.time()


def keep_descriptors() -> None:
    """Have as many descriptors as the system lets this process have, up to what it could need."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED if hard == resource.RLIM_INFINITY else min(hard, WANTED)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _share() -> int:
    """Return how many descriptors one listener may spend on who has not asked for anything yet."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return WANTED if soft == resource.RLIM_INFINITY else max(16, (soft - RESERVE) // 4)


def _is_hello(sent: bytes) -> bool:
    """Tell whether the first record of TLS is there; what is no TLS is refused by the handshake."""
    if len(sent) < 5:
        return False
    return sent[0] != HANDSHAKE or len(sent) >= 5 + int.from_bytes(sent[3:5], "big")
