"""What one reconcile decides is recorded in few transactions; what must be durable first, is."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from taskpass.core.errors import (
    ApiUnavailable,
    EntryRefused,
    LeaseLost,
    MustEnd,
    ProviderUnavailable,
)
from taskpass.core.rate_limit.budget import Limit
from taskpass.ledger.verify.log import verify_database
from tests.simulation.builders import ACCOUNT, NAMESPACE, job, phase, pod, request, task
from tests.simulation.conftest import MakeWorld
from tests.simulation.faults import Crash
from tests.simulation.invariants import assert_at_rest, assert_nothing_left
from tests.simulation.world import KEY, SimulatedWorld

TOO_LARGE = request("big", resources=[f"fake/{number}{'x' * 900}" for number in range(31)])
"""Within the CRD (32 of 1,024 characters); more than the first entry of an issue may have."""


def while_asked(world: SimulatedWorld, change: Callable[[], Any]) -> None:
    """Have something happen once while the API server is asked about rights."""
    calls: Any = world.ports.reviewer
    real = calls.may_use

    async def may_use(user: Any, name: str) -> bool:
        calls.may_use = real
        change()
        return bool(await real(user, name))

    calls.may_use = may_use


def transactions(world: SimulatedWorld) -> list[str]:
    """Return what each has held since the journal was cleared."""
    return [line for line in world.journal if line.startswith("ledger.commit")]


async def test_a_whole_life_takes_six(world: SimulatedWorld) -> None:
    world.create(task(request("tickets")))
    world.add_pod()
    await world.settle()
    world.end_pod()
    await world.settle()
    world.delete()
    await world.settle()

    assert transactions(world) == [
        "ledger.commit workload.attest, credential.issue intent",
        "ledger.commit credential.issue result",
        "ledger.commit credential.deliver, gate lifted",
        "ledger.commit credential.revoke intent",
        "ledger.commit credential.revoke result, task.finish",
        "ledger.commit task.forget",
    ]
    assert_nothing_left(world)


async def test_a_pod_that_is_bound_is_on_record_where_nothing_is_issued(
    world: SimulatedWorld,
) -> None:
    world.cluster.policy_list = []
    world.create(task(request("tickets")))
    world.add_pod()

    await world.settle()

    assert transactions(world) == ["ledger.commit workload.attest, credential.deny"]
    assert len(world.told("Attested")) == 1


async def test_a_pod_that_is_bound_is_on_record_before_an_error_ends_the_look(
    world: SimulatedWorld,
) -> None:
    world.create(task(request("tickets")))
    world.add_pod()
    world.fail("reviewer.may_use", ApiUnavailable("no answer"))

    await world.look()

    assert transactions(world) == ["ledger.commit workload.attest"]
    assert world.condition("Attested") == ("True", "PodVerified")


async def test_a_pod_that_is_bound_is_on_record_though_its_request_fits_no_entry(
    world: SimulatedWorld,
) -> None:
    """What is refused takes nothing with it that was decided before it."""
    world.create(task(TOO_LARGE))
    world.add_pod()

    for _ in range(3):
        await world.look()

    assert transactions(world) == ["ledger.commit workload.attest"]


async def test_a_confirmed_revocation_is_on_record_once_though_what_comes_with_it_is_refused(
    world: SimulatedWorld,
) -> None:
    phases = [phase("research", request("tickets"), next=("reply",)), phase("reply", request("kb"))]
    world.create(task(phases=phases))
    world.add_pod()
    await world.settle()
    world.journal.clear()
    world.fail("ledger.commit", EntryRefused("its message is too long"), skip=1)

    world.change(phase="reply")
    await world.look()

    assert transactions(world)[-1] == "ledger.commit credential.revoke result"
    await world.settle()
    stages = [entry["data"]["stage"] for entry in world.entries("credential.revoke")]
    assert stages == ["intent", "result"]
    assert len(world.entries("task.phase")) == 1


async def test_a_revocation_that_was_begun_is_on_record_though_the_next_is_refused(
    world: SimulatedWorld,
) -> None:
    world.create(task(request("tickets"), request("kb")))
    world.add_pod()
    await world.settle()
    world.fail("provider.revoke", ProviderUnavailable("no answer"))
    world.change(phases=[phase("research", request("kb"))])
    await world.look()
    world.journal.clear()
    world.fail("ledger.commit", EntryRefused("its message is too long"))

    world.end_pod()
    await world.look()

    assert transactions(world) == ["ledger.commit credential.revoke result"]
    await world.settle()
    assert_at_rest(world)


async def test_a_confirmed_revocation_does_not_wait_for_an_answer_about_rights(
    world: SimulatedWorld,
) -> None:
    phases = [phase("research", request("tickets"), next=("reply",)), phase("reply", request("kb"))]
    world.create(task(phases=phases))
    world.add_pod()
    await world.settle()
    world.journal.clear()
    world.fail("reviewer.may_use", ApiUnavailable("no answer"))

    world.change(phase="reply")
    await world.look()

    assert transactions(world) == [
        "ledger.commit credential.revoke intent",
        "ledger.commit credential.revoke result, task.phase",
    ]


async def test_a_crash_before_its_result_is_recorded_revokes_once_more(
    world: SimulatedWorld,
) -> None:
    world.create(task(request("tickets")))
    world.add_pod()
    await world.settle()
    world.fail("withdraw.after-delete", Crash("before the result was recorded"))

    world.end_pod()
    await world.settle()

    asked = [call for call, _ in world.provider.calls]
    assert asked == ["issue", "revoke", "revoke"]
    assert world.condition("Finished") == ("True", "Succeeded")
    assert_at_rest(world)


async def test_an_event_is_left_out_where_what_it_comes_to_is_told_as_well(
    world: SimulatedWorld,
) -> None:
    world.create(task(request("tickets")))
    world.add_pod()
    await world.settle()
    world.end_pod()
    await world.settle()

    told = {event.reason for event in world.cluster.events.values()}
    assert told == {"CredentialIssued", "TaskFinished"}
    assert [each["reason"] for each in world.status["trail"]] == [
        "Attested",
        "CredentialIssued",
        "CredentialRevoked",
        "TaskFinished",
    ]


@pytest.mark.parametrize("completion", ["Workload", "Explicit"])
async def test_a_pod_that_goes_before_its_binding_is_recorded_was_bound(
    world: SimulatedWorld, completion: str
) -> None:
    """The entry that it was attested is in the log: without the binding no start would verify."""
    asked: dict[str, Any] = {"completion": completion}
    if completion == "Workload":
        world.cluster.set_workload(NAMESPACE, job())
        asked = {"job": job().name}
    world.create(task(request("tickets"), **asked))
    world.cluster.create_pod(pod("agent", job=job() if completion == "Workload" else None))
    while_asked(world, world.remove_pod)

    await world.settle()

    (attested,) = world.entries("workload.attest")
    assert world.ports.ledger.bound_task(attested["data"]["pod"]["uid"]) == world.task.uid
    verify_database(world.path)


async def test_who_is_erased_while_a_record_waits_is_not_brought_back(
    world: SimulatedWorld,
) -> None:
    world.create(task(request("tickets"), by="bob"))
    world.add_pod()  # started by ada
    await world.settle()
    calls: Any = world.ports.sink
    real, ledger = calls.withdraw, world._ledger
    assert ledger is not None

    async def withdraw(*what: Any) -> None:
        calls.withdraw = real
        assert await ledger.erase("ada", world.now()) >= 0
        await real(*what)

    calls.withdraw = withdraw
    world.cluster.accounts[NAMESPACE, ACCOUNT] = "account-2"
    await world.settle()

    assert not [r for r in world.ports.ledger.records() if r.origin and r.origin.mentions("ada")]
    verify_database(world.path)


async def test_a_namespace_is_over_its_budget_by_one_step_however_many_bind_at_once(
    make_world: MakeWorld,
) -> None:
    world = make_world()
    world.limits = {"namespace": Limit(burst=4096, per_day=0)}
    world.restart()
    for number in range(12):
        world.create(task(request("tickets"), name=f"t-{number}"))
        world.cluster.create_pod(pod(f"agent-{number}", task=f"t-{number}"))
    calls: Any = world.ports.reviewer
    real = calls.may_use

    async def may_use(user: Any, name: str) -> bool:
        await asyncio.sleep(0.02)
        return bool(await real(user, name))

    calls.may_use = may_use
    await asyncio.gather(*(world.look((NAMESPACE, f"t-{number}")) for number in range(12)))

    assert len(world.entries("workload.attest")) <= 2


async def test_no_status_says_of_a_pod_what_is_not_on_record(make_world: MakeWorld) -> None:
    world = make_world()
    world.create(task(request("tickets")))
    world.add_pod()
    world.fail("reviewer.may_use", ApiUnavailable("no answer"))
    world.fail("ledger.commit", EntryRefused("it has too many bytes"))

    await world.look()

    assert world.entries("workload.attest") == []
    assert world.status == {}


async def test_what_must_end_the_process_ends_it(make_world: MakeWorld) -> None:
    world = make_world()
    world.create(task(request("tickets")))
    world.add_pod()
    world.fail("reviewer.may_use", LeaseLost("another has the lease"))
    world.fail("ledger.commit", EntryRefused("it has too many bytes"))

    with pytest.raises(MustEnd):
        await world._reconciler.reconcile(KEY)


async def test_a_confirmed_revocation_is_on_record_where_another_gives_up(
    world: SimulatedWorld,
) -> None:
    world.create(task(request("kb"), request("tickets")))
    world.add_pod()
    await world.settle()
    world.end_pod()
    world.fail("provider.revoke", asyncio.CancelledError(), skip=1)

    again = await world.look()

    stages = [entry["data"]["stage"] for entry in world.entries("credential.revoke")]
    assert stages.count("result") == 1
    assert again is not None
    assert again.backoff
    await world.settle()
    assert_at_rest(world)
