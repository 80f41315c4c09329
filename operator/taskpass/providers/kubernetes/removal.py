"""Delete what a grant made, and prove that it is gone. From recorded state alone."""

import asyncio
from collections.abc import Mapping
from typing import Any

from taskpass.core.errors import ApiError, Conflict, Forbidden, NotFound, ProviderUnavailable
from taskpass.ports.cluster import ApiClient
from taskpass.providers.kubernetes.objects import (
    GRANT_LABEL,
    bindings_path,
    grant_of_binding,
    service_accounts_path,
)
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
        (each["namespace"], f"{bindings_path(each['namespace'])}/{each['name']}", each["uid"])
        for each in state.bindings
    ]
    failures = await asyncio.gather(
        *(_remove(client, *binding) for binding in bindings), return_exceptions=True
    )
    if state.service_account:
        failures += await asyncio.gather(
            _remove(client, state.grants_namespace, account, state.service_account_uid),
            return_exceptions=True,
        )
    for failure in failures:
        if isinstance(failure, ApiError):
            raise ProviderUnavailable(f"Not everything could be deleted: {failure}") from failure
        if isinstance(failure, BaseException):
            raise failure


async def _remove(client: ApiClient, namespace: str, path: str, uid: str) -> None:
    """Delete one object; return once it is proven gone: by the answer, or by a look."""
    try:
        answer = await client.delete(path, uid=uid)
    except NotFound:
        return
    except Conflict:
        answer = {}  # what bears the name now is another object, most likely: look
    except Forbidden:
        # Our right to delete in a namespace goes with it, and so does all that was in it.
        if not await _is_gone(client, namespace):
            raise
        return
    if says_gone(answer):
        return
    another = await _left(client, path, uid)
    if not another:
        return
    try:
        answer = await client.delete(path, uid=another)
    except NotFound:
        return
    if not says_gone(answer) and await _left(client, path, another):
        raise ProviderUnavailable("What bore the name was made anew meanwhile")


async def _is_gone(client: ApiClient, namespace: str) -> bool:
    try:
        await client.get(f"/api/v1/namespaces/{namespace}")
    except NotFound:
        return True
    return False


def says_gone(answer: Mapping[str, Any]) -> bool:
    """Tell whether the answer to a deletion says that nothing waits for finalizers.

    The API server answers with a Status, or for some kinds with the object as it was; an object
    that is still there has a deletionTimestamp.
    """
    if answer.get("kind") == "Status":
        return answer.get("status") == "Success"
    metadata = answer.get("metadata", {})
    return bool(metadata.get("uid")) and not metadata.keys() & {"deletionTimestamp", "finalizers"}


async def _left(client: ApiClient, path: str, uid: str) -> str:
    """Return the UID of what of the grant bears the name and is not what was recorded; '' if none.

    Where somebody edited the record, another UID is the grant's own. It has the grant's label then,
    which admission lets nobody else give it.

    Raises:
        ProviderUnavailable: What was recorded is still there.

    """
    try:
        live = await client.get(path)
    except NotFound:
        return ""
    kind, metadata = live.get("kind", "Object"), live["metadata"]
    if uid and metadata["uid"] != uid:
        mark = metadata.get("labels", {}).get(GRANT_LABEL, "")
        name = path.rpartition("/")[2]
        return str(metadata["uid"]) if mark and mark in (name, grant_of_binding(name)) else ""
    # A finalizer of somebody keeps it there, and a binding that is being deleted still binds.
    raise ProviderUnavailable(
        f"{kind} '{metadata['name']}' is deleted but still there; remove its finalizers"
    )
