"""Every listener meets every fault: it answers that it cannot, in words of its own, and goes on."""

import asyncio
import errno
import os
import ssl
from collections.abc import Callable, Iterable
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.registry import Collector

from taskpass.core import errors
from taskpass.server import listener
from taskpass.server.audit_log import LogServer
from taskpass.server.listener import Listener
from taskpass.server.probes import Probes
from tests.unit.server import certificates
from tests.unit.test_background import FAULTS

BEARER = {"Authorization": "Bearer reader"}
faulty = pytest.mark.parametrize(
    # A handler that is cancelled is one whose client has gone.
    "fault",
    [pytest.param(fault, id=name) for name, fault in FAULTS.items() if "cancel" not in name],
)
Fault = Callable[[], BaseException]


class Odd(Collector):
    """Raises what it is given, once."""

    def __init__(self) -> None:
        self.error: BaseException | None = None

    def collect(self) -> Iterable[Metric]:
        self.text()
        return []

    def text(self) -> None:
        error, self.error = self.error, None
        if error is not None:
            raise error


@faulty
@pytest.mark.parametrize("path", ["livez", "readyz", "metrics"])
async def test_probes_and_metrics_meet_it_and_go_on(fault: Fault, path: str) -> None:
    odd, registry = Odd(), CollectorRegistry()
    registry.register(odd)
    probes = Probes(registry, {"process": odd.text}, {"ledger": odd.text})
    await probes.start(0)
    odd.error = error = fault()
    answers: list[tuple[int, str]] = []

    async with aiohttp.ClientSession() as session:
        for _ in range(2):
            async with session.get(f"http://127.0.0.1:{probes.port}/{path}") as answer:
                answers.append((answer.status, await answer.text()))
    await probes.stop()

    assert answers[0][0] == (504 if isinstance(error, TimeoutError) else 500)
    assert "Traceback" not in answers[0][1]
    assert answers[1][0] == 200


@faulty
@pytest.mark.parametrize("where", ["who may read", "what is read"])
async def test_the_log_server_meets_it_and_goes_on(
    tmp_path: Path, fault: Fault, where: str
) -> None:
    odd = Odd()
    certificate = certificates.make(tmp_path / "tls")

    async def check(token: str, subresource: str) -> None:
        if where == "who may read":
            odd.text()

    def serve(name: str) -> bytes | None:
        if where == "what is read":
            odd.text()
        return b"a checkpoint"

    server = LogServer(tmp_path / "tls", check, serve, lambda _: False)
    await server.start(0)
    odd.error = error = fault()
    answers: list[tuple[int, str]] = []

    tls = ssl.create_default_context(cafile=str(certificate))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls)) as session:
        for _ in range(2):
            url = f"https://127.0.0.1:{server.port}/checkpoint"
            async with session.get(url, headers=BEARER) as answer:
                answers.append((answer.status, await answer.text()))
    await server.stop()

    assert answers[0][0] == status_of(error, where)
    assert "Traceback" not in answers[0][1]
    assert answers[1] == (200, "a checkpoint")


def status_of(error: BaseException, where: str) -> int:
    """Return what is answered: only whose right is missing is told so."""
    if where == "who may read" and isinstance(error, errors.Unauthenticated):
        return 401
    if where == "who may read" and isinstance(error, errors.Forbidden):
        return 403
    if isinstance(error, errors.TaskpassError):
        return 503
    return 504 if isinstance(error, TimeoutError) else 500


async def test_a_sweep_that_fails_is_not_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "SWEEP_SECONDS", 0.001)
    made, swept = Listener(web.Application()), []

    def fails() -> None:
        swept.append(len(swept))
        if len(swept) == 1:
            raise KeyError("a fault of ours")

    monkeypatch.setattr(made, "_close_the_silent", fails)
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    await made.start(0)
    async with asyncio.timeout(5):
        while len(swept) < 3:
            await asyncio.sleep(0.001)
    await made.stop()

    assert swept[:3] == [0, 1, 2]


async def test_a_spare_descriptor_that_cannot_be_had_again_closes_nobody_elses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = Listener(web.Application())
    await made.start(0)

    def none_left(*_: object) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", none_left)
        made._shed()
        mine = os.dup(1)  # the number that was given up, most likely
        made._shed()
        os.fstat(mine)
    made._shed()

    assert made._spare >= 0
    os.close(mine)
    await made.stop()
