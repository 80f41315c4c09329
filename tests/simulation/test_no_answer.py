"""A life in which for a while nothing of the namespace is known (docs/adr/0027)."""

from taskpass.core.lifecycle.snapshot import Sight
from tests.simulation.builders import NAMESPACE, request, task
from tests.simulation.invariants import assert_at_rest, assert_nothing_left
from tests.simulation.world import SimulatedWorld

WHY = f"Nothing is issued in namespace '{NAMESPACE}' while its pods may not be read: 403"
BLIND = Sight(pods=False, accounts=False, decisions=False, issuance_blocked_reason=WHY)


def blind(world: SimulatedWorld) -> None:
    """Let the operator see nothing of the namespace."""
    world.cluster.sights[NAMESPACE] = BLIND
    world.cluster.known_pods.clear()
    world.cluster.accounts.clear()
    world.cluster.policy_list, world.cluster.classes = [], {}


async def running(world: SimulatedWorld) -> None:
    world.create(task(request("tickets")))
    world.add_pod()
    await world.settle()
    assert world.condition("Ready") == ("True", "Ready")


async def test_what_is_held_outlives_a_time_in_which_nothing_is_known_and_a_restart_in_it(
    world: SimulatedWorld,
) -> None:
    await running(world)
    held, secret = world.held(), world.secret()
    cluster = world.cluster
    before = (dict(cluster.known_pods), dict(cluster.accounts))
    decide = (list(cluster.policy_list), dict(cluster.classes))

    blind(world)
    await world.settle()
    world.restart()
    await world.settle()
    meanwhile = world.held(), world.secret()
    cluster.sights.clear()
    cluster.known_pods.update(before[0])
    cluster.accounts.update(before[1])
    cluster.policy_list, cluster.classes = decide
    await world.settle()

    assert meanwhile == (held, secret)
    assert world.held() == held
    assert_at_rest(world)


async def test_a_task_that_is_deleted_meanwhile_leaves_nothing(world: SimulatedWorld) -> None:
    await running(world)
    blind(world)
    await world.settle()

    world.delete()
    await world.settle()

    assert_nothing_left(world)


async def test_what_runs_out_meanwhile_is_taken_back_and_not_issued_again(
    world: SimulatedWorld,
) -> None:
    await running(world)
    blind(world)

    world.clock.advance(900)
    await world.settle()

    assert world.held() == []
    assert world.secret() is None
    assert world.message("CredentialsIssued") == WHY
