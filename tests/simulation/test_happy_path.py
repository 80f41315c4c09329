"""A task that is allowed: the order of effects, and what people see (docs/concepts.md, rule 1)."""

from taskpass.core.errors import ApiUnavailable
from tests.simulation.builders import credential_class, request, task
from tests.simulation.invariants import assert_at_rest, assert_nothing_left
from tests.simulation.world import SimulatedWorld


def effects(world: SimulatedWorld) -> list[str]:
    """Return the journal without what is told to people."""
    return [line for line in world.journal if not line.startswith("events.")]


async def test_each_record_is_durable_before_the_effect_that_it_announces(
    world: SimulatedWorld,
) -> None:
    world.create(task(request("tickets")))
    world.add_pod()

    await world.settle()

    assert effects(world) == [
        "reviewer.may_use",
        "ledger.commit workload.attest, credential.issue intent",
        "provider.issue",
        "ledger.commit credential.issue result",
        "sink.deliver",
        "ledger.commit credential.deliver, gate lifted",
        "pods.lift_gate",
        "tasks.patch_status",
    ]
    assert_at_rest(world)


async def test_the_end_takes_back_in_the_opposite_order(world: SimulatedWorld) -> None:
    world.create(task(request("tickets")))
    world.add_pod()
    await world.settle()
    world.journal.clear()

    world.end_pod()
    await world.settle()

    assert effects(world) == [
        "ledger.commit credential.revoke intent",
        "provider.revoke",
        "sink.withdraw",
        "ledger.commit credential.revoke result, task.finish",
        "tasks.patch_status",
    ]


async def test_the_gate_is_lifted_only_after_the_secret_is_there(world: SimulatedWorld) -> None:
    world.create(task(request("tickets")))
    world.add_pod()
    world.fail("sink.deliver", ApiUnavailable("no answer"))

    await world.look()
    gated_without_secret = world.pod().gated and world.secret() is None
    await world.settle()

    assert gated_without_secret
    assert not world.pod().gated
    assert world.secret() is not None


async def test_the_secret_has_a_key_for_each_field_and_an_index(world: SimulatedWorld) -> None:
    world.create(task(request("tickets", outputs=[("token", "TICKETS_TOKEN")])))
    world.add_pod()

    await world.settle()

    fields = world.secret()
    assert fields is not None
    assert set(fields) == {"tickets.token", "tickets.server", "TICKETS_TOKEN"}
    assert fields["TICKETS_TOKEN"] == fields["tickets.token"]
    assert world.provider.works(fields["tickets.token"])
    index = world.cluster.secrets["support", "taskpass-ticket-4711"].index
    assert index["credentials"][0]["name"] == "tickets"
    assert index["credentials"][0]["expires"] == "2027-03-01T12:15:00Z"


async def test_status_says_what_is_held_and_by_which_policy(world: SimulatedWorld) -> None:
    world.create(task(request("tickets")))
    world.add_pod()

    await world.settle()

    assert world.condition("Ready") == ("True", "Ready")
    assert world.condition("Attested") == ("True", "PodVerified")
    assert world.condition("Authorized") == ("True", "Allowed")
    assert "AgentPolicy/support/triage" in world.message("Authorized")
    assert world.condition("CredentialsIssued") == ("True", "Issued")
    assert world.condition("Finished") == ("False", "Running")
    assert world.condition("Stalled") == ("False", "NotStalled")
    [grant] = world.status["grants"]
    assert grant["name"] == "tickets"
    assert grant["id"] == world.held()[0].id
    assert world.status["podRef"]["name"] == "agent"
    assert world.status["observedGeneration"] == 1
    assert world.status["startTime"] == "2027-03-01T12:00:00Z"
    assert world.status["expirationTime"] == "2027-03-01T12:15:00Z"


async def test_the_trail_tells_the_story_with_audit_indexes(world: SimulatedWorld) -> None:
    world.create(task(request("tickets")))
    world.add_pod()
    await world.settle()

    world.end_pod()
    await world.settle()

    trail = [(step["reason"], step["auditIndex"]) for step in world.status["trail"]]
    log = world.log()
    assert [reason for reason, _ in trail] == [
        "Attested",
        "CredentialIssued",
        "CredentialRevoked",
        "TaskFinished",
    ]
    types = [log[index]["type"].removeprefix("dev.taskpass.") for _, index in trail]
    assert types == ["workload.attest", "credential.issue", "credential.revoke", "task.finish"]
    assert world.told("CredentialIssued")[0].endswith(f"(audit {trail[1][1]})")


async def test_the_trail_keeps_the_last_ten_steps(world: SimulatedWorld) -> None:
    world.create(task(request("tickets")))
    world.add_pod()
    for number in range(8):
        await world.settle()
        world.change(intent=task(goal=f"Goal {number}").intent)

    await world.settle()

    assert len(world.status["trail"]) == 10
    assert world.status["trail"][-1]["reason"] == "CredentialIssued"


async def test_status_is_patched_only_when_something_changed(world: SimulatedWorld) -> None:
    world.create(task(request("tickets")))
    world.add_pod()
    await world.settle()
    writes = len(world.cluster.statuses)

    world.clock.advance(60)
    for _ in range(3):
        await world.look()

    assert len(world.cluster.statuses) == writes


async def test_a_transition_time_changes_only_with_the_status(world: SimulatedWorld) -> None:
    world.create(task(request("tickets")))
    world.clock.advance(2)
    await world.settle()
    world.clock.advance(58)
    world.add_pod()
    await world.settle()

    times = {c["type"]: c["lastTransitionTime"] for c in world.status["conditions"]}

    assert times["Ready"] == "2027-03-01T12:01:00Z"
    assert times["Finished"] == "2027-03-01T12:00:02Z"


async def test_several_credentials_are_in_one_secret(world: SimulatedWorld) -> None:
    world.create(task(request("tickets"), request("kb")))
    world.add_pod()

    await world.settle()

    fields = world.secret()
    assert fields is not None
    assert set(fields) == {"tickets.token", "tickets.server", "kb.token", "kb.server"}
    assert len(world.provider.live) == 2


async def test_a_task_that_asks_for_nothing_in_a_phase_starts_without_a_secret(
    world: SimulatedWorld,
) -> None:
    world.create(task())
    world.add_pod()

    await world.settle()

    assert not world.pod().gated
    assert world.secret() is None
    assert world.condition("Ready") == ("True", "Ready")


async def test_that_there_is_no_pod_is_said_once_there_was_time_for_one(
    world: SimulatedWorld,
) -> None:
    world.create(task(request("tickets")))
    again = await world.look()
    at_first = dict(world.status)

    world.clock.advance(2)
    await world.settle()

    assert at_first == {}
    assert again is not None
    assert again.at == world.now()
    assert world.condition("Attested") == ("False", "PodMissing")


async def test_a_task_that_never_had_a_pod_is_deleted_without_a_trace(
    world: SimulatedWorld,
) -> None:
    world.create(task(request("tickets")))
    world.clock.advance(2)
    await world.settle()
    said = world.condition("Attested")

    world.delete()
    await world.settle()

    assert said == ("False", "PodMissing")
    assert_nothing_left(world)


async def test_the_lifetime_is_what_policy_and_class_leave(world: SimulatedWorld) -> None:
    world.cluster.classes["tickets-api"] = credential_class(default_expiration_seconds=300)
    world.create(task(request("tickets")))
    world.add_pod()

    await world.settle()

    assert world.held()[0].lifetime_seconds == 300
