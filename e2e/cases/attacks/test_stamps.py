"""The stamps of workloads, forged and rewritten in every way that an API server offers."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from e2e.admission import LABEL, TENANT, pod
from e2e.impersonate import Api, Object, Refused, thing

BY, FOR, CHANGERS = (f"taskpass.dev/{n}" for n in ("created-by", "created-for", "changers"))
CONTROLLER = "system:serviceaccount:kube-system:deployment-controller"
FORGED = {BY: json.dumps({"username": CONTROLLER}), FOR: "Deployment/1", CHANGERS: '"nobody"'}
KINDS = ["Deployment", "ReplicaSet", "StatefulSet", "Job", "CronJob"]


def workload(kind: str, name: str, *, labelled: bool = True, **metadata: Any) -> Object:
    """Return a workload of no pods, whose template has the label of a task or none."""
    made = pod(name, labelled=labelled, labels={"app": name})
    job = kind in ("Job", "CronJob")
    whole = {
        "metadata": {"labels": made["metadata"]["labels"]},
        "spec": {**made["spec"], "restartPolicy": "Never" if job else "Always"},
    }
    spec: Object = {"template": whole}
    if job:
        spec["suspend"] = True
    else:
        spec |= {"replicas": 0, "selector": {"matchLabels": {"app": name}}}
    if kind == "CronJob":
        spec = {"schedule": "0 0 1 1 *", "suspend": True, "jobTemplate": {"spec": spec}}
    group = "batch/v1" if job else "apps/v1"
    return thing(group, kind, TENANT, name, spec=spec, **metadata)


@pytest.fixture
def clean(api: Api, name: str) -> Iterator[None]:
    """Take the workloads of a case away after it."""
    yield
    for kind in KINDS:
        each = workload(kind, name)
        if api.exists(each):
            api.delete(each, propagationPolicy="Background")


pytestmark = pytest.mark.usefixtures("clean")


def stamps(live: Object) -> tuple[str, str, list[str]]:
    """Return who created something, for whom, and who changed it."""
    annotations = live["metadata"]["annotations"]
    creator = json.loads(annotations[BY])["username"] if annotations[BY] else ""
    changers = [json.loads(line) for line in annotations[CHANGERS].split("\n")]
    return creator, annotations[FOR], changers


@pytest.mark.parametrize("kind", KINDS)
def test_whoever_makes_a_workload_is_stamped_whatever_they_claim(
    alice: Api, name: str, kind: str
) -> None:
    made = alice.create(workload(kind, name, annotations=dict(FORGED)))

    assert stamps(made) == ("alice", "", ["alice"])


@pytest.mark.parametrize("sub", ["", "/status"])
@pytest.mark.parametrize("kind", KINDS)
def test_no_write_changes_who_made_a_workload(
    api: Api, alice: Api, name: str, kind: str, sub: str
) -> None:
    made = alice.create(workload(kind, name))
    gone = [
        {"op": "remove", "path": f"/metadata/annotations/{k.replace('/', '~1')}"} for k in FORGED
    ]

    answers = [
        api.merge(made, {"metadata": {"annotations": FORGED}}, sub),
        api.merge(made, {"metadata": {"annotations": None}}, sub),
        api.patch(made, gone, sub),
        api.call(
            "PATCH", f"{api._one(made)}{sub}",
            thing(made["apiVersion"], kind, TENANT, name, annotations=FORGED),
            content="application/apply-patch+yaml", fieldManager="x", force="true",
        ),
    ]  # fmt: skip
    live = api.get(kind, TENANT, name)
    live["metadata"]["annotations"] = FORGED
    del live["metadata"]["resourceVersion"]  # its controller may write meanwhile
    answers.append(api.replace(live, sub))

    assert [stamps(each) for each in answers] == [("alice", "", ["alice"])] * len(answers)


@pytest.mark.parametrize("kind", ["Deployment", "ReplicaSet", "StatefulSet", "CronJob"])
def test_stamps_that_were_written_before_the_label_count_for_nothing(
    alice: Api, name: str, kind: str
) -> None:
    made = alice.create(workload(kind, name, labelled=False, annotations=dict(FORGED)))
    assert made["metadata"]["annotations"] == FORGED  # it is none of ours yet

    labels: Object = {"template": {"metadata": {"labels": {LABEL: name}}}}
    spec = {"jobTemplate": {"spec": labels}} if kind == "CronJob" else labels
    after = alice.merge(made, {"spec": spec})

    assert stamps(after) == ("", "", ["", "alice"])


def test_a_label_that_is_taken_off_and_put_on_again_brings_no_stamps(alice: Api, name: str) -> None:
    made = alice.create(workload("ReplicaSet", name))

    def label(value: str | None) -> Object:
        labels = {"metadata": {"labels": {LABEL: value}}}
        return alice.merge(made, {"spec": {"template": labels}})

    label(None)
    alice.merge(made, {"metadata": {"annotations": FORGED}})

    assert stamps(label(name)) == ("", "", ["", "alice"])


def test_the_template_of_a_deployments_replica_set_is_its_controllers(
    api: Api, alice: Api, name: str
) -> None:
    controller = api.as_service_account("kube-system", "deployment-controller")
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name, "uid": "1",
             "controller": True}  # fmt: skip
    # As a dry run, or it would be collected: there is no such Deployment.
    body = workload("ReplicaSet", name, owners=[owner])
    assert stamps(controller.create(body, dryRun="All"))[:2] == (CONTROLLER, "Deployment/1")

    deployment = alice.create(workload("Deployment", name))
    owner["uid"] = deployment["metadata"]["uid"]
    body["metadata"] |= {"name": f"{name}-x", "ownerReferences": [owner]}
    made = controller.create(body)
    foreign = {"containers": [{"name": "agent", "image": "localhost/foreign:1"}]}

    with pytest.raises(Refused, match="must be changed by the controller that created it"):
        alice.merge(made, {"spec": {"template": {"spec": foreign}}}, dryRun="All")
    with pytest.raises(Refused, match="must be changed by the controller that created it"):
        alice.apply(
            thing("apps/v1", "ReplicaSet", TENANT, f"{name}-x", spec={"template": {
                "spec": foreign}}), dryRun="All",
        )  # fmt: skip
    alice.merge(made, {"spec": {"minReadySeconds": 1}}, dryRun="All")
    controller.merge(made, {"spec": {"template": {"spec": foreign}}}, dryRun="All")


def test_a_suspended_run_of_a_cron_job_is_given_to_no_other_task(
    api: Api, alice: Api, name: str
) -> None:
    controller = api.as_service_account("kube-system", "cronjob-controller")
    above = alice.create(workload("CronJob", name))
    owner = {"apiVersion": "batch/v1", "kind": "CronJob", "name": name, "controller": True,
             "uid": above["metadata"]["uid"]}  # fmt: skip
    made = controller.create(workload("Job", name, owners=[owner]))
    another = {"metadata": {"labels": {LABEL: "another"}}}

    with pytest.raises(Refused, match="labels of taskpass in the pod template of a Job"):
        alice.merge(made, {"spec": {"template": another}}, dryRun="All")
    node = {"spec": {"nodeSelector": {"zone": "a"}}}  # as Kueue does
    after = alice.merge(made, {"spec": {"template": node}}, dryRun="All")

    assert stamps(after)[2] == ["system:serviceaccount:kube-system:cronjob-controller", "alice"]


def test_whoever_changes_the_spec_is_named_once(api: Api, alice: Api, name: str) -> None:
    made = alice.create(workload("Deployment", name))
    odd = 'x","bob'
    for user, seconds in (("bob", 1), (odd, 2), ("bob", 3), ("alice", 4)):
        who = api.as_user(user, "system:masters")
        who.merge(made, {"spec": {"minReadySeconds": seconds}})
    api.as_user("eve", "system:masters").merge(made, {"metadata": {"annotations": {"a": "b"}}})

    live = api.get("Deployment", TENANT, name)
    assert stamps(live)[2] == ["alice", "bob", odd]


@pytest.mark.parametrize("sub", ["", "/status"])
def test_whoever_asks_for_a_rollback_by_annotation_has_changed_the_spec(
    api: Api, alice: Api, name: str, sub: str
) -> None:
    """The Deployment's controller would write the template, in its own name.

    Who may change the status alone can set the annotation too.
    """
    made = alice.create(workload("Deployment", name))
    asked = {"metadata": {"annotations": {"deprecated.deployment.rollback.to": "1"}}}

    after = api.as_user("eve", "system:masters").merge(made, asked, sub)

    assert stamps(after)[2] == ["alice", "eve"]


def test_of_more_than_32_who_change_it_one_more_is_kept(api: Api, alice: Api, name: str) -> None:
    made = alice.create(workload("Deployment", name))

    for number in range(40):
        who = api.as_user(f"user-{number}", "system:masters")
        after = who.merge(made, {"spec": {"minReadySeconds": number + 1}})

    assert stamps(after)[2] == ["alice", *(f"user-{n}" for n in range(32))]


def test_nobody_but_a_controller_makes_revisions_of_agents(api: Api, name: str) -> None:
    template = workload("StatefulSet", name)["spec"]["template"]
    body = thing("apps/v1", "ControllerRevision", TENANT, name, revision=1,
                 data={"spec": {"template": template}})  # fmt: skip
    path = f"/apis/apps/v1/namespaces/{TENANT}/controllerrevisions"
    controller = api.as_service_account("kube-system", "statefulset-controller")

    with pytest.raises(Refused, match="must be created by that workload's controller"):
        api.call("POST", path, body, dryRun="All")
    controller.call("POST", path, body, dryRun="All")
    template["metadata"]["labels"] = {"app": name}
    api.call("POST", path, body, dryRun="All")


def test_a_pod_is_stamped_with_its_owner_and_keeps_that(api: Api, alice: Api, name: str) -> None:
    job = alice.create(workload("Job", name))
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "controller": True,
             "uid": job["metadata"]["uid"]}  # fmt: skip
    made = alice.create(pod(name, annotations={FOR: "Job/1"}, owners=[owner]))
    assert made["metadata"]["annotations"][FOR] == f"Job/{job['metadata']['uid']}"

    for sub in ("", "/status"):
        with pytest.raises(Refused, match="created-for and containers must not change"):
            api.merge(made, {"metadata": {"annotations": {FOR: ""}}}, sub)
    after = alice.merge(made, {"metadata": {"ownerReferences": None}})

    assert after["metadata"]["annotations"][FOR] == f"Job/{job['metadata']['uid']}"
