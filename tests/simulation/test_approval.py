"""What policy has people approve is issued only on the word of those whose word counts."""

import hashlib
import json
import re

import pytest

from taskpass.core.model.task import TaskUser, User
from taskpass.core.policy.evaluate import Effect
from taskpass.core.policy.types import ApprovalRule
from tests.simulation.approvals import LEO, READ, approved, asking, give, pending, said
from tests.simulation.builders import ASKS_LEADS, LEA, policy, request, task, word
from tests.simulation.invariants import assert_at_rest
from tests.simulation.world import SimulatedWorld


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


@pytest.mark.parametrize(
    "goal", ["Answer ticket 4711", "Fünf Änderungen → " * 150], ids=["short", "long"]
)
async def test_events_show_what_is_asked_in_full(world: SimulatedWorld, goal: str) -> None:
    (asked,) = await asking(world, goal=goal)

    shown = [re.fullmatch(r"(\S+)… (\d+)/(\d+): (.*)", e) for e in world.told("ApprovalRequest")]

    parts = [found.groups() for found in shown if found]
    assert "".join(text for *_, text in parts) == asked["request"]
    assert {digest for digest, *_ in parts} == {asked["digest"][:19]}
    assert [number for _, number, *_ in parts] == [str(n + 1) for n in range(len(parts))]
    assert {count for _, _, count, _ in parts} == {str(len(shown))}
    assert all(len(each.encode()) <= 1024 for each in world.told("ApprovalRequest"))


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
    world.change(changed_by=TaskUser(username="bob"), changers=("ada", "eve", "bob"))
    await world.settle()
    (asked,) = pending(world)
    uid = give(world, asked["digest"], who)

    await world.settle()

    assert world.provider.calls == []
    assert said(world, uid) == "NotEligible"
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
    assert said(world, uid) == "Superseded"


async def test_whoever_changes_anything_has_what_is_held_approved_anew(
    world: SimulatedWorld,
) -> None:
    await approved(world)

    world.change(changed_by=TaskUser(username="lea"), changers=("ada", "lea"), sponsor="other")
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


async def test_a_role_that_widened_is_approved_anew(world: SimulatedWorld) -> None:
    (asked,) = await asking(world)
    world.provider.reaches["tickets-api"] = "sha256:wider"
    give(world, asked["digest"])

    await world.settle()

    assert world.provider.calls == []
    assert pending(world)[0]["digest"] != asked["digest"]


async def test_people_read_what_it_gives_in_the_providers_words(world: SimulatedWorld) -> None:
    (asked,) = await asking(world)

    assert json.loads(asked["request"])["class"]["gives"] == "tickets.read at fake.example"


async def test_what_was_issued_is_said_in_the_providers_words(world: SimulatedWorld) -> None:
    await approved(world)

    (told,) = world.told("CredentialIssued")
    assert "; it gives tickets.read at fake.example (audit" in told
    issued = [
        e["data"] for e in world.entries("credential.issue") if e["data"]["stage"] == "result"
    ]
    assert [each["gives"] for each in issued] == ["tickets.read at fake.example"]


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
