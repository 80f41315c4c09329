"""Crash tables: the process ends, or no answer comes, at every boundary there is.

Each story is told once for each boundary (before and after every call, and at every fail-point):
there the process is gone, with all that it remembered, and another starts on the same ledger. The
story must end as if nothing had happened, and leave nothing.
"""

import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

import taskpass
from tests.simulation.builders import NAMESPACE, job, phase, policy, request, task
from tests.simulation.conftest import MakeWorld
from tests.simulation.faults import Trap
from tests.simulation.invariants import assert_at_rest, assert_nothing_left
from tests.simulation.world import SimulatedWorld

Story = Callable[[SimulatedWorld], Awaitable[None]]
MOST_BOUNDARIES = 400


async def phases_and_deletion(world: SimulatedWorld) -> None:
    """Two credentials, a declared move, then the task is deleted while it runs."""
    phases = [
        phase("research", request("kb"), request("tickets"), next=["reply"]),
        phase("reply", request("tickets")),
    ]
    world.create(task(phases=phases, phase="research"))
    world.add_pod()
    await world.settle()
    assert world.condition("Ready") == ("True", "Ready")
    assert_at_rest(world)

    world.change(phase="reply")
    await world.settle()
    assert world.status["phaseName"] == "reply"
    assert [g.phase for g in world.held()] == ["reply"]
    assert_at_rest(world)

    world.delete()


async def retried_job(world: SimulatedWorld) -> None:
    """A Job whose first pod fails and whose second does the work; removed after its time."""
    made = world.cluster.set_workload(NAMESPACE, job())
    world.create(task(request("tickets"), job="ticket-4711", ttl=60))
    world.add_pod("first", job=made)
    await world.settle()
    world.end_pod("first", "Failed")
    await world.settle()
    world.add_pod("second", job=made)
    await world.settle()
    assert [g.attempt for g in world.held()] == [2]
    assert_at_rest(world)

    world.end_pod("second")
    world.cluster.set_workload(NAMESPACE, job(ended="Succeeded"))
    await world.settle()
    assert world.condition("Finished") == ("True", "Succeeded")
    assert_at_rest(world)

    world.clock.advance(60)


async def denied_and_blocked(world: SimulatedWorld) -> None:
    """Denied, then allowed; a policy changes; the task leaves its path; its pod fails."""
    world.cluster.policy_list = []
    phases = [phase("research", request("tickets")), phase("reply")]
    world.create(task(phases=phases, phase="research", deadline=7200))
    world.add_pod()
    await world.settle()
    assert world.condition("Stalled") == ("True", "NoPolicy")

    world.cluster.policy_list = [policy()]
    await world.settle()
    assert world.condition("Ready") == ("True", "Ready")

    world.change(phase="reply")
    await world.settle()
    assert world.condition("Stalled") == ("True", "UnapprovedBranch")
    assert_at_rest(world)

    world.end_pod(how="Failed")
    await world.settle()
    assert world.condition("Finished") == ("True", "Failed")
    world.delete()


STORIES = [phases_and_deletion, retried_job, denied_and_blocked]


async def told_with(make_world: MakeWorld, story: Story, trap: Trap) -> SimulatedWorld:
    """Tell a story to its end, with a trap in it."""
    world = make_world(trap)
    await story(world)
    await world.settle()
    assert_nothing_left(world)
    assert world.swept == 0, "what a crash left was in no ledger"
    world.close()
    return world


@pytest.mark.slow
@pytest.mark.parametrize("crash", [True, False], ids=["the process ends", "no answer comes"])
@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
async def test_a_story_ends_as_it_should_wherever(
    make_world: MakeWorld, story: Story, crash: bool
) -> None:
    for boundary in range(MOST_BOUNDARIES):
        trap = Trap(at=boundary, crash=crash)
        try:
            await told_with(make_world, story, trap)
        except AssertionError as error:
            raise AssertionError(f"{trap.reached} (boundary {boundary}): {error}") from error
        if not trap.reached:
            break

    assert 20 < boundary < MOST_BOUNDARIES - 1


async def test_the_stories_pass_every_boundary_there_is(make_world: MakeWorld) -> None:
    seen: set[str] = set()

    for story in STORIES:
        trap = Trap(at=-1, crash=True)
        await told_with(make_world, story, trap)
        seen |= trap.seen

    names = {f"{point} before" for point in fail_points()}
    calls = {
        f"{call} {when}"
        for call in (
            "ledger.commit", "provider.issue", "provider.revoke", "sink.deliver", "sink.withdraw",
            "pods.lift_gate", "pods.nudge", "tasks.patch_status", "tasks.release", "tasks.delete",
            "events.post", "reviewer.may_use", "workloads.workload", "workloads.owners",
        )
        for when in ("before", "after")
    }  # fmt: skip
    assert names | calls <= seen


def fail_points() -> set[str]:
    """Return the names of all fail-points in the life of a task.

    Those of `upkeep.` (another key, old entries that go) lie outside of it: `tests/unit/ledger`.
    Those of `postgresql.` are a provider's own: `e2e/cases/databases`, `e2e/soak/kills.py`.
    """
    source = Path(taskpass.__file__).parent
    pattern = re.compile(r'fail_point\("((?!upkeep\.|postgresql\.)[^"]+)"\)')
    return {name for path in source.rglob("*.py") for name in pattern.findall(path.read_text())}
