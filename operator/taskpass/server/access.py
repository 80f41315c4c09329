"""Who may read the audit log: by a token of the cluster, and a right in it."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from taskpass.core.errors import ApiError, Forbidden, Unauthenticated
from taskpass.core.model.api import GROUP
from taskpass.core.model.task import User
from taskpass.kube.writers.access_reviews import is_allowed
from taskpass.ports.cluster import ApiClient

TOKENS = "/apis/authentication.k8s.io/v1/tokenreviews"
AUDIENCE = "taskpass-audit"
"""Tokens are for this alone, so one that is stolen here opens nothing else (RFC 8725, 3.9)."""
CHECKPOINT, LOG = "", "log"
"""Subresources of AuditAnchor 'taskpass': its note is the checkpoint; `log` is all entries."""
KEEP_SECONDS = 10.0
MOST = 256
"""Answers that are kept."""


class LogAccess:
    """Asks the API server, and keeps its answers for ten seconds, by the token's hash."""

    def __init__(self, client: ApiClient, monotonic: Callable[[], float]) -> None:
        self._client = client
        self._monotonic = monotonic
        self._kept: OrderedDict[tuple[bytes, str], tuple[float, ApiError | None]] = OrderedDict()

    async def check(self, token: str, subresource: str) -> None:
        """Return where whoever has the token may read it.

        Raises:
            Unauthenticated: The token is of nobody, has run out, or is for something else.
            Forbidden: Its user lacks the right, which the message names.
            ApiUnavailable: The API server could not be asked; that is no yes.
            EvaluationFailed: It could not tell; nor is that.

        """
        key = (hashlib.sha256(token.encode()).digest(), subresource)
        until, answer = self._kept.get(key, (0.0, None))
        began = self._monotonic()
        if began >= until:
            answer = await self._asked(token, subresource)
            # From when it was asked: the answer may have been a long time on its way.
            self._kept[key] = (began + KEEP_SECONDS, answer)
            self._kept.move_to_end(key)
            while len(self._kept) > MOST:
                self._kept.popitem(last=False)
        if answer is not None:
            raise type(answer)(str(answer))

    async def _asked(self, token: str, subresource: str) -> ApiError | None:
        found = await self._user(token)
        if found is None:
            return Unauthenticated(
                f"The token is of nobody, has run out, or is not for audience '{AUDIENCE}'"
            )
        if await self._may(*found, subresource):
            return None
        what = "auditanchors" + (f"/{subresource}" if subresource else "")
        return Forbidden(f"The right to get {what} 'taskpass' of taskpass.dev is missing")

    async def _user(self, token: str) -> tuple[User, Mapping[str, Any]] | None:
        """Return whose the token is, and what else the API server says of it."""
        spec = {"token": token, "audiences": [AUDIENCE]}
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec}
        status = (await self._client.create(TOKENS, review)).get("status", {})
        if status.get("authenticated") is not True or AUDIENCE not in status.get("audiences", ()):
            return None
        user = status.get("user", {})
        named = User(
            username=user.get("username", ""), uid=user.get("uid", ""),
            groups=tuple(user.get("groups", ())),
        )  # fmt: skip
        return named, user.get("extra") or {}

    async def _may(self, user: User, extra: Mapping[str, Any], subresource: str) -> bool:
        what = {
            "group": GROUP, "resource": "auditanchors", "name": "taskpass", "verb": "get",
            "subresource": subresource,
        }  # fmt: skip
        return await is_allowed(self._client, user, what, "read the audit log", extra)
