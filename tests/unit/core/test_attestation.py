"""Appraising a pod: each rule, and the claim that an attacker would make against it."""

import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from taskpass.core.errors import AttestationFailed
from taskpass.core.lifecycle.attestation import appraise
from taskpass.core.lifecycle.ownership import Origin, Owner, WorkloadView
from taskpass.core.model.task import LABEL, TEMPLATE_LABEL, WorkloadRef
from tests.simulation.builders import T0, job, pod
from tests.unit.core.surroundings import AROUND, AROUND_JOB, OF_A_JOB, POD_OF_JOB, TASK


def test_a_pod_that_is_what_it_says_is_attested() -> None:
    attested = appraise(pod(), TASK, AROUND)

    assert attested.pod == pod()
    assert attested.service_account_uid == "account-1"
    assert attested.workload_uid == ""


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        pytest.param({"namespace": "elsewhere"}, "PodMissing", id="another namespace"),
        pytest.param({"labels": {LABEL: "ticket-1"}}, "PodMissing", id="another task's label"),
        pytest.param({"labels": {}}, "PodMissing", id="no label"),
        pytest.param(
            {"created_at": T0 - timedelta(seconds=1)}, "PodReplaced", id="older than the task"
        ),
        pytest.param(
            {"service_account": "other"}, "ServiceAccountMismatch", id="another ServiceAccount"
        ),
        pytest.param({"audience": ""}, "AudienceMissing", id="no volume of ours"),
        pytest.param({"audience": "api"}, "AudienceMissing", id="another audience"),
        pytest.param({"secret": ""}, "AudienceMissing", id="no Secret"),
        pytest.param({"secret": "taskpass-ticket-1"}, "AudienceMissing", id="another Secret"),
        pytest.param({"gated": False}, "PodReplaced", id="runs already"),
    ],
)
def test_a_pod_is_refused_for(claims: dict[str, Any], reason: str) -> None:
    with pytest.raises(AttestationFailed) as refusal:
        appraise(replace(pod(), **claims), TASK, AROUND)

    assert refusal.value.reason == reason


@pytest.mark.parametrize(
    ("claims", "live", "message"),
    [
        pytest.param(
            {"labels": {}}, {}, "Pod 'agent' does not carry the task's label", id="no label"
        ),
        pytest.param(
            {}, {"service_account_uid": None}, "ServiceAccount 'triage-agent' does not exist in "
            "namespace 'support'; create it, or name another in spec.agent.serviceAccountName",
            id="no account",
        ),
    ],
)  # fmt: skip
def test_a_refusal_says_what_is_missing(
    claims: dict[str, Any], live: dict[str, Any], message: str
) -> None:
    with pytest.raises(AttestationFailed) as refusal:
        appraise(replace(pod(), **claims), TASK, replace(AROUND, **live))

    assert str(refusal.value) == message


@pytest.mark.parametrize(
    ("live", "reason"),
    [
        pytest.param({"service_account_uid": None}, "ServiceAccountMismatch", id="no account"),
        pytest.param({"bound_task_uid": "task-0"}, "PodReplaced", id="bound to an earlier task"),
        pytest.param({"audience": "other"}, "AudienceMissing", id="our audience is another"),
    ],
)
def test_a_claim_is_held_against_what_lives(live: dict[str, Any], reason: str) -> None:
    with pytest.raises(AttestationFailed) as refusal:
        appraise(pod(), TASK, replace(AROUND, **live))

    assert refusal.value.reason == reason


def test_a_pod_that_was_bound_to_this_task_before_is_no_stranger() -> None:
    assert appraise(pod(), TASK, replace(AROUND, bound_task_uid=TASK.uid)).pod == pod()


def test_default_is_refused_though_the_task_asks_for_it() -> None:
    asking = replace(TASK, service_account="default")

    with pytest.raises(AttestationFailed, match="'default'"):
        appraise(replace(pod(), service_account="default"), asking, AROUND)


@pytest.mark.parametrize(
    ("of_task", "of_pod", "reason"),
    [
        pytest.param("nightly", {TEMPLATE_LABEL: "nightly"}, None, id="the task was made for it"),
        pytest.param("nightly", {TEMPLATE_LABEL: "weekly"}, "PodReplaced", id="for another's"),
        pytest.param("nightly", {}, "PodReplaced", id="the pod names none"),
        pytest.param("", {TEMPLATE_LABEL: ""}, "PodReplaced", id="an empty name is none"),
        pytest.param("", {}, "PodReplaced", id="neither names any"),
    ],
)
def test_only_the_pod_for_whose_template_the_task_was_made_may_be_older(
    of_task: str, of_pod: dict[str, str], reason: str | None
) -> None:
    older = replace(
        POD_OF_JOB,
        created_at=T0 - timedelta(seconds=1),
        labels={**POD_OF_JOB.labels, **of_pod},
    )

    refused = None
    try:
        appraise(older, replace(OF_A_JOB, template=of_task), AROUND_JOB)
    except AttestationFailed as failure:
        refused = failure.reason

    assert refused == reason


def test_a_pod_of_the_second_in_which_the_task_was_made_is_not_older() -> None:
    """Kubernetes counts creation in seconds."""
    assert appraise(replace(pod(), created_at=TASK.created_at), TASK, AROUND).pod.gated


def test_a_pod_of_the_live_job_is_attested() -> None:
    attested = appraise(POD_OF_JOB, OF_A_JOB, AROUND_JOB)

    assert (attested.workload_uid, attested.origin) == ("job-1", Origin(names=("ada",)))


def test_a_workload_that_is_not_there_or_not_above_the_pod_is_named() -> None:
    gone = replace(AROUND_JOB, workload=None)
    with pytest.raises(AttestationFailed) as missing:
        appraise(POD_OF_JOB, OF_A_JOB, gone)
    with pytest.raises(AttestationFailed) as elsewhere:
        appraise(replace(POD_OF_JOB, owner=None), OF_A_JOB, AROUND_JOB)

    assert str(missing.value) == (
        "Job 'ticket-4711', which spec.agent.workloadRef names, does not exist in namespace "
        "'support'"
    )
    assert str(elsewhere.value) == (
        "Pod 'agent' does not belong to Job 'ticket-4711': its owners as they live now do not "
        "lead there"
    )


INVENTED = Owner(api_group="batch", kind="Job", name="ticket-4711", uid="job-invented")


@pytest.mark.parametrize(
    ("claims", "live"),
    [
        pytest.param({"owner": None}, {}, id="no owner"),
        pytest.param({"owner": INVENTED}, {"owners": ()}, id="an invented UID"),
        pytest.param({"owner": INVENTED}, {}, id="an invented UID, though the Job lives"),
        pytest.param({}, {"workload": None, "owners": ()}, id="no such Job"),
        pytest.param({}, {"workload": job(uid="job-2")}, id="the Job was made anew"),
        pytest.param({"created_by": "mallory"}, {}, id="the right UID, made by a person"),
        pytest.param({"created_by": ""}, {}, id="no stamp"),
        pytest.param(
            {"created_by": "system:serviceaccount:kube-system:replicaset-controller"},
            {},
            id="another kind's controller",
        ),
    ],
)
def test_a_workload_is_not_believed_for(claims: dict[str, Any], live: dict[str, Any]) -> None:
    with pytest.raises(AttestationFailed) as refusal:
        appraise(replace(POD_OF_JOB, **claims), OF_A_JOB, replace(AROUND_JOB, **live))

    assert refusal.value.reason == "WorkloadMismatch"


DEPLOYMENT = WorkloadView(
    api_group="apps", kind="Deployment", name="agent", uid="deployment-1", owner=None, ended="",
    created_by="ada", created_for="", changers=("ada",),
)  # fmt: skip
REPLICAS = WorkloadView(
    api_group="apps", kind="ReplicaSet", name="agent-1", uid="replicas-1", ended="",
    owner=Owner(api_group="apps", kind="Deployment", name="agent", uid="deployment-1"),
    created_by="system:serviceaccount:kube-system:deployment-controller",
    created_for="Deployment/deployment-1", changers=("deployment-controller",),
)  # fmt: skip
POD_OF_REPLICAS = replace(
    pod(),
    owner=Owner(api_group="apps", kind="ReplicaSet", name="agent-1", uid="replicas-1"),
    created_by="system:serviceaccount:kube-system:replicaset-controller",
    created_for="ReplicaSet/replicas-1",
)
OF_DEPLOYMENT = replace(
    TASK, workload=WorkloadRef(api_group="apps", kind="Deployment", name="agent")
)
AROUND_DEPLOYMENT = replace(AROUND, workload=DEPLOYMENT, owners=(REPLICAS, DEPLOYMENT))


def test_a_chain_of_owners_is_followed_to_the_workload() -> None:
    attested = appraise(POD_OF_REPLICAS, OF_DEPLOYMENT, AROUND_DEPLOYMENT)

    assert attested.workload_uid == "deployment-1"
    assert attested.origin == Origin(names=("ada", "deployment-controller"))
    with pytest.raises(AttestationFailed):
        appraise(POD_OF_REPLICAS, OF_DEPLOYMENT, replace(AROUND_DEPLOYMENT, owners=(REPLICAS,)))


@pytest.mark.parametrize(
    ("claims", "replicas", "said"),
    [
        pytest.param(
            {}, {"created_by": "mallory"}, "ReplicaSet 'agent-1' names Deployment 'agent' as its "
            "owner, but was not created by that kind's controller", id="a ReplicaSet by hand",
        ),
        pytest.param(
            {}, {"created_for": ""}, "names Deployment 'agent' as its owner, but was created for "
            "another", id="a ReplicaSet that was adopted",
        ),
        pytest.param(
            {"created_for": "ReplicaSet/replicas-2"}, {}, "Pod 'agent' names ReplicaSet 'agent-1' "
            "as its owner, but was created for another", id="a pod whose owner was changed",
        ),
        pytest.param(
            {"created_for": "Job/replicas-1"}, {}, "was created for another", id="another kind",
        ),
        pytest.param(
            {"created_for": None}, {}, "Pod 'agent' was created before taskpass stamped for whom",
            id="a pod from before",
        ),
        pytest.param(
            {}, {"created_for": None, "created_by": ""}, "ReplicaSet 'agent-1' was created before "
            "taskpass stamped for whom; run `kubectl rollout restart deployment/agent`",
            id="a ReplicaSet from before",
        ),
    ],
)  # fmt: skip
def test_every_hop_must_hold(claims: dict[str, Any], replicas: dict[str, Any], said: str) -> None:
    owners = (replace(REPLICAS, **replicas), DEPLOYMENT)

    with pytest.raises(AttestationFailed, match=re.escape(said)) as refusal:
        appraise(
            replace(POD_OF_REPLICAS, **claims), OF_DEPLOYMENT,
            replace(AROUND_DEPLOYMENT, owners=owners),
        )  # fmt: skip

    assert refusal.value.reason == "WorkloadMismatch"


def test_controllers_are_those_of_the_settings() -> None:
    own = {"Deployment": ("system:kube-controller-manager",), "ReplicaSet": ("a", "b")}
    made = replace(REPLICAS, created_by="system:kube-controller-manager")
    around = replace(AROUND_DEPLOYMENT, owners=(made, DEPLOYMENT), controllers=own)

    waiting = replace(POD_OF_REPLICAS, created_by="b")

    assert appraise(waiting, OF_DEPLOYMENT, around).workload_uid == "deployment-1"
    with pytest.raises(AttestationFailed, match="was not created by that kind's controller"):
        appraise(POD_OF_REPLICAS, OF_DEPLOYMENT, around)


@pytest.mark.parametrize(
    ("of_task", "of_pod", "said"),
    [
        pytest.param("", "nightly", "names AgentTaskTemplate 'nightly', and this task was made "
                     "from none", id="a task by hand"),
        pytest.param("weekly", "nightly", "names AgentTaskTemplate 'nightly', and this task was "
                     "made from 'weekly'", id="another template"),
        pytest.param("weekly", "", "Pod 'agent' names no AgentTaskTemplate, and this task was made "
                     "from 'weekly'", id="a pod that names none"),
    ],
)  # fmt: skip
def test_task_and_pod_are_of_one_template(of_task: str, of_pod: str, said: str) -> None:
    labels = {**POD_OF_JOB.labels, **({TEMPLATE_LABEL: of_pod} if of_pod else {})}
    made = replace(OF_A_JOB, template=of_task)

    with pytest.raises(AttestationFailed, match=re.escape(said)) as refusal:
        appraise(replace(POD_OF_JOB, labels=labels), made, AROUND_JOB)

    assert refusal.value.reason == "WorkloadMismatch"
    same = replace(made, template=of_pod)
    assert appraise(replace(POD_OF_JOB, labels=labels), same, AROUND_JOB).workload_uid == "job-1"


def test_pods_of_a_kind_whose_controller_is_not_known_are_refused() -> None:
    odd = WorkloadView(
        api_group="example.com", kind="Robot", name="r", uid="robot-1", owner=None, ended=""
    )
    waiting = replace(
        pod(), owner=Owner(api_group="example.com", kind="Robot", name="r", uid="robot-1")
    )
    asking = replace(TASK, workload=WorkloadRef(api_group="example.com", kind="Robot", name="r"))

    with pytest.raises(AttestationFailed, match="Pods of kind Robot cannot be attested"):
        appraise(waiting, asking, replace(AROUND, workload=odd, owners=(odd,)))
