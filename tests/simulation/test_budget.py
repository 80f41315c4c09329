"""What a tenant says and asks fills no more of the ledger than its budget; what ends goes on."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from taskpass.core.policy.evaluate import Effect
from taskpass.core.rate_limit.budget import Limit
from taskpass.flows.budgeting import UnlimitedVolume
from tests.simulation.builders import pod, policy, request, task
from tests.simulation.conftest import MakeWorld
from tests.simulation.faults import Trap
from tests.simulation.invariants import assert_at_rest, assert_nothing_left, assert_safe
from tests.simulation.world import KEY, SimulatedWorld

READ = request("tickets")
SMALL = Limit(burst=16_384, per_day=86_400)
"""A byte a second comes back: a savepoint costs some 600, a credential some 5,000."""
LARGE = Limit(burst=1 << 40, per_day=1 << 40)


@pytest.fixture
def make_bounded(make_world: MakeWorld) -> MakeWorld:
    def make(
        trap: Trap | None = None, *, of_task: Limit = SMALL, of_namespace: Limit = LARGE
    ) -> SimulatedWorld:
        world = make_world(trap)
        world.limits = {"task": of_task, "namespace": of_namespace}
        world.restart()
        return world

    return make


@pytest.fixture
def bounded(make_bounded: MakeWorld) -> Iterator[SimulatedWorld]:
    """A world in which a task may say little, and its namespace as much as it likes."""
    world = make_bounded()
    yield world
    assert_safe(world)


async def running(world: SimulatedWorld, **more: object) -> None:
    world.create(task(READ, **more))  # type: ignore[arg-type]
    world.add_pod()
    await world.settle()
    assert world.condition("Ready") == ("True", "Ready")


async def annotate(world: SimulatedWorld, number: int) -> None:
    """Say another savepoint; that is no change of the spec."""
    generation = world.task.generation
    world.change(savepoint=f"step-{number} sha256:{number:064x}")
    world.cluster.tasks[KEY] = replace(world.task, generation=generation)
    await world.settle()


async def flood(world: SimulatedWorld, times: int = 60) -> None:
    for number in range(times):
        await annotate(world, number)


async def test_a_loop_of_savepoints_is_held_back_and_says_until_when(
    bounded: SimulatedWorld,
) -> None:
    await running(bounded)

    await flood(bounded)

    assert 10 < len(bounded.entries("task.save")) < 20
    assert bounded.condition("Throttled") == ("True", "BudgetExceeded")
    told = bounded.message("Throttled")
    assert "UTC: recording a savepoint. AgentTask 'ticket-4711' has used up its budget" in told
    assert bounded.condition("Ready") == ("True", "Ready")


async def test_the_last_savepoint_is_recorded_when_there_is_room_again(
    bounded: SimulatedWorld,
) -> None:
    await running(bounded)
    await flood(bounded)
    before = len(bounded.entries("task.save"))

    bounded.clock.advance(9 * 60)
    await bounded.settle()

    assert len(bounded.entries("task.save")) == before + 1
    assert bounded.status["savepoint"]["step"] == "step-59"
    assert bounded.condition("Throttled") == ("False", "WithinBudget")


async def test_what_was_held_back_is_told_in_one_entry_an_hour(bounded: SimulatedWorld) -> None:
    await running(bounded)
    await flood(bounded)
    held = 60 - len(bounded.entries("task.save"))
    budgets, now = bounded.ports.budgets, bounded.now()

    (entry,) = budgets.tell(now)
    await flood(bounded, 3)

    assert entry.data["ns"] == "support"
    assert entry.data["held"] == {"savepoint": held}
    assert entry.data["tasks"] == 1
    assert budgets.tell(now + timedelta(minutes=59)) == ()
    (later,) = budgets.tell(now + timedelta(minutes=60))
    assert later.data["held"] == {"savepoint": 3}


async def test_a_restart_gives_nothing_back(bounded: SimulatedWorld) -> None:
    await running(bounded)
    await flood(bounded)
    before = len(bounded.entries("task.save"))

    for number in range(100, 110):
        bounded.restart()
        await annotate(bounded, number)

    assert len(bounded.entries("task.save")) == before


async def test_a_task_that_is_over_its_budget_is_renewed_and_revoked_as_ever(
    bounded: SimulatedWorld,
) -> None:
    await running(bounded)
    await flood(bounded)
    (first,) = bounded.held()

    bounded.clock.advance(620)
    await flood(bounded, 3)
    (second,) = (g for g in bounded.held() if g.renews)
    bounded.end_pod()
    await bounded.settle()

    assert second.renews == first.id
    assert bounded.condition("Finished") == ("True", "Succeeded")
    assert_at_rest(bounded)
    assert not bounded.held()


async def test_a_loop_of_changes_issues_no_more_and_takes_back_each_time(
    bounded: SimulatedWorld,
) -> None:
    await running(bounded)

    for number in range(20):
        bounded.change(intent=task(goal=f"Goal {number}").intent)
        await bounded.settle()

    assert len([e for e in bounded.entries("credential.issue") if "pending" in str(e)]) < 6
    assert not bounded.held()
    assert bounded.condition("Throttled") == ("True", "BudgetExceeded")
    assert bounded.condition("CredentialsIssued")[0] == "False"
    assert "issuing" in bounded.message("CredentialsIssued")
    bounded.clock.advance(5 * 3600)
    await bounded.settle()
    assert bounded.condition("Ready") == ("True", "Ready")


async def test_a_loop_of_suspensions_ends_suspended(bounded: SimulatedWorld) -> None:
    await running(bounded)

    for _ in range(20):
        bounded.change(operating_mode="Suspended")
        await bounded.settle()
        assert not bounded.held()
        bounded.change(operating_mode="Running")
        await bounded.settle()

    assert len(bounded.entries("task.suspend")) < 8
    assert len(bounded.entries("task.resume")) < 8
    assert "resuming" in bounded.message("Throttled")
    bounded.clock.advance(5 * 3600)
    await bounded.settle()
    assert bounded.condition("Ready") == ("True", "Ready")


async def test_the_end_of_a_pod_is_seen_while_a_resume_is_held_back(
    bounded: SimulatedWorld,
) -> None:
    await running(bounded)
    for _ in range(20):
        bounded.change(operating_mode="Suspended")
        await bounded.settle()
        bounded.change(operating_mode="Running")
        await bounded.settle()

    bounded.end_pod()
    await bounded.settle()

    assert bounded.condition("Finished") == ("True", "Succeeded")


async def test_refusals_are_shown_though_they_are_not_recorded(bounded: SimulatedWorld) -> None:
    bounded.cluster.policy_list = []
    bounded.create(task(READ))
    bounded.add_pod()
    await bounded.settle()

    for number in range(60):
        bounded.cluster.policy_list = [policy(f"no-{number}", effect=Effect.DENY), policy("yes")]
        bounded.cluster.changed()
        await bounded.settle()

    assert len(bounded.entries("credential.deny")) < 30
    assert bounded.condition("Authorized") == ("False", "Denied")
    assert "no-59" in bounded.message("Authorized")
    assert "recording what is denied" in bounded.message("Throttled")


async def test_tasks_of_one_namespace_share_its_budget_whatever_their_names(
    make_bounded: MakeWorld,
) -> None:
    world = make_bounded(of_task=LARGE, of_namespace=SMALL)

    for number in range(40):
        name = f"loop-{number}"
        world.create(task(READ, name=name, uid=f"uid-{number}"))
        world.cluster.create_pod(pod(f"pod-{number}", task=name))
        await world.settle()
        world.cluster.remove_pod(world.pod(f"pod-{number}").uid)
        world.cluster.delete_task((KEY[0], name))
        await world.settle()
        world.restart()

    assert len(world.entries("workload.attest")) <= 3
    assert_nothing_left(world)


async def test_tasks_that_never_begin_and_end_at_once_are_counted(
    make_bounded: MakeWorld,
) -> None:
    world = make_bounded(of_task=LARGE, of_namespace=SMALL)

    for number in range(40):
        name = f"late-{number}"
        world.create(task(READ, name=name, uid=f"uid-{number}", start_deadline=1, mode="Suspended"))
        await world.settle()
        world.clock.advance(2)
        await world.settle()
        world.cluster.delete_task((KEY[0], name))
        await world.settle()

    assert len(world.log()) < 40


async def test_what_a_namespace_holds_is_renewed_after_it_may_begin_nothing_more(
    make_bounded: MakeWorld,
) -> None:
    world = make_bounded(of_task=LARGE, of_namespace=Limit(burst=80_000, per_day=86_400))
    await running(world)
    await flood(world, 200)
    assert "Namespace 'support'" in world.message("Throttled")
    (first,) = world.held()

    world.clock.advance(620)
    await world.settle()

    assert first.id in {g.renews for g in world.held()}


async def test_on_a_full_volume_people_read_of_the_volume_and_of_no_budget(
    bounded: SimulatedWorld,
) -> None:
    await running(bounded)
    bounded.room = UnlimitedVolume(spare=-1, tight=True)
    why = "The ledger's volume has 1 MiB left of 64 MiB. Nothing is issued"
    bounded.ports.modes.issuance_blocked_reason = why
    bounded.create(task(READ, name="blocked", uid="uid-blocked"))
    bounded.cluster.create_pod(pod("blocked-pod", task="blocked"))

    await bounded.settle()

    blocked = {c["type"]: c for c in bounded.cluster.tasks[KEY[0], "blocked"].status["conditions"]}
    assert (blocked["Attested"]["reason"], blocked["Attested"]["message"]) == ("Pending", why)
    assert "in every namespace" in blocked["Throttled"]["message"]
    assert "used up" not in str(blocked)
    assert (KEY[0], "blocked") in bounded.ports.modes.waiting
    bounded.end_pod()
    await bounded.settle()
    assert not bounded.held()
    bounded.room = UnlimitedVolume()
    bounded.restart()
    await bounded.settle()
    assert {str(g.task) for g in bounded.held()} == {f"{KEY[0]}/blocked"}


async def test_on_a_tight_volume_who_has_used_its_part_is_told_to_have_it_enlarged(
    make_bounded: MakeWorld,
) -> None:
    world = make_bounded(of_task=LARGE)
    world.room = UnlimitedVolume(spare=32_768, tight=True)
    await running(world)

    await flood(world)

    told = world.message("Throttled")
    assert told.startswith("Held back until the ledger's volume has more room: ")
    assert "Namespace 'support' has used up its part" in told
    assert "enlarge the volume" in told
    assert world.held()


@pytest.mark.parametrize("at", range(0, 60, 3))
async def test_a_kill_at_any_moment_gives_nothing_back_and_leaves_nothing(
    make_bounded: MakeWorld, at: int
) -> None:
    trap = Trap(at=at, crash=True)
    world = make_bounded(trap, of_task=LARGE, of_namespace=SMALL)

    for number in range(5):
        name = f"loop-{number}"
        world.create(task(READ, name=name, uid=f"uid-{number}"))
        world.cluster.create_pod(pod(f"pod-{number}", task=name))
        await world.settle()
        world.cluster.remove_pod(world.pod(f"pod-{number}").uid)
        world.cluster.delete_task((KEY[0], name))
        await world.settle()

    assert trap.reached or at > 30
    assert 1 <= len(world.entries("workload.attest")) <= 3
    assert_nothing_left(world)
