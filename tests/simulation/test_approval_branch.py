"""A move to a phase that was not declared goes on once people have approved it."""

import json
from typing import Any

from taskpass.core.model.task import User
from taskpass.core.policy.evaluate import Effect
from tests.simulation.approvals import give, pending
from tests.simulation.builders import ASKS_LEADS, phase, policy, request, task
from tests.simulation.world import SimulatedWorld

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


async def test_a_task_that_goes_back_is_given_anew_what_its_phase_declares(
    world: SimulatedWorld,
) -> None:
    await strayed(world)
    assert world.held() == []

    world.change(phase="research")
    await world.settle()

    assert [g.name for g in world.held()] == ["tickets"]
    assert world.condition("Stalled") == ("False", "NotStalled")
    assert pending(world) == []


async def test_what_ran_out_before_stays_counted_by_a_task_that_strays_and_goes_back(
    world: SimulatedWorld,
) -> None:
    world.cluster.policy_list = [policy(max_renewals=0)]
    world.create(task(phases=PATH))
    world.add_pod()
    await world.settle()
    world.clock.advance(900)
    await world.settle()
    assert world.condition("CredentialsIssued") == ("False", "Revoked")

    world.change(phase="close")
    await world.settle()
    world.change(phase="research")
    await world.settle()

    assert world.held() == []
    assert world.condition("CredentialsIssued") == ("False", "Revoked")


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
