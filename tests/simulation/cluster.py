"""What the API server holds, in memory, with the effects that it has of its own.

The caches of the operator (`ports.World`) are this very state: always up to date, but for those of
`caches.py`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from taskpass.core.errors import KindNotServed
from taskpass.core.lifecycle.approval import TaskApproval
from taskpass.core.lifecycle.attestation import PodView
from taskpass.core.lifecycle.ownership import WorkloadView
from taskpass.core.lifecycle.snapshot import SEES_ALL, Sight
from taskpass.core.lifecycle.template import Template
from taskpass.core.model.key import Key
from taskpass.core.model.kill_switch import KillSwitch
from taskpass.core.model.task import FINALIZER, LABEL, CredentialClass, Task
from taskpass.core.policy.evaluate import CompiledPolicy
from taskpass.kube.cache.convert import task_from
from taskpass.ports.tasks import ReadyCondition
from tests.simulation.builders import ACCOUNT, NAMESPACE, T0, credential_class, policy


class Clock:
    """`ports.Clock` that stands still until a test moves it."""

    def __init__(self) -> None:
        self._now = T0
        self._monotonic = 0.0

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._now += timedelta(seconds=seconds)
        self._monotonic += seconds

    def set_forward(self, by: timedelta) -> None:
        """Set the clock, without any time passing; back where `by` is negative."""
        self._now += by


@dataclass(frozen=True, slots=True)
class StoredSecret:
    """A Secret, and the UID of its owner; '' for one that is not of taskpass."""

    uid: str
    owner: str
    fields: Mapping[str, bytes]
    index: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An Event as people see it."""

    kind: str
    name: str
    reason: str
    message: str


@dataclass(slots=True)
class Cluster:
    """The state; `version` grows with every change of it."""

    clock: Clock
    version: int = 0
    tasks: dict[Key, Task] = field(default_factory=dict)
    known_pods: dict[str, PodView] = field(default_factory=dict)
    """By UID."""
    classes: dict[str, CredentialClass] = field(
        default_factory=lambda: {"tickets-api": credential_class()}
    )
    policy_list: list[CompiledPolicy] = field(default_factory=lambda: [policy()])
    kill_switch_list: list[KillSwitch] = field(default_factory=list)
    approval_list: list[TaskApproval] = field(default_factory=list)
    accounts: dict[Key, str] = field(default_factory=lambda: {(NAMESPACE, ACCOUNT): "account-1"})
    workloads: dict[tuple[str, str, str], WorkloadView] = field(default_factory=dict)
    """By namespace, kind and name."""
    not_served: set[str] = field(default_factory=set)
    """Kinds that the API server knows nothing of."""
    tenants: set[str] = field(default_factory=lambda: {NAMESPACE})
    sights: dict[str, Sight] = field(default_factory=dict)
    """What of a namespace the operator knows; everything where none is said."""
    secrets: dict[Key, StoredSecret] = field(default_factory=dict)
    events: dict[str, StoredEvent] = field(default_factory=dict)
    may_not_use: set[tuple[str, str]] = field(default_factory=set)
    """(user name, class)."""
    template_list: list[Template] = field(default_factory=list)
    undecided: set[str] = field(default_factory=set)
    """Names of policies that cannot be evaluated for now."""
    delegates: set[tuple[str, str]] = field(default_factory=set)
    """(user name, task) of who has the verb `delegate`."""
    statuses: list[Mapping[str, Any]] = field(default_factory=list)
    """Every status that was ever written."""
    before_change: Callable[[], None] | None = None
    """Told of each change before it is made."""

    def changed(self) -> int:
        """Note a change; return a number that no other change has."""
        if self.before_change is not None:
            self.before_change()
        self.version += 1
        return self.version

    def _second(self) -> datetime:
        """Return the time as the API server stamps it."""
        return self.clock.now().replace(microsecond=0)

    # What users, controllers and kubelets do.

    def create_task(self, task: Task) -> Task:
        """Create a task with a UID of its own."""
        made = replace(task, uid=f"task-{self.changed()}", created_at=self._second())
        self.tasks[made.key] = made
        return made

    def change_task(self, key: Key, **changes: Any) -> None:
        """Change the spec."""
        self.changed()
        task = self.tasks[key]
        self.tasks[key] = replace(task, generation=task.generation + 1, **changes)

    def delete_task(self, key: Key) -> None:
        """Ask for its deletion; it goes at once only if no finalizer holds it."""
        task = self.tasks.get(key)
        if task is None or task.deleting_since is not None:
            return
        self.changed()
        if task.has_finalizer:
            self.tasks[key] = replace(task, deleting_since=self.clock.now())
        else:
            del self.tasks[key]

    def create_pod(self, pod: PodView) -> PodView:
        """Create a pod with a UID of its own."""
        made = replace(pod, uid=f"pod-{self.changed()}", created_at=self._second())
        self.known_pods[made.uid] = made
        return made

    def change_pod(self, uid: str, **changes: Any) -> None:
        """Change what may change of a pod."""
        self.changed()
        self.known_pods[uid] = replace(self.known_pods[uid], **changes)

    def remove_pod(self, uid: str) -> None:
        """Have the pod gone."""
        self.changed()
        self.known_pods.pop(uid, None)

    def approve(self, approval: TaskApproval) -> TaskApproval:
        """Create a TaskApproval with a UID of its own."""
        number = self.changed()
        name = approval.name or f"approval-{number}"
        made = replace(approval, name=name, uid=f"approval-{number}", created_at=self._second())
        self.approval_list.append(made)
        return made

    def withdraw_approval(self, uid: str) -> None:
        """Have a TaskApproval gone."""
        self.changed()
        self.approval_list = [a for a in self.approval_list if a.uid != uid]

    def set_workload(self, namespace: str, workload: WorkloadView) -> WorkloadView:
        """Create or change a workload."""
        self.changed()
        self.workloads[namespace, workload.kind, workload.name] = workload
        return workload

    def collect_garbage(self) -> None:
        """Delete the Secrets whose owner is gone, as the garbage collector does some time after."""
        living = {task.uid for task in self.tasks.values()}
        for key, secret in list(self.secrets.items()):
            if secret.owner and secret.owner not in living:
                self.changed()
                del self.secrets[key]

    # `ports.World`: what the operator's caches show.

    def task(self, key: Key) -> Task | None:
        return self.tasks.get(key)

    def pods(self, key: Key) -> tuple[PodView, ...]:
        found = [
            p
            for p in self.known_pods.values()
            if p.namespace == key[0] and p.labels.get(LABEL) == key[1]
        ]
        return tuple(sorted(found, key=lambda p: (p.created_at, p.name)))

    def pod_uid(self, namespace: str, name: str) -> str:
        found = [
            p.uid for p in self.known_pods.values() if (p.namespace, p.name) == (namespace, name)
        ]
        return found[0] if found else ""

    def pod_uids(self) -> Set[str]:
        return set(self.known_pods)

    def service_account_uid(self, namespace: str, name: str) -> str | None:
        return self.accounts.get((namespace, name))

    def namespace_labels(self, namespace: str) -> Mapping[str, str]:
        return {"kubernetes.io/metadata.name": namespace}

    def enrolled(self, namespace: str) -> bool:
        return namespace in self.tenants

    def sight(self, namespace: str) -> Sight:
        return self.sights.get(namespace, SEES_ALL)

    def credential_class(self, name: str) -> CredentialClass | None:
        return self.classes.get(name)

    def policies(self, namespace: str) -> Sequence[CompiledPolicy]:
        return [p for p in self.policy_list if p.policy.namespace in ("", namespace)]

    def kill_switches(self) -> Sequence[KillSwitch]:
        return sorted(self.kill_switch_list, key=lambda switch: switch.name)

    def template(self, key: Key) -> Template | None:
        found = (t for t in self.template_list if (t.namespace, t.name) == key)
        return next(found, None)

    def children(self, key: Key) -> Sequence[Task]:
        return [t for t in self.tasks.values() if (t.namespace, t.parent) == key]

    def children_in_order(self, key: Key) -> Sequence[str]:
        return [t.uid for t in sorted(self.children(key), key=lambda t: (t.created_at, t.uid))]

    def approvals(self, key: Key) -> Sequence[TaskApproval]:
        return [a for a in self.approval_list if (a.namespace, a.task_name) == key]

    # What the API server answers to the operator's calls.

    def patch_status(self, task: Task, patch: Mapping[str, Any]) -> None:
        """Merge-patch `/status`, top-level fields as the schema has them."""
        live = self.tasks.get(task.key)
        if live is None or live.uid != task.uid:
            return
        self.changed()
        status = {k: v for k, v in {**live.status, **patch}.items() if v is not None}
        self.statuses.append(status)
        self.tasks[task.key] = replace(live, status=status)

    def delete_class(self, name: str) -> None:
        """Ask for a class's deletion: it goes once our finalizer is off."""
        if self.classes[name].has_finalizer:
            self.classes[name] = replace(self.classes[name], deleting=True)
        else:
            del self.classes[name]

    def release_class(self, used: CredentialClass) -> None:
        """Take our finalizer off."""
        live = self.classes.get(used.name)
        if live is not None and live.uid == used.uid and live.has_finalizer:
            self.version += 1
            self.classes[used.name] = replace(live, has_finalizer=False)
            if live.deleting:
                del self.classes[used.name]

    def all_classes(self) -> tuple[CredentialClass, ...]:
        return tuple(self.classes.values())

    def say(self, condition: ReadyCondition) -> None:
        """Write the `Ready` condition of a TaskApproval."""
        said = (condition.finding.reason, condition.finding.message)
        for at, each in enumerate(self.approval_list):
            if each.uid == condition.uid and each.said != said:
                self.changed()
                self.approval_list[at] = replace(each, said=said)

    def create_made(self, body: Mapping[str, Any]) -> None:
        """Create a task that was made from a template; one that exists is left alone."""
        key = (body["metadata"]["namespace"], body["metadata"]["name"])
        if key in self.tasks:
            return
        meta = {
            **body["metadata"], "uid": "", "generation": 1, "resourceVersion": "1",
            "creationTimestamp": self.clock.now().isoformat(), "finalizers": [FINALIZER],
        }  # fmt: skip
        self.create_task(task_from({**body, "metadata": meta}))

    def release(self, task: Task) -> None:
        """Remove the finalizer; a task that is being deleted then goes."""
        live = self.tasks.get(task.key)
        if live is None or live.uid != task.uid or not live.has_finalizer:
            return
        self.changed()
        self.tasks[task.key] = replace(live, has_finalizer=False)
        if live.deleting_since is not None:
            del self.tasks[task.key]

    def owners_of(self, pod: PodView) -> Iterable[WorkloadView]:
        """Return the pod's owners as far as their UIDs hold."""
        claimed = pod.owner
        while claimed is not None:
            if claimed.kind in self.not_served:
                raise KindNotServed(f"the API server knows no {claimed.kind} now")
            found = self.workloads.get((pod.namespace, claimed.kind, claimed.name))
            if found is None or found.uid != claimed.uid:
                return
            yield found
            claimed = found.owner
