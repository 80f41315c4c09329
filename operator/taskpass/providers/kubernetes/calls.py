"""What issuing and removing have in common: calls side by side, and lists."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import Any

from taskpass.ports.cluster import ApiClient


async def together(*calls: Awaitable[Any]) -> list[Any]:
    """Await all; raise the first failure once none of them is in flight any more."""
    answers = await asyncio.gather(*calls, return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return answers


async def listed(client: ApiClient, path: str) -> AsyncIterator[dict[str, Any]]:
    """Yield the objects of a list, page by page.

    Not only those with the label of a grant: what is made with our token may be without it.
    """
    query = {"limit": "500"}
    while True:
        page = await client.get(path, **query)
        for item in page.get("items") or []:
            yield item
        query["continue"] = page["metadata"].get("continue", "")
        if not query["continue"]:
            return
