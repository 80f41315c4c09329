"""What policy has people approve is issued only on the word of those whose word counts."""

import hashlib
import json
from typing import Any

import pytest

from taskpass.core.approval import Verdict
from taskpass.core.errors import ProviderUnavailable
from taskpass.core.kill_switch import Target
from taskpass.core.policy import Effect
from taskpass.core.policy_types import ApprovalRule
from taskpass.core.task import User
from tests.simulation.builders import ASKS_LEADS, LEA, phase, policy, request, switch, task, word
from tests.simulation.conftest import MakeWorld
from tests.simulation.faults import Crash, When
from tests.simulation.invariants import assert_at_rest, assert_nothing_left
from tests.simulation.world import KEY, SimulatedWorld

READ = request("tickets")
LEO = User(username="leo", groups=("support-leads",))


async def asking(
    world: SimulatedWorld, rule: ApprovalRule = ASKS_LEADS, **more: Any
) -> list[dict[str, Any]]:
    """Bring a task to rest that waits for approval; return what it asks for."""
    world.cluster.policy_list = [policy(approval=rule)]
    world.create(task(READ, **more))
    world.add_pod()
    await world.settle()
    return pending(world)


def pending(world: SimulatedWorld) -> list[dict[str, Any]]:
    return list(world.status.get("pendingApprovals", ()))


def give(world: SimulatedWorld, digest: str, who: User = LEA, **more: Any) -> str:
    """Have somebody say something; return the UID of their TaskApproval."""
    return world.cluster.approve(word(world.task, digest, who, **more)).uid


async def approved(world: SimulatedWorld, **more: Any) -> str:
    """Bring a task to rest that holds what lea approved; return the approval's UID."""
    (asked,) = await asking(world, **more)
    uid = give(world, asked["digest"])
    await world.settle()
    assert world.condition("Ready") == ("True", "Ready")
    return uid


def said(world: SimulatedWorld, uid: str) -> str:
    return next(a.said[0] for a in world.cluster.approval_list if a.uid == uid)


async def test_nothing_is_issued_before_it_is_approved(world: SimulatedWorld) -> None:
    (asked,) = await asking(world)

    assert (world.provider.calls, world.pod().gated) == ([], True)
    assert world.condition("Authorized") == ("False", "ApprovalRequired")
    assert world.condition("Suspended") == ("True", "AwaitingApproval")
    assert world.condition("Ready") == ("False", "ApprovalRequired")
    assert world.condition("Stalled") == ("False", "NotStalled")
    assert asked["needs"] == [
        {
            "policy": "AgentPolicy/support/triage", "approvals": 1, "given": 0,
            "groups": ["support-leads"],
        }
    ]  # fmt: skip

    give(world, asked["digest"])
    await world.settle()

    assert world.condition("Ready") == ("True", "Ready")
    assert world.condition("Authorized") == ("True", "Approved")
    assert world.condition("Suspended") == ("False", "Running")
    assert pending(world) == []
    assert_at_rest(world)


async def test_the_digest_is_that_of_the_request_as_it_is_shown(world: SimulatedWorld) -> None:
    (asked,) = await asking(world)

    digest = "sha256:" + hashlib.sha256(asked["request"].encode()).hexdigest()
    shown = json.loads(asked["request"])
    assert asked["digest"] == digest
    assert shown["request"]["actions"] == ["tickets.read"]
    assert shown["intent"]["goal"] == "Answer ticket 4711"
    assert shown["task"]["uid"] == world.task.uid
    assert asked["request"] == json.dumps(shown, sort_keys=True, separators=(",", ":"))
    assert asked["digest"] in world.told("ApprovalRequired")[0]


async def test_the_log_says_what_was_asked_and_whose_word_it_was_before_it_was_issued(
    world: SimulatedWorld,
) -> None:
    await approved(world)

    log = [(e["type"].removeprefix("dev.taskpass."), e["data"]) for e in world.log()]
    kinds = [kind for kind, _ in log]
    assert kinds.index("approval.ask") < kinds.index("approval.give")
    assert kinds.index("approval.give") < kinds.index("credential.issue")
    given = dict(log)["approval.give"]
    assert given["approval"]["digest"] == dict(log)["credential.issue"]["cred"]["approval"]
    assert (given["outcome"], list(given["by"])) == ("success", ["approver"])


@pytest.mark.parametrize(
    ("who", "why"),
    [
        pytest.param(User(username="ada", groups=("support-leads",)), "has made or changed",
                     id="who asked for the task"),
        pytest.param(User(username="bob", groups=("support-leads",)), "has made or changed",
                     id="who changed it last"),
        pytest.param(User(username="eve", groups=("support-leads",)), "has made or changed",
                     id="who changed it in between"),
        pytest.param(User(username="argocd", groups=("support-leads",)), "excludes 'argocd'",
                     id="whom the policy excludes"),
        pytest.param(User(username="mallory", groups=("support",)), "names neither",
                     id="who is in no group that it names"),
        pytest.param(User(username="support-leads"), "names neither",
                     id="who has a group's name"),
        pytest.param(
            User(username="system:serviceaccount:ci:bot", groups=("support-leads",)),
            "is a ServiceAccount", id="a ServiceAccount that it does not name"),
        pytest.param(
            User(username="system:serviceaccount:support:triage-agent", groups=("support-leads",)),
            "is the agent's own", id="the agent itself"),
    ],
)  # fmt: skip
async def test_no_word_counts_of(world: SimulatedWorld, who: User, why: str) -> None:
    rule = ApprovalRule(
        approver_groups=("support-leads",), excluded_usernames=("argocd",),
        approver_usernames=("system:serviceaccount:support:triage-agent",),
    )  # fmt: skip
    (asked,) = await asking(world, rule)
    world.change(changed_by=User(username="bob"), changers=("ada", "eve", "bob"))
    await world.settle()
    (asked,) = pending(world)
    uid = give(world, asked["digest"], who)

    await world.settle()

    assert world.provider.calls == []
    assert said(world, uid) == "CountsNot"
    assert why in next(a.said[1] for a in world.cluster.approval_list if a.uid == uid)


async def test_a_service_account_that_the_policy_names_may_approve(world: SimulatedWorld) -> None:
    bot = "system:serviceaccount:ci:bot"
    (asked,) = await asking(world, ApprovalRule(approver_usernames=(bot,)))

    give(world, asked["digest"], User(username=bot))
    await world.settle()

    assert world.condition("Ready") == ("True", "Ready")


async def test_two_are_two_different_people(world: SimulatedWorld) -> None:
    rule = ApprovalRule(approvals=2, approver_groups=("support-leads",))
    (asked,) = await asking(world, rule)

    give(world, asked["digest"])
    give(world, asked["digest"], User(username="lea", uid="another", groups=LEA.groups))
    await world.settle()
    assert world.provider.calls == []
    assert pending(world)[0]["needs"][0]["given"] == 1

    give(world, asked["digest"], LEO)
    await world.settle()
    assert world.condition("Ready") == ("True", "Ready")


async def test_every_policy_that_matches_has_its_say(world: SimulatedWorld) -> None:
    """A namespace's Allow never evades the cluster's approval."""
    security = ApprovalRule(approver_groups=("security",))
    world.cluster.policy_list = [
        policy(),
        policy("sensitive", effect=Effect.CONSTRAIN, approval=security),
        policy("support", effect=Effect.CONSTRAIN, approval=ASKS_LEADS),
    ]
    world.create(task(READ))
    world.add_pod()
    await world.settle()
    (asked,) = pending(world)
    give(world, asked["digest"])
    await world.settle()
    assert world.provider.calls == []
    assert "group 'security'" in world.message("Authorized")

    give(world, asked["digest"], User(username="sec", groups=("security",)))
    await world.settle()

    assert world.condition("Ready") == ("True", "Ready")


async def test_a_changed_request_makes_an_approval_void(world: SimulatedWorld) -> None:
    (asked,) = await asking(world)
    uid = give(world, asked["digest"])
    world.change(credentials=(request("tickets", actions=("tickets.write",)),))

    await world.settle()

    assert world.provider.calls == []
    assert pending(world)[0]["digest"] != asked["digest"]
    assert said(world, uid) == "Void"


async def test_whoever_changes_anything_has_what_is_held_approved_anew(
    world: SimulatedWorld,
) -> None:
    await approved(world)

    world.change(changed_by=User(username="lea"), changers=("ada", "lea"), sponsor="other")
    await world.settle()

    assert (world.provider.live, world.reasons()) == ({}, ["ApprovalNeeded"])
    (asked,) = pending(world)
    give(world, asked["digest"])  # lea's word counts no longer
    await world.settle()
    assert world.held() == []
    give(world, asked["digest"], LEO)
    await world.settle()
    assert world.condition("Ready") == ("True", "Ready")


async def test_a_change_by_somebody_else_makes_void_what_is_held_as_well(
    world: SimulatedWorld,
) -> None:
    await approved(world)

    world.change(ttl_seconds_after_finished=60)
    await world.settle()

    assert world.reasons() == ["ApprovalNeeded"]
    assert len(pending(world)) == 1


async def test_a_renewal_for_a_role_that_widened_is_approved_anew(world: SimulatedWorld) -> None:
    rule = ApprovalRule(approver_groups=("support-leads",), valid_seconds=86400)
    await approved(world, rule=rule)
    world.provider.reaches["tickets-api"] = "sha256:wider"
    await world.settle()
    assert len(world.held()) == 1  # what is held is what it was

    world.clock.advance(700)
    await world.settle()

    assert world.held() == []
    assert len(pending(world)) == 1


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


async def test_a_role_that_widened_is_approved_anew(world: SimulatedWorld) -> None:
    (asked,) = await asking(world)
    world.provider.reaches["tickets-api"] = "sha256:wider"
    give(world, asked["digest"])

    await world.settle()

    assert world.provider.calls == []
    assert pending(world)[0]["digest"] != asked["digest"]


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
    assert "denied by 'lea' (looked at it)" in world.message("Stalled")
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
    world.ports.modes.held_back = "Limits are not seen to hold yet"
    uid = give(world, asked["digest"])
    await world.settle()
    assert (pending(world), said(world, uid)) == ([asked], "")

    world.ports.modes.held_back = ""
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


async def test_an_approval_for_an_earlier_task_of_the_name_is_none(world: SimulatedWorld) -> None:
    (asked,) = await asking(world)
    before = world.task
    world.delete()
    await world.settle()
    world.remove_pod()
    world.create(task(READ))
    world.add_pod("another")
    await world.settle()
    (new,) = pending(world)
    for digest in (asked["digest"], new["digest"]):
        world.cluster.approve(word(before, digest))

    await world.settle()

    assert world.provider.calls == []


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


RESEARCH = phase("research", request("tickets"), next=("reply",))
REPLY = phase("reply", request("reply", actions=("tickets.write",)))
CLOSE = phase("close", request("close", actions=("tickets.write",)))
PATH = (RESEARCH, REPLY, CLOSE)


async def strayed(world: SimulatedWorld) -> list[dict[str, Any]]:
    """Bring a task to rest that went to a phase that may not follow; return what it asks for."""
    world.cluster.policy_list = [policy(), policy("s", effect=Effect.CONSTRAIN, approval=ASKS_LEADS,
                                                  actions=("tickets.write",))]  # fmt: skip
    world.create(task(phases=PATH))
    world.add_pod()
    await world.settle()
    assert world.condition("Ready") == ("True", "Ready")
    world.change(phase="close", changers=("ada", "orchestrator"))
    await world.settle()
    return pending(world)


async def test_a_branch_goes_on_once_people_have_approved_it(world: SimulatedWorld) -> None:
    (asked,) = await strayed(world)
    assert asked["branch"] == "close"
    assert json.loads(asked["request"])["branch"] == {"from": "research", "to": "close"}
    assert world.condition("Stalled") == ("True", "UnapprovedBranch")
    assert world.held() == []

    give(world, asked["digest"])
    await world.settle()
    (asked,) = pending(world)  # the move is approved; what is held there is another question
    assert (asked["name"], world.condition("Stalled")) == ("close", ("False", "NotStalled"))
    give(world, asked["digest"])
    await world.settle()

    assert world.condition("Ready") == ("True", "Ready")
    assert world.status["phaseName"] == "close"


async def test_who_moved_a_task_off_its_path_cannot_approve_that(world: SimulatedWorld) -> None:
    (asked,) = await strayed(world)

    give(world, asked["digest"], User(username="orchestrator", groups=("support-leads",)))
    await world.settle()

    assert world.held() == []
    assert world.condition("Stalled") == ("True", "UnapprovedBranch")


async def test_going_back_does_not_by_itself_unblock(world: SimulatedWorld) -> None:
    await strayed(world)

    world.change(phase="research")
    await world.settle()

    assert world.held() == []
    assert world.condition("Stalled") == ("True", "UnapprovedBranch")


async def test_without_a_policy_that_asks_nobody_can_approve_a_branch(
    world: SimulatedWorld,
) -> None:
    world.create(task(phases=PATH))
    world.add_pod()
    await world.settle()

    world.change(phase="close")
    await world.settle()

    assert pending(world) == []
    assert "nobody can approve the move" in world.message("Stalled")


async def test_no_phase_settles_before_it_is_approved(world: SimulatedWorld) -> None:
    """Or an orchestrator could walk through it to the next."""
    world.cluster.policy_list = [policy(approval=ASKS_LEADS)]
    world.create(task(phases=PATH))
    world.add_pod()
    await world.settle()

    assert "phaseName" not in world.status


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
