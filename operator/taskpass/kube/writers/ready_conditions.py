"""The `Ready` condition of policies, classes, kill switches and approvals; a class's finalizer."""

from datetime import datetime

from taskpass.core.errors import NotFound
from taskpass.core.model.conditions import conditions
from taskpass.core.model.task import FINALIZER, CredentialClass
from taskpass.kube.api.list_patch import remove_entry
from taskpass.kube.kinds import BY_NAME, CREDENTIAL_CLASS
from taskpass.ports.cluster import ApiClient
from taskpass.ports.tasks import ReadyCondition


class KubeReadyConditions:
    """`ports.ReadyConditionWriter`."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    async def say(self, condition: ReadyCondition, now: datetime) -> None:
        """Merge-patch `/status` where it says something else. An object that is gone is success."""
        path = BY_NAME[condition.kind].path(condition.namespace, condition.name)
        try:
            live = await self._client.get(path)
            before = live.get("status", {})
            wanted = {
                **condition.more,
                "observedGeneration": condition.generation,
                "conditions": conditions(
                    {"Ready": condition.finding},
                    before.get("conditions", ()),
                    condition.generation,
                    now,
                ),
            }
            if before != wanted and live["metadata"]["uid"] == condition.uid:
                gone = dict.fromkeys(before.keys() - wanted.keys())
                await self._client.merge_patch(path + "/status", {"status": {**gone, **wanted}})
        except NotFound:
            return

    async def release_class(self, credential_class: CredentialClass) -> None:
        """Remove our finalizer, and only ours. One that is gone is success."""
        await remove_entry(
            self._client,
            CREDENTIAL_CLASS.path(name=credential_class.name),
            uid=credential_class.uid,
            field=("metadata", "finalizers"),
            entry=FINALIZER,
        )
