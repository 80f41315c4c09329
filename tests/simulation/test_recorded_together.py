"""What one reconcile decides is recorded in few transactions; what must be durable first, is."""

from taskpass.core.errors import ApiUnavailable
from tests.simulation.builders import phase, request, task
from tests.simulation.faults import Crash
from tests.simulation.invariants import assert_at_rest, assert_nothing_left
from tests.simulation.world import SimulatedWorld


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
