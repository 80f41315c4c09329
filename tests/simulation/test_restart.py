"""After a restart nothing is delivered from memory that is gone (docs/concepts.md, rule 5)."""

from taskpass.core.errors import ApiUnavailable, Forbidden
from tests.simulation.builders import request, task
from tests.simulation.faults import Crash, When
from tests.simulation.invariants import assert_at_rest, assert_nothing_left
from tests.simulation.world import SimulatedWorld


async def test_what_was_delivered_stays(world: SimulatedWorld) -> None:
    world.create(task(request("tickets")))
    world.add_pod()
    await world.settle()
    before, secret = world.held(), world.secret()

    world.restart()
    await world.settle()

    assert world.held() == before
    assert world.secret() == secret
    assert_at_rest(world)


async def test_what_was_delivered_is_revoked_when_its_time_has_come(world: SimulatedWorld) -> None:
    world.create(task(request("tickets")))
    world.add_pod()
    await world.settle()

    world.restart()
    world.delete()
    await world.settle()

    assert_nothing_left(world)


async def test_what_was_issued_and_not_delivered_is_undone_and_issued_anew(
    world: SimulatedWorld,
) -> None:
    world.create(task(request("tickets")))
    world.add_pod()
    world.fail("sink.deliver", ApiUnavailable("lost"), when=When.AFTER)
    await world.look()
    [old] = world.provider.live.values()

    world.restart()
    await world.settle()

    assert not world.provider.works(old)
    assert world.reasons() == ["Interrupted"]
    assert_at_rest(world)


async def test_a_request_that_was_added_renews_the_others_that_are_not_known_any_more(
    world: SimulatedWorld,
) -> None:
    world.create(task(request("tickets")))
    world.add_pod()
    await world.settle()
    world.restart()

    world.change(credentials=(request("kb"), request("tickets")))
    await world.settle()

    before = world.held()
    world.clock.advance(90)
    await world.settle()

    assert [(g.name, g.renewals) for g in before] == [("kb", 0), ("tickets", 0), ("tickets", 0)]
    assert world.reasons() == ["Renewed"]
    fields = world.secret()
    assert fields is not None
    assert {"kb.token", "tickets.token"} <= set(fields)
    assert_at_rest(world)


async def test_a_request_that_was_added_and_is_denied_leaves_the_others_alone(
    world: SimulatedWorld,
) -> None:
    world.create(task(request("tickets")))
    world.add_pod()
    await world.settle()
    world.restart()

    world.change(credentials=(request("secrets", actions=["secrets.read"]), request("tickets")))
    await world.settle()

    assert [g.name for g in world.held()] == ["tickets"]
    assert world.secret() is not None
    assert world.condition("Stalled") == ("True", "Denied")


async def test_a_denial_is_remembered(world: SimulatedWorld) -> None:
    world.cluster.policy_list = []
    world.create(task(request("tickets")))
    world.add_pod()
    await world.settle()
    events = len(world.cluster.events)

    world.restart()
    await world.settle()

    assert len(world.entries("credential.deny")) == 1
    assert len(world.cluster.events) == events


async def test_a_task_that_went_while_nobody_looked_leaves_nothing(world: SimulatedWorld) -> None:
    world.create(task(request("tickets")))
    world.add_pod()
    await world.settle()
    world.close()
    world.cluster.tasks.clear()

    world.restart()
    await world.settle()

    assert world.reasons() == ["TaskGone"]
    assert_nothing_left(world)


async def test_a_task_that_was_made_anew_while_nobody_looked_starts_from_nothing(
    world: SimulatedWorld,
) -> None:
    world.create(task(request("tickets")))
    world.add_pod("old")
    await world.settle()
    world.close()
    world.cluster.tasks.clear()
    world.remove_pod("old")
    world.clock.advance(60)
    made = world.create(task(request("tickets")))
    world.add_pod("new")

    world.restart()
    await world.settle()

    assert [g.task.uid for g in world.held()] == [made.uid]
    assert world.status["startTime"] == "2027-03-01T12:01:00Z"
    assert_at_rest(world)


async def test_a_secret_that_may_not_be_deleted_any_more_wedges_nothing(
    world: SimulatedWorld,
) -> None:
    world.create(task(request("tickets")))
    world.add_pod()
    await world.settle()
    world.close()
    world.cluster.tasks.clear()
    world.restart()
    world.fail("sink.withdraw", Forbidden("no right"), times=None)

    await world.settle()

    assert world.errors == []
    assert world.provider.live == {}
    assert list(world.ports.ledger.records()) == []


async def test_a_revocation_that_was_cut_off_before_its_record_is_made_good_by_the_renewal(
    world: SimulatedWorld,
) -> None:
    world.create(task(request("tickets")))
    world.add_pod()
    await world.settle()
    world.fail("ledger.commit", Crash("cut off"))
    allowing, world.cluster.policy_list = world.cluster.policy_list, []
    await world.look()

    world.cluster.policy_list = allowing
    await world.settle()
    believed = len(world.held())
    assert_at_rest(world, cut_off=True)
    world.clock.advance(700)
    await world.settle()
    world.clock.advance(90)
    await world.settle()

    assert believed == 1
    assert len(world.held()) == 1
    assert_at_rest(world)
