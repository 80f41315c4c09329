"""Owners as they live now: a reference that claims another UID leads nowhere."""

from dataclasses import replace

from taskpass.core.lifecycle.attestation import PodView
from taskpass.core.lifecycle.ownership import Owner
from taskpass.kube.cache.convert import pod_from
from taskpass.kube.writers.workloads import KubeWorkloads
from tests.unit.kube.objects import a_pod, meta
from tests.unit.kube.scripted_server import Answer, Object, Script, status_body

JOB = "/apis/batch/v1/namespaces/support/jobs/nightly"
DEPLOYMENT = "/apis/apps/v1/namespaces/support/deployments/web"
REPLICASET = "/apis/apps/v1/namespaces/support/replicasets/web-1"
MISSING = Answer(status_body(404, "not found"), 404)


def owned_by(kind: str, name: str, uid: str, group: str = "apps") -> PodView:
    owner = Owner(api_group=group, kind=kind, name=name, uid=uid)
    return replace(pod_from(a_pod("p", 1, "ticket")), owner=owner)


def live(name: str, owner: Object | None = None) -> Answer:
    references = [owner] if owner else []
    return Answer({"metadata": meta(name, 1, ownerReferences=references), "spec": {}})


def reference(kind: str, name: str, uid: str) -> Object:
    return {"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": uid, "controller": True}


async def test_the_chain_leads_from_the_pod_to_the_deployment(script: Script) -> None:
    above = reference("Deployment", "web", "uid-support-web")
    script.on(f"GET {REPLICASET}", live("web-1", above))
    script.on(f"GET {DEPLOYMENT}", live("web"))

    async with script.client() as client:
        pod = owned_by("ReplicaSet", "web-1", "uid-support-web-1")
        chain = await KubeWorkloads(client).owners(pod)

    assert [(each.kind, each.name) for each in chain] == [
        ("ReplicaSet", "web-1"),
        ("Deployment", "web"),
    ]


async def test_the_chain_ends_where_a_reference_claims_another_uid(script: Script) -> None:
    script.on(f"GET {JOB}", live("nightly"))

    async with script.client() as client:
        pod = owned_by("Job", "nightly", "uid-of-an-earlier-one", "batch")
        assert await KubeWorkloads(client).owners(pod) == ()


async def test_the_chain_ends_where_an_owner_does_not_exist(script: Script) -> None:
    script.on(f"GET {JOB}", MISSING)

    async with script.client() as client:
        assert await KubeWorkloads(client).owners(owned_by("Job", "nightly", "u", "batch")) == ()


async def test_the_chain_ends_at_a_kind_that_is_not_known(script: Script) -> None:
    async with script.client() as client:
        pod = owned_by("Robot", "web", "u", "example.com")
        assert await KubeWorkloads(client).owners(pod) == ()
        assert await KubeWorkloads(client).workload("support", "x", "Robot", "web") is None

    assert script.requests == []


async def test_a_circle_of_owners_ends(script: Script) -> None:
    itself = reference("ReplicaSet", "web-1", "uid-support-web-1")
    script.on(f"GET {REPLICASET}", live("web-1", itself))

    async with script.client() as client:
        pod = owned_by("ReplicaSet", "web-1", "uid-support-web-1")
        assert len(await KubeWorkloads(client).owners(pod)) == 4


async def test_a_job_that_failed_has_ended(script: Script) -> None:
    failed = {"conditions": [{"type": "Failed", "status": "True"}]}
    script.on(f"GET {JOB}", Answer({"metadata": meta("nightly", 1), "status": failed}))

    async with script.client() as client:
        found = await KubeWorkloads(client).workload("support", "batch", "Job", "nightly")

    assert found is not None
    assert found.ended == "Failed"
