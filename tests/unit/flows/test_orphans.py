"""What a sweep asks of one grant is its matter alone: it keeps no other from being swept."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from taskpass.core.model.grant import Grant, GrantState
from taskpass.flows.cluster.orphans import Sweeper
from taskpass.flows.context import Modes
from taskpass.ports.ledger import Batch
from tests.contract.test_providers import StoppedClock
from tests.fake_provider import FakeProvider
from tests.unit.ledger.objects import GRANT, NOW

HELD = replace(GRANT, state=GrantState.DELIVERED, provider="Fake")


class Unreadable(FakeProvider):
    """A provider that cannot read what is recorded of one grant."""

    def is_gone(self, grant: Grant, found: Any) -> bool:
        return bool(grant.provider_state["name"]) and super().is_gone(grant, found)

    def surplus(self, grant: Grant, found: Any) -> Any:
        return grant.provider_state["name"] and super().surplus(grant, found)


async def test_a_record_that_cannot_be_read_keeps_no_other_from_being_swept() -> None:
    strange = replace(HELD, id="g-strange", provider_state={})
    lost = replace(HELD, id="g-lost", provider_state={"name": "g-lost"})
    provider = Unreadable(StoppedClock())
    provider.live = {"g-strange": b"it works", "g-of-nobody": b"left by a crash"}
    recorded: list[Batch] = []
    looked_at: list[object] = []

    async def commit(batch: Batch) -> tuple[int, ...]:
        recorded.append(batch)
        return (1,)

    ledger = SimpleNamespace(held=lambda: (strange, lost), commit=commit)
    ports: Any = SimpleNamespace(
        providers={"Fake": provider}, ledger=ledger, missing_at_provider=set(), modes=Modes(),
        now=lambda: NOW,
    )  # fmt: skip

    undone = await Sweeper(ports, looked_at.append).sweep(quiet=True)

    assert undone == len(recorded) == 1
    assert provider.live.keys() == {"g-strange"}
    assert ports.missing_at_provider == {"g-lost"}
    assert looked_at == [HELD.task.key]
