"""The pod's part of a task's life: its end, its proof, its successor."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from taskpass.core.lifecycle.attestation import AttestedPod
from taskpass.core.lifecycle.next_step import next_step
from taskpass.core.lifecycle.ownership import Origin
from taskpass.core.lifecycle.records import Outcome
from taskpass.core.lifecycle.snapshot import Owners
from taskpass.core.lifecycle.steps import (
    Bind,
    FetchOwners,
    Finish,
    RefusePod,
    Revoke,
    RevokeReason,
    Unbind,
    Wait,
)
from tests.simulation.builders import T0, job, pod, request, task
from tests.unit.core.snapshots import GATED, NEW, RUNNING, grant_of, record_of, snapshot

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

    assert first.finding.reason == "PodReplaced"
    assert isinstance(second, Wait)
    assert second.attested == first.finding
    assert second.retry


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


def test_the_owners_of_a_pod_are_read_before_it_is_appraised() -> None:
    waiting = pod(job=job())
    looked = Owners(workload=job(), by_pod={})
    seen = replace(NEW, task=OF_A_JOB, pods=(waiting,), owners=looked)

    known = replace(seen, owners=Owners(workload=job(), by_pod={waiting.uid: (job(),)}))

    assert next_step(seen, LATER) == FetchOwners(pods=(waiting,))
    assert isinstance(next_step(known, LATER), Bind)


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
