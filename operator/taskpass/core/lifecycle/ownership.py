"""Whose an object is, hop by hop, and who started it, by stamps that a tenant cannot write.

An owner reference is anybody's claim, and a controller adopts whatever has the right labels:
neither proves who made an object. So admission stamps pods and workloads when they are created
with who created them and for which owner, and keeps the stamps whatever is changed later. A hop
from an object to its owner holds where

1. the object's reference names the owner that lives, by UID;
2. it was created for that owner: `created-for` has the owner's kind and UID;
3. it was created by a controller of the owner's kind, as the settings name them.

Workloads are stamped with all who created or changed their spec as well. Those of every workload
from the pod up to the one that no controller made have started what runs in the pod.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Protocol

Controllers = Mapping[str, tuple[str, ...]]
"""By kind: user names of the controllers that create what belongs to a workload of it."""

KUBE_SYSTEM = "system:serviceaccount:kube-system:"
CONTROLLERS: Controllers = MappingProxyType({
    "CronJob": (f"{KUBE_SYSTEM}cronjob-controller",),
    "DaemonSet": (f"{KUBE_SYSTEM}daemon-set-controller",),
    "Deployment": (f"{KUBE_SYSTEM}deployment-controller",),
    "Job": (f"{KUBE_SYSTEM}job-controller",),
    "JobSet": ("system:serviceaccount:jobset-system:jobset-controller-manager",),
    "ReplicaSet": (f"{KUBE_SYSTEM}replicaset-controller",),
    "Rollout": ("system:serviceaccount:argo-rollouts:argo-rollouts",),
    "Sandbox": ("system:serviceaccount:agent-sandbox-system:agent-sandbox-controller",),
    "StatefulSet": (f"{KUBE_SYSTEM}statefulset-controller",),
})  # fmt: skip
"""As Kubernetes names its own, and the others' manifests install theirs."""
KUBE_CONTROLLER_MANAGER = "system:kube-controller-manager"
"""Who creates everything where controllers have no accounts of their own."""
MOST_CHANGERS = 32
"""As many names as admission keeps of a workload, and one more that says there were others."""
NO_STAMP = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """A controller owner reference: somebody's claim until its UID is compared."""

    api_group: str
    kind: str
    name: str
    uid: str


class Stamped(Protocol):
    """A pod or a workload, with what admission stamped when it was created."""

    @property
    def title(self) -> str:
        """Kind and name, for people."""

    @property
    def owner(self) -> Owner | None:
        """Whose it says it is now."""

    @property
    def created_by(self) -> str:
        """User name; '' without a stamp."""

    @property
    def created_for(self) -> str | None:
        """`Kind/UID` of the owner that it was created with; '' for none. None: not stamped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadView:
    """What matters of an owner."""

    api_group: str
    kind: str
    name: str
    uid: str
    owner: Owner | None
    ended: str
    """'' while it goes on, 'Succeeded' or 'Failed' at its own end."""
    created_at: datetime | None = None
    created_by: str = ""
    created_for: str | None = NO_STAMP
    changers: tuple[str, ...] | None = NO_STAMP
    """All who created or changed its spec; '' among them for those whom nobody saw. None: not
    stamped."""

    @property
    def title(self) -> str:
        """Kind and name, for people."""
        return f"{self.kind} '{self.name}'"


FORGOTTEN = (
    "the name of somebody who started this was erased; delete the pod so that its workload makes a "
    "new one"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Who started what runs in a pod."""

    names: tuple[str, ...] = ()
    unknown: str = ""
    """Why these are not all, in a sentence with the remedy; '' where they are."""

    def mentions(self, name: str) -> bool:
        """Tell whether somebody is in it."""
        return name in self.names or mentions(self.unknown, name)

    def without(self, name: str) -> "Origin":
        """Return it with one name forgotten: from then on these are not all."""
        left = tuple(each for each in self.names if each != name)
        unknown = FORGOTTEN if mentions(self.unknown, name) else self.unknown
        return Origin(names=left, unknown=unknown or FORGOTTEN)


def mentions(text: str, name: str) -> bool:
    """Tell whether a text has a name in it as a word of its own."""
    return name in text and bool(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text))


def hop_objection(child: Stamped, owner: WorkloadView, controllers: Controllers) -> str | None:
    """Return why an object is not its owner's (rules 2 and 3); None where it is.

    To programs all of it is one reason of the condition: `WorkloadMismatch`.
    """
    makers = controllers.get(owner.kind)
    if makers is None:
        known = ", ".join(sorted(controllers))
        return (
            f"Pods of kind {owner.kind} cannot be attested: the controller that creates them is "
            f"not known; known are {known}"
        )
    if child.created_for is NO_STAMP:
        return (
            f"{child.title} was created before taskpass stamped for whom; "
            f"{made_anew(owner.kind, owner.name)}"
        )
    if child.created_by not in makers:
        said = (
            f"{child.title} names {owner.title} as its owner, but was not created by that kind's "
            "controller"
        )
        by_hand = "; a Job of `kubectl create job --from` is that of who runs it"
        return said + (by_hand if owner.kind == "CronJob" else "")
    if child.created_for != f"{owner.kind}/{owner.uid}":
        return (
            f"{child.title} names {owner.title} as its owner, but was created for another: it was "
            "adopted, or its owner was changed"
        )
    return None


def made_anew(kind: str, name: str) -> str:
    """Say how what belongs to a workload gets its stamps."""
    if kind in ("Deployment", "StatefulSet"):
        return f"run `kubectl rollout restart {kind.lower()}/{name}`"
    if kind == "Rollout":
        return f"change the pod template of {kind} '{name}', by an annotation, say"
    if kind in ("ReplicaSet", "Sandbox"):
        return (
            f"delete the pods of {kind} '{name}', which makes them anew, or run `kubectl rollout "
            "restart` on the Deployment above it"
        )
    return f"delete {kind} '{name}' and make it anew"


def origin_of(pod: Stamped, owners: Sequence[WorkloadView], controllers: Controllers) -> Origin:
    """Return who started what runs in a pod; `owners` are its chain as it lives, nearest first.

    A controller that is not known counts by its own name, as whoever created what it made: who told
    it to do so is not to be seen.
    """
    names: set[str] = set()
    unknown, top, reached = "", pod, ""
    for owner in owners:
        claimed = top.owner
        if claimed is None or claimed.uid != owner.uid or hop_objection(top, owner, controllers):
            break
        names.update(owner.changers or ())
        unknown = unknown or _unknown_of(owner) or ""
        top, reached = owner, owner.uid
    if not reached:
        names.add(top.created_by)
    known = {KUBE_CONTROLLER_MANAGER, *(name for each in controllers.values() for name in each)}
    if not top.created_by or top.created_by.startswith(KUBE_SYSTEM) or top.created_by in known:
        unknown = unknown or (
            f"who had {top.title} made is not to be seen, as what it was created for is not among "
            "its owners any more, or of a kind that is not known; make it anew by hand, or by a "
            "workload that is known"
        )
    return Origin(names=tuple(sorted(names - {""})), unknown=unknown)


def _unknown_of(workload: WorkloadView) -> str | None:
    """Return why not all are known who started a workload; None where they are."""
    if workload.changers is NO_STAMP or "" in workload.changers:
        return (
            f"who created {workload.title} is not known: that was before taskpass stamped it, or "
            "before its pod template had a label of taskpass; delete it and make it anew"
        )
    if len(workload.changers) > MOST_CHANGERS:
        return (
            f"more than {MOST_CHANGERS} users have created or changed {workload.title}; delete it "
            "and make it anew"
        )
    return None
