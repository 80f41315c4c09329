"""The real ledger without its thread's timing: each commit is durable before anything else runs.

With it a walk of many reconciles at once is the same each time that it is walked.
"""

import asyncio

from taskpass.core.errors import LedgerError
from taskpass.ledger.store.changes import Change, Upkeep
from taskpass.ledger.store.sqlite import SqliteLedger, _Waiting


class InlineLedger(SqliteLedger):
    """Writes in the event loop's own thread; the writer's thread has nothing to do."""

    async def _written(self, change: Change | Upkeep) -> tuple[int, ...]:
        loop = asyncio.get_running_loop()
        waiting = _Waiting(change, loop, loop.create_future())
        if self._failure is not None:
            raise LedgerError(str(self._failure)) from self._failure
        if self._closing:
            raise LedgerError("The ledger is closed: the process is ending")
        self._write(waiting)
        return await waiting.answer
