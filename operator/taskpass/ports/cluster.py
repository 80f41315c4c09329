"""The cluster: its API, its objects as watched, pods, workloads, and access reviews."""

from collections.abc import Mapping, Sequence, Set
from typing import Any, Protocol

from taskpass.core.lifecycle.approval import TaskApproval
from taskpass.core.lifecycle.attestation import PodView
from taskpass.core.lifecycle.ownership import WorkloadView
from taskpass.core.lifecycle.snapshot import Sight
from taskpass.core.lifecycle.template import Template
from taskpass.core.model.key import Key
from taskpass.core.model.kill_switch import KillSwitch
from taskpass.core.model.task import CredentialClass, Task, User
from taskpass.core.policy.evaluate import CompiledPolicy


class PodControl(Protocol):
    """What the operator may change of a pod."""

    async def lift_gate(self, pod: PodView) -> None:
        """Remove our scheduling gate, and only ours. One that is lifted already is success."""

    async def is_gone(self, namespace: str, name: str, uid: str) -> bool:
        """Ask the API server itself whether that pod is there no more; `ApiError`: nobody knows."""

    async def nudge(self, pod: PodView, version: str) -> None:
        """Set an annotation, so that the kubelet looks at the Secret at once. Best effort."""


class AccessReviewer(Protocol):
    """Questions to the API server about rights."""

    async def may_use(self, user: User, class_name: str) -> bool:
        """Tell whether the user has the verb `use` on the class (SubjectAccessReview)."""

    async def may_delegate(self, user: User, namespace: str, name: str) -> bool:
        """Tell whether the user has the verb `delegate` on a task (SubjectAccessReview)."""


class ClusterView(Protocol):
    """The caches, all synced. Reads never block."""

    def task(self, key: Key) -> Task | None:
        """Return the task as last seen.

        Raises:
            TransientError: There is one, and it could not be read.

        """

    def pods(self, key: Key) -> tuple[PodView, ...]:
        """Return the pods in the namespace that carry the task's label, oldest first."""

    def pod_uid(self, namespace: str, name: str) -> str:
        """Return the UID of the pod of that name with our label, '' where none is seen."""

    def pod_uids(self) -> Set[str]:
        """Return the UIDs of all pods with our label that are seen, wherever they are."""

    def service_account_uid(self, namespace: str, name: str) -> str | None:
        """Return the UID of a ServiceAccount, or None where there is none."""

    def namespace_labels(self, namespace: str) -> Mapping[str, str]:
        """Return the labels of a namespace; empty where it is not known."""

    def enrolled(self, namespace: str) -> bool:
        """Tell whether the operator serves the namespace; where not, nothing is held there."""

    def sight(self, namespace: str) -> Sight:
        """Return what of the namespace is known now."""

    def credential_class(self, name: str) -> CredentialClass | None:
        """Return a class."""

    def policies(self, namespace: str) -> Sequence[CompiledPolicy]:
        """Return the policies of a namespace and of the cluster, compiled, in any order."""

    def kill_switches(self) -> Sequence[KillSwitch]:
        """Return every KillSwitch, by name."""

    def template(self, key: Key) -> Template | None:
        """Return an AgentTaskTemplate."""

    def children(self, key: Key) -> Sequence[Task]:
        """Return the tasks that name a task as their parent."""

    def children_in_order(self, key: Key) -> Sequence[str]:
        """Return the UIDs of the same, the oldest first."""

    def approvals(self, key: Key) -> Sequence[TaskApproval]:
        """Return the TaskApprovals that name the task, by name."""


class WorkloadReader(Protocol):
    """Reads owners of pods."""

    async def workload(
        self, namespace: str, api_group: str, kind: str, name: str
    ) -> WorkloadView | None:
        """Return the workload, or None where it does not exist or its kind is not known."""

    async def owners(self, pod: PodView) -> tuple[WorkloadView, ...]:
        """Return the pod's owners as they live now, nearest first, as far as their UIDs hold."""


class ApiClient(Protocol):
    """The Kubernetes API by path. Errors are those of `core.errors` (NotFound, Conflict, …)."""

    async def get(self, path: str, **query: str) -> dict[str, Any]:
        """Read one object or list."""

    async def create(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """POST. `Conflict` where it exists already."""

    async def replace(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """PUT."""

    async def merge_patch(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """PATCH with application/merge-patch+json."""

    async def json_patch(self, path: str, body: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """PATCH with application/json-patch+json; `Invalid` where a `test` fails."""

    async def delete(self, path: str, *, uid: str = "", dry_run: bool = False) -> dict[str, Any]:
        """DELETE, with a UID precondition where one is given. `NotFound` where it is gone.

        `dry_run` deletes nothing, and answers with the object as it is.

        Return what was answered: it tells an object that is gone from one that finalizers hold.
        """
