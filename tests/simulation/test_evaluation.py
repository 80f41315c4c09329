"""Validations are looked up like all else: in one go, after what ends something, before a yes."""

from datetime import timedelta

import pytest

from taskpass.core.policy.evaluate import CompiledPolicy, Effect, Validation
from tests.simulation.builders import phase, policy, request, task
from tests.simulation.invariants import assert_at_rest
from tests.simulation.world import SimulatedWorld

EVALUATE = "evaluator.evaluate"


def demanding(name: str, *sources: str, effect: Effect = Effect.ALLOW) -> CompiledPolicy:
    validations = tuple(Validation(expression=each, message=f"must: {each}") for each in sources)
    return policy(name, validations=validations, effect=effect, generation=len(sources))


def calls(world: SimulatedWorld, name: str) -> list[int]:
    """Return where in the journal a call is."""
    return [number for number, line in enumerate(world.journal) if line.startswith(name)]


async def running(world: SimulatedWorld, *policies: CompiledPolicy) -> None:
    """Bring a task with two credentials to rest."""
    world.cluster.policy_list = list(policies)
    world.create(task(request("tickets"), request("answers")))
    world.add_pod()
    await world.settle()
    assert len(world.held()) == 2


@pytest.mark.parametrize(("source", "held"), [("intent.goal != 'x'", 1), ("intent.goal == 'x'", 0)])
async def test_a_validation_decides(world: SimulatedWorld, source: str, held: int) -> None:
    world.cluster.policy_list = [demanding("triage", "true", source)]
    world.create(task(request("tickets")))
    world.add_pod()
    await world.settle()

    assert len(world.held()) == held
    reason = "Allowed" if held else "NoPolicy"
    assert world.condition("Authorized")[1] == reason


async def test_all_requests_of_a_task_are_asked_of_all_policies_at_once(
    world: SimulatedWorld,
) -> None:
    await running(
        world, demanding("triage", "true"), demanding("none", "false", effect=Effect.DENY)
    )
    before = len(calls(world, EVALUATE))

    await world.look()

    assert len(calls(world, EVALUATE)) == before + 1


async def test_where_no_policy_has_validations_nothing_is_evaluated(world: SimulatedWorld) -> None:
    await running(world, policy())

    assert calls(world, EVALUATE) == []


async def test_an_end_needs_no_evaluation(world: SimulatedWorld) -> None:
    await running(world, demanding("triage", "true"))
    before = len(calls(world, EVALUATE))

    world.end_pod()
    await world.settle()

    assert len(calls(world, EVALUATE)) == before
    assert world.reasons() == ["PodEnded", "PodEnded"]
    assert_at_rest(world)


async def test_a_no_that_needs_no_answer_takes_back_before_anything_is_evaluated(
    world: SimulatedWorld,
) -> None:
    await running(world, demanding("triage", "true"))
    before = len(world.journal)

    world.cluster.policy_list.append(policy("freeze", effect=Effect.DENY))
    await world.settle()

    after = world.journal[before:]
    revoked = [number for number, line in enumerate(after) if line.startswith("provider.revoke")]
    evaluated = [number for number, line in enumerate(after) if line.startswith(EVALUATE)]
    assert world.reasons() == ["PolicyChanged", "PolicyChanged"]
    assert max(revoked) < min(evaluated, default=len(after))


async def test_a_deny_whose_validations_hold_takes_back(world: SimulatedWorld) -> None:
    await running(world, demanding("triage", "true"))

    world.cluster.policy_list.append(demanding("freeze", "true", effect=Effect.DENY))
    await world.settle()

    assert world.reasons() == ["PolicyChanged", "PolicyChanged"]
    assert world.held() == []


async def test_what_is_not_decided_leaves_what_is_held_and_gives_nothing_new(
    world: SimulatedWorld,
) -> None:
    await running(world, demanding("triage", "true"))
    world.cluster.policy_list.append(demanding("freeze", "true", effect=Effect.DENY))
    world.cluster.undecided.add("freeze")
    held = world.held()

    again = await world.look()

    assert world.held() == held
    assert again is not None
    assert again.backoff
    world.create(task(request("tickets"), name="second"))
    world.add_pod("second-pod", task="second")
    await world.settle()
    assert world.held() == held


async def test_it_is_decided_once_it_can_be(world: SimulatedWorld) -> None:
    await running(world, demanding("triage", "true"))
    world.cluster.policy_list.append(demanding("freeze", "true", effect=Effect.DENY))
    world.cluster.undecided.add("freeze")
    await world.settle()
    assert len(world.held()) == 2

    world.cluster.undecided.clear()
    await world.settle()

    assert world.held() == []
    assert world.reasons() == ["PolicyChanged", "PolicyChanged"]


async def test_an_end_comes_whatever_is_not_decided(world: SimulatedWorld) -> None:
    await running(world, demanding("triage", "true"))
    world.cluster.undecided.add("triage")
    await world.settle()

    world.end_pod()
    await world.settle()

    assert world.held() == []
    assert_at_rest(world)


async def test_what_is_not_decided_is_told_in_the_status_and_is_no_refusal_in_the_log(
    world: SimulatedWorld,
) -> None:
    world.cluster.policy_list = [demanding("triage", "true")]
    world.cluster.undecided.add("triage")
    world.create(task(request("tickets")))
    world.add_pod()
    await world.settle()

    assert world.condition("Authorized") == ("Unknown", "EvaluationFailed")
    assert "it took too long" in world.message("Authorized")
    assert world.condition("Stalled")[0] == "False"
    assert world.entries("credential.deny") == []
    assert world.ports.policy_errors == {}


async def test_an_expression_may_ask_for_the_time_and_is_asked_again(
    world: SimulatedWorld,
) -> None:
    end = world.now() + timedelta(seconds=60)
    await running(world, demanding("triage", f"now < timestamp('{end:%Y-%m-%dT%H:%M:%SZ}')"))

    world.clock.advance(61)
    await world.settle()

    assert world.held() == []
    assert world.condition("Authorized") == ("False", "NoPolicy")


async def test_a_phase_is_decided_by_its_own_answers(world: SimulatedWorld) -> None:
    world.cluster.policy_list = [demanding("triage", "phase == 'one'")]
    world.create(
        task(
            phases=(
                phase("one", request("tickets"), next=("two",)),
                phase("two", request("tickets")),
            ),
            phase="one",
        )
    )
    world.add_pod()
    await world.settle()
    assert len(world.held()) == 1

    world.change(phase="two")
    await world.settle()

    assert world.held() == []
    assert world.condition("Authorized") == ("False", "NoPolicy")
