"""What a start needs before anything is served: the log's keys, and answers to its first calls."""

import asyncio
import logging
import os
import signal
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TypeVar

from taskpass.core.errors import MustEnd, NotFound, TaskpassError, UsageError
from taskpass.kube.api.client import KubeClient
from taskpass.kube.writers.signing_key import load_or_create_seed, read_previous_seed
from taskpass.ledger.log.key_file import read_seed_file
from taskpass.runtime.settings import Settings
from taskpass.server.health import Health

logger = logging.getLogger(__name__)
T = TypeVar("T")
RETRY_SECONDS = 2.0


async def retry_until_answered(what: str, call: Callable[[], Awaitable[T]], health: Health) -> T:
    """Call until it is answered, and say at `/readyz` meanwhile that it is not.

    Raises:
        UsageError: Our kinds are missing, which ends the start in one line; or `call` raised it.
        MustEnd: `call` raised it.

    """
    while True:
        try:
            answer = await call()
        except NotFound as error:
            raise UsageError(
                f"Could not {what}: {error}. Install the chart, which brings the CRDs"
            ) from error
        except (MustEnd, UsageError):
            raise
        except Exception as error:
            ours = isinstance(error, TaskpassError)
            text = str(error) if ours else type(error).__name__
            logger.warning(
                f"Failed to {what}, will retry", extra={"error": text}, exc_info=not ours
            )
            health.start = f"failed to {what}, will retry: {text}"
            await asyncio.sleep(RETRY_SECONDS)
        else:
            health.start = None
            return answer


async def seeds_of(settings: Settings, client: KubeClient) -> tuple[bytes, bytes | None]:
    """Return the seed of the key that signs the log, and the one before it, if it is there.

    Raises:
        UsageError: A file or Secret is there, and is none of a key.

    """
    if settings.signing_key_file is not None:
        before = settings.signing_key_previous_file
        seed = read_seed_file(settings.signing_key_file)
        return seed, None if before is None else read_seed_file(before)
    where, generation = settings.namespace, settings.signing_key_generation
    # The one before first: no key is made where the log could not go over to it.
    previous = await read_previous_seed(client, where, generation)
    return await load_or_create_seed(client, where, generation), previous


def fail_point_of(environment: Mapping[str, str]) -> Callable[[str], None]:
    """Return what tests of crashes set: `FAILPOINT=step` kills the process at that step, once.

    `FAILPOINT=step#3` lets two go by, and kills at the third. The file that `FAILPOINT_ONCE` names
    is made first, so that the next start passes. `FAILPOINT=*` kills nobody, and writes into that
    file which steps are come by.
    """
    step, _, number = environment.get("FAILPOINT", "").partition("#")
    once = environment.get("FAILPOINT_ONCE", "")
    if not step or not once:
        return lambda _: None
    left = int(number or 1)

    def write(reached: str) -> None:
        with Path(once).open("a") as steps:
            steps.write(f"{reached}\n")

    def kill(reached: str) -> None:
        nonlocal left
        if reached != step or Path(once).exists():
            return
        left -= 1
        if not left:
            Path(once).touch()
            os.kill(os.getpid(), signal.SIGKILL)

    return write if step == "*" else kill
