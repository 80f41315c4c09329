"""Whoever started what runs in the pod approves none of it, whoever wrote the task."""

import json
from dataclasses import replace
from typing import Any

import pytest

from taskpass.core.lifecycle.ownership import MOST_CHANGERS
from taskpass.core.model.task import User
from tests.simulation.approvals import READ, asking, give, pending, said
from tests.simulation.builders import ASKS_LEADS, LEA, NAME, NAMESPACE, job, pod, policy, task
from tests.simulation.world import SimulatedWorld

LEO = User(username="leo", groups=("support-leads",))


async def waiting(world: SimulatedWorld, *, named: bool = True, **workload: Any) -> None:
    """Bring a task to rest whose pod is a Job's, and whose policy has leads approve."""
    of = world.cluster.set_workload(NAMESPACE, replace(job(), **workload))
    world.cluster.policy_list = [policy(approval=ASKS_LEADS)]
    world.create(task(READ, job=NAME if named else ""))
    world.cluster.create_pod(pod(job=of))
    await world.settle()


def why(world: SimulatedWorld, uid: str) -> str:
    return next(a.said[1] for a in world.cluster.approval_list if a.uid == uid)


@pytest.mark.parametrize("named", [True, False], ids=["its workload", "a pod of nobody's"])
async def test_who_changed_the_job_may_not_approve_and_another_may(
    world: SimulatedWorld, named: bool
) -> None:
    await waiting(world, named=named, changers=("ona", "lea"))
    (asked,) = pending(world)
    hers = give(world, asked["digest"], LEA)
    await world.settle()
    nothing, hers_is = list(world.provider.calls), (said(world, hers), why(world, hers))

    give(world, asked["digest"], LEO)
    await world.settle()

    assert nothing == []
    assert hers_is[0] == "NotEligible"
    assert "'lea' has started what runs in the pod" in hers_is[1]
    assert json.loads(asked["request"])["agent"]["started_by"] == ["lea", "ona"]
    assert world.condition("Ready") == ("True", "Ready")


async def test_who_made_the_pod_by_hand_may_not_approve(world: SimulatedWorld) -> None:
    world.cluster.policy_list = [policy(approval=ASKS_LEADS)]
    world.create(task(READ))
    world.cluster.create_pod(replace(pod(), created_by="lea"))
    await world.settle()
    (asked,) = pending(world)

    hers = give(world, asked["digest"], LEA)
    await world.settle()

    assert said(world, hers) == "NotEligible"
    assert world.provider.calls == []


async def test_what_is_asked_shows_the_image_and_who_started_it(world: SimulatedWorld) -> None:
    (asked,) = await asking(world)

    agent = json.loads(asked["request"])["agent"]
    assert (agent["images"], agent["started_by"]) == (["registry.example/agent:1"], ["ada"])


@pytest.mark.parametrize(
    ("changers", "message"),
    [
        pytest.param(
            tuple(f"user-{n:02}" for n in range(MOST_CHANGERS + 1)),
            "No approval counts: more than 32 users have created or changed Job 'ticket-4711'; "
            "delete it and make it anew", id="too many",
        ),
        pytest.param(None, "No approval counts: who created Job 'ticket-4711' is not known",
                     id="from before the stamps"),
        pytest.param(("", "ona"), "No approval counts: who created Job", id="not seen"),
    ],
)  # fmt: skip
async def test_no_approval_counts_where_it_is_not_known_who_started_it(
    world: SimulatedWorld, changers: Any, message: str
) -> None:
    await waiting(world, changers=changers)

    assert pending(world) == []
    assert world.condition("Authorized") == ("False", "ApprovalRequired")
    assert message in world.message("Authorized")
    assert world.provider.calls == []


async def test_as_many_as_are_kept_is_not_too_many(world: SimulatedWorld) -> None:
    await waiting(world, changers=tuple(f"user-{n:02}" for n in range(MOST_CHANGERS)))
    (asked,) = pending(world)

    give(world, asked["digest"])
    await world.settle()

    assert world.condition("Ready") == ("True", "Ready")
