"""A pod of one's own, passed off as that of somebody else's workload: by which objects in between.

Each by the least rights that suffice; the pods are made by Kubernetes' own controllers. What the
operator would say of the pod is asked of its own code, with its own rights.
"""

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from e2e.admission import LABEL, TENANT, binding, pod, task, wait_for
from e2e.impersonate import Api, Object, Refused, path_of, thing
from taskpass.core.errors import AttestationFailed
from taskpass.core.lifecycle.attestation import Surroundings, appraise
from taskpass.kube.api.client import KubeClient
from taskpass.kube.cache.convert import pod_from, task_from
from taskpass.kube.writers.workloads import KubeWorkloads

RBAC = "rbac.authorization.k8s.io/v1"
FOREIGN = "localhost/foreign:1"
GROUPS = {"pods": "", "jobs": "batch", "replicasets": "apps"}
Appraise = Callable[[str, Object], Awaitable[str]]


@dataclass
class Made:
    """What a case has made, to be taken away after it."""

    api: Api
    every: list[Object] = field(default_factory=list)

    def by(self, who: Api, body: Object) -> Object:
        """Create something as somebody; a new right takes a moment."""
        made = wait_for(lambda: _allowed(lambda: who.create(body)))
        self.every.append(made)
        return dict(made)


@pytest.fixture
def made(api: Api) -> Iterator[Made]:
    """Return what remembers what a case makes."""
    remembered = Made(api)
    yield remembered
    for each in reversed(remembered.every):
        if api.exists(each):
            api.delete(each, propagationPolicy="Background", gracePeriodSeconds="0")


@pytest.fixture
def mallory(api: Api, name: str) -> Iterator[Callable[..., Api]]:
    """Return what makes somebody who has these rights in the namespace, and no others."""
    role = thing(RBAC, "Role", TENANT, f"mallory-{name}")
    bound = binding("RoleBinding", TENANT, f"mallory-{name}", f"Role/mallory-{name}",
                    f"User/mallory-{name}")  # fmt: skip

    def having(**verbs: list[str]) -> Api:
        rules = [{"apiGroups": [GROUPS[r]], "resources": [r], "verbs": v} for r, v in verbs.items()]
        api.apply({**role, "rules": rules})
        api.apply(bound)
        return api.as_user(f"mallory-{name}")

    yield having
    api.delete(bound)
    api.delete(role)


@pytest.fixture
def appraised(api: Api, client: KubeClient) -> Appraise:
    """Return what says whose a pod is for a task; `AttestationFailed` where it is nobody's."""

    async def ask(name: str, live: Object) -> str:
        of, seen = task_from(api.get("AgentTask", TENANT, name)), pod_from(live)
        assert of.workload is not None
        workloads = KubeWorkloads(client)
        wanted = (of.workload.api_group, of.workload.kind, of.workload.name)
        around = Surroundings(
            service_account_uid="1", bound_task_uid=None, audience="taskpass",
            workload=await workloads.workload(TENANT, *wanted),
            owners=await workloads.owners(seen),
        )  # fmt: skip
        return appraise(seen, of, around).workload_uid

    return ask


def template(name: str, *, image: str = "localhost/agent:1", **labels: str) -> Object:
    """Return the template of an agent's pods."""
    made = pod(name, labels={"app": name, **labels})
    made["spec"]["containers"][0]["image"] = image
    made["spec"]["restartPolicy"] = "Always"
    return {"metadata": {"labels": made["metadata"]["labels"]}, "spec": made["spec"]}


def job(name: str, of: Object, **spec: Any) -> Object:
    """Return a Job of a template."""
    whole = {"metadata": of["metadata"], "spec": {**of["spec"], "restartPolicy": "Never"}}
    return thing("batch/v1", "Job", TENANT, name, spec={"template": whole, **spec})


def replicas(kind: str, name: str, of: Object, **spec: Any) -> Object:
    """Return a Deployment, a ReplicaSet or a StatefulSet of a template."""
    selector = {"matchLabels": {"app": of["metadata"]["labels"]["app"]}}
    return thing("apps/v1", kind, TENANT, name, spec={"selector": selector, "template": of, **spec})


def owned(by: Object) -> Object:
    """Return a claim to belong to something."""
    meta = by["metadata"]
    return {"apiVersion": by["apiVersion"], "kind": by["kind"], "name": meta["name"],
            "uid": meta["uid"], "controller": True}  # fmt: skip


def begin(made: Made, alice: Api, workload: Object) -> Object:
    """Make a workload, and a task whose agent is its pod; return the workload."""
    meta = workload["metadata"]
    group = workload["apiVersion"].partition("/")[0]
    reference = {"apiGroup": group, "kind": workload["kind"], "name": meta["name"]}
    agent = {"serviceAccountName": "triage-agent", "workloadRef": reference}
    made.by(alice, task(meta["name"], agent=agent))
    return made.by(alice, workload)


def pods_of(api: Api, name: str) -> list[Object]:
    """Return the pods that carry a task's label."""
    answer = api.call("GET", path_of("Pod", TENANT), labelSelector=f"{LABEL}%3D{name}")
    return [{"apiVersion": "v1", "kind": "Pod", **each} for each in answer["items"]]


def foreign_pod(api: Api, name: str) -> Object:
    """Wait for the pod with the image that is not the task's own."""

    def seen() -> Object | None:
        every = pods_of(api, name)
        return next((p for p in every if p["spec"]["containers"][0]["image"] == FOREIGN), None)

    return dict(wait_for(seen))


def the_pod(api: Api, name: str) -> Object:
    """Wait for the pod with the task's own image."""

    def seen() -> Object | None:
        every = pods_of(api, name)
        return next((p for p in every if p["spec"]["containers"][0]["image"] != FOREIGN), None)

    return dict(wait_for(seen))


def _allowed(what: Callable[[], Any]) -> Any:
    try:
        return what()
    except Refused as refused:
        if "cannot" not in refused.message:
            raise
        return None


# The five ways


async def test_a_job_that_names_somebodys_deployment_as_its_owner_is_not_the_deployments(
    api: Api, alice: Api, made: Made, mallory: Callable[..., Api], appraised: Appraise, name: str
) -> None:
    victim = begin(made, alice, replicas("Deployment", name, template(name), replicas=0))
    body = job(f"{name}-x", template(name, image=FOREIGN))
    body["metadata"]["ownerReferences"] = [owned(victim)]

    made.by(mallory(jobs=["create"]), body)

    with pytest.raises(AttestationFailed, match=r"Job '.*-x' names Deployment '.*' as its owner"):
        await appraised(name, foreign_pod(api, name))


async def test_a_replica_set_that_names_somebodys_job_as_its_owner_is_not_the_jobs(
    api: Api, alice: Api, made: Made, mallory: Callable[..., Api], appraised: Appraise, name: str
) -> None:
    victim = begin(made, alice, job(name, template(name)))
    body = replicas("ReplicaSet", f"{name}-x", template(name, image=FOREIGN))
    body["metadata"]["ownerReferences"] = [owned(victim)]

    made.by(mallory(replicasets=["create"]), body)

    with pytest.raises(AttestationFailed, match=r"ReplicaSet '.*-x' names Job '.*' as its owner"):
        await appraised(name, foreign_pod(api, name))


def as_if_it_were(victim: Object, name: str) -> Object:
    """Return a Job whose pods have the labels that another Job chooses its own by."""
    uid, prefix = victim["metadata"]["uid"], "batch.kubernetes.io/"
    its = {f"{prefix}controller-uid": uid, "controller-uid": uid,
           f"{prefix}job-name": name, "job-name": name}  # fmt: skip
    return job(
        f"{name}-x", template(name, image=FOREIGN, **its), manualSelector=True,
        selector={"matchLabels": {f"{prefix}controller-uid": uid}},
    )  # fmt: skip


async def test_a_pod_whose_owner_is_changed_to_somebodys_job_is_not_the_jobs(
    api: Api, alice: Api, made: Made, mallory: Callable[..., Api], appraised: Appraise, name: str
) -> None:
    victim = begin(made, alice, job(name, template(name)))
    her = mallory(jobs=["create"], pods=["patch"])
    made.by(her, as_if_it_were(victim, name))
    waiting = foreign_pod(api, name)

    theirs = {"metadata": {"ownerReferences": [owned(victim)]}}
    claiming = wait_for(lambda: _allowed(lambda: her.merge(waiting, theirs)))

    with pytest.raises(AttestationFailed, match=r"Pod '.*' names Job '.*' as its owner"):
        await appraised(name, claiming)


async def test_a_replica_set_that_somebodys_deployment_adopts_is_not_the_deployments(
    api: Api, alice: Api, made: Made, mallory: Callable[..., Api], appraised: Appraise, name: str
) -> None:
    victim = begin(made, alice, replicas("Deployment", name, template(name)))
    body = replicas("ReplicaSet", f"{name}-x", template(name, image=FOREIGN))
    body["metadata"]["labels"] = {"app": name}

    made.by(mallory(replicasets=["create"]), body)

    wait_for(lambda: _owner(api, "ReplicaSet", f"{name}-x") == victim["metadata"]["uid"])
    with pytest.raises(AttestationFailed, match=r"ReplicaSet '.*-x' names Deployment '.*' as its"):
        await appraised(name, foreign_pod(api, name))


async def test_a_pod_that_somebodys_job_adopts_is_not_the_jobs(
    api: Api, alice: Api, made: Made, mallory: Callable[..., Api], appraised: Appraise, name: str
) -> None:
    victim = begin(made, alice, job(name, template(name)))
    her = mallory(jobs=["create", "delete"], pods=["delete"])
    forged = made.by(her, as_if_it_were(victim, name))
    foreign = foreign_pod(api, name)
    wait_for(lambda: _allowed(lambda: her.delete(the_pod(api, name), gracePeriodSeconds="0")))

    her.delete(forged, propagationPolicy="Orphan")

    own, uid = foreign["metadata"]["name"], victim["metadata"]["uid"]
    wait_for(lambda: _owner(api, "Pod", own) == uid)
    with pytest.raises(AttestationFailed, match=r"Pod '.*' names Job '.*' as its owner"):
        await appraised(name, api.get("Pod", TENANT, own))


def _owner(api: Api, kind: str, name: str) -> str:
    owners = api.get(kind, TENANT, name)["metadata"].get("ownerReferences", [])
    return str(owners[0]["uid"]) if owners else ""
