"""Who started what runs in a pod: all who created or changed the workloads above it."""

from dataclasses import replace
from typing import Any

import pytest

from taskpass.core.lifecycle.ownership import (
    CONTROLLERS,
    FORGOTTEN,
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
    assert hop_objection(by_hand, CRON, CONTROLLERS) == (
        "Job 'nightly-1' names CronJob 'nightly' as its owner, but was not created by that kind's "
        "controller; a Job of `kubectl create job --from` is that of who runs it"
    )


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
        ("ReplicaSet", "delete the pods of ReplicaSet 'agent'"),
        ("Sandbox", "delete the pods of Sandbox 'agent'"),
    ],
)
def test_what_is_from_before_the_stamps_is_told_its_remedy(kind: str, remedy: str) -> None:
    above: Any = replace(CRON, kind=kind, name="agent")

    assert remedy in hop_objection(replace(pod(), created_for=None), above, CONTROLLERS)


@pytest.mark.parametrize("kind", ["ReplicaSet", "StatefulSet", "Job"])
def test_only_a_run_of_a_cron_job_is_told_of_runs_by_hand(kind: str) -> None:
    above = replace(CRON, kind=kind, name="agent")

    assert hop_objection(replace(RUN, created_by="eve"), above, CONTROLLERS) == (
        f"Job 'nightly-1' names {kind} 'agent' as its owner, but was not created by that kind's "
        "controller"
    )


def test_of_a_kind_that_is_not_known_it_is_said_which_are() -> None:
    said = hop_objection(POD, replace(RUN, kind="Robot"), {"Job": ("a",), "CronJob": ("b",)})

    assert said == (
        "Pods of kind Robot cannot be attested: the controller that creates them is not known; "
        "known are CronJob, Job"
    )


SOME = Origin(names=("ada", "bob"), unknown="more than bob have changed Job 'nightly-1'")


@pytest.mark.parametrize(
    ("name", "named"),
    [("ada", True), ("bob", True), ("nightly", True), ("eve", False), ("night", False)],
)
def test_an_origin_mentions_whom_it_lists_and_whom_its_sentence_names(
    name: str, named: bool
) -> None:
    assert SOME.mentions(name) is named


def test_whom_only_the_list_has_is_mentioned_as_well() -> None:
    assert Origin(names=("ada",)).mentions("ada")
    assert not Origin(names=("ada",)).mentions("bob")


@pytest.mark.parametrize(
    ("name", "left"),
    [
        pytest.param("ada", Origin(names=("bob",), unknown=SOME.unknown), id="the sentence stays"),
        pytest.param("bob", Origin(names=("ada",), unknown=FORGOTTEN), id="the sentence goes"),
    ],
)
def test_who_is_forgotten_is_in_neither_list_nor_sentence(name: str, left: Origin) -> None:
    assert SOME.without(name) == left


def test_of_a_full_list_it_is_said_that_it_is_not_full_any_more() -> None:
    """Who started a pod cannot approve what it asks for: a list that lost a name proves nothing."""
    assert Origin(names=("ada", "bob")).without("ada") == Origin(names=("bob",), unknown=FORGOTTEN)
