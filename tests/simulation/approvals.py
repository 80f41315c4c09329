"""A task that waits for approval, and people who give their word, for tests."""

from typing import Any

from taskpass.core.model.task import User
from taskpass.core.policy.types import ApprovalRule
from tests.simulation.builders import ASKS_LEADS, LEA, policy, request, task, word
from tests.simulation.world import SimulatedWorld

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
