"""How many tasks of an agent may hold credentials at a time, and who waits for whom."""

from dataclasses import replace

from taskpass.core.errors import ProviderUnavailable
from taskpass.core.policy.evaluate import Agents, Effect
from tests.simulation.builders import ACCOUNT, NAMESPACE, pod, policy, request, task
from tests.simulation.faults import Crash, When
from tests.simulation.invariants import assert_at_rest
from tests.simulation.world import SimulatedWorld

LIMIT = policy(max_active_tasks=2)
READ = request("tickets")


async def begun(world: SimulatedWorld, *names: str, account: str = "") -> None:
    """Make a task and a pod of each name, one after the other, and let all come to rest."""
    for name in names:
        made, agent = task(READ, name=name), pod(name, task=name)
        if account:
            made = replace(made, service_account=account)
            agent = replace(agent, service_account=account)
        world.cluster.create_task(made)
        world.cluster.create_pod(agent)
        await world.settle()


def holders(world: SimulatedWorld) -> set[str]:
    return {grant.task.name for grant in world.held()}


def said(world: SimulatedWorld, name: str, kind: str = "Authorized") -> tuple[str, str]:
    conditions = world.cluster.tasks[NAMESPACE, name].status["conditions"]
    found = next(c for c in conditions if c["type"] == kind)
    return found["status"], found["reason"]


async def test_one_more_than_may_waits_behind_its_gate_and_nobody_must_act(
    world: SimulatedWorld,
) -> None:
    world.cluster.policy_list = [LIMIT]

    await begun(world, "a", "b", "c")

    assert holders(world) == {"a", "b"}
    assert said(world, "c") == ("False", "LimitReached")
    assert said(world, "c", "Stalled") == ("False", "NotStalled")
    assert world.pod("c").gated
    told = world.told("PolicyDenied")
    assert told[0].startswith(
        "Credential 'tickets': limits.maxActiveTasks of AgentPolicy 'support/triage' lets 2 tasks "
        "of agent 'triage-agent' hold credentials at a time; this one waits"
    )
    assert_at_rest(world)


async def test_it_goes_on_as_soon_as_one_of_them_holds_nothing(world: SimulatedWorld) -> None:
    world.cluster.policy_list = [LIMIT]
    await begun(world, "a", "b", "c", "d")
    world.end_pod("a")

    again = await world.look((NAMESPACE, "a"))
    first = again.enqueue if again else None
    await world.look((NAMESPACE, "c"))
    third = await world.look((NAMESPACE, "d"))

    assert first == (NAMESPACE, "c")  # who has waited longest
    assert holders(world) == {"b", "c"}
    assert third is not None
    assert third.enqueue is None
    world.cluster.change_task((NAMESPACE, "b"), operating_mode="Suspended")
    again = await world.look((NAMESPACE, "b"))
    assert again is not None
    assert again.enqueue == (NAMESPACE, "d")


async def test_who_waits_and_cannot_use_the_place_passes_it_on(world: SimulatedWorld) -> None:
    world.cluster.policy_list = [LIMIT]
    await begun(world, "a", "b", "c", "d")
    world.cluster.change_task((NAMESPACE, "c"), operating_mode="Suspended")
    world.end_pod("a")
    again = await world.look((NAMESPACE, "a"))
    assert again is not None
    assert again.enqueue == (NAMESPACE, "c")

    passed = await world.look((NAMESPACE, "c"))

    assert passed is not None
    assert passed.enqueue == (NAMESPACE, "d")


async def test_who_waited_longest_and_is_gone_passes_the_place_on(world: SimulatedWorld) -> None:
    world.cluster.policy_list = [LIMIT]
    await begun(world, "a", "b", "c", "d")
    world.end_pod("a")
    again = await world.look((NAMESPACE, "a"))
    assert again is not None
    assert again.enqueue == (NAMESPACE, "c")
    del world.cluster.tasks[NAMESPACE, "c"]  # before its turn came; its finalizer was taken off

    passed = await world.look((NAMESPACE, "c"))

    assert passed is not None
    assert passed.enqueue == (NAMESPACE, "d")


async def test_another_agent_has_places_of_its_own(world: SimulatedWorld) -> None:
    both = Agents(service_account_names=(ACCOUNT, "writer"))
    world.cluster.policy_list = [policy(max_active_tasks=2, agents=both)]
    world.cluster.accounts[NAMESPACE, "writer"] = "account-2"

    await begun(world, "a", "b")
    await begun(world, "c", account="writer")

    assert holders(world) == {"a", "b", "c"}


def two_agents(world: SimulatedWorld, **limits: int) -> None:
    both = Agents(service_account_names=(ACCOUNT, "writer"))
    world.cluster.policy_list = [policy(agents=both, **limits)]
    world.cluster.accounts[NAMESPACE, "writer"] = "account-2"


async def test_all_agents_of_a_namespace_share_its_places(world: SimulatedWorld) -> None:
    two_agents(world, max_active_tasks_in_namespace=2)

    await begun(world, "a")
    await begun(world, "b", "c", account="writer")

    assert holders(world) == {"a", "b"}
    assert said(world, "c") == ("False", "LimitReached")
    assert world.told("PolicyDenied")[0].startswith(
        "Credential 'tickets': limits.maxActiveTasksInNamespace of AgentPolicy 'support/triage' "
        "lets 2 tasks of the namespace hold credentials at a time; this one waits"
    )
    assert_at_rest(world)


async def test_a_place_in_the_namespace_goes_to_whichever_agent_waits(
    world: SimulatedWorld,
) -> None:
    two_agents(world, max_active_tasks_in_namespace=2, max_active_tasks=1)
    await begun(world, "a")
    await begun(world, "b", "of-b", account="writer")
    world.cluster.accounts[NAMESPACE, "third"] = "account-3"
    world.cluster.policy_list = [
        policy(agents=Agents(service_account_names=(ACCOUNT, "writer", "third")),
               max_active_tasks_in_namespace=2, max_active_tasks=1)
    ]  # fmt: skip
    await begun(world, "c", account="third")
    assert holders(world) == {"a", "b"}

    world.end_pod("a")
    first = await world.look((NAMESPACE, "a"))
    await world.settle()
    world.end_pod("b")
    second = await world.look((NAMESPACE, "b"))

    assert first is not None
    assert first.enqueue == (NAMESPACE, "c")  # the other waits for one of its own agent's
    assert second is not None
    assert second.enqueue == (NAMESPACE, "of-b")


async def test_who_holds_something_is_renewed_though_all_places_are_taken(
    world: SimulatedWorld,
) -> None:
    world.cluster.policy_list = [LIMIT]
    await begun(world, "a", "b", "c")
    old = {grant.id for grant in world.held()}

    world.clock.advance(700)
    await world.settle()
    world.clock.advance(91)
    await world.settle()

    assert holders(world) == {"a", "b"}
    assert not old & {grant.id for grant in world.held()}
    assert world.reasons() == ["Renewed", "Renewed"]


async def test_a_limit_that_is_lowered_takes_back_what_the_last_ones_hold(
    world: SimulatedWorld,
) -> None:
    world.cluster.policy_list = [policy(max_active_tasks=3)]
    for name in ("a", "b", "c"):
        await begun(world, name)
        world.clock.advance(1)

    world.cluster.policy_list = [policy(max_active_tasks=1)]
    world.cluster.changed()
    await world.settle()

    assert holders(world) == {"a"}
    assert said(world, "c") == ("False", "LimitReached")
    assert_at_rest(world)


async def test_a_constrain_of_the_cluster_limits_what_a_namespace_allows(
    world: SimulatedWorld,
) -> None:
    least = policy("least", effect=Effect.CONSTRAIN, max_active_tasks=1)
    world.cluster.policy_list = [policy(max_active_tasks=5), least]

    await begun(world, "a", "b")

    assert holders(world) == {"a"}


async def test_what_is_owed_takes_no_place(world: SimulatedWorld) -> None:
    """A provider that is down must not keep an agent's other tasks from working."""
    world.cluster.policy_list = [policy(max_active_tasks=1)]
    await begun(world, "a", "b")
    world.fail("provider.revoke", ProviderUnavailable("no answer"), times=None)
    world.end_pod("a")
    await world.look((NAMESPACE, "a"))

    await world.look((NAMESPACE, "b"))

    states = {grant.task.name: grant.state.value for grant in world.held()}
    assert states == {"a": "Revoking", "b": "Delivered"}


async def test_a_restart_keeps_the_count(world: SimulatedWorld) -> None:
    world.cluster.policy_list = [LIMIT]
    await begun(world, "a", "b")
    world.fail("provider.issue", Crash("issue"), when=When.AFTER)
    world.restart()

    await begun(world, "c")

    assert holders(world) == {"a", "b"}
