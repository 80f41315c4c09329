"""One operator writes: a Lease, held in the name of the ledger that it works from.

Two operators with two ledgers would each take the other's grants for orphans and remove them. So
each writes only while it holds the one Lease, which lies where grants live, whatever namespace the
operator itself is in (docs/adr/0010-one-operator-writes.md).

1. The holder is `<origin of the log>#<random of the process>`. A process that finds its own log's
   name there goes on at once: it has the ledger's lock, so its predecessor has ended.
2. Another log's is waited for, until it is given up or was not renewed for `seconds`. That is told
   by our own monotonic clock, from when *we* saw it last change: no two clocks are compared.
3. What is held counts from before the request that renewed it, and `check` refuses a write that
   could still be under way when it ends: a slow call never meets a successor.
4. Whoever finds another holder after having held it has lost it, and must end.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from taskpass.core.errors import (
    ApiError,
    ApiUnavailable,
    Conflict,
    LeaseLost,
    MustEnd,
    NotFound,
)
from taskpass.ports.cluster import ApiClient

NAME = "taskpass-operator"
NAMESPACE = "taskpass-grants"
SECONDS = 30.0
RENEW_SECONDS = 5.0
RETRY_SECONDS = 1.0
CALL_SECONDS = 15.0
"""How long a write may be under way: the time-out of one call of `KubeClient`."""
logger = logging.getLogger(__name__)


class Lease:
    """The right to write. `acquire` gets it, `renew` keeps it, `check` stands before each write."""

    def __init__(
        self,
        client: ApiClient,
        *,
        namespace: str = NAMESPACE,
        seconds: float = SECONDS,
        call_seconds: float = CALL_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`client` must not be fenced by this lease itself."""
        self._client = client
        self._folder = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self._seconds = seconds
        self._call_seconds = call_seconds
        self._monotonic = monotonic
        self._log = ""
        self._holder = ""
        self._live: dict[str, Any] | None = None
        """The object as we last wrote it."""
        self._seen: tuple[object, object] = ("", "")
        self._seen_at = 0.0
        self._until = float("-inf")

    async def acquire(self, log: str, stop: asyncio.Event, say: Callable[[str], None]) -> bool:
        """Wait until it is held in the name of a log; False where `stop` came first.

        `say` gets what it waits for, in a sentence.
        """
        self._log = log
        self._holder = f"{log}#{secrets.token_hex(4)}"
        said = ""
        while not stop.is_set():
            try:
                waiting = await self._take()
            except MustEnd:
                raise
            except Exception as error:
                cause = str(error) if isinstance(error, ApiError) else type(error).__name__
                waiting = f"it cannot be had: {cause}"
            if waiting is None:
                return True
            if waiting != said:
                logger.warning("Waiting for the Lease, nothing is written", extra={"why": waiting})
            said = waiting
            say(waiting)
            try:
                await asyncio.wait_for(stop.wait(), RETRY_SECONDS)
            except TimeoutError:
                pass
        return False

    @property
    def renew_seconds(self) -> float:
        """Seconds from one renewal to the next."""
        return min(RENEW_SECONDS, self._seconds / 6)

    async def renew(self) -> None:
        """Renew it once.

        Raises:
            ApiError: That could not be done now.
            LeaseLost: Another operator holds it.

        """
        if waiting := await self._renew():
            self._until = float("-inf")
            raise LeaseLost(f"Another operator works in this cluster: {waiting}")

    def check(self) -> None:
        """Return where a write may be sent now.

        Raises:
            ApiUnavailable: It could still be under way when somebody else may write.

        """
        if self._monotonic() + self._call_seconds > self._until:
            raise ApiUnavailable(
                f"Nothing was written: Lease '{NAME}' is not held for long enough; it is renewed "
                "as soon as the API server answers"
            )

    async def release(self) -> None:
        """Give it up, so that a successor need not wait. Best effort."""
        held, self._until = self._live, float("-inf")
        if held is None:
            return
        spec = {**held["spec"], "holderIdentity": "", "leaseDurationSeconds": 1}
        try:
            await self._client.replace(f"{self._folder}/{NAME}", {**held, "spec": spec})
        except ApiError as error:
            logger.info("Failed to give up the Lease", extra={"error": str(error)})

    async def _renew(self) -> str | None:
        """Return who has it; None where it is ours for another while."""
        # Whatever goes wrong, the next time it is read anew: what was answered may be nonsense.
        live, self._live = self._live, None
        if live is not None:
            try:
                await self._write(live)
                return None
            except (Conflict, NotFound):
                pass
        return await self._take(held=True)

    async def _take(self, *, held: bool = False) -> str | None:
        """Return what it has to wait for; None where it has it."""
        try:
            live = await self._client.get(f"{self._folder}/{NAME}")
        except NotFound:
            live = {"metadata": {"name": NAME}}
        spec = live.get("spec") or {}
        holder = str(spec.get("holderIdentity") or "")
        state = (holder, spec.get("renewTime"))
        if state != self._seen:
            self._seen, self._seen_at = state, self._monotonic()
        if waiting := self._stranger(holder, float(spec.get("leaseDurationSeconds") or 0), held):
            return waiting
        try:
            await self._write(live)
        except Conflict:
            return "another operator was quicker"
        return None

    def _stranger(self, holder: str, seconds: float, held: bool) -> str | None:
        """Say who has it; None where that is us, or nobody, or it has run out."""
        log = holder.partition("#")[0]
        if holder in ("", self._holder) or (log == self._log and not held):
            return None
        if log != self._log and self._monotonic() >= self._seen_at + seconds and not held:
            return None
        return (
            f"the operator of log '{log}' holds Lease '{NAME}'. There is one operator in a "
            "cluster: remove one of the two"
        )

    async def _write(self, live: dict[str, Any]) -> None:
        began = self._monotonic()
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")  # noqa: TID251 (for people)
        spec = dict(live.get("spec") or {})
        if spec.get("holderIdentity") != self._holder:
            spec["acquireTime"] = now
            spec["leaseTransitions"] = int(spec.get("leaseTransitions") or 0) + 1
        spec["holderIdentity"] = self._holder
        spec["leaseDurationSeconds"] = max(1, round(self._seconds))
        spec["renewTime"] = now
        body = {
            **live,
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "spec": spec,
        }
        if "resourceVersion" in live["metadata"]:
            written = await self._client.replace(f"{self._folder}/{NAME}", body)
        else:
            written = await self._client.create(self._folder, body)
        if (written.get("spec") or {}).get("holderIdentity") != self._holder:
            raise ApiUnavailable(f"The answer to writing Lease '{NAME}' does not name us")
        self._live, self._until = written, began + self._seconds
