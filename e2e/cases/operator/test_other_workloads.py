"""Workloads of others: a JobSet and a Sandbox. Their controllers are played, all else is real."""

from collections.abc import Callable, Iterator

import pytest

from e2e.admission import TENANT, binding, pod, task
from e2e.foreign_kinds import KINDS, a, crd
from e2e.impersonate import Api, Object, Refused, thing
from e2e.stage import Stage, condition, job, until
from taskpass.core.lifecycle.ownership import CONTROLLERS


@pytest.fixture(scope="module")
def kinds(api: Api) -> Iterator[None]:
    """Have the API server know both kinds, for as long as these tests run."""
    for kind in KINDS:
        api.apply(crd(kind))
    for kind in KINDS:
        until(lambda kind=kind: served(lambda: api.create(a(kind, "probe"), dryRun="All")))
    yield
    for kind in KINDS:
        api.delete(crd(kind))


def served(what: Callable[[], object]) -> object:
    """Return the answer; None while the API server does not know the kind everywhere."""
    try:
        return what()
    except Refused as refused:
        if refused.status not in (404, 503):
            raise
        return None


def owned(by: Object) -> Object:
    meta = by["metadata"]
    return {
        "apiVersion": by["apiVersion"], "kind": by["kind"], "name": meta["name"],
        "uid": meta["uid"], "controller": True,
    }  # fmt: skip


def of(kind: str, name: str) -> Object:
    reference = {"apiGroup": KINDS[kind][0], "kind": kind, "name": name}
    return {"serviceAccountName": "triage-agent", "workloadRef": reference}


def playing(stage: Stage, kind: str, name: str) -> Iterator[Api]:
    """Give the controller of a kind the right to make what belongs to it; return it."""
    bound = binding("RoleBinding", TENANT, name, "ClusterRole/edit", f"User/{CONTROLLERS[kind][0]}")
    stage.api.apply(bound)
    controller = stage.api.as_user(CONTROLLERS[kind][0], "system:serviceaccounts")
    probe = job("probe")
    until(lambda: allowed(lambda: controller.create(probe, dryRun="All")))
    yield controller
    stage.api.delete(bound)


def allowed(what: Callable[[], object]) -> object:
    """Return the answer; None while a right is not there yet."""
    try:
        return what()
    except Refused as refused:
        if "cannot create resource" not in refused.message:
            raise
        return None


@pytest.fixture
def job_sets(stage: Stage, kinds: None) -> Iterator[Api]:
    """Return the controller of JobSets, which may make Jobs."""
    yield from playing(stage, "JobSet", "job-sets")


@pytest.fixture
def rollouts(stage: Stage, kinds: None) -> Iterator[Api]:
    """Return the controller of Rollouts, which may make ReplicaSets."""
    yield from playing(stage, "Rollout", "rollouts")


def test_a_pod_of_a_job_of_a_job_set_is_the_agent_and_the_sets_end_is_the_tasks(
    stage: Stage, job_sets: Api, name: str
) -> None:
    whole = stage.alice.create(task(name, agent=of("JobSet", name)))
    made = stage.api.create(a("JobSet", name))
    replicated = job(f"{name}-0", task_name=name)
    replicated["metadata"]["ownerReferences"] = [owned(made)]
    job_sets.create(replicated)

    stage.wait_ready(name)
    token = stage.token(name)
    ended = {"conditions": [{"type": "Completed", "status": "True"}]}
    status = stage.task(name)["status"]
    stage.api.merge(made, {"status": ended}, "/status")
    stage.end(status["podRef"]["name"])

    stage.wait_finished(name, "Succeeded")
    assert stage.reads(token) != 200
    assert whole["spec"]["agent"]["workloadRef"]["kind"] == "JobSet"


@pytest.fixture
def sandboxes(stage: Stage, kinds: None) -> Iterator[Api]:
    """Return the controller of Sandboxes, which may make pods."""
    yield from playing(stage, "Sandbox", "sandboxes")


def pod_of(made: Object, name: str) -> Object:
    wanted = pod(made["metadata"]["name"])
    wanted["metadata"] |= {"name": name, "ownerReferences": [owned(made)]}
    return wanted


def test_a_sandbox_that_is_resumed_gets_new_credentials_for_its_new_pod(
    stage: Stage, sandboxes: Api, name: str
) -> None:
    stage.alice.create(task(name, agent=of("Sandbox", name)))
    made = stage.api.create(a("Sandbox", name))
    first = until(lambda: sandboxes.create(pod_of(made, f"{name}-1")))
    stage.wait_ready(name)
    old = stage.token(name)

    sandboxes.delete(first, gracePeriodSeconds="0")  # as a suspended sandbox has it
    until(lambda: "podRef" not in stage.task(name)["status"], said=lambda: stage.told(name))
    refused = stage.reads(old)
    sandboxes.create(pod_of(made, f"{name}-2"))
    stage.wait_ready(name)

    assert refused != 200
    assert stage.reads(stage.token(name)) == 200
    stage.api.delete(made)


def test_a_pod_of_a_replica_set_of_a_rollout_is_the_agent(
    stage: Stage, rollouts: Api, name: str
) -> None:
    stage.alice.create(task(name, agent=of("Rollout", name)))
    template = pod(name, labels={"app": name})
    spec = {
        "selector": {"matchLabels": {"app": name}},
        "template": {"metadata": {"labels": template["metadata"]["labels"]},
                     "spec": template["spec"]},
    }  # fmt: skip
    rollout = {**a("Rollout", name), "spec": spec}
    # What admission stamps it has to know by its schema as well, which comes later than its paths.
    made = until(lambda: served(lambda: stage.api.create(rollout)))
    replicas = thing("apps/v1", "ReplicaSet", TENANT, f"{name}-1", spec={**spec, "replicas": 1},
                     owners=[owned(made)])  # fmt: skip
    rollouts.create(replicas)

    stage.wait_ready(name)

    assert stage.reads(stage.token(name)) == 200
    assert "taskpass.dev/changers" in made["metadata"]["annotations"]
    stage.api.delete(made)
    stage.api.delete(replicas, propagationPolicy="Background")


@pytest.mark.usefixtures("kinds")
def test_a_pod_that_a_person_made_is_no_sandboxs(stage: Stage, name: str) -> None:
    stage.alice.create(task(name, agent=of("Sandbox", name)))
    made = stage.api.create(a("Sandbox", name))

    stage.alice.create(pod_of(made, name))

    status = stage.wait_condition(name, "Attested", "False", "WorkloadMismatch")
    assert "was not created by that kind's controller" in condition(status, "Attested")["message"]
    stage.api.delete(made)


def test_a_kind_that_the_cluster_does_not_have_is_said(stage: Stage, name: str) -> None:
    stage.begin(name, agent=of("Sandbox", name))

    status = stage.wait_condition(name, "Attested", "False", "WorkloadMismatch")
    assert "does not exist in namespace" in condition(status, "Attested")["message"]
