"""What the operator changes of an AgentTask: its status, its finalizer, and its end."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from taskpass.core.errors import ApiUnavailable, Conflict, Invalid, NotFound
from taskpass.core.model.task import FINALIZER, Task
from taskpass.kube.api.list_patch import remove_entry
from taskpass.kube.kinds import AGENT_TASK
from taskpass.ports.cluster import ApiClient


class KubeTasks:
    """`ports.TaskWriter`."""

    def __init__(
        self,
        client: ApiClient,
        on_written: Callable[[Mapping[str, Any]], None] = lambda _: None,
        expect: Callable[[Task], None] = lambda _: None,
    ) -> None:
        """`on_written` gets what we wrote as it was answered: caches need not wait for its echo.

        `expect` is told what a task becomes before it is asked for: the echo may come sooner.
        """
        self._client = client
        self._on_written = on_written
        self._expect = expect

    async def patch_status(self, task: Task, status: Mapping[str, Any]) -> None:
        """Merge `status` into what the task had, and write the whole. One that is gone is success.

        The API server ignores a UID in a merge patch of `/status` (tried), so it would show a
        task's end on another that was made anew under its name. A JSON patch tests the UID.
        """
        merged = {**task.status, **status}
        whole = {key: value for key, value in merged.items() if value is not None}
        steps: list[dict[str, Any]] = [
            {"op": "test", "path": "/metadata/uid", "value": task.uid},
            {"op": "add", "path": "/status", "value": whole},
        ]
        self._expect(replace(task, status=whole))
        try:
            self._on_written(await self._client.json_patch(_path(task) + "/status", steps))
        except NotFound:
            return
        except Conflict as error:
            raise ApiUnavailable("The task changed while its status was written") from error
        except Invalid:
            if await self._lives(task):
                raise

    async def create(self, body: Mapping[str, Any]) -> None:
        """Create a task that was made from a template. One that exists is success."""
        path = AGENT_TASK.path(body["metadata"]["namespace"])
        try:
            self._on_written(await self._client.create(path, body))
        except Conflict:
            return

    async def release(self, task: Task) -> None:
        """Remove our finalizer, and only ours. One that is gone is success."""
        await remove_entry(
            self._client,
            _path(task),
            uid=task.uid,
            field=("metadata", "finalizers"),
            entry=FINALIZER,
        )

    async def delete(self, task: Task) -> None:
        """Delete the task (its time after finishing is over). One that is gone is success."""
        try:
            await self._client.delete(_path(task), uid=task.uid)
        except (NotFound, Conflict):
            return

    async def _lives(self, task: Task) -> bool:
        try:
            live = await self._client.get(_path(task))
        except NotFound:
            return False
        return bool(live["metadata"]["uid"] == task.uid)


def _path(task: Task) -> str:
    return AGENT_TASK.path(task.namespace, task.name)
