"""The pod's part of a task's life: its end, its proof, its successor."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from taskpass.core.lifecycle.attestation import PodView
from taskpass.core.lifecycle.next_step import next_step
from taskpass.core.lifecycle.pod import of_workload
from taskpass.core.lifecycle.records import Outcome
from taskpass.core.lifecycle.snapshot import Owners
from taskpass.core.lifecycle.steps import (
    FetchOwners,
    Finish,
    RefusePod,
    Revoke,
    RevokeReason,
    Unbind,
    Wait,
)
from tests.simulation.builders import T0, job, pod, request, task
from tests.unit.core.snapshots import NEW, RUNNING, grant_of, record_of, snapshot

LATER = T0 + timedelta(seconds=10)
OF_A_JOB = task(request("tickets"), job="ticket-4711")
BARE: dict[str, Any] = {"secret_written": False, "delivered": ()}


@pytest.mark.parametrize(
    ("made", "template", "ended"),
    [
        pytest.param(0, "", True, id="in the second of the task"),
        pytest.param(1, "", True, id="after the task"),
        pytest.param(-1, "", False, id="before the task"),
        pytest.param(-1, "nightly", True, id="before the task that was made for it"),
        pytest.param(None, "", False, id="nobody knows when"),
        pytest.param(None, "nightly", False, id="nobody knows when, and the task was made for it"),
    ],
)
def test_before_its_first_pod_a_task_ends_with_the_workload_that_was_made_for_it(
    made: int | None, template: str, ended: bool
) -> None:
    created = None if made is None else T0 + timedelta(seconds=made)
    over = replace(job(ended="Succeeded"), created_at=created)
    of = replace(OF_A_JOB, template=template)

    step = of_workload(replace(NEW, task=of, owners=Owners(workload=over, by_pod={})), LATER)

    assert step == (Finish(outcome=Outcome.SUCCEEDED) if ended else None)


@pytest.mark.parametrize(
    ("pods", "outcome"),
    [
        pytest.param((replace(RUNNING, ended="Succeeded"),), Outcome.SUCCEEDED, id="well"),
        pytest.param((replace(RUNNING, ended="Failed"),), Outcome.FAILED, id="badly"),
        pytest.param((), Outcome.FAILED, id="gone"),
        pytest.param((replace(RUNNING, deleting_since=T0),), Outcome.FAILED, id="overdue"),
    ],
)
def test_how_a_pod_ended_is_committed_with_the_revocation(
    pods: tuple[object, ...], outcome: Outcome
) -> None:
    step = next_step(snapshot(pods=pods), LATER)

    assert step == Revoke(
        grants=((grant_of(), RevokeReason.POD_ENDED),), record=record_of(outcome=outcome)
    )


def test_a_task_that_holds_nothing_finishes_with_its_pod() -> None:
    seen = snapshot(own_record=record_of(**BARE), grants=(), pods=())

    assert next_step(seen, LATER) == Finish(outcome=Outcome.FAILED)


def test_a_pod_that_has_time_left_keeps_what_it_has() -> None:
    leaving = replace(RUNNING, deleting_since=LATER + timedelta(seconds=5))

    assert next_step(snapshot(pods=(leaving,)), LATER) == Wait(until=leaving.deleting_since)


def test_with_a_workload_the_end_of_a_pod_ends_the_attempt() -> None:
    seen = snapshot(
        task=OF_A_JOB,
        own_record=record_of(OF_A_JOB, **BARE),
        grants=(),
        pods=(replace(RUNNING, ended="Failed"),),
    )

    assert next_step(seen, LATER) == Unbind()


def test_between_two_pods_the_workload_is_looked_at() -> None:
    kept = record_of(OF_A_JOB, pod_uid="", workload_uid="job-1", **BARE)
    seen = snapshot(task=OF_A_JOB, own_record=kept, grants=(), pods=())

    goes_on = next_step(replace(seen, owners=Owners(workload=job(), by_pod={})), LATER)

    assert next_step(seen, LATER) == FetchOwners(pods=())
    assert isinstance(goes_on, Wait)
    assert goes_on.retry


@pytest.mark.parametrize(
    ("workload", "outcome"),
    [
        pytest.param(job(ended="Succeeded"), Outcome.SUCCEEDED, id="complete"),
        pytest.param(job(ended="Failed"), Outcome.FAILED, id="failed"),
        pytest.param(None, Outcome.CANCELLED, id="deleted"),
        pytest.param(job(uid="job-2"), Outcome.CANCELLED, id="made anew"),
    ],
)
def test_the_workloads_end_is_the_tasks(workload: object, outcome: Outcome) -> None:
    kept = record_of(OF_A_JOB, pod_uid="", workload_uid="job-1", **BARE)
    looked = Owners(workload=workload, by_pod={})  # type: ignore[arg-type]
    seen = snapshot(task=OF_A_JOB, own_record=kept, grants=(), pods=(), owners=looked)

    assert next_step(seen, LATER) == Finish(outcome=outcome)


def test_what_is_still_held_is_revoked_with_the_workloads_end() -> None:
    record = record_of(OF_A_JOB, pod_uid="", workload_uid="job-1")
    looked = Owners(workload=job(ended="Succeeded"), by_pod={})
    seen = snapshot(task=OF_A_JOB, own_record=record, pods=(), owners=looked)

    assert of_workload(seen, LATER) == Revoke(
        grants=((grant_of(), RevokeReason.WORKLOAD_ENDED),),
        record=replace(record, outcome=Outcome.SUCCEEDED),
    )


@pytest.mark.parametrize(("suspended", "pods"), [("", (pod(job=job()),)), ("Suspended", ())])
def test_while_a_task_is_suspended_no_pod_is_looked_at(
    suspended: str, pods: tuple[PodView, ...]
) -> None:
    kept = record_of(OF_A_JOB, pod_uid="", suspended=suspended, **BARE)
    seen = replace(NEW, task=OF_A_JOB, own_record=kept, pods=(pod(job=job()),))

    assert of_workload(seen, LATER) == FetchOwners(pods=pods)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param({"service_account_uid": None}, "ServiceAccountMismatch", id="account gone"),
        pytest.param(
            {"service_account_uid": "account-2"}, "ServiceAccountMismatch", id="account made anew"
        ),
        pytest.param(
            {"pods": (replace(RUNNING, images=("other",)),)}, "ImageNotAllowed", id="image patched"
        ),
        pytest.param(
            {"pods": (replace(RUNNING, service_account="other"),)},
            "ServiceAccountMismatch",
            id="runs as another",
        ),
    ],
)
def test_a_pod_that_is_no_longer_what_was_attested_loses_all_and_is_refused(
    changes: dict[str, object], reason: str
) -> None:
    seen = snapshot(**changes)
    cleared = replace(seen, grants=(), own_record=record_of(**BARE))

    step = next_step(cleared, LATER)

    assert next_step(seen, LATER) == Revoke(grants=((grant_of(), RevokeReason.NO_LONGER_ATTESTED),))
    assert isinstance(step, RefusePod)
    assert step.finding.reason == reason
