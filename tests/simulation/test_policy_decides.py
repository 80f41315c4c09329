"""No credential without policy, at the moment of issue and for as long as it is held."""

from dataclasses import replace
from datetime import timedelta

import pytest

from taskpass.core.errors import ApiUnavailable
from taskpass.core.policy.evaluate import Effect
from tests.simulation.builders import (
    ACCOUNT,
    NAMESPACE,
    T0,
    broken,
    credential_class,
    policy,
    request,
    task,
)
from tests.simulation.invariants import assert_at_rest
from tests.simulation.world import SimulatedWorld


async def issued(world: SimulatedWorld) -> None:
    """Bring a task to rest with one credential in a running pod."""
    world.create(task(request("tickets")))
    world.add_pod()
    await world.settle()
    assert len(world.held()) == 1


async def test_a_denied_task_keeps_its_pod_gated_and_stalls(world: SimulatedWorld) -> None:
    world.cluster.policy_list = []
    world.create(task(request("tickets")))
    world.add_pod()

    await world.settle()

    assert world.pod().gated
    assert world.provider.calls == []
    assert world.secret() is None
    assert world.condition("Authorized") == ("False", "NoPolicy")
    assert world.condition("Stalled") == ("True", "NoPolicy")
    assert world.condition("Ready") == ("False", "NoPolicy")
    assert world.told("PolicyDenied", kind="Pod")


async def test_a_denial_is_one_entry_however_often_it_is_looked_at(world: SimulatedWorld) -> None:
    world.cluster.policy_list = []
    world.create(task(request("tickets")))
    world.add_pod()

    for _ in range(5):
        await world.look()
    world.restart()
    await world.settle()

    assert len(world.entries("credential.deny")) == 1


async def test_another_refusal_is_another_entry(world: SimulatedWorld) -> None:
    world.cluster.policy_list = []
    world.create(task(request("tickets")))
    world.add_pod()
    await world.settle()

    world.cluster.policy_list = [policy(), policy("freeze", effect=Effect.DENY)]
    await world.settle()

    reasons = [e["data"]["decision"]["reason_code"] for e in world.entries("credential.deny")]
    assert reasons == ["NoPolicy", "Denied"]


async def test_a_policy_that_comes_later_lets_a_stalled_task_go_on(world: SimulatedWorld) -> None:
    world.cluster.policy_list = []
    world.create(task(request("tickets")))
    world.add_pod()
    await world.settle()

    world.cluster.policy_list = [policy()]
    await world.settle()

    assert not world.pod().gated
    assert world.condition("Stalled") == ("False", "NotStalled")
    assert_at_rest(world)


async def test_a_denial_of_one_credential_issues_none_of_them(world: SimulatedWorld) -> None:
    world.create(task(request("tickets"), request("secrets", actions=["secrets.read"])))
    world.add_pod()

    await world.settle()

    assert world.provider.calls == []
    assert world.pod().gated
    assert world.condition("Authorized") == ("False", "Denied")


async def test_a_policy_that_is_gone_takes_the_credential_back(world: SimulatedWorld) -> None:
    await issued(world)

    world.cluster.policy_list = []
    await world.settle()

    assert world.provider.live == {}
    assert world.secret() is None
    assert world.reasons() == ["PolicyChanged"]
    assert world.condition("Ready") == ("False", "NoPolicy")
    assert world.journal.count("pods.nudge none") == 1


async def test_a_deny_that_comes_later_takes_the_credential_back(world: SimulatedWorld) -> None:
    await issued(world)

    world.cluster.policy_list.append(policy("freeze", effect=Effect.DENY))
    await world.settle()

    assert world.provider.live == {}
    assert world.condition("Stalled") == ("True", "Denied")


async def test_a_lower_limit_replaces_what_lives_longer(world: SimulatedWorld) -> None:
    await issued(world)

    world.cluster.policy_list = [policy(max_expiration_seconds=120)]
    await world.settle()

    assert world.reasons() == ["PolicyChanged"]
    assert world.held()[0].lifetime_seconds == 120
    assert_at_rest(world)


async def test_a_policy_change_that_still_allows_touches_nothing(world: SimulatedWorld) -> None:
    await issued(world)
    before = world.held()

    world.cluster.policy_list = [policy(resources=("fake/4711",)), policy("second")]
    await world.settle()

    assert world.held() == before


async def test_a_class_that_changed_is_issued_from_anew(world: SimulatedWorld) -> None:
    await issued(world)
    [old] = world.provider.live.values()

    world.cluster.classes["tickets-api"] = credential_class(default_expiration_seconds=600)
    await world.settle()

    assert world.reasons() == ["ClassChanged"]
    assert not world.provider.works(old)
    assert world.held()[0].lifetime_seconds == 600
    assert_at_rest(world)


async def test_a_class_that_is_gone_takes_the_credential_back(world: SimulatedWorld) -> None:
    await issued(world)

    del world.cluster.classes["tickets-api"]
    await world.settle()

    assert world.provider.live == {}
    assert world.condition("Authorized") == ("False", "Denied")


async def test_a_service_account_that_was_made_anew_takes_the_credential_back(
    world: SimulatedWorld,
) -> None:
    await issued(world)

    world.cluster.accounts[NAMESPACE, ACCOUNT] = "account-2"
    await world.settle()

    assert world.provider.live == {}
    assert world.secret() is None
    assert world.reasons() == ["NoLongerAttested"]
    assert world.condition("Attested") == ("False", "ServiceAccountMismatch")
    assert len(world.entries("workload.attest")) == 2


async def test_a_service_account_that_is_gone_takes_the_credential_back(
    world: SimulatedWorld,
) -> None:
    await issued(world)

    del world.cluster.accounts[NAMESPACE, ACCOUNT]
    await world.settle()

    assert world.provider.live == {}
    assert world.condition("Ready") == ("False", "ServiceAccountMismatch")


async def test_an_image_that_was_patched_takes_the_credential_back(world: SimulatedWorld) -> None:
    await issued(world)

    world.cluster.change_pod(world.pod().uid, images=("registry.example/other:1",))
    await world.settle()

    assert world.provider.live == {}
    assert world.condition("Attested") == ("False", "ImageNotAllowed")


async def test_a_user_without_the_verb_use_gets_nothing(world: SimulatedWorld) -> None:
    world.cluster.may_not_use.add(("ada", "tickets-api"))
    world.create(task(request("tickets")))
    world.add_pod()

    await world.settle()

    assert world.provider.calls == []
    assert world.condition("Authorized") == ("False", "Denied")
    assert "'ada'" in world.message("Authorized")


async def test_a_right_that_is_granted_later_lets_a_stalled_task_go_on(
    world: SimulatedWorld,
) -> None:
    world.cluster.may_not_use.add(("ada", "tickets-api"))
    world.create(task(request("tickets")))
    world.add_pod()
    again = await world.look()

    world.cluster.may_not_use.clear()
    await world.settle()

    assert again is not None
    assert again.at == T0 + timedelta(seconds=60)  # rights make no event
    assert not world.pod().gated


async def test_a_right_that_cannot_be_asked_about_is_neither_yes_nor_no(
    world: SimulatedWorld,
) -> None:
    world.create(task(request("tickets")))
    world.add_pod()
    world.fail("reviewer.may_use", ApiUnavailable("no answer"), times=3)

    await world.look()
    denied, issued_before = world.entries("credential.deny"), list(world.provider.calls)
    await world.settle()

    assert denied == []
    assert issued_before == []
    assert_at_rest(world)
    assert not world.pod().gated


@pytest.mark.parametrize("effect", [Effect.DENY, Effect.CONSTRAIN])
async def test_a_broken_deny_or_constrain_blocks_what_is_new(
    world: SimulatedWorld, effect: Effect
) -> None:
    world.cluster.policy_list = [policy(), broken("freeze", effect)]
    world.create(task(request("tickets")))
    world.add_pod()

    await world.settle()

    assert world.provider.calls == []
    assert world.condition("Authorized") == ("Unknown", "EvaluationFailed")
    assert world.condition("Stalled") == ("False", "NotStalled")


async def test_a_broken_deny_leaves_what_is_held_until_it_expires(world: SimulatedWorld) -> None:
    await issued(world)
    before = world.held()

    world.cluster.policy_list.append(broken("freeze", Effect.DENY))
    await world.settle()
    kept = world.held()
    world.clock.advance(901)
    await world.settle()

    assert kept == before
    assert world.held() == []
    assert world.reasons() == ["Expired"]


async def test_an_intent_that_changed_is_decided_anew(world: SimulatedWorld) -> None:
    await issued(world)
    old = world.held()[0]

    world.change(intent=replace(world.task.intent, goal="Delete everything"))
    await world.settle()

    assert world.reasons() == ["IntentChanged"]
    assert world.held()[0].intent_digest != old.intent_digest
    assert world.status["intentDigest"] == world.task.intent.digest
    assert_at_rest(world)


async def test_one_request_that_changed_leaves_the_others(world: SimulatedWorld) -> None:
    world.create(task(request("kb"), request("tickets")))
    world.add_pod()
    await world.settle()
    kb, tickets = world.held()

    world.change(credentials=(request("kb"), request("tickets", resources=["fake/4712"])))
    await world.settle()

    assert world.held()[0] == kb
    assert world.held()[1].id != tickets.id
    assert world.reasons() == ["RequestChanged"]
    assert_at_rest(world)


async def test_a_request_that_was_removed_is_taken_out_of_the_secret(
    world: SimulatedWorld,
) -> None:
    world.create(task(request("kb"), request("tickets")))
    world.add_pod()
    await world.settle()

    world.change(credentials=(request("kb"),))
    await world.settle()

    fields = world.secret()
    assert fields is not None
    assert set(fields) == {"kb.token", "kb.server"}
    assert_at_rest(world)


async def test_two_requests_that_would_write_one_key_are_not_issued(
    world: SimulatedWorld,
) -> None:
    outputs = [("token", "TOKEN")]
    world.create(task(request("kb", outputs=outputs), request("tickets", outputs=outputs)))
    world.add_pod()

    await world.settle()

    assert world.provider.calls == []
    assert world.pod().gated
    assert "'TOKEN'" in world.message("CredentialsIssued")


async def test_an_output_of_a_field_that_the_provider_lacks_is_refused(
    world: SimulatedWorld,
) -> None:
    world.create(task(request("tickets", outputs=[("password", "PASSWORD")])))
    world.add_pod()

    await world.look()

    assert world.provider.calls == []
    assert world.condition("CredentialsIssued") == ("False", "ProviderRefused")
    assert "'password'" in world.message("CredentialsIssued")
    assert world.told("ProviderRefused", kind="Pod")
