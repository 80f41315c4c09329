"""Take one entry out of a list that others write to as well.

A merge patch replaces a list whole and takes away what others added meanwhile (tried: it removes
the scheduling gates of others). A JSON patch by index with `test` does not.
"""

from collections.abc import Sequence
from typing import Any

from taskpass.core.errors import ApiUnavailable, Conflict, Invalid, NotFound
from taskpass.ports.cluster import ApiClient

TRIES = 4


async def remove_entry(
    client: ApiClient, path: str, *, uid: str, field: Sequence[str], entry: object
) -> None:
    """Remove `entry` from the list at `field` of the object with that UID, and nothing else.

    An object that is gone or another's, and an entry that is not there, are success.

    Raises:
        ApiUnavailable: The list changed under every try.

    """
    index = 0  # where it nearly always is; the object is read only when it is not
    for _ in range(TRIES):
        pointer = "/" + "/".join((*field, str(index)))
        try:
            await client.json_patch(
                path,
                [
                    {"op": "test", "path": "/metadata/uid", "value": uid},
                    {"op": "test", "path": pointer, "value": entry},
                    {"op": "remove", "path": pointer},
                ],
            )
            return
        except NotFound:
            return
        except (Invalid, Conflict):
            found = await _where(client, path, uid, field, entry)
        if found is None:
            return
        index = found
    raise ApiUnavailable("The object changed at every try; it is tried again")


async def _where(
    client: ApiClient, path: str, uid: str, field: Sequence[str], entry: object
) -> int | None:
    try:
        live: Any = await client.get(path)
    except NotFound:
        return None
    if live["metadata"]["uid"] != uid:
        return None
    for name in field:
        live = live.get(name) or {}
    return next((i for i, each in enumerate(live) if each == entry), None)
