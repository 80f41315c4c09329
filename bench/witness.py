"""Watches what exists, as the administrator, and marks in each life when it was seen.

A time includes what the watch takes to reach us: it is never too short.
"""

import asyncio
import base64
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from bench.life import Life, Moment
from e2e.admission import GATE, GRANTS, LABEL, TARGET, TENANT
from taskpass.core.model.key import Key
from taskpass.kube.api.client import KubeClient
from taskpass.kube.cache.reflector import Reflector
from taskpass.providers.kubernetes.objects import GRANT_LABEL

OWNER = "taskpass.dev/task"
"""The annotation on what a grant makes: namespace/name of its task."""
T = TypeVar("T")
Object = Mapping[str, Any]


class Witness:
    """Knows the lives by name."""

    def __init__(self, client: KubeClient) -> None:
        self.lives: dict[str, Life] = {}
        self._reflectors: list[Reflector[Any]] = [
            self._of(client, f"/api/v1/namespaces/{TENANT}/pods", _gated, self._pod, LABEL),
            self._of(client, f"/api/v1/namespaces/{TENANT}/secrets", self._token, self._secret),
            self._of(
                client, f"/api/v1/namespaces/{GRANTS}/serviceaccounts", _owner, self._account,
                GRANT_LABEL,
            ),
            self._of(
                client,
                f"/apis/rbac.authorization.k8s.io/v1/namespaces/{TARGET}/rolebindings",
                _owner, self._binding, GRANT_LABEL,
            ),
            self._of(
                client, f"/apis/taskpass.dev/v1alpha1/namespaces/{TENANT}/agenttasks", _outcome,
                self._task,
            ),
        ]  # fmt: skip

    def expect(self, name: str, *, probed: bool = False) -> Life:
        """Return a life to come, which is watched from now on."""
        life = self.lives[name] = Life(name, probed=probed)
        return life

    async def run(self) -> None:
        """Watch until cancelled."""
        async with asyncio.TaskGroup() as group:
            for each in self._reflectors:
                group.create_task(each.run())

    async def synced(self) -> None:
        """Return once everything is watched."""
        for each in self._reflectors:
            await each.synced.wait()

    @staticmethod
    def _of(
        client: KubeClient,
        path: str,
        read: Callable[[Object], T],
        changed: Callable[[Key, T | None, T | None], None],
        label: str = "",
    ) -> Reflector[T]:
        return Reflector(client, path, read, changed, label_selector=label)

    def _pod(self, key: Key, old: bool | None, new: bool | None) -> None:
        life = self.lives.get(key[1])
        if life is not None and new is False:
            life.mark(Moment.UNGATED)

    def _token(self, secret: Object) -> str:
        life = self.lives.get(secret["metadata"]["name"].removeprefix("taskpass-"))
        if life is None or not life.probed:
            return ""
        data = secret.get("data") or {}
        found = next((value for key, value in data.items() if key.endswith(".token")), "")
        return base64.b64decode(found).decode()

    def _secret(self, key: Key, old: str | None, new: str | None) -> None:
        life = self.lives.get(key[1].removeprefix("taskpass-"))
        if life is None:
            return
        if new is None:
            life.mark(Moment.SECRET_GONE)
        else:
            life.token = new
            life.mark(Moment.SECRET)

    def _account(self, key: Key, old: str | None, new: str | None) -> None:
        life = self.lives.get(new or old or "")
        if life is None:
            return
        if new is None:
            life.held.discard(key[1])
            life.mark(Moment.ACCOUNT_GONE)
        else:
            life.hold(key[1])

    def _binding(self, key: Key, old: str | None, new: str | None) -> None:
        life = self.lives.get(old or "")
        if life is not None and new is None:
            life.mark(Moment.BINDING_GONE)

    def _task(self, key: Key, old: str | None, new: str | None) -> None:
        life = self.lives.get(key[1])
        if life is None:
            return
        if new is None:
            life.mark(Moment.GONE)
        elif new:
            life.outcome = new
            life.mark(Moment.FINISHED)


def _gated(pod: Object) -> bool:
    return any(gate["name"] == GATE for gate in pod["spec"].get("schedulingGates") or ())


def _owner(made: Object) -> str:
    said: str = made["metadata"].get("annotations", {}).get(OWNER, "")
    return said.partition("/")[2]


def _outcome(task: Object) -> str:
    conditions = task.get("status", {}).get("conditions", ())
    over = (c for c in conditions if c["type"] == "Finished" and c["status"] == "True")
    return next((str(c["reason"]) for c in over), "")
