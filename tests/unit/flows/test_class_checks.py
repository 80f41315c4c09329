"""Whether a class can be issued now is the provider's word, and an unexpected one is no yes."""

import asyncio
from dataclasses import replace
from typing import cast

import pytest

from taskpass.core.errors import LeaseLost, ProviderRefused, ProviderUnavailable
from taskpass.core.model.task import CredentialClass
from taskpass.flows.cluster.class_checks import CHECK_SECONDS, RETRY_SECONDS, ClassChecks
from taskpass.flows.context import Ports
from tests.fake_provider import FakeProvider
from tests.simulation.builders import T0, credential_class

TICKETS = replace(credential_class("tickets"), uid="c-tickets")


class Hands:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> object:
        return T0

    def monotonic(self) -> float:
        return self.seconds


class Stage:
    """Classes, one provider, and what is found."""

    def __init__(self) -> None:
        self.clock = Hands()
        self.provider = CountedProvider(self.clock)
        self.classes: tuple[CredentialClass, ...] = (TICKETS,)
        self.class_findings: dict[str, object] = {}
        self.providers: dict[str, object] = {"Fake": self.provider}
        self.issuer_of = lambda each: f"{each.provider}/{each.config.get('server', '')}"
        self.checks = ClassChecks(cast("Ports", self), self)

    def all_classes(self) -> tuple[CredentialClass, ...]:
        return self.classes

    async def said(self) -> tuple[str, str, str]:
        """Look once; return what is found of the first class."""
        await self.checks.once()
        generation, finding = self.class_findings[self.classes[0].uid]  # type: ignore[misc]
        assert generation == self.classes[0].generation
        return finding.status, finding.reason, finding.message


class CountedProvider(FakeProvider):
    def __init__(self, clock: Hands) -> None:
        super().__init__(clock)  # type: ignore[arg-type]
        self.asked: list[str] = []
        self.raises: BaseException | None = None

    async def obstacles(self, credential_class: CredentialClass) -> object:  # type: ignore[override]
        self.asked.append(credential_class.name)
        if self.raises is not None:
            raise self.raises
        return await super().obstacles(credential_class)


@pytest.fixture
def stage() -> Stage:
    return Stage()


async def test_a_class_without_obstacles_is_ready(stage: Stage) -> None:
    assert await stage.said() == ("True", "Ready", "Provider Fake can issue it")


async def test_each_obstacle_is_told(stage: Stage) -> None:
    stage.provider.obstructed["tickets"] = ["Role 'a' is gone", "Role 'b' opens streams"]

    assert await stage.said() == (
        "False", "ProviderRefused", "Role 'a' is gone. Role 'b' opens streams",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("error", "reason", "said"),
    [
        (ProviderUnavailable("away"), "ProviderUnavailable", "away"),
        (ProviderRefused("no such role"), "ProviderRefused", "no such role"),
        (TimeoutError(), "ProviderUnavailable", "Fake did not answer within 15 s"),
        (KeyError("s3cret"), "ProviderUnavailable", "Fake could not be asked: KeyError; the"),
    ],
)
async def test_what_cannot_be_found_out_is_not_ready_and_repeats_no_strangers_text(
    stage: Stage, error: Exception, reason: str, said: str
) -> None:
    stage.provider.raises = error

    status, found, message = await stage.said()

    assert (status, found) == ("False", reason)
    assert message.startswith(said)
    assert "s3cret" not in message


async def test_what_must_end_the_process_does(stage: Stage) -> None:
    stage.provider.raises = LeaseLost("another operator works here")

    with pytest.raises(LeaseLost):
        await stage.checks.once()


async def test_a_provider_that_is_not_configured_issues_nothing(stage: Stage) -> None:
    stage.providers.clear()

    assert await stage.said() == ("False", "ProviderRefused", "Provider 'Fake' is not configured")


async def test_it_asks_again_after_a_minute_or_sooner_where_it_is_not_ready(stage: Stage) -> None:
    await stage.said()
    stage.clock.seconds += CHECK_SECONDS - 1
    await stage.said()
    assert stage.provider.asked == ["tickets"]

    stage.clock.seconds += 1
    stage.provider.obstructed["tickets"] = ["no"]
    await stage.said()
    stage.clock.seconds += RETRY_SECONDS
    stage.provider.obstructed.clear()

    assert (await stage.said())[0] == "True"
    assert stage.provider.asked == ["tickets"] * 3


async def test_a_class_that_was_changed_is_asked_about_at_once_and_one_that_is_gone_forgotten(
    stage: Stage,
) -> None:
    await stage.said()
    stage.classes = (replace(TICKETS, generation=2),)
    assert (await stage.said())[0] == "True"

    stage.classes = ()
    await stage.checks.once()

    assert stage.provider.asked == ["tickets"] * 2
    assert stage.class_findings == {}


async def test_a_provider_that_hangs_keeps_no_other_providers_classes_waiting(
    stage: Stage,
) -> None:
    never = asyncio.Event()

    class Hanging(FakeProvider):
        async def obstacles(self, credential_class: CredentialClass) -> tuple[str, ...]:
            await never.wait()
            return ()

    stage.providers["Slow"] = Hanging(stage.clock)  # type: ignore[arg-type]
    slow = replace(TICKETS, uid="c-slow", name="slow", provider="Slow")
    stage.classes = (TICKETS, slow)
    await stage.checks.once()
    stage.classes = (replace(TICKETS, generation=2), slow)
    assert (await stage.said())[0] == "True"
    assert "c-slow" not in stage.class_findings

    never.set()
    await stage.checks.once()

    assert stage.class_findings.keys() == {"c-slow", TICKETS.uid}


async def test_a_server_that_hangs_holds_up_no_class_of_another_server_of_the_provider(
    stage: Stage,
) -> None:
    there = replace(TICKETS, config={**TICKETS.config, "server": "b"})
    hung = [
        replace(TICKETS, name=f"hung-{n}", uid=f"c-{n}", config={**TICKETS.config, "server": "a"})
        for n in range(20)
    ]
    stage.classes = (there, *hung)
    answer = asyncio.Event()
    obstacles = stage.provider.obstacles

    async def hang(credential_class: CredentialClass) -> object:
        if credential_class.config["server"] == "a":
            await answer.wait()
        return await obstacles(credential_class)

    stage.provider.obstacles = hang  # type: ignore[method-assign, assignment]

    assert (await stage.said())[0] == "True"
    assert stage.class_findings.keys() == {TICKETS.uid}
    answer.set()
    await stage.checks.once()
    assert len(stage.class_findings) == 21
