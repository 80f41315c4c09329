"""What the operator changes of a pod: its own gate, and its own annotation."""

import logging
from collections.abc import Callable
from dataclasses import replace

from taskpass.core.errors import ApiError, NotFound
from taskpass.core.lifecycle.attestation import PodView
from taskpass.core.model.task import CREDENTIALS_VERSION, GATE
from taskpass.kube.api.list_patch import remove_entry
from taskpass.ports.cluster import ApiClient

logger = logging.getLogger(__name__)


class KubePods:
    """`ports.PodControl`."""

    def __init__(
        self, client: ApiClient, expect: Callable[[PodView], None] = lambda _: None
    ) -> None:
        """`expect` is told what a pod becomes before it is asked for."""
        self._client = client
        self._expect = expect

    async def lift_gate(self, pod: PodView) -> None:
        """Remove our scheduling gate, and only ours. One that is lifted already is success."""
        self._expect(replace(pod, gated=False))
        await remove_entry(
            self._client,
            _path(pod),
            uid=pod.uid,
            field=("spec", "schedulingGates"),
            entry={"name": GATE},
        )

    async def is_gone(self, namespace: str, name: str, uid: str) -> bool:
        """Ask the API server whether the pod of that UID is there no more; see `ports.PodControl`.

        A read without a resourceVersion is of what is true, and not of a cache of the API server.
        """
        try:
            found = await self._client.get(f"/api/v1/namespaces/{namespace}/pods/{name}")
        except NotFound as error:
            if error.named:
                return True
            raise
        return bool(found["metadata"]["uid"] != uid)

    async def nudge(self, pod: PodView, version: str) -> None:
        """Set an annotation, so that the kubelet looks at the Secret at once. Best effort.

        Without it files change after 60-90 s, so a failure is logged and nothing more.
        """
        # The UID makes the API server refuse the patch for a pod of the same name made since.
        metadata = {"uid": pod.uid, "annotations": {CREDENTIALS_VERSION: version}}
        try:
            await self._client.merge_patch(_path(pod), {"metadata": metadata})
        except ApiError as error:
            logger.info(
                "Pod was not nudged",
                extra={"pod": f"{pod.namespace}/{pod.name}", "error": type(error).__name__},
            )


def _path(pod: PodView) -> str:
    return f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}"
