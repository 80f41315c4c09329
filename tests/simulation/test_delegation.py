"""A child holds no more than a part of what its parent holds, by whom it may."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from taskpass.core.model.task import Data, Intent, TaskUser
from taskpass.core.policy.types import Validation
from tests.simulation.builders import (
    ACCOUNT,
    NAMESPACE,
    credential_class,
    policy,
    request,
)
from tests.simulation.conftest import MakeWorld
from tests.simulation.families import (
    BOTH,
    PART,
    begin,
    change,
    child,
    family,
    holding,
    status,
)
from tests.simulation.invariants import assert_at_rest
from tests.simulation.world import SimulatedWorld


async def test_a_child_gets_a_part_of_what_its_parent_holds(world: SimulatedWorld) -> None:
    await family(world)

    grants = {g.task.name: g for g in world.held()}
    uids = {name: world.cluster.tasks[NAMESPACE, name].uid for name in grants}
    assert grants["root"].chain == ()
    assert grants["grandchild"].chain == (uids["root"], uids["child"])
    assert grants["grandchild"].within == grants["child"].id
    assert_at_rest(world)


async def test_the_log_has_the_chain_and_the_roots_sponsor(world: SimulatedWorld) -> None:
    begin(world, "root", BOTH)
    await world.settle()
    made = child(world, "child")
    world.cluster.tasks[made.key] = replace(world.cluster.tasks[made.key], sponsor="")
    await world.settle()

    entry = next(
        e["data"] for e in world.entries("credential.issue") if "chain" in e["data"]["task"]
    )
    root = next(e["data"] for e in world.entries("credential.issue"))
    assert entry["task"]["chain"] == [world.cluster.tasks[NAMESPACE, "root"].uid]
    assert entry["cred"]["within"] == root["cred"]["ref"]
    assert entry["by"]["sponsor"] == root["by"]["sponsor"]


WIDER = {
    "an action more": (request("p", actions=("tickets.delete",), resources=("fake/1",)), "action"),
    "a resource more": (request("p", resources=("fake/1", "fake/3")), "resource 'fake/3'"),
    "no resource at all": (request("p", resources=()), "without any resource"),
    "another class": (request("p", of="other", resources=("fake/1",)), "class 'other'"),
    "another place": (replace(PART, location="https://elsewhere"), "location"),
}


@pytest.mark.parametrize("what", WIDER)
async def test_what_the_parent_does_not_ask_for_is_refused(
    world: SimulatedWorld, what: str
) -> None:
    """Two requests of the parent do not add up to one of the child either."""
    asking, said = WIDER[what]
    made = credential_class(locations=("https://elsewhere",), actions=("tickets.read",
        "tickets.write", "tickets.delete"))  # fmt: skip
    world.cluster.classes["tickets-api"] = made
    world.cluster.classes["other"] = replace(made, name="other")
    world.cluster.policy_list = [policy(classes=("*",), actions=("*",), resources=("*",),
                                        locations=("*",))]  # fmt: skip
    begin(world, "root", BOTH)
    await world.settle()

    child(world, "child", asking)
    await world.settle()

    assert holding(world) == {"root"}
    state, reason, message = status(world, "child", "Stalled")
    assert (state, reason) == ("True", "Denied")
    assert said in message
    assert message.endswith("(scope_expanded)")


TOP_SECRET = Data(name="tickets", classification="Restricted")


INTENTS = {
    "another tool": Intent(goal="g", tools=("kb.write",)),
    "other data": Intent(goal="g", data=(Data(name="payroll", classification="Public"),)),
    "more sensitive data": Intent(goal="g", data=(TOP_SECRET,)),
    "another boundary": Intent(goal="g", trust_boundary="external"),
}  # fmt: skip


@pytest.mark.parametrize("what", INTENTS)
async def test_an_intent_that_goes_beyond_the_parents_is_refused(
    world: SimulatedWorld, what: str
) -> None:
    begin(world, "root", BOTH)
    above = Intent(goal="g", tools=("tickets.read",),
                   data=(Data(name="tickets", classification="Internal"),))  # fmt: skip
    change(world, "root", intent=above)
    child(world, "child")
    change(world, "child", intent=replace(above, goal="a part of it"))
    await world.settle()
    assert holding(world) == {"root", "child"}

    change(world, "child", intent=INTENTS[what])
    await world.settle()

    assert holding(world) == {"root"}
    assert status(world, "child", "Stalled")[2].endswith("(intent_expanded)")


async def test_policy_of_the_child_is_asked_as_well(world: SimulatedWorld) -> None:
    """Both must allow: what a parent holds is no Allow for another agent."""
    world.cluster.accounts[NAMESPACE, "helper"] = "account-2"
    begin(world, "root", BOTH)
    await world.settle()
    made = child(world, "child")
    world.cluster.tasks[made.key] = replace(made, service_account="helper")
    await world.settle()
    (found,) = [p for p in world.cluster.known_pods.values() if p.name == "child-pod"]
    world.cluster.change_pod(found.uid, service_account="helper")
    await world.settle()

    assert holding(world) == {"root"}
    assert status(world, "child", "Stalled")[1] == "NoPolicy"


async def test_somebody_who_may_not_delegate_gets_nothing(world: SimulatedWorld) -> None:
    begin(world, "root", BOTH)
    await world.settle()
    begin(world, "child", PART, parent="root", by="mallory")
    await world.settle()

    assert holding(world) == {"root"}
    assert status(world, "child", "Stalled")[2].endswith("(not_holder)")


async def test_somebody_who_may_not_delegate_cannot_change_what_a_child_asks_for(
    world: SimulatedWorld,
) -> None:
    await family(world)

    change(world, "child", changed_by=TaskUser(username="mallory"),
           credentials=(request("part", resources=("fake/2",)),))  # fmt: skip
    await world.settle()

    assert holding(world) == {"root"}


async def test_the_parents_own_pod_may_delegate_and_another_pod_of_its_agent_may_not(
    world: SimulatedWorld,
) -> None:
    begin(world, "root", BOTH)
    begin(world, "other", BOTH)
    await world.settle()
    account = f"system:serviceaccount:{NAMESPACE}:{ACCOUNT}"
    pods = {g.task.name: g.pod_uid for g in world.held()}
    for name, of in (("mine", "root"), ("stolen", "other")):
        begin(world, name, PART, parent="root")
        by = TaskUser(username=account, pod_uid=pods[of])
        change(world, name, changed_by=by, requester=by)
    await world.settle()

    assert holding(world) == {"root", "other", "mine"}


async def test_for_policy_the_roots_sponsor_answers_for_a_child_that_names_none(
    world: SimulatedWorld,
) -> None:
    needs = Validation(expression="task.sponsor == 'the-team'", message="the team must answer")
    world.cluster.policy_list = [policy(validations=(needs,))]
    begin(world, "root", BOTH)
    change(world, "root", sponsor="the-team")
    await world.settle()
    child(world, "child")
    change(world, "child", sponsor="")
    await world.settle()

    assert holding(world) == {"root", "child"}


async def test_another_sponsor_than_the_roots_is_refused(world: SimulatedWorld) -> None:
    begin(world, "root", BOTH)
    child(world, "child")
    change(world, "child", sponsor="somebody-else")
    await world.settle()

    assert holding(world) == {"root"}
    assert status(world, "child", "Stalled")[2].endswith("(principal_mismatch)")


async def test_nothing_of_a_child_outlives_what_its_parent_holds(world: SimulatedWorld) -> None:
    begin(world, "root", BOTH)
    await world.settle()
    world.clock.advance(300)
    child(world, "child", request("part", resources=("fake/1",), seconds=900))
    await world.settle()

    ends = {g.task.name: g.expires_at for g in world.held()}
    assert ends["child"] == ends["root"]


async def test_a_family_is_renewed_for_a_day_and_no_child_outlives_its_parent(
    world: SimulatedWorld,
) -> None:
    await family(world)

    for _ in range(24 * 60):
        world.clock.advance(60)
        for name in ("root", "child", "grandchild"):
            await world.look((NAMESPACE, name))
        live = [g for g in world.held() if g.id in world.provider.live and g.expires_at]
        ends: dict[str, Any] = {}
        for grant in live:
            ends[grant.task.name] = max(ends.get(grant.task.name, grant.expires_at),
                                        grant.expires_at)  # fmt: skip
        assert ends["grandchild"] <= ends["child"] + timedelta(seconds=5)
        assert ends["child"] <= ends["root"] + timedelta(seconds=5)


async def test_what_is_shorter_than_a_provider_can_issue_waits_for_the_parents_renewal(
    make_world: MakeWorld,
) -> None:
    world = make_world()
    world.provider._minimum = 600
    begin(world, "root", BOTH)
    await world.settle()
    world.clock.advance(400)
    child(world, "child")
    await world.settle()
    assert holding(world) == {"root"}
    assert status(world, "child", "Authorized")[:2] == ("False", "ParentNotReady")
    assert "ends too soon" in status(world, "child", "Authorized")[2]
    assert status(world, "child", "Stalled")[1] == "NotStalled"

    world.clock.advance(270)  # past two thirds
    await world.settle()

    assert holding(world) == {"root", "child"}


async def test_three_levels_are_deep_enough_where_no_policy_says_otherwise(
    world: SimulatedWorld,
) -> None:
    begin(world, "root", BOTH)
    above = "root"
    for name in ("one", "two", "three", "four"):
        child(world, name, parent=above)
        above = name
        await world.settle()

    assert holding(world) == {"root", "one", "two", "three"}
    assert status(world, "four", "Stalled")[2].endswith("(depth_exceeded)")


async def test_the_least_depth_of_all_above_counts(world: SimulatedWorld) -> None:
    """A policy on the child cannot give back what one on the parent did not."""
    world.cluster.policy_list = [policy(max_delegation_depth=1)]
    begin(world, "root", BOTH)
    await world.settle()
    world.cluster.policy_list = [policy(max_delegation_depth=1), policy("wide",
        max_delegation_depth=9)]  # fmt: skip
    child(world, "one")
    child(world, "two", parent="one")
    await world.settle()

    assert holding(world) == {"root", "one"}


async def test_what_may_not_be_delegated_is_not(world: SimulatedWorld) -> None:
    world.cluster.policy_list = [policy(max_delegation_depth=0)]
    begin(world, "root", BOTH)
    child(world, "child")
    await world.settle()

    assert holding(world) == {"root"}


async def test_no_more_children_than_policy_allows_at_a_time(world: SimulatedWorld) -> None:
    world.cluster.policy_list = [policy(max_children=2)]
    begin(world, "root", BOTH)
    await world.settle()
    for name in ("a", "b", "c"):
        world.clock.advance(1)
        child(world, name)
    await world.settle()
    assert holding(world) == {"root", "a", "b"}
    assert status(world, "c", "Stalled")[2].endswith("(budget_exceeded)")

    (found,) = [p for p in world.cluster.known_pods.values() if p.name == "a-pod"]
    world.cluster.change_pod(found.uid, ended="Succeeded")
    await world.settle()

    assert holding(world) == {"root", "b", "c"}


async def test_a_circle_holds_nothing(world: SimulatedWorld) -> None:
    """The schema lets no parent change; a circle takes two tasks that are made anew by turns."""
    child(world, "a", parent="b")
    child(world, "b", parent="a")
    await world.settle()

    assert holding(world) == set()
    assert status(world, "a", "Suspended")[:2] == ("True", "ParentSuspended")
