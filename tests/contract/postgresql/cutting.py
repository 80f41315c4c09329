"""A line between the operator and a server that breaks where a test says."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

PIECE = 1 << 16


class Line:
    """Counts what clients send, over all connections, and breaks at the message of one number."""

    def __init__(self, port: int, *, at: int, done: bool) -> None:
        """`at` counts from 1; 0 never breaks. `done`: the server gets that message all the same."""
        self._port = port
        self._at, self._done = at, done
        self.sent = 0
        self.port = 0
        self._ended: set[asyncio.Task[None]] = set()

    @property
    def broke(self) -> bool:
        """Whether it came so far."""
        return 0 < self._at <= self.sent

    async def carry(self, client: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        """Serve one connection until either side ends."""
        server, forth = await asyncio.open_connection("127.0.0.1", self._port)
        lines = [
            asyncio.ensure_future(self._forth(client, forth)),
            asyncio.ensure_future(self._back(server, back)),
        ]
        await asyncio.wait(lines, return_when=asyncio.FIRST_COMPLETED)
        for each in lines:
            each.cancel()
        await asyncio.wait(lines)
        back.close()
        forth.close()

    async def _forth(self, client: asyncio.StreamReader, forth: asyncio.StreamWriter) -> None:
        while piece := await client.read(PIECE):
            self.sent += 1
            breaks = self.sent == self._at
            if not breaks or self._done:
                forth.write(piece)
                await forth.drain()
            if breaks:
                return

    async def _back(self, server: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        while piece := await server.read(PIECE):
            if self.broke and self.sent == self._at:
                return
            back.write(piece)
            await back.drain()


@contextlib.asynccontextmanager
async def line(port: int, *, at: int = 0, done: bool = False) -> AsyncIterator[Line]:
    """Yield a line to a server's port that listens at `port` of its own."""
    made = Line(port, at=at, done=done)
    carrying: set[asyncio.Task[None]] = set()

    def accept(client: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(made.carry(client, back))
        carrying.add(task)
        task.add_done_callback(carrying.discard)

    listener = await asyncio.start_server(accept, "127.0.0.1", 0)
    made.port = listener.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        listener.close()
        while carrying:
            await asyncio.wait(carrying)
        await listener.wait_closed()
