"""Who started what runs in a pod: all who created or changed the workloads above it."""

from dataclasses import replace
from typing import Any

import pytest

from taskpass.core.lifecycle.ownership import (
    CONTROLLERS,
    MOST_CHANGERS,
    Origin,
    Owner,
    WorkloadView,
    hop_objection,
    origin_of,
)
from tests.simulation.builders import job, pod

CRON = WorkloadView(
    api_group="batch", kind="CronJob", name="nightly", uid="cron-1", owner=None, ended="",
    created_by="ada", created_for="", changers=("ada", "bob"),
)  # fmt: skip
RUN = replace(
    job("nightly-1"),
    owner=Owner(api_group="batch", kind="CronJob", name="nightly", uid="cron-1"),
    created_by=CONTROLLERS["CronJob"][0],
    created_for="CronJob/cron-1",
    changers=(CONTROLLERS["CronJob"][0],),
)
POD = pod(job=RUN)


def test_whoever_made_a_pod_by_hand_started_it() -> None:
    assert origin_of(pod(), (), CONTROLLERS) == Origin(names=("ada",))


def test_whoever_changed_the_cron_job_started_each_run_of_it() -> None:
    origin = origin_of(POD, (RUN, CRON), CONTROLLERS)

    assert origin == Origin(names=("ada", "bob", CONTROLLERS["CronJob"][0]))


def test_whoever_changed_a_run_of_it_counts_as_well() -> None:
    changed = replace(RUN, changers=(*RUN.changers, "eve"))

    assert "eve" in origin_of(POD, (changed, CRON), CONTROLLERS).names


def test_a_job_that_somebody_made_from_a_cron_job_is_theirs() -> None:
    by_hand = replace(RUN, created_by="eve", changers=("eve",))

    assert origin_of(POD, (by_hand, CRON), CONTROLLERS) == Origin(names=("eve",))
    said = hop_objection(by_hand, CRON, CONTROLLERS)
    assert "a Job of `kubectl create job --from` is that of who runs it" in said


@pytest.mark.parametrize(
    ("owners", "said"),
    [
        pytest.param((), "who had Pod 'agent' made is not to be seen", id="no owner"),
        pytest.param((RUN,), "who had Job 'nightly-1' made is not to be seen", id="no CronJob"),
        pytest.param(
            (replace(RUN, owner=None), CRON), "who had Job 'nightly-1' made", id="orphaned"
        ),
        pytest.param(
            (RUN, replace(CRON, changers=None)), "who created CronJob 'nightly' is not known",
            id="from before the stamps",
        ),
        pytest.param(
            (RUN, replace(CRON, changers=("", "ada"))), "who created CronJob 'nightly' is not",
            id="without the label before",
        ),
        pytest.param(
            (RUN, replace(CRON, changers=tuple(f"u{n}" for n in range(MOST_CHANGERS + 1)))),
            "more than 32 users have created or changed CronJob 'nightly'; delete it and make it",
            id="too many",
        ),
    ],
)  # fmt: skip
def test_what_is_not_known_is_said(owners: tuple[WorkloadView, ...], said: str) -> None:
    assert said in origin_of(POD, owners, CONTROLLERS).unknown


@pytest.mark.parametrize(
    "controller",
    ["system:serviceaccount:kube-system:daemon-set-controller", "system:kube-controller-manager",
     "system:serviceaccount:kube-system:replication-controller", ""],
)  # fmt: skip
def test_a_pod_that_a_controller_made_for_what_cannot_be_read_is_of_nobody_known(
    controller: str,
) -> None:
    assert origin_of(replace(pod(), created_by=controller), (), CONTROLLERS).unknown


def test_a_controller_that_is_not_known_counts_by_its_own_name() -> None:
    """Who told it to do so is not to be seen."""
    steps = "system:serviceaccount:argo:workflow-controller"

    origin = origin_of(replace(pod(), created_by=steps, created_for="Workflow/w"), (), CONTROLLERS)

    assert origin == Origin(names=(steps,))


@pytest.mark.parametrize(
    ("kind", "remedy"),
    [
        ("Deployment", "run `kubectl rollout restart deployment/agent`"),
        ("StatefulSet", "run `kubectl rollout restart statefulset/agent`"),
        ("Job", "delete Job 'agent' and make it anew"),
        ("Rollout", "change the pod template of Rollout 'agent'"),
        ("Sandbox", "delete the pods of Sandbox 'agent'"),
    ],
)
def test_what_is_from_before_the_stamps_is_told_its_remedy(kind: str, remedy: str) -> None:
    above: Any = replace(CRON, kind=kind, name="agent")

    assert remedy in hop_objection(replace(pod(), created_for=None), above, CONTROLLERS)
