"""A child loses what its parent loses, before its parent goes."""

from typing import Any

import pytest

from taskpass.core.errors import ProviderUnavailable
from taskpass.core.model.kill_switch import Target
from taskpass.core.model.task import Intent
from taskpass.core.policy.evaluate import Effect
from tests.simulation.builders import (
    NAMESPACE,
    phase,
    policy,
    request,
    switch,
)
from tests.simulation.conftest import MakeWorld
from tests.simulation.families import BOTH, OTHER, begin, change, child, family, holding, status
from tests.simulation.faults import Crash, When
from tests.simulation.invariants import assert_at_rest, assert_nothing_left
from tests.simulation.world import SimulatedWorld

LOSSES: dict[str, Any] = {
    "it is suspended": lambda w: change(w, "root", operating_mode="Suspended"),
    "a KillSwitch stops it": lambda w: w.cluster.kill_switch_list.append(
        switch(Target.TASK, namespace=NAMESPACE, of="root")
    ),
    "it leaves its path": lambda w: change(w, "root", phase="three"),
    "its phase moves": lambda w: change(w, "root", phase="two"),
    "its intent changes": lambda w: change(w, "root", intent=Intent(goal="x", tools=())),
    "its request narrows": lambda w: change(
        w, "root", credentials=(request("tickets", resources=("fake/2",)),)
    ),
    "policy allows it no more": lambda w: w.cluster.policy_list.append(
        policy("no", effect=Effect.DENY, actions=("tickets.write",))
    ),
}


GAINS: dict[str, Any] = {
    "it is suspended": lambda w: change(w, "root", operating_mode="Running"),
    "a KillSwitch stops it": lambda w: w.cluster.kill_switch_list.clear(),
    "policy allows it no more": lambda w: w.cluster.policy_list.pop(),
}


@pytest.mark.parametrize("loss", LOSSES)
async def test_what_the_parent_loses_all_below_it_lose(world: SimulatedWorld, loss: str) -> None:
    moves = [phase("one", BOTH, next=["two"]), phase("two", OTHER), phase("three")]
    in_phases = "phase" in loss or "path" in loss
    begin(world, "root", *(() if in_phases else (BOTH,)), phases=moves if in_phases else ())
    await world.settle()
    child(world, "child")
    child(world, "grandchild", parent="child")
    await world.settle()
    assert holding(world) == {"root", "child", "grandchild"}
    before = {g.id for g in world.held()}

    LOSSES[loss](world)
    world.cluster.changed()
    await world.settle()

    assert holding(world) <= {"root"}
    assert not before & set(world.provider.live)

    if loss in GAINS:
        GAINS[loss](world)
        world.cluster.changed()
        await world.settle()
        assert holding(world) == {"root", "child", "grandchild"}


@pytest.mark.parametrize("name", ["suspended", "stopped"])
async def test_a_suspended_parents_children_say_so(world: SimulatedWorld, name: str) -> None:
    await family(world)
    LOSSES["it is suspended" if name == "suspended" else "a KillSwitch stops it"](world)
    world.cluster.changed()
    await world.settle()

    for each in ("child", "grandchild"):
        state, reason, message = status(world, each, "Suspended")
        assert (state, reason) == ("True", "ParentSuspended")
        assert f"Task 'root', which is above it, is {name}" in message


async def test_the_pods_end_of_a_parent_ends_its_children(world: SimulatedWorld) -> None:
    await family(world)
    (found,) = [p for p in world.cluster.known_pods.values() if p.name == "root-pod"]

    world.cluster.change_pod(found.uid, ended="Succeeded")
    await world.settle()

    assert holding(world) == set()
    assert status(world, "root", "Finished")[:2] == ("True", "Succeeded")
    for each in ("child", "grandchild"):
        assert status(world, each, "Finished")[:2] == ("True", "Cancelled")
    assert_at_rest(world)


async def test_a_childs_end_takes_nothing_from_its_parent(world: SimulatedWorld) -> None:
    await family(world)
    before = {g.id for g in world.held() if g.task.name == "root"}

    world.cluster.delete_task((NAMESPACE, "child"))
    await world.settle()

    assert holding(world) == {"root"}
    assert {g.id for g in world.held()} == before
    assert status(world, "grandchild", "Finished")[:2] == ("True", "Cancelled")


async def test_a_parent_goes_only_once_nothing_below_it_is_held(world: SimulatedWorld) -> None:
    await family(world)
    world.fail("provider.revoke", ProviderUnavailable("no answer"), times=None)
    for each in ("grandchild", "child"):
        change(world, each, operating_mode="Suspended")
        await world.look((NAMESPACE, each))
    world.heal()
    world.cluster.delete_task((NAMESPACE, "root"))

    await world.look((NAMESPACE, "root"))
    assert (NAMESPACE, "root") in world.cluster.tasks  # what the children owe is still to come
    await world.settle()

    assert (NAMESPACE, "root") not in world.cluster.tasks
    assert holding(world) == set()


async def test_a_parent_that_waits_is_looked_at_when_what_came_and_went_below_it_is_gone(
    world: SimulatedWorld,
) -> None:
    begin(world, "root", BOTH)
    await world.settle()
    child(world, "child")
    world.asked.clear()
    world.fail("provider.issue", ProviderUnavailable("no answer"), when=When.AFTER)

    await world.look((NAMESPACE, "child"))  # issued, and taken back, in one go

    assert holding(world) == {"root"}
    assert (NAMESPACE, "root") in world.asked


async def test_a_debt_of_a_child_keeps_its_parents_deletion_for_30_s(world: SimulatedWorld) -> None:
    await family(world)
    world.fail("provider.revoke", ProviderUnavailable("no answer"), times=None)
    world.cluster.delete_task((NAMESPACE, "root"))
    for _ in range(2):
        for each in ("root", "child", "grandchild"):
            await world.look((NAMESPACE, each))
    assert (NAMESPACE, "root") in world.cluster.tasks

    world.clock.advance(31)
    await world.look((NAMESPACE, "root"))

    assert (NAMESPACE, "root") not in world.cluster.tasks
    assert len(list(world.ports.ledger.held())) == 3  # the debts stay


async def test_a_parent_is_not_called_finished_while_a_child_holds_something(
    world: SimulatedWorld,
) -> None:
    await family(world)
    world.fail("provider.revoke", ProviderUnavailable("no answer"), skip=1, times=None)
    (found,) = [p for p in world.cluster.known_pods.values() if p.name == "root-pod"]
    world.cluster.change_pod(found.uid, ended="Succeeded")
    for each in ("root", "child", "root", "grandchild", "root"):
        await world.look((NAMESPACE, each))

    assert status(world, "root", "Finished")[:2] == ("False", "Revoking")

    world.heal()
    await world.settle()
    assert status(world, "root", "Finished")[:2] == ("True", "Succeeded")


async def test_a_parent_that_is_made_anew_under_its_name_is_another(world: SimulatedWorld) -> None:
    await family(world)
    world.cluster.delete_task((NAMESPACE, "root"))
    await world.look((NAMESPACE, "child"))
    await world.look((NAMESPACE, "grandchild"))
    await world.look((NAMESPACE, "root"))
    (old,) = [p for p in world.cluster.known_pods.values() if p.name == "root-pod"]
    world.cluster.remove_pod(old.uid)
    world.clock.advance(5)
    begin(world, "root", BOTH)
    await world.settle()

    assert holding(world) == {"root"}
    assert status(world, "child", "Finished")[:2] == ("True", "Cancelled")


async def test_a_child_that_was_there_before_its_parent_is_none_of_its(
    world: SimulatedWorld,
) -> None:
    child(world, "child")
    await world.settle()
    assert status(world, "child", "Suspended")[:2] == ("True", "ParentSuspended")
    world.clock.advance(5)
    begin(world, "root", BOTH)
    await world.settle()

    assert holding(world) == {"root"}
    assert "was made after the task that names it" in status(world, "child", "Suspended")[2]


@pytest.mark.parametrize("call", ["ledger.commit", "provider.issue", "provider.revoke"])
@pytest.mark.parametrize("when", list(When))
@pytest.mark.parametrize("skip", range(6))
async def test_a_crash_at_any_moment_leaves_no_child_with_more_than_its_parent(
    make_world: MakeWorld, call: str, when: When, skip: int
) -> None:
    world = make_world()
    begin(world, "root", BOTH)
    child(world, "child")
    child(world, "grandchild", parent="child")
    world.fail(call, Crash(call), when=when, skip=skip)
    await world.settle()
    assert holding(world) == {"root", "child", "grandchild"}

    world.fail(call, Crash(call), when=when, skip=skip)
    change(world, "root", operating_mode="Suspended")
    await world.settle()

    assert world.provider.live == {}
    for each in ("grandchild", "child", "root"):
        world.cluster.delete_task((NAMESPACE, each))
    await world.settle()
    assert_nothing_left(world)
