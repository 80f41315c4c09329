"""Declared phases: what may follow what, and what happens to what was held."""

from collections.abc import Sequence

from taskpass.core.errors import ProviderUnavailable
from tests.simulation.builders import phase, request, task
from tests.simulation.invariants import assert_at_rest
from tests.simulation.world import SimulatedWorld

READ = request("tickets")
WRITE = request("tickets", actions=["tickets.write"])
KB = request("kb")


async def in_research(world: SimulatedWorld, *common: object) -> None:
    """Bring a task of three phases to rest in the first."""
    phases = [
        phase("research", READ, next=["reply"]),
        phase("reply", WRITE, next=["close"]),
        phase("close"),
    ]
    world.create(task(*[KB] if common else [], phases=phases, phase="research"))
    world.add_pod()
    await world.settle()
    assert world.status["phaseName"] == "research"


def actions(world: SimulatedWorld) -> Sequence[Sequence[str]]:
    """Return the actions of what is held."""
    return [g.actions for g in world.held()]


async def test_a_declared_move_revokes_first_and_then_issues_for_the_new_phase(
    world: SimulatedWorld,
) -> None:
    await in_research(world)
    world.journal.clear()

    world.change(phase="reply")
    await world.settle()

    done = world.journal
    moved = "ledger.commit credential.revoke result, task.phase"
    assert done.index("provider.revoke") < done.index("sink.withdraw") < done.index(moved)
    assert done.index(moved) < done.index("provider.issue")
    assert actions(world) == [("tickets.write",)]
    assert world.status["phaseName"] == "reply"
    assert world.reasons() == ["PhaseChanged"]
    assert_at_rest(world)


async def test_what_is_asked_for_in_every_phase_is_issued_anew_in_each(
    world: SimulatedWorld,
) -> None:
    await in_research(world, KB)
    old = world.held()[0]

    world.change(phase="reply")
    await world.settle()

    assert [g.name for g in world.held()] == ["kb", "tickets"]
    assert world.held()[0].id != old.id


async def test_the_kubelet_is_told_at_once_of_each_change_of_the_secret(
    world: SimulatedWorld,
) -> None:
    await in_research(world)
    world.journal.clear()

    world.change(phase="reply")
    await world.settle()

    nudges = [line for line in world.journal if line.startswith("pods.nudge")]
    assert len(nudges) == 2
    assert nudges[0] == "pods.nudge none"


async def test_a_phase_that_asks_for_nothing_holds_nothing(world: SimulatedWorld) -> None:
    await in_research(world)
    world.change(phase="reply")
    await world.settle()

    world.change(phase="close")
    await world.settle()

    assert world.held() == []
    assert world.secret() is None
    assert world.condition("Ready") == ("True", "Ready")


async def test_of_a_phase_that_asks_for_nothing_it_is_told_that_its_pod_was_attested(
    world: SimulatedWorld,
) -> None:
    phases = [phase("wait", next=("read",)), phase("read", request("tickets"))]
    world.create(task(phases=phases))
    world.add_pod()

    await world.settle()

    assert not world.pod().gated
    assert len(world.told("Attested")) == 1


async def test_an_undeclared_move_revokes_all_and_stalls(world: SimulatedWorld) -> None:
    await in_research(world)

    world.change(phase="close")
    await world.settle()

    assert world.provider.live == {}
    assert world.secret() is None
    assert world.condition("Stalled") == ("True", "UnapprovedBranch")
    assert world.condition("Ready") == ("False", "UnapprovedBranch")
    assert world.status["phaseName"] == "research"
    assert world.told("UnapprovedBranch", kind="Pod")


async def test_a_move_back_is_an_undeclared_move(world: SimulatedWorld) -> None:
    await in_research(world)
    world.change(phase="reply")
    await world.settle()

    world.change(phase="research")
    await world.settle()

    assert world.held() == []
    assert world.condition("Stalled") == ("True", "UnapprovedBranch")


async def test_a_task_that_goes_back_to_where_it_had_settled_goes_on_from_there(
    world: SimulatedWorld,
) -> None:
    await in_research(world)
    old = world.held()[0]
    world.change(phase="close")
    await world.settle()

    world.change(phase="research")
    await world.settle()
    back = world.held()[0]
    world.restart()
    world.change(phase="reply")
    await world.settle()

    assert (back.phase, back.actions) == ("research", ("tickets.read",))
    assert back.id != old.id
    assert actions(world) == [("tickets.write",)]
    assert len(world.entries("task.phase")) == 3
    assert_at_rest(world)


async def test_a_task_that_goes_back_while_a_provider_owes_waits_for_it(
    world: SimulatedWorld,
) -> None:
    await in_research(world)
    world.fail("provider.revoke", ProviderUnavailable("no answer"), times=None)
    world.change(phase="close")
    await world.settle()

    world.change(phase="research")
    await world.settle()
    owed = [g.state.value for g in world.held()]
    world.heal()
    await world.settle()

    assert owed == ["Revoking"]
    assert [g.state.value for g in world.held()] == ["Delivered"]
    assert world.condition("Stalled") == ("False", "NotStalled")


async def test_a_blocked_task_ends_with_its_pod(world: SimulatedWorld) -> None:
    await in_research(world)
    world.change(phase="close")
    await world.settle()

    world.end_pod()
    await world.settle()

    assert world.condition("Finished") == ("True", "Succeeded")
    assert world.condition("Stalled") == ("False", "NotStalled")


async def test_phases_that_are_rewritten_open_no_way_around_the_declared_path(
    world: SimulatedWorld,
) -> None:
    await in_research(world)

    world.change(phases=(phase("close", WRITE),), phase="close")
    await world.settle()

    assert world.held() == []
    assert world.condition("Stalled") == ("True", "UnapprovedBranch")


async def test_a_move_while_the_provider_is_down_issues_nothing_before_the_debt_is_paid(
    world: SimulatedWorld,
) -> None:
    await in_research(world)
    world.fail("provider.revoke", ProviderUnavailable("no answer"), times=None)

    world.change(phase="reply")
    await world.settle()
    owed = [(g.actions, g.state.value) for g in world.held()]
    said, secret = world.condition("CredentialsIssued"), world.secret()
    settled = world.status["phaseName"]
    world.heal()
    await world.settle()

    assert owed == [(("tickets.read",), "Revoking")]
    assert said == ("False", "Revoking")
    assert secret is None
    assert settled == "research"
    assert actions(world) == [("tickets.write",)]
    assert world.status["phaseName"] == "reply"
