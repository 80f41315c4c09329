"""Appraising a pod: each rule, and the claim that an attacker would make against it."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from taskpass.core.attestation import (
    Owner,
    Surroundings,
    WorkloadView,
    appraise,
    appraise_again,
)
from taskpass.core.errors import AttestationFailed
from taskpass.core.task import LABEL, WorkloadRef
from tests.simulation.builders import T0, job, pod, request, task
from tests.unit.core.snapshots import record_of

TASK = task(request("tickets"))
AROUND = Surroundings(
    service_account_uid="account-1", bound_task_uid=None, workload=None, owners=(),
    audience="taskpass",
)  # fmt: skip
OF_A_JOB = task(request("tickets"), job="ticket-4711")
POD_OF_JOB = pod(job=job())
AROUND_JOB = replace(AROUND, workload=job(), owners=(job(),))


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


def test_a_pod_of_the_live_job_is_attested() -> None:
    assert appraise(POD_OF_JOB, OF_A_JOB, AROUND_JOB).workload_uid == "job-1"


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


def test_a_chain_of_owners_is_followed_to_the_workload() -> None:
    deployment = WorkloadView(
        api_group="apps", kind="Deployment", name="agent", uid="deployment-1", owner=None, ended=""
    )
    replicas = WorkloadView(
        api_group="apps", kind="ReplicaSet", name="agent-1", uid="replicas-1", ended="",
        owner=Owner(api_group="apps", kind="Deployment", name="agent", uid="deployment-1"),
    )  # fmt: skip
    asking = replace(TASK, workload=WorkloadRef(api_group="apps", kind="Deployment", name="agent"))
    waiting = replace(
        pod(),
        owner=Owner(api_group="apps", kind="ReplicaSet", name="agent-1", uid="replicas-1"),
        created_by="system:serviceaccount:kube-system:replicaset-controller",
    )
    around = replace(AROUND, workload=deployment, owners=(replicas, deployment))

    attested = appraise(waiting, asking, around)

    assert attested.workload_uid == "deployment-1"
    with pytest.raises(AttestationFailed):
        appraise(waiting, asking, replace(around, owners=(replicas,)))


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


RECORD = record_of(TASK)
LIVING = replace(pod(), gated=False)


def test_a_pod_that_is_still_what_was_attested_passes() -> None:
    appraise_again(LIVING, TASK, RECORD, AROUND)


@pytest.mark.parametrize(
    ("claims", "account", "reason"),
    [
        pytest.param({}, None, "ServiceAccountMismatch", id="the account is gone"),
        pytest.param({}, "account-2", "ServiceAccountMismatch", id="the account was made anew"),
        pytest.param({"labels": {}}, "account-1", "ServiceAccountMismatch", id="the label"),
        pytest.param(
            {"service_account": "other"}, "account-1", "ServiceAccountMismatch", id="an account"
        ),
        pytest.param({"images": ("other",)}, "account-1", "ImageNotAllowed", id="an image"),
        pytest.param(
            {"images": (*LIVING.images, "debug")}, "account-1", "ImageNotAllowed",
            id="an ephemeral container",
        ),
    ],
)  # fmt: skip
def test_a_pod_that_changed_is_refused_for(
    claims: dict[str, Any], account: str | None, reason: str
) -> None:
    around = replace(AROUND, service_account_uid=account)
    with pytest.raises(AttestationFailed) as refusal:
        appraise_again(replace(LIVING, **claims), TASK, RECORD, around)

    assert refusal.value.reason == reason
