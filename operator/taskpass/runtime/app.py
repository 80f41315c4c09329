"""One operator of one cluster, from its start to its end.

Start: key → ledger → Lease → limits hold → caches synced → orphans undone → queue. Nothing but the
key is written without the Lease. Stop: the queue takes nothing new and finishes what is in flight,
Events are posted, Lease and ledger are given back. What must not go on (a ledger that fails, a
Lease that is lost) ends the process; any other loop survives whatever it meets. Where the ledger's
volume takes no writes, what is held is revoked and nothing is issued.

`wiring.py` makes what is needed, `serve.py` runs it.
"""

import asyncio
import contextlib
import signal

from taskpass.kube.api.connection import Connection
from taskpass.runtime.process_memory import keep_private
from taskpass.runtime.serve import serve
from taskpass.runtime.settings import Settings
from taskpass.runtime.wiring import Process, assemble
from taskpass.server.listener import keep_descriptors
from taskpass.server.probes import Probes


class Operator:
    """One process; it serves once it holds the Lease."""

    def __init__(self, settings: Settings, where: Connection, ca: str) -> None:
        self._process = Process(settings, where, ca)
        self._stop = asyncio.Event()
        live, ready = self._process.health.checks()
        metrics = self._process.metrics
        metrics.ready(ready)
        self.probes = Probes(metrics.registry, live, ready)
        metrics.listens("probes", lambda: self.probes.refused)

    def stop(self) -> None:
        """End gracefully; `run` returns once that is done."""
        self._stop.set()

    async def run(self) -> None:
        """Serve until `stop`; raise what made it end otherwise."""
        process = self._process
        async with contextlib.AsyncExitStack() as stack:
            await self.probes.start(process.settings.http_port)
            stack.push_async_callback(self.probes.stop)
            stack.push_async_callback(process.home.close)
            stack.push_async_callback(process.client.close)
            work = await assemble(process, stack)
            if await process.lease.acquire(work.ledger.origin, self._stop, self._wait_for_lease):
                stack.push_async_callback(process.lease.release)
                process.health.lease = None
                await serve(process, work, self._stop)

    def _wait_for_lease(self, reason: str) -> None:
        self._process.health.lease = f"waiting, nothing is written: {reason}"


async def operate(settings: Settings, where: Connection, ca: str) -> None:
    """Run the operator until SIGTERM or SIGINT."""
    keep_private()
    keep_descriptors()
    operator = Operator(settings, where, ca)
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, operator.stop)
    await operator.run()
