"""What is not known is no answer: it takes nothing back, and gives nothing."""

from dataclasses import replace
from datetime import timedelta

import pytest

from taskpass.core.lifecycle.next_step import next_step
from taskpass.core.lifecycle.snapshot import Sight, Snapshot
from taskpass.core.lifecycle.steps import Issue, Revoke, RevokeReason, Wait
from taskpass.core.model.conditions import Reason
from tests.simulation.builders import T0, phase, request, task
from tests.unit.core.snapshots import NEW, grant_of, record_of, snapshot

LATER = T0 + timedelta(seconds=10)
WHY = "Nothing is issued in namespace 'support' while its pods may not be read"
BLIND = Sight(pods=False, accounts=False, decisions=False, issuance_blocked_reason=WHY)


def unseen(seen: Snapshot, sight: Sight = BLIND) -> Snapshot:
    """Return it as the operator sees it while it knows nothing."""
    return replace(seen, sight=sight, issuance_blocked_reason=sight.issuance_blocked_reason)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"pods": ()}, id="no pod"),
        pytest.param({"service_account_uid": None}, id="no ServiceAccount"),
        pytest.param({"service_account_uid": "another"}, id="another ServiceAccount"),
        pytest.param({"classes": {}}, id="no class"),
        pytest.param({"policies": ()}, id="no policy"),
        pytest.param({"namespace_labels": {}}, id="no labels of the namespace"),
        pytest.param({"approvals": ()}, id="no approval"),
    ],
)
def test_what_is_held_stays_while_what_it_rests_on_is_not_known(
    change: dict[str, object],
) -> None:
    seen = unseen(replace(snapshot(), **change))

    step = next_step(seen, LATER)

    assert isinstance(step, Wait)
    assert step.pending == ()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"pods": ()}, RevokeReason.POD_ENDED),
        ({"service_account_uid": None}, RevokeReason.NO_LONGER_ATTESTED),
        ({"classes": {}}, RevokeReason.CLASS_CHANGED),
        ({"policies": ()}, RevokeReason.POLICY_CHANGED),
    ],
    ids=["no pod", "no ServiceAccount", "no class", "no policy"],
)
def test_the_same_is_taken_back_at_once_where_it_is_known(
    change: dict[str, object], reason: RevokeReason
) -> None:
    step = next_step(replace(snapshot(), **change), LATER)

    assert isinstance(step, Revoke)
    assert [why for _, why in step.grants] == [reason]


def test_an_end_that_needs_no_namespace_is_not_waited_with() -> None:
    deleted = replace(snapshot().live_task, deleting_since=LATER)
    expired = snapshot(grants=(grant_of(expires_at=LATER),))
    moved = task(phases=[phase("one", request("tickets"), next=["two"]), phase("two")])
    left = snapshot(
        task=replace(moved, phase="two"), own_record=record_of(moved), grants=(grant_of(of=moved),)
    )

    for seen in (replace(snapshot(), task=deleted), expired, left):
        assert isinstance(next_step(unseen(seen), LATER), Revoke)


def test_a_pod_that_is_seen_to_have_ended_ends_it_though_its_account_is_not_known() -> None:
    (pod,) = snapshot().pods
    ended = replace(snapshot(), pods=(replace(pod, ended="Succeeded"),))

    step = next_step(unseen(ended, Sight(accounts=False, issuance_blocked_reason=WHY)), LATER)

    assert isinstance(step, Revoke)


@pytest.mark.parametrize(
    "sight",
    [Sight(issuance_blocked_reason=WHY), Sight(pods=False, issuance_blocked_reason=WHY), BLIND],
    ids=["no longer", "no pods", "nothing"],
)
def test_no_pod_is_attested_before_all_are_known(sight: Sight) -> None:
    step = next_step(unseen(NEW, sight), LATER)

    assert isinstance(step, Wait)
    assert step.attested is not None
    assert (step.attested.status, step.attested.reason) == ("Unknown", Reason.CHECK_FAILED)
    assert step.attested.message == WHY
    assert step.retry


def test_nothing_is_issued_from_the_first_refusal_on() -> None:
    bare = snapshot(grants=(), own_record=record_of(secret_written=False, delivered=()))
    asked = replace(bare, may_use={"tickets-api": True})
    assert isinstance(next_step(asked, LATER), Issue)

    step = next_step(unseen(asked, Sight(issuance_blocked_reason=WHY)), LATER)

    assert isinstance(step, Wait)
    assert step.waiting == WHY


def test_a_namespace_that_is_not_enrolled_holds_nothing_whatever_is_known() -> None:
    step = next_step(unseen(replace(snapshot(), enrolled=False)), LATER)

    assert step == Revoke(grants=((grant_of(), RevokeReason.NOT_ENROLLED),))
