"""Every Job whose pods name a template gets a task of its own; nothing else is known in advance."""

from dataclasses import replace
from typing import Any

from taskpass.core.lifecycle.attestation import PodView
from taskpass.core.lifecycle.template import Template
from taskpass.core.model.task import LABEL, TEMPLATE_LABEL
from tests.simulation.builders import ACCOUNT, NAMESPACE, job, pod
from tests.simulation.invariants import assert_at_rest, assert_nothing_left
from tests.simulation.world import SimulatedWorld

SPEC: dict[str, Any] = {
    "agent": {"serviceAccountName": ACCOUNT},
    "requester": {"username": "ada"},
    "changedBy": {"username": "ada"},
    "changers": ["ada"],
    "sponsor": "support-platform",
    "intent": {"goal": "Nightly triage"},
    "credentials": [
        {
            "name": "tickets", "classRef": {"name": "tickets-api"}, "actions": ["tickets.read"],
            "resources": ["fake/4711"],
        }
    ],
}  # fmt: skip
NIGHTLY = Template(namespace=NAMESPACE, name="nightly", uid="t-1", generation=1, spec=SPEC)


def run(world: SimulatedWorld, name: str, *, uid: str = "") -> PodView:
    """Have a Job run once, as a CronJob makes it: its pod names the template."""
    found = job(name, uid=uid or f"job-{name}")
    world.cluster.set_workload(NAMESPACE, found)
    return waiting(world, name, found)


def waiting(world: SimulatedWorld, name: str, of: Any) -> PodView:
    made = pod(f"{name}-pod", task=name, job=of)
    labels = {LABEL: name, TEMPLATE_LABEL: "nightly"}
    return world.cluster.create_pod(replace(made, labels=labels))


async def settle(world: SimulatedWorld, *names: str) -> None:
    for _ in range(3):
        for name in names:
            await world.look((NAMESPACE, name))
        world.clock.advance(1)
    await world.settle()


def ready(world: SimulatedWorld, name: str) -> tuple[str, str]:
    conditions = world.cluster.tasks[NAMESPACE, name].status["conditions"]
    found = next(c for c in conditions if c["type"] == "Ready")
    return found["status"], found["reason"]


async def test_each_job_gets_a_task_of_its_name_and_its_pod_its_credentials(
    world: SimulatedWorld,
) -> None:
    world.cluster.template_list = [NIGHTLY]
    run(world, "nightly-1")
    world.clock.advance(5)
    run(world, "nightly-2")
    world.clock.advance(5)
    await settle(world, "nightly-1", "nightly-2")

    for name in ("nightly-1", "nightly-2"):
        made = world.cluster.tasks[NAMESPACE, name]
        assert (made.template, made.requester.username) == ("nightly", "ada")
        assert made.workload is not None
        assert made.workload.name == name
        assert ready(world, name) == ("True", "Ready")
    assert len({g.task.uid for g in world.held()}) == 2
    assert_at_rest(world)


async def test_a_job_that_is_over_has_no_task_made_again(world: SimulatedWorld) -> None:
    world.cluster.template_list = [NIGHTLY]
    found = run(world, "nightly-1")
    await settle(world, "nightly-1")
    world.cluster.change_pod(found.uid, ended="Succeeded")
    world.cluster.set_workload(NAMESPACE, job("nightly-1", uid="job-nightly-1", ended="Succeeded"))
    await settle(world, "nightly-1")
    world.cluster.delete_task((NAMESPACE, "nightly-1"))
    await settle(world, "nightly-1")

    assert world.cluster.tasks == {}
    world.cluster.remove_pod(found.uid)
    assert_nothing_left(world)


async def test_a_task_that_is_deleted_while_its_agent_runs_is_not_made_again(
    world: SimulatedWorld,
) -> None:
    world.cluster.template_list = [NIGHTLY]
    run(world, "nightly-1")
    await settle(world, "nightly-1")

    world.cluster.delete_task((NAMESPACE, "nightly-1"))
    await settle(world, "nightly-1")

    assert world.cluster.tasks == {}
    assert world.provider.live == {}


async def test_a_template_that_is_not_there_is_said_and_waited_for(world: SimulatedWorld) -> None:
    run(world, "nightly-1")
    await settle(world, "nightly-1")
    assert world.cluster.tasks == {}
    told = [e.message for e in world.cluster.events.values() if e.reason == "TaskNotMade"]
    assert told == ["AgentTaskTemplate 'nightly' does not exist; create it"]

    world.cluster.template_list = [NIGHTLY]
    await settle(world, "nightly-1")

    assert ready(world, "nightly-1") == ("True", "Ready")


async def test_a_pod_that_somebody_made_in_a_jobs_name_gets_nothing(world: SimulatedWorld) -> None:
    """Owner references are anybody's claim: such a pod has not even a task made for the Job."""
    world.cluster.template_list = [NIGHTLY]
    found = job("nightly-1")
    world.cluster.set_workload(NAMESPACE, found)
    forged = waiting(world, "nightly-1", found)
    world.cluster.change_pod(forged.uid, created_by="mallory")
    await settle(world, "nightly-1")

    assert world.provider.calls == []
    assert world.cluster.tasks == {}


async def test_a_pod_of_a_job_that_is_gone_has_no_task_made(world: SimulatedWorld) -> None:
    world.cluster.template_list = [NIGHTLY]
    waiting(world, "nightly-1", job("nightly-1", uid="another"))
    await settle(world, "nightly-1")

    assert world.cluster.tasks == {}


async def test_a_pod_of_a_template_is_no_agent_of_a_task_that_somebody_wrote(
    world: SimulatedWorld,
) -> None:
    """A Job of the task's name cannot bring pods from before the task by naming a template."""
    from tests.simulation.builders import request, task

    found = job("ticket")
    world.cluster.set_workload(NAMESPACE, found)
    waiting(world, "ticket", found)
    world.clock.advance(5)
    world.create(task(request("tickets"), name="ticket", job="ticket"))
    await settle(world, "ticket")

    assert world.provider.calls == []
    assert ready(world, "ticket") == ("False", "PodReplaced")


async def test_whose_template_it_is_is_asked_about_at_every_issue(world: SimulatedWorld) -> None:
    world.cluster.template_list = [NIGHTLY]
    world.cluster.may_not_use.add(("ada", "tickets-api"))
    run(world, "nightly-1")
    await settle(world, "nightly-1")

    assert world.provider.calls == []
    assert ready(world, "nightly-1") == ("False", "Denied")


async def test_nothing_is_made_in_a_namespace_that_is_not_served(world: SimulatedWorld) -> None:
    world.cluster.template_list = [NIGHTLY]
    world.cluster.tenants.clear()
    run(world, "nightly-1")
    await settle(world, "nightly-1")

    assert world.cluster.tasks == {}


async def test_a_lost_answer_makes_no_second_task(world: SimulatedWorld) -> None:
    from taskpass.core.errors import ApiUnavailable
    from tests.simulation.faults import When

    world.cluster.template_list = [NIGHTLY]
    run(world, "nightly-1")
    world.fail("tasks.create", ApiUnavailable("no answer"), when=When.AFTER)
    await settle(world, "nightly-1")

    assert list(world.cluster.tasks) == [(NAMESPACE, "nightly-1")]
    assert ready(world, "nightly-1") == ("True", "Ready")
