"""Tasks that delegate to others, for tests."""

from typing import Any

from taskpass.core.model.task import Task
from tests.simulation.builders import (
    NAMESPACE,
    pod,
    request,
    task,
)
from tests.simulation.world import SimulatedWorld

BOTH = request("tickets", actions=("tickets.read", "tickets.write"), resources=("fake/1", "fake/2"))
OTHER = request("other", resources=("fake/2",))
PART = request("part", resources=("fake/1",))


def begin(world: SimulatedWorld, name: str, *asking: Any, **more: Any) -> Task:
    """Make a task and its pod."""
    made = world.create(task(*asking, name=name, **more))
    world.cluster.create_pod(pod(f"{name}-pod", task=name))
    return made


def child(
    world: SimulatedWorld, name: str, *asking: Any, parent: str = "root", **more: Any
) -> Task:
    """Make a task to which another delegates, by somebody who may."""
    world.cluster.delegates.add(("ada", parent))
    return begin(world, name, *(asking or (PART,)), parent=parent, **more)


async def family(world: SimulatedWorld, *asking: Any, **more: Any) -> None:
    """Bring to rest a root, a child and a grandchild, which hold one credential each."""
    begin(world, "root", *(asking or (BOTH,)), **more)
    await world.settle()
    child(world, "child")
    child(world, "grandchild", parent="child")
    await world.settle()
    assert holding(world) == {"root", "child", "grandchild"}


def holding(world: SimulatedWorld) -> set[str]:
    return {g.task.name for g in world.held() if g.id in world.provider.live}


def status(world: SimulatedWorld, name: str, kind: str) -> tuple[str, str, str]:
    conditions = world.cluster.tasks[NAMESPACE, name].status["conditions"]
    found = next(c for c in conditions if c["type"] == kind)
    return found["status"], found["reason"], found["message"]


def change(world: SimulatedWorld, name: str, **changes: Any) -> None:
    world.cluster.change_task((NAMESPACE, name), **changes)
