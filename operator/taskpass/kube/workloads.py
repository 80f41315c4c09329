"""Owners of pods, as they live now. An owner reference is anybody's claim: UIDs are compared."""

from taskpass.core.attestation import Owner, PodView, WorkloadView
from taskpass.core.errors import NotFound
from taskpass.kube.convert import workload_from
from taskpass.ports import ApiClient

PATHS = {
    ("batch", "Job"): "/apis/batch/v1/namespaces/{namespace}/jobs/{name}",
    ("apps", "Deployment"): "/apis/apps/v1/namespaces/{namespace}/deployments/{name}",
    ("apps", "ReplicaSet"): "/apis/apps/v1/namespaces/{namespace}/replicasets/{name}",
    ("apps", "StatefulSet"): "/apis/apps/v1/namespaces/{namespace}/statefulsets/{name}",
}
"""The kinds that the role `taskpass-tenant` lets the operator read."""
LONGEST_CHAIN = 4


class KubeWorkloads:
    """`ports.WorkloadReader`."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    async def workload(
        self, namespace: str, api_group: str, kind: str, name: str
    ) -> WorkloadView | None:
        """Return the workload, or None where it does not exist or its kind is not known."""
        path = PATHS.get((api_group, kind))
        if path is None:
            return None
        try:
            live = await self._client.get(path.format(namespace=namespace, name=name))
        except NotFound:
            return None
        # Whoever reads one object by its path knows what it is; the answer need not say.
        version = "batch/v1" if api_group == "batch" else "apps/v1"
        return workload_from({"apiVersion": version, "kind": kind, **live})

    async def owners(self, pod: PodView) -> tuple[WorkloadView, ...]:
        """Return the pod's chain of owners, nearest first.

        It ends where an owner does not exist, is of a kind that is not known, or has another UID
        than the reference claims; and after four.
        """
        chain: list[WorkloadView] = []
        claimed: Owner | None = pod.owner
        while claimed is not None and len(chain) < LONGEST_CHAIN:
            owner = await self.workload(
                pod.namespace, claimed.api_group, claimed.kind, claimed.name
            )
            if owner is None or owner.uid != claimed.uid:
                break
            chain.append(owner)
            claimed = owner.owner
        return tuple(chain)
