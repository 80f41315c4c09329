"""Throw and lift kill switches, as the user of a kubeconfig, and see what becomes of them."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from taskpass.core.errors import Conflict, NotFound, TransientError, UsageError
from taskpass.kube.api.client import KubeClient
from taskpass.kube.kinds import API_VERSION, KILL_SWITCH

LOOK_SECONDS = 0.2


async def activate(
    client: KubeClient, name: str, spec: dict[str, str], within: float,
    on_trouble: Callable[[str], None],
) -> dict[str, Any]:  # fmt: skip
    """Make it; return the object. An API server that does not answer is asked again.

    Raises:
        TransientError: It did not answer within so many seconds.
        Forbidden, Invalid: The API server said no.
        UsageError: There is another one of that name.

    """
    body = {
        "apiVersion": API_VERSION, "kind": KILL_SWITCH.name,
        "metadata": {"name": name}, "spec": spec,
    }  # fmt: skip
    until, said = time.monotonic() + within, ""
    while True:
        try:
            return dict(await client.create(KILL_SWITCH.path(), body))
        except Conflict:
            # The answer to a call before may have been lost; then it is this one.
            found = dict(await client.get(KILL_SWITCH.path(name=name)))
            if {k: v for k, v in found["spec"].items() if k != "requester"} != spec:
                raise UsageError(
                    f"There is another KillSwitch '{name}'; choose another --name"
                ) from None
            return found
        except TransientError as error:
            if time.monotonic() > until:
                raise
            if str(error) != said:
                said = str(error)
                on_trouble(said)
            await asyncio.sleep(LOOK_SECONDS)


async def wait(client: KubeClient, name: str, within: float) -> tuple[bool, str]:
    """Return whether it has taken effect within so many seconds, and what the operator says."""
    until, said = time.monotonic() + within, ""
    while True:
        try:
            status = (await client.get(KILL_SWITCH.path(name=name))).get("status", {})
        except TransientError as error:
            said = f"The API server did not answer: {error}"
        else:
            for each in status.get("conditions", ()):
                said = str(each["message"])
                if each["status"] == "True":
                    return True, said
        if time.monotonic() > until:
            return False, said
        await asyncio.sleep(LOOK_SECONDS)


async def lift(client: KubeClient, name: str) -> bool:
    """Delete it; False where there is none."""
    try:
        await client.delete(KILL_SWITCH.path(name=name))
    except NotFound:
        return False
    return True
