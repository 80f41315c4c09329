"""One process that evaluates, as the operator holds it: started, asked, ended."""

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import orjson

from taskpass.cel.frames import LENGTH, length_of

COMMAND = (sys.executable, "-s", "-P", "-m", "taskpass.cel.worker")
START_SECONDS = 20.0
MOST_SECONDS = 2.0
"""That a message may take at all, whatever of it is CPU of the process."""
LEAST_WAIT = 0.005
CPU_CLOCK = 2
"""`CPUCLOCK_SCHED` of Linux: with a process id it is the clock of that process's CPU time."""


class Stopped(Exception):
    """The process has ended, or was ended; the message says why, as the end of a sentence."""


class EvaluatorProcess:
    """One process; it answers one message at a time."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._header: bytes | None = None
        self._used = self._cpu()

    @classmethod
    async def start(cls, command: Sequence[str] = COMMAND) -> "EvaluatorProcess":
        """Start one; return once it says that it is ready.

        Raises:
            OSError: The system has no room for it.
            Stopped: It did not come up.

        """
        made = cls(
            await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env={"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},  # an image has no site
                cwd="/",
            )
        )
        try:
            async with asyncio.timeout(START_SECONDS):
                await made._answer()
        except TimeoutError:
            await made.end()
            raise Stopped(f"did not come up within {START_SECONDS:.0f} s") from None
        except BaseException:
            await made.end()
            raise
        return made

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it has not ended: what ends while nobody asks is no policy's fault."""
        if self._process.returncode is not None:
            return False
        try:
            found = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return False
        return found is None

    async def ask(
        self, message: bytes, parts: int, milliseconds: float
    ) -> AsyncIterator[dict[str, Any]]:
        """Yield its answers to the parts of a message; after `Stopped` it is gone.

        `milliseconds` are of its own CPU: on a machine that is busy with others it is waited for
        longer, though no longer than `MOST_SECONDS`.
        """
        begun, spent = time.monotonic(), self._spent()
        assert self._process.stdin is not None  # noqa: S101
        try:
            self._process.stdin.write(message)
            for _ in range(parts):
                yield await self._in_time(begun, spent, milliseconds / 1000)
        except (ConnectionError, RuntimeError) as error:  # its end of the pipe is closed
            await self.end()
            raise Stopped("ended by itself") from error
        except Stopped:
            await self.end()
            raise

    async def _in_time(self, begun: float, spent: float, seconds: float) -> dict[str, Any]:
        while True:
            used, past = self._spent() - spent, time.monotonic() - begun
            try:
                async with asyncio.timeout(max(LEAST_WAIT, min(seconds - used, MOST_SECONDS))):
                    return await self._answer()
            except TimeoutError:
                used, past = self._spent() - spent, time.monotonic() - begun
            if used >= seconds:
                raise Stopped(f"took more than {seconds * 1000:.0f} ms")
            if past >= MOST_SECONDS:
                raise Stopped(f"did not answer within {MOST_SECONDS:.0f} s")

    async def _answer(self) -> dict[str, Any]:
        """Return the next answer. May be cancelled, and asked again: nothing is lost."""
        assert self._process.stdout is not None  # noqa: S101
        try:
            if self._header is None:
                self._header = await self._process.stdout.readexactly(LENGTH.size)
            body = await self._process.stdout.readexactly(length_of(self._header))
            self._header, answer = None, orjson.loads(body)
        except asyncio.IncompleteReadError as error:
            raise Stopped("ended by itself") from error
        except ValueError as error:
            raise Stopped("answered what is no answer") from error
        if not isinstance(answer, dict):
            raise Stopped("answered what is no answer")
        return answer

    def _spent(self) -> float:
        """Return seconds of CPU that it has used; of the clock where the system does not tell."""
        if self._used is None:
            return time.monotonic()
        self._used = self._cpu() or self._used  # one that has ended has no clock any more
        return self._used

    def _cpu(self) -> float | None:
        try:
            return time.clock_gettime((~self._process.pid << 3) | CPU_CLOCK)
        except OSError:
            return None

    async def end(self) -> None:
        """End it, and wait until it is no more."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        if self._process.stdin is not None:
            self._process.stdin.close()
        await self._process.wait()
