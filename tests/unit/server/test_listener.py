"""Nobody uses up a port: whoever asks for something is answered while any number asks for nothing.

Addresses of 127.0.0.0/8 stand for pods.
"""

import asyncio
import resource
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from aiohttp import web

from taskpass.server.listener import Bounds, Listener
from taskpass.server.rate_limit import KEPT, LEAST, FairRate
from tests.unit.server import certificates

HALF = b"GET /livez HTTP/1.1\r\nHost: x\r\n"
WHOLE = HALF + b"Connection: close\r\n\r\n"
BOUNDS = Bounds(waiting=40, served=8, of_one_address=4, header_seconds=0.3, idle_seconds=0.3)


async def answer(request: web.Request) -> web.Response:
    """Answer."""
    return web.Response(text="well")


def application() -> web.Application:
    """Return something to serve."""
    app = web.Application()
    app.router.add_get("/livez", answer)
    return app


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    """Return a listener with small bounds."""
    made = Listener(application(), bounds=BOUNDS)
    await made.start(0)
    yield made
    await made.stop()


@pytest.fixture
def flood() -> Iterator[ExitStack]:
    """Return what closes the sockets of a flood."""
    with ExitStack() as made:
        yield made


def connect(flood: ExitStack, port: int, address: str, sent: bytes) -> socket.socket:
    """Connect from an address and send something."""
    made = socket.create_connection(("127.0.0.1", port), 5, source_address=(address, 0))
    flood.enter_context(made)
    if sent:
        made.sendall(sent)
    made.setblocking(False)
    return made


async def asked(port: int, address: str = "127.0.0.1", within: float = 2.0) -> bytes:
    """Send a whole request; return what is answered, b'' where it is closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
    try:
        writer.write(WHOLE)
        return await asyncio.wait_for(reader.read(), within)
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def is_closed(made: socket.socket) -> bool:
    """Tell whether the other side closes a connection within 2 s."""
    try:
        return await asyncio.wait_for(asyncio.get_running_loop().sock_recv(made, 1), 2) == b""
    except ConnectionError:
        return True
    except TimeoutError:
        return False


@pytest.mark.parametrize("sent", [b"", b"G", HALF], ids=["nothing", "a letter", "half a request"])
@pytest.mark.parametrize("addresses", [1, 250])
async def test_whoever_asks_is_answered_while_others_only_connect(
    listener: Listener, flood: ExitStack, sent: bytes, addresses: int
) -> None:
    for number in range(500):
        connect(flood, listener.port, f"127.0.1.{1 + number % addresses}", sent)
        await asyncio.sleep(0)

    assert b"well" in await asked(listener.port)
    assert listener.open <= BOUNDS.waiting + BOUNDS.served
    assert listener.refused >= 500 - BOUNDS.waiting - 1


async def test_whoever_asks_is_answered_though_the_flood_has_the_same_address(
    listener: Listener, flood: ExitStack
) -> None:
    for _ in range(200):
        connect(flood, listener.port, "127.0.0.1", HALF)
        await asyncio.sleep(0)

    assert b"well" in await asked(listener.port)


async def test_a_request_whose_rest_comes_in_time_is_answered(
    listener: Listener, flood: ExitStack
) -> None:
    made = connect(flood, listener.port, "127.0.0.1", HALF)
    while not listener.open:
        await asyncio.sleep(0)

    made.sendall(b"\r\n")

    loop = asyncio.get_running_loop()
    assert b"200 OK" in await asyncio.wait_for(loop.sock_recv(made, 1000), 2)


@pytest.mark.parametrize("sent", [b"", HALF, b"x" * 20_000, HALF + b"\r\n"])
async def test_a_connection_that_is_silent_or_says_too_much_is_closed(
    listener: Listener, flood: ExitStack, sent: bytes
) -> None:
    made = connect(flood, listener.port, "127.0.0.1", sent)

    if sent.endswith(b"\r\n\r\n"):  # it is answered first, and then silent
        loop = asyncio.get_running_loop()
        assert b"200 OK" in await asyncio.wait_for(loop.sock_recv(made, 1000), 2)

    assert await is_closed(made)


async def test_who_asks_too_often_waits_and_holds_up_nobody(flood: ExitStack) -> None:
    bounds = Bounds(each_second=25, all_second=100)
    listener = Listener(application(), bounds=bounds)
    await listener.start(0)

    begun = asyncio.get_running_loop().time()
    many = asyncio.gather(*(asked(listener.port, "127.0.0.2", 10) for _ in range(60)))
    await asyncio.sleep(0)
    other = await asked(listener.port)
    other_after = asyncio.get_running_loop().time() - begun
    answers = await many
    all_after = asyncio.get_running_loop().time() - begun
    await listener.stop()

    assert b"well" in other
    assert sum(b"well" in each for each in answers) >= 16
    assert other_after < all_after


async def test_without_a_descriptor_left_it_goes_on_once_there_are_some(
    listener: Listener, flood: ExitStack
) -> None:
    made = [flood.enter_context(socket.socket()) for _ in range(5)]
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(each.name) for each in Path("/proc/self/fd").iterdir())
    filling = [flood.enter_context(socket.socket()) for _ in range(highest)]
    most = max(each.fileno() for each in filling) + 1
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, limits[1]))
    try:
        for each in made:
            each.setblocking(False)
            await asyncio.get_running_loop().sock_connect(each, ("127.0.0.1", listener.port))
        closed = [await is_closed(each) for each in made]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)

    assert closed == [True] * 5
    assert b"well" in await asked(listener.port)


async def test_half_a_handshake_is_waited_for_and_closed(tmp_path: Path, flood: ExitStack) -> None:
    certificates.make(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "tls.crt", tmp_path / "tls.key")
    listener = Listener(application(), bounds=BOUNDS, tls=tls)
    await listener.start(0)
    hello = bytes([0x16, 3, 1, 1, 0]) + b"\0" * 100  # a record that says it is longer
    half = [connect(flood, listener.port, f"127.0.1.{n + 1}", hello) for n in range(100)]
    client = ssl.create_default_context(cafile=str(tmp_path / "tls.crt"))

    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port, ssl=client)
    writer.write(WHOLE)
    said = await asyncio.wait_for(reader.read(1000), 2)
    ends = [await is_closed(each) for each in half]
    writer.close()
    await listener.stop()

    assert b"200 OK" in said
    assert all(ends)


class Time:
    """A clock that a test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_each_address_has_a_rate_of_its_own() -> None:
    time = Time()
    rate = FairRate(5, 100, time)

    at_once = sum(rate.take("a") for _ in range(100))
    other = rate.take("b")
    time.now = 1.0
    later = sum(rate.take("a") for _ in range(100))

    assert (at_once, other, later) == (10, True, 5)


def test_the_more_addresses_ask_the_less_each_gets_and_never_nothing() -> None:
    time = Time()
    rate = FairRate(20, 100, time)
    for second in range(3):
        time.now = float(second)
        for number in range(500):
            for _ in range(50):
                rate.take(f"a{number}")

    time.now += 1.0
    each = sum(rate.take("a0") for _ in range(100))

    assert each == LEAST


def test_it_remembers_no_more_addresses_than_it_may() -> None:
    rate = FairRate(1, 1, Time())

    for number in range(3 * KEPT):
        rate.take(f"a{number}")

    assert len(rate._buckets) == KEPT
