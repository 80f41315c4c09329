"""Delete what a grant made, and prove that it is gone. From recorded state alone."""

import asyncio
import contextlib

from taskpass.core.errors import ApiError, Conflict, NotFound, ProviderUnavailable
from taskpass.ports import ApiClient
from taskpass.providers.kubernetes.objects import bindings_path, service_accounts_path
from taskpass.providers.kubernetes.state import State


async def remove(client: ApiClient, state: State) -> None:
    """Delete the bindings, then the ServiceAccount; return once none of them is there.

    Every part is tried, whatever becomes of the others: without its ServiceAccount a token is worth
    nothing, so that goes even where a binding cannot be deleted.

    Raises:
        ProviderUnavailable: Something is still there, or nobody knows.

    """
    account = f"{service_accounts_path(state.grants_namespace)}/{state.service_account}"
    bindings = [
        (f"{bindings_path(each['namespace'])}/{each['name']}", each["uid"])
        for each in state.bindings
    ]
    parts = [*bindings, (account, state.service_account_uid)]
    failures = await asyncio.gather(
        *(_delete(client, path, uid) for path, uid in bindings), return_exceptions=True
    )
    failures += await asyncio.gather(_delete(client, *parts[-1]), return_exceptions=True)
    unproven = [part for part, failed in zip(parts, failures, strict=True) if failed is None]
    failures += await asyncio.gather(
        *(_prove_gone(client, path, uid) for path, uid in unproven), return_exceptions=True
    )
    for failure in failures:
        if isinstance(failure, ApiError):
            raise ProviderUnavailable(f"Not everything could be deleted: {failure}") from failure
        if isinstance(failure, BaseException):
            raise failure


async def _delete(client: ApiClient, path: str, uid: str) -> None:
    # Conflict: what bears the name now is another object; the recorded one is gone.
    with contextlib.suppress(NotFound, Conflict):
        await client.delete(path, uid=uid)


async def _prove_gone(client: ApiClient, path: str, uid: str) -> None:
    try:
        live = await client.get(path)
    except NotFound:
        return
    if uid and live["metadata"]["uid"] != uid:
        return
    # A finalizer of somebody keeps it there, and a binding that is being deleted still binds.
    kind, name = live.get("kind", "Object"), live["metadata"]["name"]
    raise ProviderUnavailable(f"{kind} '{name}' is deleted but still there; remove its finalizers")
