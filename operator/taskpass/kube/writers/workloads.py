"""Owners of pods, as they live now. An owner reference is anybody's claim: UIDs are compared."""

from taskpass.core.errors import KindNotServed, NotFound
from taskpass.core.lifecycle.attestation import PodView
from taskpass.core.lifecycle.ownership import Owner, WorkloadView
from taskpass.kube.cache.convert import workload_from
from taskpass.ports.cluster import ApiClient

RESOURCES = {
    ("batch", "Job"): ("jobs", ("v1",)),
    ("batch", "CronJob"): ("cronjobs", ("v1",)),
    ("apps", "Deployment"): ("deployments", ("v1",)),
    ("apps", "ReplicaSet"): ("replicasets", ("v1",)),
    ("apps", "StatefulSet"): ("statefulsets", ("v1",)),
    ("jobset.x-k8s.io", "JobSet"): ("jobsets", ("v1alpha2",)),
    ("agents.x-k8s.io", "Sandbox"): ("sandboxes", ("v1beta1", "v1alpha1")),
    ("argoproj.io", "Rollout"): ("rollouts", ("v1alpha1",)),
}
"""The kinds that the role `taskpass-tenant` lets the operator read: plural, and the versions that
are tried; a cluster may have none of the last three."""
LONGEST_CHAIN = 4


class KubeWorkloads:
    """`ports.WorkloadReader`."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    async def workload(
        self, namespace: str, api_group: str, kind: str, name: str
    ) -> WorkloadView | None:
        """Return the workload, or None where it does not exist or its kind is not known.

        Raises:
            KindNotServed: Nobody who knows such workloads has said that it does not exist.

        """
        plural, versions = RESOURCES.get((api_group, kind), ("", ()))
        named = not versions
        for version in versions:
            path = f"/apis/{api_group}/{version}/namespaces/{namespace}/{plural}/{name}"
            try:
                live = await self._client.get(path)
            except NotFound as error:
                named = named or error.named
                continue
            # Whoever reads one object by its path knows what it is; the answer need not say.
            return workload_from({"apiVersion": f"{api_group}/{version}", "kind": kind, **live})
        if not named:
            raise KindNotServed(
                f"Whether there is a {kind} '{name}' could not be found out: the API server knows "
                f"no {plural} now"
            )
        return None

    async def owners(self, pod: PodView) -> tuple[WorkloadView, ...]:
        """Return the pod's chain of owners, nearest first.

        It ends where an owner does not exist, is of a kind that is not known, or has another UID
        than the reference claims; and after four.

        Raises:
            KindNotServed: An owner is of a kind that may be there, and that nobody serves now.

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
