"""How long an approval lasts, what takes it back, and that it is used once."""

import pytest

from taskpass.core.errors import ProviderUnavailable
from taskpass.core.lifecycle.approval import Verdict
from taskpass.core.model.kill_switch import Target
from taskpass.core.policy.types import ApprovalRule
from tests.simulation.approvals import LEO, READ, approved, asking, give, pending, said
from tests.simulation.builders import ASKS_LEADS, policy, switch, task
from tests.simulation.conftest import MakeWorld
from tests.simulation.faults import Crash, When
from tests.simulation.invariants import assert_at_rest, assert_nothing_left
from tests.simulation.world import KEY, SimulatedWorld


async def test_where_enough_others_approved_one_word_less_takes_nothing_back(
    world: SimulatedWorld,
) -> None:
    (asked,) = await asking(world)
    give(world, asked["digest"], LEO)
    uid = give(world, asked["digest"])
    await world.settle()
    (grant,) = world.held()

    world.cluster.withdraw_approval(uid)
    await world.settle()

    assert world.held() == [grant]


async def test_one_approval_is_for_one_credential_and_its_renewals(world: SimulatedWorld) -> None:
    await approved(world, rule=ApprovalRule(approver_groups=("support-leads",), valid_seconds=3600))
    first = world.held()[0]

    world.clock.advance(700)
    await world.settle()
    assert world.held()[-1].renewals == 1
    assert world.held()[-1].approval == first.approval

    world.remove_pod()  # without `workloadRef` this is the task's end, so suspend it first
    await world.settle()
    assert world.condition("Finished") == ("True", "Failed")


async def test_what_is_issued_anew_after_a_pause_is_approved_anew(world: SimulatedWorld) -> None:
    await approved(world)

    world.cluster.kill_switch_list = [switch(Target.ALL)]
    world.cluster.changed()
    await world.settle()
    world.cluster.kill_switch_list = []
    world.cluster.changed()
    await world.settle()

    assert world.held() == []
    assert world.condition("Authorized") == ("False", "ApprovalRequired")


async def test_at_the_end_of_an_approval_everything_is_taken_back_and_asked_anew(
    world: SimulatedWorld,
) -> None:
    await approved(world)

    world.clock.advance(901)
    await world.settle()

    assert (world.provider.live, world.secret()) == ({}, None)
    assert len(pending(world)) == 1
    assert len(world.told("ApprovalRequired")) == 2


async def test_an_approval_may_state_an_earlier_end(world: SimulatedWorld) -> None:
    (asked,) = await asking(world)
    give(world, asked["digest"], seconds=120)
    await world.settle()
    (grant,) = world.held()
    assert grant.lifetime_seconds == 120

    world.clock.advance(121)
    await world.settle()

    assert world.held() == []


async def test_an_approval_that_ends_before_it_can_be_used_says_so(world: SimulatedWorld) -> None:
    rule = ApprovalRule(approvals=2, approver_groups=("support-leads",))
    (asked,) = await asking(world, rule)
    uid = give(world, asked["digest"])
    await world.settle()
    world.clock.advance(901)
    give(world, asked["digest"], LEO)

    await world.settle()

    assert world.provider.calls == []
    assert world.condition("Authorized") == ("False", "ApprovalExpired")
    assert said(world, uid) == "Ended"


async def test_an_approval_that_is_deleted_takes_back_what_it_let_be_issued(
    world: SimulatedWorld,
) -> None:
    uid = await approved(world)
    assert said(world, uid) == "Used"

    world.cluster.withdraw_approval(uid)
    await world.settle()

    assert world.held() == []
    assert world.condition("Authorized") == ("False", "ApprovalRequired")


async def test_a_denial_stalls_the_task_until_it_is_deleted(world: SimulatedWorld) -> None:
    (asked,) = await asking(world)
    give(world, asked["digest"], LEO)  # approved by one, denied by another: denied
    uid = give(world, asked["digest"], decision=Verdict.DENIED)

    await world.settle()

    assert world.provider.calls == []
    assert world.condition("Authorized") == ("False", "ApprovalDenied")
    assert world.condition("Stalled") == ("True", "ApprovalDenied")
    assert "denied by 'lea' (\"looked at it\")" in world.message("Stalled")
    assert len(world.told("ApprovalDenied")) == 1

    world.clock.advance(86400)
    await world.settle()
    assert world.condition("Stalled") == ("True", "ApprovalDenied")

    world.cluster.withdraw_approval(uid)
    give(world, asked["digest"], LEO)
    await world.settle()
    assert world.condition("Ready") == ("True", "Ready")


async def test_people_are_not_asked_again_and_again(world: SimulatedWorld) -> None:
    """Who changes a task over and over has nobody approve by habit."""
    await asking(world)
    for number in range(8):
        world.change(intent=task(goal=f"Goal {number}").intent)
        await world.settle()

    assert len(world.told("ApprovalRequired")) == 5
    assert pending(world) == []
    assert "asked anew at 12:10:00 UTC" in world.message("Authorized")

    world.clock.advance(601)
    await world.settle()
    assert len(pending(world)) == 1


async def test_a_restored_ledger_makes_void_what_was_approved_and_used(
    world: SimulatedWorld, make_world: MakeWorld
) -> None:
    """The copy asks for what was approved; the same approval must not open a second credential."""
    (asked,) = await asking(world)
    world.close()
    copy = world.path.with_suffix(".copy")
    copy.write_bytes(world.path.read_bytes())
    world.restart()
    give(world, asked["digest"])
    await world.settle()
    assert len(world.provider.live) == 1
    world.close()
    world.path.write_bytes(copy.read_bytes())
    for side in ("-wal", "-shm"):
        world.path.with_name(world.path.name + side).unlink(missing_ok=True)
    world.restart()

    await world.settle()

    assert world.provider.live == {}
    assert world.condition("Authorized") == ("False", "ApprovalRequired")
    assert pending(world)[0]["digest"] != asked["digest"]


async def test_a_restart_keeps_what_was_asked(world: SimulatedWorld) -> None:
    (asked,) = await asking(world)
    world.restart()
    await world.settle()
    assert pending(world) == [asked]

    give(world, asked["digest"])
    await world.settle()

    assert world.condition("Ready") == ("True", "Ready")


async def test_what_was_asked_stays_shown_while_nothing_may_be_issued(
    world: SimulatedWorld,
) -> None:
    """Or a start, before its limits are seen to hold, would make void what was approved."""
    (asked,) = await asking(world)
    world.restart()
    world.ports.modes.issuance_blocked_reason = "Limits are not seen to hold yet"
    uid = give(world, asked["digest"])
    await world.settle()
    assert (pending(world), said(world, uid)) == ([asked], "")

    world.ports.modes.issuance_blocked_reason = None
    await world.settle()

    assert world.condition("Ready") == ("True", "Ready")


async def test_an_issue_that_failed_does_not_use_an_approval_up(world: SimulatedWorld) -> None:
    (asked,) = await asking(world)
    world.fail("provider.issue", ProviderUnavailable("no answer"), times=2)
    give(world, asked["digest"])

    for _ in range(4):
        await world.look()
    await world.settle()

    assert world.condition("Ready") == ("True", "Ready")
    assert len(world.told("ApprovalRequired")) == 1


async def test_a_policy_that_asks_from_now_on_takes_back_what_nobody_approved(
    world: SimulatedWorld,
) -> None:
    world.create(task(READ))
    world.add_pod()
    await world.settle()
    assert world.condition("Ready") == ("True", "Ready")

    world.cluster.policy_list = [policy(approval=ASKS_LEADS)]
    world.cluster.changed()
    await world.settle()

    assert world.held() == []
    assert world.condition("Suspended") == ("True", "AwaitingApproval")


CALLS = ("ledger.commit", "provider.issue", "sink.deliver", "tasks.patch_status", "standings.say")


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("when", list(When))
@pytest.mark.parametrize("skip", range(4))
async def test_a_crash_at_any_moment_leaves_nothing_that_was_not_approved(
    make_world: MakeWorld, call: str, when: When, skip: int
) -> None:
    world = make_world()
    world.cluster.policy_list = [policy(approval=ASKS_LEADS)]
    world.create(task(READ))
    world.add_pod()
    world.fail(call, Crash(call), when=when, skip=skip)
    for _ in range(3):  # who is asked anew, says it anew
        await world.settle()
        for asked in pending(world):
            give(world, asked["digest"])
    await world.settle()

    assert world.condition("Ready") == ("True", "Ready")
    words = {a.uid for a in world.cluster.approval_list}
    assert [words.issuperset(g.approval.given_by) for g in world.held() if g.approval] == [True]
    assert_at_rest(world, cut_off=True)
    world.cluster.delete_task(KEY)
    await world.settle()
    assert_nothing_left(world)
