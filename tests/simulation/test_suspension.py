"""A suspended task holds nothing; what it holds on resume is attested, decided, issued anew."""

from datetime import timedelta

import pytest

from taskpass.core.errors import ProviderUnavailable
from taskpass.core.model.task import TaskUser
from tests.simulation.builders import NAMESPACE, job, pod, request, task
from tests.simulation.conftest import MakeWorld
from tests.simulation.faults import Crash, When
from tests.simulation.invariants import assert_at_rest, assert_nothing_left
from tests.simulation.world import KEY, SimulatedWorld

READ = request("tickets")


async def running(world: SimulatedWorld, **more: object) -> str:
    """Bring a task to rest with one credential; return its grant's id."""
    world.create(task(READ, **more))  # type: ignore[arg-type]
    world.add_pod()
    await world.settle()
    return world.held()[0].id


async def suspended(world: SimulatedWorld, **more: object) -> str:
    """Bring a task to rest that was suspended; return the id of what it held."""
    held = await running(world, **more)
    world.change(operating_mode="Suspended")
    await world.settle()
    return held


async def test_everything_is_revoked_and_the_pod_is_left_alone(world: SimulatedWorld) -> None:
    await running(world)
    world.journal.clear()

    world.change(operating_mode="Suspended")
    await world.settle()

    done = world.journal
    suspended = "ledger.commit credential.revoke result, task.suspend"
    assert done.index("provider.revoke") < done.index("sink.withdraw") < done.index(suspended)
    assert world.reasons() == ["Suspended"]
    assert (world.provider.live, world.secret()) == ({}, None)
    assert world.pod().ended == ""
    assert world.condition("Suspended") == ("True", "Requested")
    assert world.condition("Ready") == ("False", "Suspended")
    assert world.condition("Attested") == ("True", "PodVerified")
    assert world.condition("CredentialsIssued") == ("False", "Revoked")
    assert world.condition("Stalled") == ("False", "NotStalled")
    assert len(world.told("TaskSuspended")) == len(world.told("TaskSuspended", kind="Pod")) == 1
    assert_at_rest(world)


async def test_on_resume_another_credential_is_issued_never_the_old_one(
    world: SimulatedWorld,
) -> None:
    old = await suspended(world)
    secret = world.provider.calls[:]

    world.change(operating_mode="Running")
    await world.settle()

    assert world.held()[0].id != old
    assert ("revoke", old) in secret
    assert world.condition("Ready") == ("True", "Ready")
    assert world.condition("Suspended") == ("False", "Running")
    kinds = [e["type"].removeprefix("dev.taskpass.") for e in world.log()]
    assert kinds.index("task.suspend") < kinds.index("task.resume")
    assert_at_rest(world)


async def test_a_task_that_begins_suspended_attests_and_issues_nothing(
    world: SimulatedWorld,
) -> None:
    world.create(task(READ, mode="Suspended"))
    world.add_pod()
    await world.settle()

    assert world.provider.calls == []
    assert world.pod().gated
    assert world.condition("Attested") == ("Unknown", "Pending")

    world.change(operating_mode="Running")
    await world.settle()

    assert world.condition("Ready") == ("True", "Ready")


async def test_who_lost_the_right_to_the_class_meanwhile_gets_nothing_on_resume(
    world: SimulatedWorld,
) -> None:
    await suspended(world)
    world.cluster.may_not_use.add(("ada", "tickets-api"))

    world.change(operating_mode="Running")
    await world.settle()

    assert world.held() == []
    assert world.condition("Stalled") == ("True", "Denied")


async def test_who_resumes_is_asked_about(world: SimulatedWorld) -> None:
    """Admission stamps who resumed; whoever may not use the class cannot have it issued."""
    await suspended(world)
    world.cluster.may_not_use.add(("mallory", "tickets-api"))

    world.change(operating_mode="Running", changed_by=TaskUser(username="mallory"))
    await world.settle()

    assert world.held() == []
    assert "'mallory', who last changed the task" in world.message("Authorized")


async def test_a_pod_that_was_changed_meanwhile_gets_nothing_on_resume(
    world: SimulatedWorld,
) -> None:
    await suspended(world)
    world.cluster.change_pod(world.pod().uid, images=("registry.example/other:1",))

    world.change(operating_mode="Running")
    await world.settle()

    assert world.held() == []
    assert world.condition("Attested") == ("False", "ImageNotAllowed")


async def test_a_pod_that_is_deleted_meanwhile_is_followed_by_the_next(
    world: SimulatedWorld,
) -> None:
    await suspended(world)
    world.remove_pod()
    await world.settle()
    assert world.condition("Finished") == ("False", "Running")

    world.add_pod("another")
    await world.settle()
    assert world.provider.live == {}

    world.change(operating_mode="Running")
    await world.settle()

    assert world.condition("Ready") == ("True", "Ready")
    assert world.held()[0].pod_name == "another"


async def test_an_agent_that_ends_by_itself_ends_the_task_though_it_is_suspended(
    world: SimulatedWorld,
) -> None:
    await suspended(world)

    world.end_pod()
    await world.settle()

    assert world.condition("Finished") == ("True", "Succeeded")
    assert world.condition("Suspended") == ("False", "Finished")


async def test_a_workload_that_ends_ends_the_task_though_it_is_suspended(
    world: SimulatedWorld,
) -> None:
    found = job()
    world.cluster.set_workload(NAMESPACE, found)
    world.create(task(READ, job=found.name))
    world.cluster.create_pod(pod("agent", job=found))
    await world.settle()
    world.change(operating_mode="Suspended")
    await world.settle()

    world.remove_pod()
    world.cluster.set_workload(NAMESPACE, job(ended="Failed"))
    await world.settle()

    assert world.condition("Finished") == ("True", "Failed")


async def test_the_deadline_goes_on_meanwhile(world: SimulatedWorld) -> None:
    await suspended(world, deadline=1800)

    world.clock.advance(1801)
    await world.settle()

    assert world.condition("Finished") == ("True", "Expired")


async def test_nothing_is_renewed_meanwhile(world: SimulatedWorld) -> None:
    await suspended(world)
    before = len(world.provider.calls)

    world.clock.advance(timedelta(days=2).total_seconds())
    await world.settle()

    assert len(world.provider.calls) == before


async def test_a_provider_that_is_away_keeps_a_debt_and_the_secret_goes_at_once(
    world: SimulatedWorld,
) -> None:
    await running(world)
    world.fail("provider.revoke", ProviderUnavailable("no answer"), times=None)

    world.change(operating_mode="Suspended")
    for _ in range(3):
        await world.look()

    assert world.secret() is None
    assert world.condition("Suspended") == ("True", "Requested")
    assert "1 still to be taken back" in world.message("Suspended")
    assert world.condition("CredentialsIssued") == ("False", "Revoking")

    world.change(operating_mode="Running")
    await world.look()
    assert [g.state.value for g in world.held()] == ["Revoking"]  # nothing new before it is gone

    world.heal()
    await world.settle()
    assert world.condition("Ready") == ("True", "Ready")
    assert_at_rest(world)


async def test_a_phase_that_moves_meanwhile_is_entered_on_resume(world: SimulatedWorld) -> None:
    await suspended(world)

    world.change(intent=task(goal="Another goal").intent)
    await world.settle()
    assert world.provider.live == {}

    world.change(operating_mode="Running")
    await world.settle()
    assert world.held()[0].intent_digest == world.task.intent.digest


async def test_what_is_half_issued_when_it_is_suspended_is_undone(world: SimulatedWorld) -> None:
    world.create(task(READ))
    world.add_pod()
    world.fail("sink.deliver", ProviderUnavailable("no answer"), times=1)
    await world.look()
    world.change(operating_mode="Suspended")
    await world.settle()

    assert (world.provider.live, world.secret()) == ({}, None)
    assert world.condition("Suspended") == ("True", "Requested")


CALLS = ("ledger.commit", "provider.revoke", "sink.withdraw", "tasks.patch_status")


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("when", list(When))
@pytest.mark.parametrize("skip", range(4))
async def test_a_crash_at_any_moment_of_suspension_and_resume_leaves_nothing_behind(
    make_world: MakeWorld, call: str, when: When, skip: int
) -> None:
    world = make_world()
    old = await running(world)
    world.fail(call, Crash(call), when=when, skip=skip)

    world.change(operating_mode="Suspended")
    await world.settle()
    assert (world.provider.live, world.secret()) == ({}, None)
    world.change(operating_mode="Running")
    await world.settle()

    assert [g.id == old for g in world.held()] == [False]
    assert_at_rest(world, cut_off=True)
    world.cluster.delete_task(KEY)
    await world.settle()
    assert_nothing_left(world)
