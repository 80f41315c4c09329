"""Renewal: a new credential beside the old one, decided anew, and only then the old one's end."""

from datetime import timedelta
from typing import Any

import pytest

from taskpass.cli.audit.steps import describe
from taskpass.core.errors import ApiUnavailable, ProviderRefused, ProviderUnavailable
from taskpass.core.policy.evaluate import Effect
from tests.simulation.builders import NAMESPACE, broken, job, phase, policy, request, task
from tests.simulation.cluster import Clock
from tests.simulation.conftest import MakeWorld
from tests.simulation.faults import Crash, When
from tests.simulation.invariants import assert_at_rest, assert_log_complete
from tests.simulation.world import SimulatedWorld

DUE = 680
"""Seconds after which a credential of 900 s is due, whatever the jitter."""
OVERLAP = 90
DAY = 24 * 3600


async def running(world: SimulatedWorld, *asking: Any, **wishes: Any) -> None:
    """Bring a task to rest with its credentials in a running pod."""
    world.create(task(*(asking or (request("tickets"),)), **wishes))
    world.add_pod()
    await world.settle()
    assert world.held()


async def pass_by(world: SimulatedWorld, seconds: float) -> None:
    """Let time pass, and the operator act."""
    world.clock.advance(seconds)
    await world.settle()


def working(world: SimulatedWorld) -> int:
    return len(world.provider.live)


async def test_a_new_one_is_in_front_of_the_pod_before_the_old_one_is_revoked(
    world: SimulatedWorld,
) -> None:
    await running(world)
    before = world.secret()
    world.journal.clear()

    await pass_by(world, DUE)
    both, renewed = working(world), world.secret()
    await pass_by(world, OVERLAP - 1)
    still = working(world)
    await pass_by(world, 1)

    assert before is not None
    assert renewed is not None
    assert before["tickets.token"] != renewed["tickets.token"]
    assert (both, still, working(world)) == (2, 2, 1)
    assert world.provider.works(renewed["tickets.token"])
    done = world.journal
    assert done.index("provider.issue") < done.index("sink.deliver") < done.index("provider.revoke")
    assert world.reasons() == ["Renewed"]
    assert world.condition("Ready") == ("True", "Ready")
    assert_at_rest(world)


async def test_without_an_overlap_the_old_one_goes_as_soon_as_the_new_one_is_delivered(
    make_world: MakeWorld,
) -> None:
    world = make_world(overlap=timedelta())
    await running(world)

    await pass_by(world, DUE)

    assert working(world) == 1
    assert_at_rest(world)


async def test_people_see_one_line_for_each_renewal(world: SimulatedWorld) -> None:
    await running(world)

    await pass_by(world, DUE)
    [old, new] = world.status["grants"]
    await pass_by(world, OVERLAP)

    assert "renewals" not in old
    assert new["renewals"] == 1
    assert world.status["expirationTime"] == new["expirationTime"]
    [told] = world.told("CredentialRenewed")
    assert told.startswith("Renewed 'tickets' (tickets.read on fake/4711) until 12:26:20 UTC")
    assert world.told("CredentialRevoked") == []
    assert [g["id"] for g in world.status["grants"]] == [new["id"]]


async def test_the_log_says_which_credential_took_which_ones_place(world: SimulatedWorld) -> None:
    await running(world)
    [old] = world.held()

    await pass_by(world, DUE)

    [_, renewal] = [e for e in world.entries("credential.issue") if e["data"]["stage"] == "intent"]
    cred = renewal["data"]["cred"]
    assert (cred["renews"], cred["renewal_n"]) == (old.id, 1)
    assert describe(renewal)[2].endswith(f", renews grant {old.id}")


async def test_a_task_of_a_day_goes_on_with_credentials_of_a_quarter_of_an_hour(
    world: SimulatedWorld,
) -> None:
    await running(world)
    end = world.now() + timedelta(seconds=DAY)
    gaps = 0

    while world.now() < end:
        again = await world.look()
        assert again is not None
        assert again.at is not None
        assert again.at > world.now()  # never in circles
        world.clock.advance((again.at - world.now()).total_seconds())
        await world.look()
        fields = world.secret()
        gaps += fields is None or not world.provider.works(fields["tickets.token"])
        assert working(world) <= 2

    renewals = max(g.renewals for g in world.held())
    assert gaps == 0
    assert DAY / 675 <= renewals <= DAY / 525
    assert set(world.reasons()) == {"Renewed"}
    await pass_by(world, OVERLAP)
    assert_at_rest(world)


async def test_each_renewal_asks_for_the_right_to_use_the_class(world: SimulatedWorld) -> None:
    await running(world)
    world.cluster.may_not_use.add(("ada", "tickets-api"))

    await pass_by(world, DUE)

    assert working(world) == 0
    assert world.reasons() == ["PolicyChanged"]
    assert world.condition("Authorized") == ("False", "Denied")


async def test_each_renewal_asks_whose_pod_it_is(world: SimulatedWorld) -> None:
    made = world.cluster.set_workload(NAMESPACE, job())
    world.create(task(request("tickets"), job=made.name))
    world.add_pod(job=made)
    await world.settle()
    assert working(world) == 1
    world.cluster.set_workload(NAMESPACE, job(uid="job-2"))  # made anew; the pod lives on, orphaned

    await pass_by(world, DUE)

    assert working(world) == 0
    assert world.reasons() == ["NoLongerAttested"]
    assert world.condition("Attested") == ("False", "WorkloadMismatch")


async def test_a_policy_that_cannot_be_evaluated_renews_nothing_and_takes_nothing_back(
    world: SimulatedWorld,
) -> None:
    await running(world)
    world.cluster.policy_list = [policy(), broken("freeze", Effect.DENY)]

    await pass_by(world, DUE)

    assert working(world) == 1
    assert world.condition("Ready") == ("True", "Ready")
    assert "cannot be evaluated" in world.message("CredentialsIssued")
    assert len(world.told("PolicyDenied")) == 1
    await pass_by(world, 900 - DUE)
    assert working(world) == 0
    assert world.condition("Ready") == ("False", "EvaluationFailed")


async def test_renewals_end_where_policy_says(world: SimulatedWorld) -> None:
    world.cluster.policy_list = [policy(max_renewals=2)]
    await running(world)

    for _ in range(2):
        await pass_by(world, DUE)
    await pass_by(world, DUE)
    before = [g.renewals for g in world.held()]
    await pass_by(world, 900 - DUE)

    assert before == [2]
    assert working(world) == 0
    assert world.condition("Ready") == ("False", "Revoked")
    assert "limits.maxRenewals" in world.message("CredentialsIssued")
    world.cluster.policy_list = [policy(max_renewals=3)]
    await world.settle()
    assert [g.renewals for g in world.held()] == [3]


async def test_an_outage_of_the_provider_gives_no_further_renewals(world: SimulatedWorld) -> None:
    world.cluster.policy_list = [policy(max_renewals=1)]
    await running(world)
    world.fail("provider.issue", ProviderUnavailable("no answer"), times=None)
    world.clock.advance(900)
    await world.look()
    world.heal()

    await world.settle()
    again = [g.renewals for g in world.held()]
    await pass_by(world, 900)

    assert again == [1]
    assert world.held() == []


async def test_while_the_provider_is_away_the_old_one_serves_until_it_runs_out(
    world: SimulatedWorld,
) -> None:
    await running(world)
    world.fail("provider.issue", ProviderUnavailable("The issuer is away"), times=None)

    world.clock.advance(DUE)
    again = await world.look()
    await world.look()
    ready, said = world.condition("Ready"), world.message("CredentialsIssued")
    serving = working(world)
    world.clock.advance(900 - DUE)
    await world.look()
    out = world.condition("Ready")
    world.heal()
    await world.settle()

    assert again is not None
    assert again.backoff
    assert (ready, serving) == (("True", "Ready"), 1)
    assert "could not be renewed" in said
    assert "The issuer is away" in said
    assert len(world.told("RenewalFailed")) == 1
    assert out == ("False", "ProviderUnavailable")
    assert world.condition("Ready") == ("True", "Ready")
    assert_at_rest(world)


async def test_a_provider_that_takes_nothing_back_either_leaves_one_debt_not_many(
    world: SimulatedWorld,
) -> None:
    await running(world)
    world.fail("provider.issue", ProviderUnavailable("away"), when=When.AFTER, times=None)
    world.fail("provider.revoke", ProviderUnavailable("away"), times=None)

    await pass_by(world, DUE)
    for _ in range(10):
        await world.look()

    assert len(world.held()) == 2  # the one that serves, and one that may exist
    assert world.condition("Ready") == ("True", "Ready")
    world.heal()
    await world.settle()
    await pass_by(world, OVERLAP)
    assert_at_rest(world)


async def test_a_request_that_is_denied_takes_no_other_credentials_renewal(
    world: SimulatedWorld,
) -> None:
    await running(world)
    world.change(credentials=(request("kb", actions=["tickets.burn"]), request("tickets")))
    await world.settle()

    await pass_by(world, DUE)
    await pass_by(world, OVERLAP)

    assert [(g.name, g.renewals) for g in world.held()] == [("tickets", 1)]
    assert world.condition("Authorized") == ("False", "Denied")
    fields = world.secret()
    assert fields is not None
    assert world.provider.works(fields["tickets.token"])


async def test_one_that_the_provider_refuses_takes_no_other_credentials_renewal(
    world: SimulatedWorld,
) -> None:
    await running(world, request("kb"), request("tickets"))
    world.fail("provider.issue", ProviderRefused("no"), times=1)

    world.clock.advance(DUE)
    await world.look()

    assert sorted(g.renewals for g in world.held()) == [0, 0, 1]


async def test_after_a_restart_all_is_renewed_together_as_the_secret_is_written_whole(
    world: SimulatedWorld,
) -> None:
    await running(world, request("kb", seconds=3600), request("tickets", seconds=900))
    world.restart()

    await pass_by(world, DUE)
    shown = sorted((g.name, g.renewals) for g in world.held())
    await pass_by(world, OVERLAP)

    # What came along has not used up a renewal.
    assert shown == [("kb", 0), ("kb", 0), ("tickets", 0), ("tickets", 1)]
    assert len(world.held()) == 2
    assert_at_rest(world)


@pytest.mark.parametrize("when", list(When))
@pytest.mark.parametrize("call", ["ledger.commit", "provider.issue", "sink.deliver", "pods.nudge"])
@pytest.mark.parametrize("skip", [0, 1, 2])
async def test_a_renewal_that_is_cut_off_leaves_nothing_half(
    make_world: MakeWorld, call: str, when: When, skip: int
) -> None:
    world = make_world()
    await running(world)
    world.fail(call, Crash(call), when=when, skip=skip)

    await pass_by(world, DUE)
    serving = world.secret()
    world.heal()
    await pass_by(world, OVERLAP)

    assert serving is not None
    assert_at_rest(world, cut_off=True)
    assert_log_complete(world)
    assert max(g.renewals for g in world.held()) == 1


async def test_a_secret_that_cannot_be_written_keeps_the_old_one_alive(
    world: SimulatedWorld,
) -> None:
    await running(world)
    before = world.secret()
    world.fail("sink.deliver", ApiUnavailable("away"), times=None)

    await pass_by(world, DUE)
    await pass_by(world, OVERLAP)

    assert before is not None
    assert world.secret() == before
    assert world.provider.works(before["tickets.token"])
    world.heal()
    await world.settle()
    await pass_by(world, OVERLAP)
    assert_at_rest(world)


async def test_a_phase_begins_with_renewals_of_its_own(world: SimulatedWorld) -> None:
    world.cluster.policy_list = [policy(max_renewals=1)]
    phases = [phase("one", request("tickets"), next=["two"]), phase("two", request("tickets"))]
    world.create(task(phases=phases, phase="one"))
    world.add_pod()
    await world.settle()
    await pass_by(world, 900)
    await pass_by(world, 900)
    spent = len(world.held())

    world.change(phase="two")
    await world.settle()

    assert spent == 0
    assert [g.renewals for g in world.held()] == [0]


async def test_what_ends_a_task_takes_both_back(world: SimulatedWorld) -> None:
    await running(world)
    await pass_by(world, DUE)
    assert working(world) == 2

    world.change(intent=task(goal="Something else").intent)
    await world.settle()
    changed = world.reasons()
    world.end_pod()
    await world.settle()

    assert changed == ["IntentChanged", "IntentChanged"]
    assert working(world) == 0
    assert world.condition("Finished") == ("True", "Succeeded")


async def test_a_clock_that_goes_back_within_the_overlap_leaves_no_third_credential(
    world: SimulatedWorld,
) -> None:
    await running(world)
    world.clock.advance(700)
    await world.look()
    assert len(world.provider.live) == 2  # within the overlap

    world.clock.set_forward(timedelta(hours=-1))
    await world.look()

    assert len(world.provider.live) <= 2
    await world.settle()
    newest = [g for g in world.held() if g.id in world.provider.live]
    assert len(newest) <= 2


async def test_a_clock_that_is_ahead_of_the_issuers_issues_nothing_in_circles(
    world: SimulatedWorld,
) -> None:
    world.provider.clock = Clock()
    world.clock.set_forward(timedelta(days=1))
    world.create(task(request("tickets")))
    world.add_pod()

    again = await world.look()

    assert again is not None
    assert again.backoff
    assert working(world) == 0
    assert [call for call, _ in world.provider.calls] == ["issue", "revoke"]
    assert "is over by this clock" in world.message("CredentialsIssued")
    world.clock.advance(60)
    await world.look()
    assert len(world.told("ProviderUnavailable")) == 1
