"""`ports.WitnessAsker` over HTTP."""

import hashlib
import re
from collections.abc import Sequence

import aiohttp

from taskpass.core.errors import WitnessUnavailable
from taskpass.tlog.witness_protocol import Answer, Verdict, request_text

SECONDS = 10.0
MOST_BYTES = 65_536
_KNOWN = {verdict.value: verdict for verdict in Verdict}


class HttpWitnesses:
    """Asks witnesses; `close` when done. Redirects are not followed."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def add(self, url: str, old: int, proof: Sequence[bytes], note: str) -> Answer:
        """See `ports.WitnessAsker`."""
        data = request_text(old, proof, note).encode()
        status, text = await self._call("POST", f"{url.rstrip('/')}/add-checkpoint", data)
        verdict = _KNOWN.get(status)
        if verdict is None:
            raise WitnessUnavailable(f"it answered with status {status}")
        if verdict is Verdict.STALE:
            size = re.fullmatch(r"(0|[1-9][0-9]{0,18})\n?", text)
            return Answer(verdict, size[1] if size else "")
        return Answer(verdict, text if verdict is Verdict.COSIGNED else "")

    async def remembered(self, url: str, origin: str) -> str:
        """See `ports.WitnessAsker`."""
        name = hashlib.sha256(origin.encode()).hexdigest()
        status, text = await self._call("GET", f"{url.rstrip('/')}/{name}/checkpoint")
        if status != 200:
            raise WitnessUnavailable(
                f"it refuses the checkpoint, and does not show what it remembers (status {status})"
            )
        return text

    async def close(self) -> None:
        """Close connections."""
        if self._session is not None:
            await self._session.close()

    async def _call(self, method: str, url: str, data: bytes = b"") -> tuple[int, str]:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=SECONDS)
            self._session = aiohttp.ClientSession(timeout=timeout, trust_env=False)
        try:
            async with self._session.request(
                method, url, data=data or None, allow_redirects=False
            ) as answer:
                raw = await answer.content.read(MOST_BYTES)
                return answer.status, raw.decode()
        except (TimeoutError, aiohttp.ClientError, OSError, UnicodeDecodeError) as error:
            raise WitnessUnavailable(f"it did not answer ({type(error).__name__})") from None
