"""Holding a bound pod against what was attested: what may not have changed since."""

import re
from dataclasses import replace
from typing import Any

import pytest

from taskpass.core.errors import AttestationFailed
from taskpass.core.lifecycle.attestation import appraise_again
from tests.simulation.builders import pod
from tests.unit.core.snapshots import record_of
from tests.unit.core.surroundings import AROUND, AROUND_JOB, OF_A_JOB, POD_OF_JOB, TASK

RECORD = record_of(TASK)
LIVING = replace(pod(), gated=False)


def test_a_pod_that_is_still_what_was_attested_passes() -> None:
    appraise_again(LIVING, TASK, RECORD, AROUND)


@pytest.mark.parametrize(
    ("claims", "account", "reason", "said"),
    [
        pytest.param(
            {}, None, "ServiceAccountMismatch", "'triage-agent' is gone since", id="account gone"
        ),
        pytest.param(
            {}, "account-2", "ServiceAccountMismatch", "'triage-agent' was made anew since",
            id="account made anew",
        ),
        pytest.param(
            {"labels": {}}, "account-1", "ServiceAccountMismatch", "no longer has the label",
            id="the label",
        ),
        pytest.param(
            {"service_account": "other"}, "account-1", "ServiceAccountMismatch",
            "or the ServiceAccount that was attested", id="an account",
        ),
        pytest.param(
            {"images": ("other",)}, "account-1", "ImageNotAllowed", "The images of pod 'agent'",
            id="an image",
        ),
        pytest.param(
            {"images": (*LIVING.images, "debug")}, "account-1", "ImageNotAllowed",
            "The images of pod 'agent'", id="an ephemeral container",
        ),
    ],
)  # fmt: skip
def test_a_pod_that_changed_is_refused_for(
    claims: dict[str, Any], account: str | None, reason: str, said: str
) -> None:
    around = replace(AROUND, service_account_uid=account)
    with pytest.raises(AttestationFailed, match=re.escape(said)) as refusal:
        appraise_again(replace(LIVING, **claims), TASK, RECORD, around)

    assert refusal.value.reason == reason


@pytest.mark.parametrize("attested", ["job-1", "job-2"])
def test_a_bound_pod_is_held_against_the_workload_that_was_attested(attested: str) -> None:
    living = replace(POD_OF_JOB, gated=False)
    record = record_of(OF_A_JOB, workload_uid=attested)

    refused = None
    try:
        appraise_again(living, OF_A_JOB, record, AROUND_JOB)
    except AttestationFailed as failure:
        refused = (failure.reason, str(failure))
    appraise_again(living, OF_A_JOB, record, replace(AROUND_JOB, owners=None))  # nobody looked

    assert (
        refused
        == {
            "job-1": None,
            "job-2": (
                "WorkloadMismatch",
                "The workload of pod 'agent' was made anew since the pod was attested",
            ),
        }[attested]
    )
