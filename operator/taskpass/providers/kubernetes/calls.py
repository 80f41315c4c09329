"""What issuing and removing have in common: calls side by side, and lists."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import Any

from taskpass.ports import ApiClient
from taskpass.providers.kubernetes.objects import GRANT_LABEL


async def together(*calls: Awaitable[Any]) -> list[Any]:
    """Await all; raise the first failure once none of them is in flight any more."""
    answers = await asyncio.gather(*calls, return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return answers


async def labelled(client: ApiClient, path: str) -> AsyncIterator[dict[str, Any]]:
    """Yield the objects of a list that carry the label of a grant, page by page."""
    query = {"labelSelector": GRANT_LABEL, "limit": "500"}
    while True:
        page = await client.get(path, **query)
        for item in page.get("items") or []:
            yield item
        query["continue"] = page["metadata"].get("continue", "")
        if not query["continue"]:
            return
