"""What ends a task, and that nothing is held afterwards (docs/concepts.md, rules 3, 4)."""

from datetime import timedelta
from typing import Any

from taskpass.core.errors import TaskpassError
from tests.simulation.builders import NAMESPACE, phase, policy, request, task
from tests.simulation.invariants import assert_at_rest, assert_nothing_left
from tests.simulation.world import KEY, SimulatedWorld


async def running(world: SimulatedWorld, **wishes: Any) -> None:
    """Bring a task to rest with one credential in a running pod."""
    world.create(task(request("tickets"), **wishes))
    world.add_pod()
    await world.settle()
    assert len(world.held()) == 1


async def test_deletion_revokes_before_the_finalizer_goes(world: SimulatedWorld) -> None:
    await running(world)
    world.journal.clear()

    world.delete()
    await world.settle()

    done = world.journal
    assert done.index("ledger.commit credential.revoke result") < done.index("tasks.release")
    assert done.index("sink.withdraw") < done.index("tasks.release")
    assert_nothing_left(world)


async def test_the_deadline_counts_from_the_first_attestation(world: SimulatedWorld) -> None:
    world.create(task(request("tickets"), deadline=600))
    world.clock.advance(3600)
    world.add_pod()
    await world.settle()

    again = await world.look()
    world.clock.advance(599)
    await world.settle()
    before = len(world.held())
    world.clock.advance(1)
    await world.settle()

    assert again is not None
    assert again.at == world.task.created_at + timedelta(seconds=3600 + 600)
    assert before == 1
    assert world.condition("Finished") == ("True", "Expired")
    assert world.reasons() == ["DeadlineExceeded"]
    assert world.provider.live == {}
    assert world.secret() is None


async def test_the_deadline_ends_a_task_that_is_denied(world: SimulatedWorld) -> None:
    world.cluster.policy_list = []
    world.create(task(request("tickets"), deadline=600))
    world.add_pod()
    await world.settle()

    world.clock.advance(600)
    await world.settle()

    assert world.condition("Finished") == ("True", "Expired")


async def test_a_credential_that_may_not_be_renewed_runs_out_and_is_not_issued_again(
    world: SimulatedWorld,
) -> None:
    world.cluster.policy_list = [policy(max_renewals=0)]
    await running(world)

    world.clock.advance(899)
    await world.settle()
    before = len(world.held())
    world.clock.advance(1)
    await world.settle()

    assert before == 1
    assert world.reasons() == ["Expired"]
    assert world.secret() is None
    assert world.condition("CredentialsIssued") == ("False", "Revoked")
    assert world.condition("Ready") == ("False", "Revoked")
    assert [call for call, _ in world.provider.calls] == ["issue", "revoke"]


async def test_a_credential_that_ran_out_is_issued_again_in_the_next_phase(
    world: SimulatedWorld,
) -> None:
    phases = [phase("research", next=["reply"]), phase("reply")]
    world.create(task(request("tickets"), phases=phases, phase="research"))
    world.add_pod()
    await world.settle()
    world.clock.advance(900)
    await world.settle()

    world.change(phase="reply")
    await world.settle()

    assert len(world.held()) == 1
    assert_at_rest(world)


async def test_a_credential_that_ran_out_before_the_pod_started_is_issued_anew(
    world: SimulatedWorld,
) -> None:
    world.create(task(request("tickets")))
    world.add_pod()
    world.fail("pods.lift_gate", TaskpassError("refused"))
    await world.look()

    world.clock.advance(3600)
    await world.settle()

    assert not world.pod().gated
    assert len(world.held()) == 1
    assert world.secret() is not None
    assert_at_rest(world)


async def test_a_finished_task_is_deleted_when_its_time_is_over(world: SimulatedWorld) -> None:
    await running(world, ttl=60)
    world.end_pod()
    await world.settle()

    world.clock.advance(59)
    await world.settle()
    before = KEY in world.cluster.tasks
    world.clock.advance(1)
    await world.settle()

    assert before
    assert_nothing_left(world)


async def test_a_finished_task_without_a_ttl_stays(world: SimulatedWorld) -> None:
    await running(world)
    world.end_pod()
    await world.settle()

    world.clock.advance(10_000_000)
    await world.settle()

    assert KEY in world.cluster.tasks


async def test_a_namespace_that_is_not_enrolled_is_served_nothing(world: SimulatedWorld) -> None:
    world.cluster.tenants.clear()
    world.create(task(request("tickets")))
    world.add_pod()

    await world.settle()

    assert world.provider.calls == []
    assert world.pod().gated
    assert world.condition("Ready") == ("False", "NotEnrolled")


async def test_a_namespace_that_is_taken_off_the_list_loses_everything(
    world: SimulatedWorld,
) -> None:
    await running(world)

    world.cluster.tenants.remove(NAMESPACE)
    await world.settle()

    assert world.provider.live == {}
    assert world.secret() is None
    assert world.reasons() == ["NotEnrolled"]


async def test_what_is_held_back_is_not_issued(world: SimulatedWorld) -> None:
    world.ports.modes.issuance_blocked_reason = "The limits do not hold"
    world.create(task(request("tickets")))
    world.add_pod()

    await world.settle()

    assert world.provider.calls == []
    assert world.pod().gated
    assert world.condition("CredentialsIssued") == ("False", "Pending")
    assert world.message("CredentialsIssued") == "The limits do not hold"


async def test_what_is_held_back_is_revoked_all_the_same(world: SimulatedWorld) -> None:
    await running(world)

    world.ports.modes.issuance_blocked_reason = "The limits do not hold"
    await world.settle()
    kept = len(world.held())
    world.end_pod()
    await world.settle()

    assert kept == 1
    assert world.provider.live == {}
    assert world.condition("Finished") == ("True", "Succeeded")


async def test_uninstalling_revokes_all_and_releases_every_task(world: SimulatedWorld) -> None:
    await running(world)

    world.ports.modes.uninstalling = True
    await world.settle()

    assert world.provider.live == {}
    assert world.secret() is None
    assert not world.task.has_finalizer
    assert world.reasons() == ["Released"]


async def test_uninstalling_releases_finished_tasks_as_well(world: SimulatedWorld) -> None:
    await running(world)
    world.end_pod()
    await world.settle()

    world.ports.modes.uninstalling = True
    await world.settle()

    assert not world.task.has_finalizer


async def test_a_clock_an_hour_back_ends_no_story_differently(world: SimulatedWorld) -> None:
    await running(world, ttl=60)

    world.clock.set_forward(timedelta(hours=-1))
    await world.settle()
    # By this clock it was issued in an hour: when it ends cannot be told, so it is renewed at once.
    renewed = [g.renewals for g in world.held()]
    world.clock.advance(90)
    await world.settle()
    kept = len(world.held())
    world.end_pod()
    await world.settle()
    world.delete()
    await world.settle()

    assert (renewed, kept) == ([0, 1], 1)
    assert_nothing_left(world)


async def test_a_clock_a_day_ahead_lets_everything_run_out(world: SimulatedWorld) -> None:
    await running(world, deadline=7200)

    world.clock.set_forward(timedelta(days=1))
    await world.settle()

    assert world.provider.live == {}
    assert world.condition("Finished") == ("True", "Expired")


async def test_a_task_that_was_never_released_by_us_leaves_nothing(world: SimulatedWorld) -> None:
    """Somebody removed the finalizer by hand while the operator was down."""
    await running(world)
    world.close()
    world.cluster.tasks.clear()

    world.restart()
    await world.settle()

    assert world.reasons() == ["TaskGone"]
    assert_nothing_left(world)
