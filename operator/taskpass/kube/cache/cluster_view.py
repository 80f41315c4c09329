"""The caches that decisions are made on: `ports.ClusterView`, and who is enqueued when they change.

Our kinds come from kopf's handlers (`apply`) and from lists of our own (`seed`, `resync`), pods,
ServiceAccounts and namespaces from reflectors (`run`). All of them say which tasks need a look
through one callback. Nothing may be decided before `synced`: an absence proves nothing until then.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Any

from taskpass.core.errors import EvaluationFailed
from taskpass.core.lifecycle.approval import TaskApproval
from taskpass.core.lifecycle.attestation import PodView
from taskpass.core.lifecycle.delegation import everyone_below
from taskpass.core.lifecycle.snapshot import Sight
from taskpass.core.lifecycle.template import Template
from taskpass.core.model.conditions import ConditionType
from taskpass.core.model.key import Key
from taskpass.core.model.kill_switch import KillSwitch, Target
from taskpass.core.model.task import LABEL, NO_LABELS, TEMPLATE_LABEL, CredentialClass, Task
from taskpass.core.policy.evaluate import CompiledPolicy
from taskpass.kube.api.client import KubeClient
from taskpass.kube.cache.bounded import BoundedObjects
from taskpass.kube.cache.convert import (
    class_from,
    kill_switch_from,
    policy_from,
)
from taskpass.kube.cache.enqueue import EnqueueThrottle, OnChange
from taskpass.kube.cache.enrolment import Enrolment
from taskpass.kube.cache.memory_limit import NoRoom
from taskpass.kube.cache.own_writes import OwnWrites
from taskpass.kube.cache.policies import Policies
from taskpass.kube.cache.reflector import Reflector, key_of
from taskpass.kube.cache.store import Change, Store, mark
from taskpass.kube.cache.trim import cut
from taskpass.kube.cache.unreadable import Unreadable
from taskpass.kube.kinds import AGENT_TASK, WATCHED, Kind

TASKS_EVERY = 10
"""Every how many resyncs tasks are listed as well: their finalizer already makes every deletion
be seen, and there are many of them."""
logger = logging.getLogger(__name__)


class InformerCache:
    """What was last seen of everything that a decision reads."""

    def __init__(
        self,
        client: KubeClient,
        *,
        tenants: Iterable[str],
        on_change: OnChange,
        patience: float = 60.0,
    ) -> None:
        """`on_change` gets the keys of tasks that need a look; it must not block or raise.

        `patience` are seconds for which nothing but refusals must come from a namespace before
        what is held there is taken back.
        """
        self._client = client
        self._tenants = tuple(sorted(set(tenants)))
        self._enqueue = EnqueueThrottle(on_change)
        self._bounded = BoundedObjects(self._tenants)
        self._tasks: Store[Task] = Store()
        self._classes: Store[CredentialClass] = Store()
        self._policies = Policies()
        self._switches: Store[KillSwitch] = Store()
        self._sorted_switches: tuple[KillSwitch, ...] = ()
        self._templates: Store[Template] = Store()
        self._approvals: Store[TaskApproval] = Store()
        self._kinds: Mapping[str, tuple[Store[Any], Callable[[Mapping[str, Any]], Any]]] = {
            "AgentTask": (self._tasks, self._bounded.task),
            "CredentialClass": (self._classes, class_from),
            "KillSwitch": (self._switches, kill_switch_from),
            "AgentTaskTemplate": (self._templates, self._bounded.template),
            "TaskApproval": (self._approvals, self._bounded.approval),
            **{kind: (store, self._compiled) for kind, store in self._policies.stores.items()},
        }
        self._approvals_of: dict[Key, set[Key]] = defaultdict(set)
        self._tasks_in: dict[str, set[Key]] = defaultdict(set)
        self._tasks_of_account: dict[Key, set[Key]] = defaultdict(set)
        self._children_of: dict[Key, set[Key]] = defaultdict(set)
        self._ordered_children: dict[Key, tuple[str, ...]] = {}
        self._tasks_of_class: dict[str, set[Key]] = defaultdict(set)
        self._pods_of: dict[Key, dict[str, PodView]] = defaultdict(dict)
        self._awaited_in: dict[str, set[Key]] = defaultdict(set)
        """Keys of tasks, made or not, that pods of a namespace name."""
        self.own_writes = OwnWrites()
        self._unreadable = Unreadable()
        self._revision = 0
        self._seeded = False
        self._resyncs = 0
        self.missed = False
        """Whether an event of kopf's could not be taken in; cleared by a whole resync."""
        self._sights: dict[str, tuple[bool, Sight]] = {}
        self._namespaces = Reflector(
            client, "/api/v1/namespaces", self._labels, self._namespace_changed,
            on_state=self._check_all_sights,
        )  # fmt: skip
        self._pods: dict[str, Reflector[PodView]] = {}
        self._accounts: dict[str, Reflector[str]] = {}
        for namespace in self._tenants:
            self._add_reflectors(namespace)
        self._enrolment = Enrolment(self._namespaces, self._pods, self._accounts, patience)

    def _add_reflectors(self, namespace: str) -> None:
        base = f"/api/v1/namespaces/{namespace}"
        changed = partial(self._check_sight, namespace)
        self._pods[namespace] = Reflector(
            self._client, f"{base}/pods", self._bounded.pod, self._pod_changed,
            label_selector=LABEL, on_state=changed,
        )  # fmt: skip
        self._accounts[namespace] = Reflector(
            self._client, f"{base}/serviceaccounts", _uid, self._account_changed, on_state=changed
        )

    async def run(self) -> None:
        """Run every reflector, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for each in self._reflectors():
                group.create_task(each.run())

    async def seed(self, client: KubeClient) -> None:
        """List our kinds, before kopf starts. `NotFound` where a CRD is missing."""
        for kind in WATCHED:
            await self._list(client, kind)
        self._seeded = True

    async def resync(self, client: KubeClient, *, whole: bool = False) -> None:
        """List all but tasks, and tasks every tenth time or on demand; to be called every minute.

        What is gone is dropped, as kopf never reports a deletion that it missed.
        """
        self._resyncs += 1
        missed, self.missed = self.missed, False
        whole = whole or missed or self._resyncs % TASKS_EVERY == 0
        try:
            for kind in WATCHED:
                if kind is not AGENT_TASK or whole:
                    await self._list(client, kind)
        except BaseException:
            self.missed = self.missed or missed
            raise
        self._check_all_sights()

    @property
    def synced(self) -> bool:
        """Whether every cache has been filled once; a namespace without rights counts as filled."""
        return self._seeded and all(
            each.synced.is_set() or each.refused for each in self._reflectors()
        )

    @property
    def unhealthy_reason(self) -> str | None:
        """What keeps the caches from being up to date, in one line; None while nothing does.

        A namespace that refuses us is no trouble of the others': it is not `enrolled`.
        """
        if not self._seeded:
            return "AgentTasks, classes and policies are not listed yet"
        for each in self._reflectors():
            if not each.healthy and not each.refused:
                return each.last_error or f"{each.path} is not listed yet"
        if self._namespaces.refused:
            return self._namespaces.last_error
        if self.missed:
            return "An event of our kinds could not be taken in; they are listed anew"
        # A Deny that is not understood must not look like none. What lies in a namespace stops
        # issuing there alone (`sight`): nobody stops it for all by an object of their own.
        if found := self._unreadable.first(""):
            return f"{found[0]} '{found[1]}' could not be read; see the log"
        return None

    def apply(self, kind: str, event_type: str | None, obj: Mapping[str, Any]) -> None:
        """Take one event of kopf's; what is older than what is known changes nothing.

        An object that cannot be read stays as it was last, and is logged; an event that cannot
        be taken in at all has all of our kinds listed anew.
        """
        try:
            self._take(kind, event_type, obj)
        except Exception:
            self.missed = True
            logger.exception("An event could not be taken in", extra={"kind": kind})

    def _take(self, kind: str, event_type: str | None, obj: Mapping[str, Any]) -> None:
        if event_type == "DELETED":
            self._unreadable.discard(kind, key_of(obj))
            self._changed(kind, self._kinds[kind][0].remove(obj))
        elif not self._kinds[kind][0].is_stale(obj) or self._may_fit_now(kind, obj):
            self._changed(kind, self._read(kind, obj))

    def _may_fit_now(self, kind: str, obj: Mapping[str, Any]) -> bool:
        """Tell whether it is a task that was left out, as it was then."""
        key = key_of(obj)
        known = (
            self._tasks.get(key) if kind == "AgentTask" and key in self._bounded.left_out else None
        )
        return known is not None and known.resource_version == obj["metadata"]["resourceVersion"]

    def task_keys(self) -> list[Key]:
        """Return the key of every task."""
        return self._tasks.keys()

    def task(self, key: Key) -> Task | None:
        """Return the task as last seen."""
        found = self._tasks.get(key)
        if found is None and ("AgentTask", key) in self._unreadable:
            raise EvaluationFailed(
                f"AgentTask '{'/'.join(key)}' could not be read, so nothing is done about it; the "
                "operator's log says why"
            )
        return found

    def pods(self, key: Key) -> tuple[PodView, ...]:
        """Return the pods in the namespace that carry the task's label, oldest first."""
        found = self._pods_of.get(key)
        if not found:
            return ()
        return tuple(sorted(found.values(), key=lambda pod: (pod.created_at, pod.name)))

    def pod_uid(self, namespace: str, name: str) -> str:
        """Return the UID of the pod of that name with our label, '' where none is seen."""
        reflector = self._pods.get(namespace)
        found = reflector.items.get((namespace, name)) if reflector else None
        return found.uid if found else ""

    def pod_uids(self) -> Set[str]:
        """Return the UIDs of all pods with our label that are seen, wherever they are."""
        return {pod.uid for each in self._pods.values() for pod in each.items.values()}

    def service_account_uid(self, namespace: str, name: str) -> str | None:
        """Return the UID of a ServiceAccount, or None where there is none."""
        reflector = self._accounts.get(namespace)
        return reflector.items.get((namespace, name)) if reflector else None

    def namespace_labels(self, namespace: str) -> Mapping[str, str]:
        """Return the labels of a namespace; empty where it is not known."""
        return self._namespaces.items.get(("", namespace), NO_LABELS)

    def enrolled(self, namespace: str) -> bool:
        """Tell whether the operator serves the namespace."""
        return self._enrolment.enrolled(namespace)

    def sight(self, namespace: str) -> Sight:
        """Return what of the namespace is known now."""
        seen, itself = self._enrolment.sight(namespace), ("", namespace)
        known = self._namespaces.synced.is_set() and itself not in self._namespaces.unreadable
        # A class, a policy of the cluster, or one that is not understood where it would count.
        unread = self._unreadable.any_in("") or self._unreadable.any_in(namespace)
        blocked = seen.issuance_blocked_reason
        if found := self._unreadable.first(namespace, besides="AgentTask"):
            kind, name, why = found
            blocked = blocked or (
                f"Nothing is issued in namespace '{namespace}' while {kind} '{name}' could not be "
                f"read; {why}"
            )
        return replace(seen, decisions=known and not unread, issuance_blocked_reason=blocked)

    def credential_class(self, name: str) -> CredentialClass | None:
        """Return a class."""
        return self._classes.get(("", name))

    def policies(self, namespace: str) -> Sequence[CompiledPolicy]:
        """Return the policies that apply in a namespace, its own and the cluster's, by name."""
        return self._policies.of(namespace)

    def kill_switches(self) -> Sequence[KillSwitch]:
        """Return every KillSwitch, by name."""
        return self._sorted_switches

    def template(self, key: Key) -> Template | None:
        """Return an AgentTaskTemplate."""
        return self._templates.get(key)

    def children(self, key: Key) -> Sequence[Task]:
        """Return the tasks that name a task as their parent."""
        found = (self._tasks.get(each) for each in self._children_of.get(key, ()))
        return [each for each in found if each is not None]

    def children_in_order(self, key: Key) -> Sequence[str]:
        """Return the UIDs of the tasks that name a task as their parent, oldest first."""
        known = self._ordered_children.get(key)
        if known is None:
            children = self.children(key)
            known = tuple(c.uid for c in sorted(children, key=lambda c: (c.created_at, c.uid)))
            self._ordered_children[key] = known
        return known

    def approvals(self, key: Key) -> Sequence[TaskApproval]:
        """Return the TaskApprovals that name the task, by name."""
        found = (self._approvals.get(each) for each in sorted(self._approvals_of.get(key, ())))
        return [each for each in found if each is not None]

    @property
    def revision(self) -> int:
        """Grows with every change of a policy, class, template or kill switch."""
        return self._revision

    def all_policies(self) -> tuple[CompiledPolicy, ...]:
        """Return every policy, for its `Ready` condition."""
        return self._policies.every()

    def all_classes(self) -> tuple[CredentialClass, ...]:
        """Return every class."""
        return tuple(self._classes.values())

    def all_templates(self) -> tuple[Template, ...]:
        """Return every template."""
        return tuple(self._templates.values())

    def tasks_stopped_by(self, switch: KillSwitch) -> int:
        """Return how many tasks a KillSwitch matches."""
        return len(self._matched(switch))

    def stalled(self) -> Iterator[str]:
        """Yield the reason of each task that waits for a person, as its status says."""
        for task in self._tasks.values():
            for each in task.status.get("conditions", ()):
                if each.get("type") == ConditionType.STALLED and each.get("status") == "True":
                    yield str(each.get("reason", ""))

    def _reflectors(self) -> tuple[Reflector[Any], ...]:
        return (self._namespaces, *self._pods.values(), *self._accounts.values())

    def _labels(self, obj: Mapping[str, Any]) -> Mapping[str, str]:
        """Return a namespace's labels; none of one that is not served, which nobody asks for."""
        served = obj["metadata"]["name"] in self._tenants
        return dict(obj["metadata"].get("labels") or {}) if served else NO_LABELS

    def _compiled(self, obj: Mapping[str, Any]) -> CompiledPolicy:
        return CompiledPolicy(policy=policy_from(obj))

    async def _list(self, client: KubeClient, listed: Kind) -> None:
        kind = listed.name
        store, present, version = self._kinds[kind][0], [], "0"
        async with aclosing(client.pages(listed.path())) as pages:
            async for items, version in pages:  # noqa: B007
                for item in items:
                    present.append(key_of(item))
                    self._take(kind, None, item)
        for gone in set(self._unreadable.keys(kind)).difference(present):
            self._unreadable.discard(kind, gone)
        for change in store.finish_list(present, int(version)):
            self._changed(kind, change)

    def _read(self, kind: str, obj: Mapping[str, Any]) -> Change[Any] | None:
        (store, converted), key = self._kinds[kind], key_of(obj)
        known = (kind, key) in self._unreadable
        try:
            change = store.put(obj, converted(cut(obj)))
        except NoRoom as error:
            if self._unreadable.add(kind, key, str(error)) and not known:
                logger.warning("No room for an object", extra={"kind": kind, "key": key})
        except (KeyError, TypeError, ValueError, AttributeError):
            self._unreadable.add(kind, key, "change or delete it")
            logger.exception("Object could not be read", extra={"kind": kind, "key": key})
        else:
            self._unreadable.discard(kind, key)
            return change
        return store.remove_earlier(obj)

    def _changed(self, kind: str, change: Change[Any] | None) -> None:
        if change is None:
            return
        if change.new is None:
            self._bounded.leave(kind, change.key)
        if kind == "AgentTask":
            self._index(change)
            if not self.own_writes.explain(*change.values):
                self._enqueue.at([change.key])
            if not change.only_status and change.key in self._children_of:
                self._enqueue.at_many(change.key, lambda: self._below(change.key))
            return
        if kind == "TaskApproval":
            self._approval_changed(change)
            return
        if kind == "AgentTaskTemplate":
            self._revision += 1
            self._enqueue.at_many(change.key, lambda: self._naming(change.key))
            return
        self._revision += 1
        if kind == "KillSwitch":
            self._sorted_switches = tuple(sorted(self._switches.values(), key=lambda s: s.name))
        elif kind in self._policies.stores:
            self._policies.changed(kind, change)
        if change.only_status:
            return  # most often our own writing
        if kind == "KillSwitch":
            for stored in filter(None, (change.old, change.new)):
                found = list(self._matched(stored.value))
                self._enqueue.at(
                    dict.fromkeys(found + [b for key in found for b in self._below(key)])
                )
        elif kind == "CredentialClass":
            self._enqueue.at(self._tasks_of_class.get(change.key[1], ()))
        elif kind == "AgentPolicy":
            self._enqueue.at_many(change.key, lambda: self._tasks_in.get(change.key[0], ()))
        else:
            self._enqueue.at(self._tasks.keys())

    def _naming(self, template: Key) -> Iterator[Key]:
        """Yield the keys of tasks, made or not, whose pods name a template."""
        for key in self._awaited_in.get(template[0], ()):
            if template[1] in {p.labels.get(TEMPLATE_LABEL) for p in self._pods_of[key].values()}:
                yield key

    def _approval_changed(self, change: Change[TaskApproval]) -> None:
        for stored, put in ((change.old, False), (change.new, True)):
            if stored is not None:
                task = (stored.value.namespace, stored.value.task_name)
                mark(self._approvals_of, task, change.key, put)
                if not change.only_status:
                    self._enqueue.at([task])

    def _below(self, key: Key) -> Iterator[Key]:
        return everyone_below(key, lambda of: self._children_of.get(of, ()))

    def _matched(self, switch: KillSwitch) -> Collection[Key]:
        """Return the tasks that it matches, from an index: there may be many of both."""
        of = (switch.namespace, switch.of)
        match switch.target:
            case Target.TASK:
                return (of,) if self._tasks.get(of) else ()
            case Target.AGENT:
                return self._tasks_of_account.get(of, ())
            case Target.NAMESPACE:
                return self._tasks_in.get(switch.namespace, ())
            case Target.CLASS:
                return self._tasks_of_class.get(switch.of, ())
            case Target.ALL:
                return self._tasks

    def _index(self, change: Change[Task]) -> None:
        for stored, put in ((change.old, False), (change.new, True)):
            if stored is None:
                continue
            task = stored.value
            requests = (*task.credentials, *(r for p in task.phases for r in p.credentials))
            if task.parent:
                mark(self._children_of, (task.namespace, task.parent), task.key, put)
                if not change.only_status:
                    self._ordered_children.pop((task.namespace, task.parent), None)
            mark(self._tasks_in, task.namespace, task.key, put)
            mark(self._tasks_of_account, (task.namespace, task.service_account), task.key, put)
            for name in {request.class_name for request in requests}:
                mark(self._tasks_of_class, name, task.key, put)

    def _pod_changed(self, key: Key, old: PodView | None, new: PodView | None) -> None:
        if new is None:
            self._bounded.leave("pod", key)
        touched = []
        for pod, put in ((old, False), (new, True)):
            if pod is None:
                continue
            owner = (pod.namespace, pod.labels.get(LABEL, ""))
            touched.append(owner)
            if put:
                self._pods_of[owner][pod.name] = pod
            else:
                self._pods_of[owner].pop(pod.name, None)
                if not self._pods_of[owner]:
                    del self._pods_of[owner]
            mark(self._awaited_in, pod.namespace, owner, owner in self._pods_of)
        if not self.own_writes.explain(old, new):
            self._enqueue.at(dict.fromkeys(touched))

    def _account_changed(self, key: Key, old: str | None, new: str | None) -> None:
        if old != new:
            self._enqueue.at_many(key, lambda: self._tasks_of_account.get(key, ()))

    def _namespace_changed(
        self, key: Key, old: Mapping[str, str] | None, new: Mapping[str, str] | None
    ) -> None:
        if old != new:
            self._enqueue.at(self._tasks_in.get(key[1], ()))

    def _check_sight(self, namespace: str) -> None:
        """Have the tasks of a namespace looked at where it is seen otherwise than before."""
        now = (self.enrolled(namespace), self.sight(namespace))
        if self._sights.get(namespace) != now:
            self._sights[namespace] = now
            waiting = [key for key in self._pods_of if key[0] == namespace]
            self._enqueue.at({*self._tasks_in.get(namespace, ()), *waiting})

    def _check_all_sights(self) -> None:
        for namespace in self._tenants:
            self._check_sight(namespace)


def _uid(obj: Mapping[str, Any]) -> str:
    return str(obj["metadata"]["uid"])
