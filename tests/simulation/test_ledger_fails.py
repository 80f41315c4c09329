"""Revocation never waits for the audit log: one that is slow, ends, or takes no writes at all."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import pytest

from taskpass.core.errors import LedgerError
from taskpass.core.lifecycle.attestation import PodView
from taskpass.flows.cluster.orphans import Sweeper
from taskpass.flows.context import Modes, Ports
from taskpass.flows.task.reconcile import Reconciler
from taskpass.ledger.log.signing import SeedSigner
from taskpass.ledger.store.read_only import ReadOnlyLedger
from taskpass.ledger.store.sqlite import SqliteLedger
from taskpass.ports.ledger import Batch
from tests.simulation.adapters import SimulatedLedger
from tests.simulation.builders import phase, request, task
from tests.simulation.conftest import MakeWorld
from tests.simulation.editing import put_record, record_of
from tests.simulation.invariants import assert_at_rest, assert_nothing_left
from tests.simulation.world import KEY, SEED, SimulatedWorld

WHY = "The ledger cannot be written (the disk is full)"


class SlowLedger(SimulatedLedger):
    """The real ledger, whose commits wait for a disk."""

    disk: asyncio.Event

    async def commit(self, batch: Batch) -> tuple[int, ...]:
        await self.disk.wait()
        return await super().commit(batch)


def whole(world: SimulatedWorld) -> SqliteLedger:
    assert world._ledger is not None
    return world._ledger


async def test_a_slow_log_holds_no_revocation_up(world: SimulatedWorld) -> None:
    world.create(task(request("tickets")))
    world.add_pod()
    await world.settle()
    slow = SlowLedger(whole(world), world.life)
    slow.disk = asyncio.Event()
    reconciler = Reconciler(replace(world.ports, ledger=slow))
    world.end_pod()

    going = asyncio.ensure_future(reconciler.reconcile(KEY))
    while world.provider.live:
        await asyncio.sleep(0.01)
    recorded = world.entries("credential.revoke")
    slow.disk.set()
    await going

    assert recorded == []
    assert len(world.entries("credential.revoke")) == 2
    assert_at_rest(world)


async def test_a_log_that_fails_holds_no_revocation_up(world: SimulatedWorld) -> None:
    world.create(task(request("tickets")))
    world.add_pod()
    await world.settle()
    world.end_pod()
    world.fail("ledger.commit", LedgerError("the disk is full"))

    await world.look()

    assert isinstance(world.errors[-1], LedgerError)
    assert world.provider.live == {}
    await world.settle()
    assert_at_rest(world)


class Sealed:
    """An operator that started on a volume that takes no writes."""

    def __init__(self, world: SimulatedWorld) -> None:
        self.world = world
        world.close()
        self.ledger = ReadOnlyLedger.open(
            world.path, signer=SeedSigner(SEED), cluster_id="c0ffee00", why=WHY
        )
        world.life._dead = False
        self.ports: Ports = replace(
            world.ports,
            ledger=self.ledger,
            secret_cache={},
            modes=Modes(issuance_blocked_reason=WHY, revoke_only=True, unproven=True),
        )
        self.reconciler = Reconciler(self.ports)

    async def settle(self) -> None:
        """Reconcile the task until nothing changes."""
        for _ in range(5):
            await self.reconciler.reconcile(KEY)

    def reopen(self) -> SqliteLedger:
        return SqliteLedger.open(
            self.world.path, signer=SeedSigner(SEED), cluster_id="c0ffee00",
            instance="late", now=self.world.clock.now(),
        )  # fmt: skip

    async def mended(self) -> int | None:
        """Have the volume take writes; return how many entries were recorded late."""
        recorded = await self.ledger.record_late(self.reopen)
        self.ledger.close()
        self.world.restart()
        return recorded


@pytest.fixture
async def held(world: SimulatedWorld) -> SimulatedWorld:
    """A world in which a task of two phases holds a credential."""
    phases = [phase("research", request("tickets"), next=["reply"]), phase("reply", request("kb"))]
    world.create(task(phases=phases, phase="research"))
    world.add_pod()
    await world.settle()
    assert world.provider.live
    return world


@pytest.fixture
def sealed(held: SimulatedWorld) -> Iterator[Sealed]:
    made = Sealed(held)
    yield made
    made.ledger.close()


def new_pod(world: SimulatedWorld) -> PodView:
    return world.add_pod("second")


async def test_on_a_volume_that_takes_no_writes_what_holds_goes_on(sealed: Sealed) -> None:
    await sealed.settle()

    assert len(sealed.world.provider.live) == 1
    assert sealed.world.secret() is not None
    assert sealed.ledger.unrecorded == 0
    assert sealed.world.condition("Ready") == ("True", "Ready")


async def test_on_a_volume_that_takes_no_writes_nothing_is_renewed_which_is_said(
    sealed: Sealed,
) -> None:
    sealed.world.clock.advance(700)

    await sealed.settle()

    assert len(sealed.world.provider.live) == 1
    assert sealed.ledger.unrecorded == 0
    assert sealed.world.condition("CredentialsIssued") == ("True", "Issued")
    assert "the disk is full" in sealed.world.message("CredentialsIssued")


async def test_what_must_end_ends_and_is_recorded_late(sealed: Sealed) -> None:
    world = sealed.world
    world.end_pod()

    await sealed.settle()
    working, secret = dict(world.provider.live), world.secret()
    finished, said = world.condition("Finished"), world.message("CredentialsIssued")
    ready = world.condition("Ready")
    recorded = await sealed.mended()
    await world.settle()

    assert (working, secret) == ({}, None)
    assert ready == ("False", "Pending")
    assert finished == ("False", "Running")  # how it ended is recorded once that can be
    assert "the disk is full" in said
    assert world.told("CredentialRevoked") == [
        "Revoked 'tickets' because the pod ended (not in the audit log yet)"
    ]
    assert recorded == 2
    assert world.reasons() == ["PodEnded"]
    late = [e["data"].get("clk", "") for e in world.entries("credential.revoke")]
    assert len(late) == 2
    assert world.condition("Finished") == ("True", "Succeeded")
    assert_at_rest(world)


async def test_a_phase_is_left_and_the_next_one_waits_for_the_log(sealed: Sealed) -> None:
    world = sealed.world
    world.change(phase="reply")

    await sealed.settle()
    working = dict(world.provider.live)
    calls = [call for call, _ in world.provider.calls]
    await sealed.mended()
    await world.settle()

    assert working == {}
    assert calls == ["issue", "revoke"]
    assert [g.name for g in world.held()] == ["kb"]
    assert_at_rest(world)


async def test_a_deletion_goes_through(sealed: Sealed) -> None:
    world = sealed.world
    world.delete()

    await sealed.settle()
    left = dict(world.cluster.tasks)
    await sealed.mended()
    await world.settle()

    assert left == {}
    assert_nothing_left(world)


async def test_a_process_that_ends_before_the_log_is_mended_loses_no_revocation(
    sealed: Sealed,
) -> None:
    world = sealed.world
    world.delete()
    await sealed.settle()

    sealed.ledger.close()
    world.restart()
    await world.settle()

    assert world.reasons() == ["TaskGone"]
    assert_nothing_left(world)


async def test_nothing_is_issued_and_the_waiting_pod_is_told_why(sealed: Sealed) -> None:
    world = sealed.world
    world.cluster.tasks.clear()
    world.create(task(request("tickets")))
    new_pod(world)

    await sealed.settle()

    assert world.provider.live == {}  # what the task before it held is revoked
    assert [call for call, _ in world.provider.calls].count("issue") == 1
    assert world.condition("Attested") == ("Unknown", "Pending")
    assert "the disk is full" in world.message("Attested")
    assert world.pod("second").gated


async def test_what_nobody_holds_waits_until_the_state_is_compared(sealed: Sealed) -> None:
    world = sealed.world
    world.provider.live["g-of-nobody"] = b"left by a crash"

    undone = await Sweeper(sealed.ports, lambda _: None).sweep(quiet=True)
    await sealed.mended()
    await world.settle()

    assert undone == 0
    assert "g-of-nobody" not in world.provider.live
    assert len(world.entries("orphan.undo")) == 1


async def test_a_move_off_the_path_takes_back_what_is_held_and_is_recorded_late(
    sealed: Sealed,
) -> None:
    world = sealed.world
    world.change(phase="elsewhere")

    await sealed.settle()
    live, unrecorded = dict(world.provider.live), world.entries("task.phase")
    await sealed.mended()
    await world.settle()

    assert (live, unrecorded) == ({}, [])
    assert world.condition("Stalled") == ("True", "UnapprovedBranch")


async def test_what_is_decided_by_an_edited_row_is_recorded_neither_then_nor_late(
    make_world: MakeWorld,
) -> None:
    """A task that is over would begin anew, and the log would tell that it was forgotten."""
    world = make_world()
    world.create(task(request("tickets")))
    world.add_pod()
    await world.settle()
    world.end_pod()
    await world.settle()
    was = record_of(world)
    put_record(world, replace(was, task=replace(was.task, name="other")))
    sealed = Sealed(world)

    await sealed.settle()
    await sealed.reconciler.reconcile(("support", "other"))
    recorded = await sealed.ledger.record_late(sealed.reopen)
    said = sealed.ledger.why
    sealed.ledger.close()

    assert recorded is None
    assert said.startswith(WHY)
    assert "is not what its log says" in said
    assert world.entries("task.forget") == []
