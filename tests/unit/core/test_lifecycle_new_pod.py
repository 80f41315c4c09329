"""A task that has no agent: which pod becomes it, and what is said while none can."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from taskpass.core.lifecycle.attestation import AttestedPod, PodView
from taskpass.core.lifecycle.next_step import next_step
from taskpass.core.lifecycle.ownership import Origin
from taskpass.core.lifecycle.pod import of_new_pod
from taskpass.core.lifecycle.snapshot import Owners, Sight
from taskpass.core.lifecycle.steps import (
    Bind,
    FetchOwners,
    RefusePod,
    Wait,
)
from taskpass.core.model.grant import GrantState
from taskpass.core.model.task import Task
from taskpass.core.rate_limit.budget import Spending
from tests.simulation.builders import T0, job, pod, request, task
from tests.unit.core.snapshots import ASKING, GATED, NEW, RUNNING, grant_of, record_of

LATER = T0 + timedelta(seconds=10)
OF_A_JOB = task(request("tickets"), job="ticket-4711")
BARE: dict[str, Any] = {"secret_written": False, "delivered": ()}


def test_a_pod_that_can_be_attested_is_bound() -> None:
    seen = replace(NEW, pods=(GATED,))

    step = next_step(seen, LATER)

    assert step == Bind(
        attested=AttestedPod(
            pod=GATED,
            service_account_uid="account-1",
            workload_uid="",
            origin=Origin(names=("ada",)),
        )
    )


def test_a_pod_that_cannot_be_attested_is_refused_once() -> None:
    seen = replace(NEW, pods=(RUNNING,))

    first = next_step(seen, LATER)
    assert isinstance(first, RefusePod)
    told = replace(seen, own_record=record_of(attempt=0, pod_uid="", **BARE, denial=first.refusal))
    second = next_step(told, LATER)

    assert first.pod == RUNNING
    assert first.finding.reason == "PodReplaced"
    assert first.finding.message.startswith("Pod 'agent' runs already and was never attested")
    assert isinstance(second, Wait)
    assert second.attested == first.finding
    assert second.retry


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(replace(RUNNING, uid="pod-2"), id="another pod"),
        pytest.param(replace(RUNNING, service_account="other"), id="another reason"),
    ],
)
def test_another_refusal_is_told_though_one_was_told_before(other: PodView) -> None:
    first = next_step(replace(NEW, pods=(RUNNING,)), LATER)
    assert isinstance(first, RefusePod)
    told = record_of(attempt=0, pod_uid="", **BARE, denial=first.refusal)

    step = next_step(replace(NEW, pods=(other,), own_record=told), LATER)

    assert isinstance(step, RefusePod)
    assert step.pod == other


def test_of_several_pods_the_refusal_of_the_oldest_is_told() -> None:
    younger = replace(RUNNING, name="younger", uid="pod-younger")

    step = next_step(replace(NEW, pods=(RUNNING, younger)), LATER)

    assert isinstance(step, RefusePod)
    assert step.pod == RUNNING


OWED = grant_of(state=GrantState.REVOKING)
HASTY = replace(ASKING, start_deadline_seconds=60)


@pytest.mark.parametrize(
    ("changes", "reason", "retry"),
    [
        pytest.param({}, "PodMissing", False, id="there is no pod"),
        pytest.param(
            {"pods": (RUNNING,), "muted": {Spending.POD_REFUSAL: "no budget"}},
            "PodReplaced",
            True,
            id="its pod is refused, and that may not be recorded",
        ),
        pytest.param(
            {
                "pods": (pod(job=job()),),
                "owners": Owners(workload=None, by_pod={}, unanswered={"pod-agent": "not served"}),
            },
            "CheckFailed",
            True,
            id="whose its pod is cannot be read",
        ),
        pytest.param(
            {
                "sight": Sight(issuance_blocked_reason="not served"),
                "issuance_blocked_reason": "not served",
            },
            "CheckFailed",
            True,
            id="what is there is not known",
        ),
    ],
)
def test_a_task_without_an_agent_says_why_what_it_owes_and_waits_until_its_deadline(
    changes: dict[str, Any], reason: str, retry: bool
) -> None:
    seen = replace(NEW, task=HASTY, grants=(OWED,), unanswered=frozenset({OWED.id}), **changes)

    step = of_new_pod(seen, LATER)

    assert isinstance(step, Wait)
    assert step.attested is not None
    assert step.attested.reason == reason
    assert (step.pending, step.until, step.retry) == ((OWED,), T0 + timedelta(seconds=60), retry)


@pytest.mark.parametrize(
    ("of", "changes", "message"),
    [
        pytest.param(
            ASKING,
            {},
            "Waiting for a pod with the label taskpass.dev/task=ticket-4711 in namespace 'support'",
            id="none was there yet",
        ),
        pytest.param(
            ASKING,
            {"own_record": record_of(pod_uid="", **BARE)},
            "The last pod ended; waiting for the next one with the label "
            "taskpass.dev/task=ticket-4711",
            id="one was there",
        ),
        pytest.param(
            OF_A_JOB,
            {"owners": Owners(workload=job(), by_pod={})},
            "Waiting for a pod with the label taskpass.dev/task=ticket-4711 in namespace 'support'",
            id="its Job goes on",
        ),
        pytest.param(
            OF_A_JOB,
            {"owners": Owners(workload=job(ended="Failed"), by_pod={})},
            "Job 'ticket-4711' ended before this task had a pod; delete it and make it anew, its "
            "pod with the label taskpass.dev/task=ticket-4711",
            id="its Job ended before",
        ),
    ],
)
def test_which_pod_is_waited_for_is_said(of: Task, changes: dict[str, Any], message: str) -> None:
    step = of_new_pod(replace(NEW, task=of, **changes), LATER)

    assert isinstance(step, Wait)
    assert step.attested is not None
    assert step.attested.message == message
    assert step.retry is (of is OF_A_JOB)


@pytest.mark.parametrize(
    "ended",
    [
        pytest.param(replace(GATED, ended="Failed"), id="terminal"),
        pytest.param(replace(GATED, deleting_since=LATER), id="being deleted"),
    ],
)
def test_a_pod_at_its_end_is_not_looked_at(ended: object) -> None:
    step = next_step(replace(NEW, pods=(ended,)), LATER)  # type: ignore[arg-type]

    assert isinstance(step, Wait)
    assert step.attested is not None
    assert step.attested.reason == "PodMissing"


def test_no_pod_is_bound_before_it_is_known_whose_an_older_one_is() -> None:
    older, younger = pod("older", job=job()), pod("younger")
    seen = replace(NEW, pods=(older, younger))

    assert of_new_pod(seen, LATER) == FetchOwners(pods=(older,))


def test_who_creates_pods_of_a_workload_is_the_settings_to_say() -> None:
    waiting = replace(pod(job=job()), created_by="our-controller")
    looked = Owners(workload=job(), by_pod={waiting.uid: (job(),)})
    seen = replace(NEW, task=OF_A_JOB, pods=(waiting,), owners=looked)

    assert isinstance(of_new_pod(seen, LATER), RefusePod)
    ours = replace(seen, controllers={"Job": ("our-controller",)})
    assert isinstance(of_new_pod(ours, LATER), Bind)


def test_the_owners_of_a_pod_are_read_before_it_is_appraised() -> None:
    waiting = pod(job=job())
    looked = Owners(workload=job(), by_pod={})
    seen = replace(NEW, task=OF_A_JOB, pods=(waiting,), owners=looked)

    known = replace(seen, owners=Owners(workload=job(), by_pod={waiting.uid: (job(),)}))

    assert next_step(seen, LATER) == FetchOwners(pods=(waiting,))
    assert isinstance(next_step(known, LATER), Bind)
