"""What an administrator declares gone is over, and is on record as their word and no proof."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from taskpass.core.errors import DeclaredGone
from taskpass.core.model.grant import Grant
from tests.fake_provider import Failure, FakeProvider
from tests.simulation.builders import credential_class, policy, request, task
from tests.simulation.invariants import assert_at_rest
from tests.simulation.world import SimulatedWorld

SAID = "Server 'a' was declared gone by configuration: disk lost, INC-4711"


class Retired(FakeProvider):
    """Its issuer is declared gone as soon as `is_retired`."""

    is_retired = False

    async def revoke(self, grant: Grant) -> None:
        if self.is_retired:
            self.calls.append(("declared", grant.id))
            raise DeclaredGone(SAID)
        await super().revoke(grant)


@pytest.fixture
def retired(world: SimulatedWorld) -> Iterator[Retired]:
    provider = Retired(world.clock)
    world.ports.providers["Retired"] = provider  # type: ignore[index]
    used = replace(credential_class("databases"), provider="Retired")
    world.cluster.classes["databases"] = used
    world.cluster.policy_list = [policy(classes=("tickets-api", "databases"))]
    yield provider
    provider.live.clear()  # it is gone with its disk


async def test_what_is_declared_gone_is_owed_no_more_and_on_record_as_not_proven(
    world: SimulatedWorld, retired: Retired
) -> None:
    world.create(task(request("tickets"), request("role", of="databases")))
    world.add_pod()
    await world.settle()
    retired.revoke_failures = [Failure.UNAVAILABLE] * 3
    world.end_pod()
    await world.look()
    assert [grant.provider for grant in world.held()] == ["Retired"]

    retired.is_retired = True
    await world.settle()

    ends = [
        (each["data"]["cred"]["provider"], each["data"]["outcome"], each["data"].get("declared"))
        for each in world.entries("credential.revoke")
        if each["data"]["stage"] == "result"
    ]
    assert ends == [
        ("Fake", "success", None),
        ("Retired", "unknown", {"by": "configuration", "reason": SAID}),
    ]
    assert world.held() == []
    [told] = world.told("DeclaredGone")
    assert told.startswith(f"'role' was not proven to be gone, and is not tried again: {SAID}")
    assert [name for name, _ in retired.calls].count("declared") == 1
    retired.live.clear()
    assert_at_rest(world)


async def test_a_credential_that_is_in_use_is_not_over_because_its_issuer_is_declared_gone(
    world: SimulatedWorld, retired: Retired
) -> None:
    world.create(task(request("role", of="databases")))
    world.add_pod()
    await world.settle()

    retired.is_retired = True
    await world.settle()

    assert len(world.held()) == 1
    world.end_pod()
    await world.settle()
    assert world.held() == []
