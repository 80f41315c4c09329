"""One live pod per task, proven, and never another's."""

from dataclasses import replace
from datetime import timedelta

import pytest

from taskpass.core.lifecycle.ownership import Owner
from taskpass.core.lifecycle.pod import MOST_OWNERS, MOST_ROUNDS
from taskpass.core.model.task import LABEL
from tests.simulation.builders import NAMESPACE, job, pod, request, task
from tests.simulation.invariants import assert_at_rest
from tests.simulation.world import SimulatedWorld


async def of_a_job(world: SimulatedWorld) -> None:
    """Bring a task with a workloadRef to rest, with a credential in the Job's first pod."""
    made = world.cluster.set_workload(NAMESPACE, job())
    world.create(task(request("tickets"), job="ticket-4711"))
    world.add_pod("first", job=made)
    await world.settle()
    assert world.condition("Ready") == ("True", "Ready")


async def test_without_a_workload_the_pods_end_is_the_tasks_end(world: SimulatedWorld) -> None:
    world.create(task(request("tickets")))
    world.add_pod()
    await world.settle()

    world.end_pod(how="Failed")
    await world.settle()

    assert world.condition("Finished") == ("True", "Failed")
    assert world.condition("Ready") == ("False", "Finished")
    assert world.provider.live == {}
    assert world.secret() is None
    assert world.reasons() == ["PodEnded"]


async def test_a_pod_that_is_gone_failed(world: SimulatedWorld) -> None:
    world.create(task(request("tickets")))
    world.add_pod()
    await world.settle()

    world.remove_pod()
    await world.settle()

    assert world.condition("Finished") == ("True", "Failed")
    assert world.provider.live == {}


async def test_a_finished_task_stays_finished_when_another_pod_comes(
    world: SimulatedWorld,
) -> None:
    world.create(task(request("tickets")))
    world.add_pod()
    await world.settle()
    world.end_pod()
    await world.settle()

    world.add_pod("late")
    await world.settle()

    assert world.pod("late").gated
    assert world.provider.live == {}
    assert world.condition("Finished") == ("True", "Succeeded")


async def test_a_pod_that_goes_keeps_its_credential_until_its_time_to_go_is_over(
    world: SimulatedWorld,
) -> None:
    world.create(task(request("tickets")))
    world.add_pod()
    await world.settle()

    world.cluster.change_pod(world.pod().uid, deleting_since=world.now() + timedelta(seconds=30))
    again = await world.look()
    during = len(world.held())
    world.clock.advance(30)
    await world.settle()

    assert again is not None
    assert again.at == world.pod().deleting_since
    assert during == 1
    assert world.provider.live == {}


async def test_the_jobs_next_pod_is_a_new_attempt_with_new_credentials(
    world: SimulatedWorld,
) -> None:
    await of_a_job(world)
    old = world.held()[0]

    world.end_pod("first", "Failed")
    await world.settle()
    between = (world.provider.live.copy(), world.secret(), world.condition("Attested"))
    world.add_pod("second", job=job())
    await world.settle()

    assert between == ({}, None, ("False", "PodMissing"))
    new = world.held()[0]
    assert (old.attempt, new.attempt) == (1, 2)
    assert new.id != old.id
    assert new.pod_uid == world.pod("second").uid
    assert world.condition("Ready") == ("True", "Ready")
    assert_at_rest(world)


async def test_the_jobs_end_is_the_tasks_end(world: SimulatedWorld) -> None:
    await of_a_job(world)

    world.end_pod("first")
    await world.settle()
    before = world.condition("Finished")
    world.cluster.set_workload(NAMESPACE, job(ended="Succeeded"))
    await world.settle()

    assert before == ("False", "Running")
    assert world.condition("Finished") == ("True", "Succeeded")


async def test_a_job_that_was_deleted_cancels_the_task(world: SimulatedWorld) -> None:
    await of_a_job(world)

    world.cluster.workloads.clear()
    world.remove_pod("first")
    await world.settle()

    assert world.condition("Finished") == ("True", "Cancelled")
    assert world.provider.live == {}


async def test_a_job_that_was_made_anew_is_not_the_tasks(world: SimulatedWorld) -> None:
    await of_a_job(world)

    world.remove_pod("first")
    remade = world.cluster.set_workload(NAMESPACE, job(uid="job-2"))
    world.add_pod("second", job=remade)
    await world.settle()

    assert world.pod("second").gated
    assert world.condition("Finished") == ("True", "Cancelled")


async def test_a_blocked_task_notices_the_end_of_its_job(world: SimulatedWorld) -> None:
    await of_a_job(world)
    world.change(phase="elsewhere")
    await world.settle()
    world.end_pod("first")
    await world.settle()

    again = await world.look()
    world.cluster.set_workload(NAMESPACE, job(ended="Failed"))
    await world.settle()

    assert again is not None
    assert again.backoff
    assert world.condition("Finished") == ("True", "Failed")


async def test_a_second_pod_waits_gated_and_is_told_once(world: SimulatedWorld) -> None:
    world.create(task(request("tickets")))
    world.add_pod("first")
    await world.settle()

    world.clock.advance(1)
    world.add_pod("second")
    await world.settle()
    await world.settle()

    assert world.pod("second").gated
    assert len(world.held()) == 1
    assert world.told("PodWaits", kind="Pod") == [
        "Pod 'second' waits: task 'ticket-4711' has one live pod at a time, and that is 'first' "
        "(replacementPolicy WaitForOld)"
    ]
    assert len(world.told("PodWaits")) == 1
    assert sum(line == "events.post PodWaits" for line in world.journal) == 2


async def test_of_two_pods_that_wait_the_older_is_attested(world: SimulatedWorld) -> None:
    world.create(task(request("tickets")))
    world.add_pod("zz-older")
    world.clock.advance(1)
    world.add_pod("aa-younger")

    await world.settle()

    assert not world.pod("zz-older").gated
    assert world.pod("aa-younger").gated


async def test_a_pod_that_runs_as_another_service_account_gets_nothing(
    world: SimulatedWorld,
) -> None:
    world.create(task(request("tickets")))
    world.cluster.create_pod(replace(pod(), service_account="other"))

    for _ in range(3):
        await world.look()

    assert world.pod().gated
    assert world.provider.calls == []
    assert world.condition("Attested") == ("False", "ServiceAccountMismatch")
    assert len(world.entries("workload.attest")) == 1
    assert world.told("AttestationFailed", kind="Pod")


async def test_a_refused_pod_does_not_keep_a_right_one_waiting(world: SimulatedWorld) -> None:
    world.create(task(request("tickets")))
    world.cluster.create_pod(replace(pod("intruder"), service_account="other"))
    world.add_pod("agent")

    await world.settle()

    assert world.pod("intruder").gated
    assert not world.pod("agent").gated


async def test_a_service_account_that_comes_later_is_found(world: SimulatedWorld) -> None:
    accounts, world.cluster.accounts = world.cluster.accounts, {}
    world.create(task(request("tickets")))
    world.add_pod()
    again = await world.look()

    world.cluster.accounts = accounts
    await world.settle()

    assert again is not None
    assert again.backoff
    assert not world.pod().gated


async def test_a_pod_that_invents_its_owner_gets_nothing(world: SimulatedWorld) -> None:
    world.cluster.set_workload(NAMESPACE, job())
    world.create(task(request("tickets"), job="ticket-4711"))
    world.cluster.create_pod(pod(job=job(uid="job-invented")))

    await world.settle()

    assert world.provider.calls == []
    assert world.condition("Attested") == ("False", "WorkloadMismatch")


async def test_a_pod_that_names_the_live_job_but_was_made_by_a_person_gets_nothing(
    world: SimulatedWorld,
) -> None:
    made = world.cluster.set_workload(NAMESPACE, job())
    world.create(task(request("tickets"), job="ticket-4711"))
    world.cluster.create_pod(replace(pod(job=made), created_by="mallory"))

    await world.settle()

    assert world.provider.calls == []
    assert world.condition("Attested") == ("False", "WorkloadMismatch")


async def test_a_pod_that_runs_already_is_never_attested(world: SimulatedWorld) -> None:
    world.create(task(request("tickets")))
    world.cluster.create_pod(replace(pod(), gated=False))

    await world.settle()

    assert world.provider.calls == []
    assert world.condition("Attested") == ("False", "PodReplaced")


async def test_a_recreated_task_inherits_no_pod(world: SimulatedWorld) -> None:
    world.create(task(request("tickets")))
    world.add_pod()
    await world.settle()
    world.delete()
    await world.settle()

    world.clock.advance(1)
    world.create(task(request("tickets")))
    await world.settle()

    assert world.provider.live == {}
    assert world.secret() is None
    assert world.condition("Attested") == ("False", "PodReplaced")


async def test_a_bound_pod_is_not_bound_again_even_in_the_same_second(
    world: SimulatedWorld,
) -> None:
    world.create(task(request("tickets")))
    world.add_pod()
    await world.settle()
    world.delete()
    await world.settle()

    world.create(task(request("tickets")))
    world.cluster.change_pod(world.pod().uid, gated=True)
    await world.settle()

    assert world.provider.live == {}
    assert world.condition("Attested") == ("False", "PodReplaced")


async def test_nothing_is_written_while_another_pod_reads_the_secret(
    world: SimulatedWorld,
) -> None:
    world.create(task(request("tickets")))
    world.add_pod("old")
    await world.settle()
    world.delete()
    await world.settle()
    world.clock.advance(1)
    world.create(task(request("tickets")))
    world.add_pod("new")

    await world.settle()
    waiting = (world.provider.live.copy(), world.secret(), world.message("CredentialsIssued"))
    world.end_pod("old")
    await world.settle()

    assert waiting[:2] == ({}, None)
    assert "Pod 'old' still runs" in waiting[2]
    assert not world.pod("new").gated
    assert_at_rest(world)


async def test_a_pod_whose_node_is_cut_off_still_reads_the_secret(world: SimulatedWorld) -> None:
    await of_a_job(world)
    world.cluster.change_pod(world.pod("first").uid, deleting_since=world.now())
    world.add_pod("second", job=job())

    await world.settle()
    gated = world.pod("second").gated
    world.remove_pod("first")
    await world.settle()

    assert gated
    assert not world.pod("second").gated


async def test_a_pod_without_the_label_is_nobodys(world: SimulatedWorld) -> None:
    world.create(task(request("tickets")))
    world.cluster.create_pod(replace(pod(), labels={LABEL: "another-task"}))
    world.clock.advance(2)

    await world.settle()

    assert world.condition("Attested") == ("False", "PodMissing")


async def test_any_number_of_pods_that_only_say_whose_they_are_keep_no_task_from_resting(
    world: SimulatedWorld,
) -> None:
    world.cluster.set_workload(NAMESPACE, job())
    world.create(task(request("tickets"), job="ticket-4711"))
    for number in range(300):
        invented = job(f"invented-{number}", uid=f"invented-{number}")
        bogus = replace(pod(f"bogus-{number}", job=invented), created_by="mallory")
        world.cluster.create_pod(bogus)

    again = await world.look()

    reads = sum(line.startswith("workloads.owners") for line in world.journal)
    assert world.condition("Attested") == ("False", "WorkloadMismatch")
    assert world.provider.calls == []
    assert again is not None
    assert again.backoff
    assert 0 < reads <= MOST_ROUNDS * MOST_OWNERS


async def test_the_right_pod_is_found_among_any_number_of_others(world: SimulatedWorld) -> None:
    made = world.cluster.set_workload(NAMESPACE, job())
    world.create(task(request("tickets"), job="ticket-4711"))
    for number in range(300):
        other = world.cluster.set_workload(NAMESPACE, job(f"job-{number}", uid=f"other-{number}"))
        world.cluster.create_pod(pod(f"bogus-{number}", job=other))
    world.clock.advance(1)
    world.add_pod("agent", job=made)

    await world.settle()

    assert not world.pod("agent").gated
    assert world.condition("Ready") == ("True", "Ready")


async def test_pods_of_one_workload_share_the_look_at_it(world: SimulatedWorld) -> None:
    made = world.cluster.set_workload(NAMESPACE, job("other", uid="other"))
    world.cluster.set_workload(NAMESPACE, job())
    world.create(task(request("tickets"), job="ticket-4711"))
    for number in range(100):
        world.add_pod(f"bogus-{number}", job=made)

    await world.look()

    assert sum(line.startswith("workloads.owners") for line in world.journal) == 1


async def test_pods_of_the_wrong_service_account_are_not_looked_up_at_all(
    world: SimulatedWorld,
) -> None:
    made = world.cluster.set_workload(NAMESPACE, job())
    world.create(task(request("tickets"), job="ticket-4711"))
    for number in range(62):
        wrong = replace(pod(f"bogus-{number}", job=made), service_account="other")
        world.cluster.create_pod(wrong)

    await world.look()

    assert not any(line.startswith("workloads.owners") for line in world.journal)
    assert world.condition("Attested") == ("False", "ServiceAccountMismatch")


async def test_a_task_for_which_there_is_no_room_loses_what_it_holds_and_says_why(
    world: SimulatedWorld,
) -> None:
    world.create(task(request("tickets")))
    world.add_pod()
    await world.settle()
    assert len(world.held()) == 1

    world.change(left_out="The tasks of namespace 'support' take more than 32 MiB together")
    await world.settle()

    assert world.held() == []
    assert world.condition("Attested") == ("Unknown", "NotEnrolled")
    assert "32 MiB" in world.message("Attested")


@pytest.mark.parametrize("named", [True, False], ids=["its workload", "a pod of nobody's"])
async def test_a_pod_whose_owner_cannot_be_read_keeps_no_other_from_being_attested(
    world: SimulatedWorld, named: bool
) -> None:
    """Whoever may make pods may name an owner of any kind, of one that nobody serves as well."""
    made = world.cluster.set_workload(NAMESPACE, job())
    world.cluster.not_served.add("Rollout")
    world.create(task(request("tickets"), job=made.name if named else ""))
    nowhere = Owner(api_group="argoproj.io", kind="Rollout", name="nowhere", uid="r-1")
    world.cluster.create_pod(replace(pod("bogus"), created_by="mallory", owner=nowhere))
    await world.settle()
    alone = world.condition("Attested"), world.message("Attested")

    world.cluster.create_pod(pod("agent", job=made))
    await world.settle()

    assert alone[0] == ("Unknown", "CheckFailed")
    assert "pod 'bogus' is could not be found out" in alone[1]
    assert world.condition("Ready") == ("True", "Ready")
    assert world.pod("bogus").gated
    assert not world.pod("agent").gated


async def test_a_pod_is_attested_once_its_owner_can_be_read(world: SimulatedWorld) -> None:
    made = world.cluster.set_workload(NAMESPACE, job())
    world.create(task(request("tickets")))
    world.cluster.not_served.add("Job")
    world.cluster.create_pod(pod("agent", job=made))
    await world.settle()
    before = world.condition("Attested")

    world.cluster.not_served.clear()
    await world.settle()

    assert before == ("Unknown", "CheckFailed")
    assert world.condition("Ready") == ("True", "Ready")
