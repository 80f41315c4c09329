"""A KillSwitch takes back what it matches, and keeps it back until it is lifted."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from taskpass.core.errors import EntryRefused, LedgerReadOnly, ProviderUnavailable
from taskpass.core.model.conditions import Finding
from taskpass.core.model.kill_switch import KillSwitch, Target
from taskpass.core.policy.evaluate import Effect
from taskpass.flows.cluster.kill_switch import KillSwitchRecorder
from taskpass.flows.cluster.ready_conditions import ReadyConditionReporter
from taskpass.ledger.log.reader import TamperEvidence
from taskpass.ledger.query.history import History
from taskpass.ports.tasks import ReadyCondition
from tests.simulation.builders import (
    ACCOUNT,
    NAME,
    NAMESPACE,
    broken,
    credential_class,
    job,
    pod,
    policy,
    request,
    switch,
    task,
)
from tests.simulation.invariants import assert_at_rest
from tests.simulation.world import SimulatedWorld

READ = request("tickets")
MATCHING: Mapping[Target, dict[str, str]] = {
    Target.TASK: {"namespace": NAMESPACE, "of": NAME},
    Target.AGENT: {"namespace": NAMESPACE, "of": ACCOUNT},
    Target.NAMESPACE: {"namespace": NAMESPACE},
    Target.ALL: {},
}
OTHERS: Mapping[Target, dict[str, str]] = {
    Target.TASK: {"namespace": "sales", "of": NAME},
    Target.AGENT: {"namespace": NAMESPACE, "of": "another-agent"},
    Target.CLASS: {"of": "another-class"},
    Target.NAMESPACE: {"namespace": "sales"},
}


async def running(world: SimulatedWorld, *more: object) -> None:
    world.create(task(READ, *more))  # type: ignore[arg-type]
    world.add_pod()
    await world.settle()
    assert world.condition("Ready") == ("True", "Ready")


def activate(world: SimulatedWorld, *switches: KillSwitch) -> None:
    world.cluster.changed()
    world.cluster.kill_switch_list = list(switches)


@pytest.mark.parametrize("target", MATCHING)
async def test_what_it_matches_is_taken_back_and_stays_back_until_it_is_lifted(
    world: SimulatedWorld, target: Target
) -> None:
    await running(world)
    old = world.held()[0].id

    activate(world, switch(target, **MATCHING[target]))
    await world.settle()
    held, secret, said = world.held(), world.secret(), world.condition("Suspended")
    world.change(intent=task(goal="Another goal").intent)
    world.clock.advance(86_400)
    await world.settle()
    still = world.held()
    message = world.message("Ready")
    activate(world)
    await world.settle()

    assert (held, secret, still) == ([], None, [])
    assert said == ("True", "KillSwitch")
    assert "KillSwitch 'stop' holds it back (\"INC-42\")" in message
    assert world.reasons() == ["KillSwitch"]
    assert [g.id == old for g in world.held()] == [False]
    assert_at_rest(world)


@pytest.mark.parametrize("target", OTHERS)
async def test_what_it_does_not_match_goes_on(world: SimulatedWorld, target: Target) -> None:
    await running(world)
    held = [g.id for g in world.held()]

    activate(world, switch(target, **OTHERS[target]))
    await world.settle()

    assert [g.id for g in world.held()] == held
    assert world.condition("Ready") == ("True", "Ready")


async def test_a_class_is_taken_back_and_what_else_a_task_holds_stays(
    world: SimulatedWorld,
) -> None:
    world.cluster.classes["kb-api"] = credential_class("kb-api")
    world.cluster.policy_list = [policy(classes=("tickets-api", "kb-api"))]
    await running(world, request("kb", of="kb-api"))

    activate(world, switch(Target.CLASS, of="tickets-api"))
    await world.settle()

    assert [g.name for g in world.held()] == ["kb"]
    assert world.condition("Authorized") == ("False", "KillSwitch")
    assert world.condition("Stalled") == ("True", "KillSwitch")
    assert {key.split(".")[0] for key in world.secret() or ()} == {"kb"}

    activate(world)
    await world.settle()
    assert [g.name for g in world.held()] == ["kb", "tickets"]
    assert_at_rest(world)


async def test_a_task_that_is_made_later_is_held_back_too(world: SimulatedWorld) -> None:
    activate(world, switch(Target.NAMESPACE, namespace=NAMESPACE))
    world.create(task(READ))
    world.add_pod()
    await world.settle()

    assert world.provider.calls == []
    assert world.pod().gated


async def test_two_switches_are_both_to_be_lifted(world: SimulatedWorld) -> None:
    await running(world)
    first = switch(Target.ALL, "first")
    activate(world, first, switch(Target.TASK, "second", **MATCHING[Target.TASK]))
    await world.settle()

    activate(world, first)
    await world.settle()

    assert world.held() == []
    assert world.condition("Suspended") == ("True", "KillSwitch")


async def test_a_suspended_task_stays_suspended_once_it_is_lifted(world: SimulatedWorld) -> None:
    await running(world)
    activate(world, switch(Target.ALL))
    world.change(operating_mode="Suspended")
    await world.settle()

    activate(world)
    await world.settle()

    assert world.condition("Suspended") == ("True", "Requested")
    assert world.held() == []


async def test_a_policy_that_cannot_be_evaluated_does_not_keep_what_a_class_switch_takes(
    world: SimulatedWorld,
) -> None:
    """An error of a policy keeps what is held; a KillSwitch is asked before any policy."""
    await running(world)
    world.cluster.policy_list = [policy(), broken("freeze", Effect.DENY)]
    activate(world, switch(Target.CLASS, of="tickets-api"))
    await world.settle()

    assert world.held() == []


class Said:
    """A writer of conditions that remembers."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []

    async def say(self, condition: ReadyCondition, now: object) -> None:
        self.findings.append(condition.finding)


class Stock:
    def __init__(self, world: SimulatedWorld) -> None:
        self._world = world

    def all_policies(self) -> tuple[()]:
        return ()

    def all_classes(self) -> tuple[()]:
        return ()

    def all_templates(self) -> tuple[()]:
        return ()

    def kill_switches(self) -> list[KillSwitch]:
        return list(self._world.cluster.kill_switches())

    @property
    def revision(self) -> int:
        return self._world.cluster.version

    def tasks_stopped_by(self, switch: KillSwitch) -> int:
        return sum(switch.stops(each) for each in self._world.cluster.tasks.values())


async def test_it_is_called_enforced_only_once_nothing_is_held(world: SimulatedWorld) -> None:
    await running(world)
    said = Said()
    reporter = ReadyConditionReporter(replace(world.ports, ready_conditions=said), Stock(world))
    world.fail("provider.revoke", ProviderUnavailable("no answer"), times=None)
    activate(world, switch(Target.ALL))
    await reporter.write_changes()
    assert said.findings == []  # something may be on its way into the ledger

    await world.look()
    await reporter.write_changes()
    assert [f.reason for f in said.findings] == ["Revoking"]
    assert "1 still to be taken back: Fake has not confirmed it" in said.findings[0].message

    world.heal()
    await world.settle()
    await reporter.write_changes()
    assert [f.reason for f in said.findings] == ["Revoking", "Enforced"]
    assert said.findings[1].message == "Nothing that it matches is held; 1 task is held back"


async def test_one_that_matches_nothing_says_so(world: SimulatedWorld) -> None:
    """A name that was mistyped in a hurry must not look like success."""
    await running(world)
    said = Said()
    reporter = ReadyConditionReporter(replace(world.ports, ready_conditions=said), Stock(world))
    activate(world, switch(Target.AGENT, **OTHERS[Target.AGENT]))

    await reporter.write_changes()
    await reporter.write_changes()

    assert said.findings[0].message == (
        "Nothing that it matches is held; no task matches it now, so see that the names are right"
    )


async def test_a_debt_of_a_task_that_is_gone_counts(world: SimulatedWorld) -> None:
    await running(world)
    world.fail("provider.revoke", ProviderUnavailable("no answer"), times=None)
    world.delete()
    world.clock.advance(60)
    await world.look()
    world.clock.advance(60)
    await world.look()
    said = Said()
    reporter = ReadyConditionReporter(replace(world.ports, ready_conditions=said), Stock(world))
    activate(world, switch(Target.AGENT, **MATCHING[Target.AGENT]))

    await reporter.write_changes()
    await reporter.write_changes()

    assert [f.reason for f in said.findings] == ["Revoking"]


async def test_it_is_recorded_once_when_it_is_thrown_and_once_when_it_is_lifted(
    world: SimulatedWorld,
) -> None:
    stock, path = Stock(world), world.path
    recorder = KillSwitchRecorder(world.ports, stock)
    recorder.begin(History(path).kill_switches())
    activate(world, switch(Target.ALL))
    await recorder.record_changes()
    await recorder.record_changes()
    world.restart()
    activate(world)  # while no operator runs
    again = KillSwitchRecorder(world.ports, stock)
    again.begin(History(path).kill_switches())
    await again.record_changes()
    await again.record_changes()

    (activated,), (lifted,) = world.entries("kill_switch.throw"), world.entries("kill_switch.lift")
    assert activated["data"]["kill_switch"] == {"name": "stop", "uid": "uid-stop", "target": "All"}
    assert activated["data"]["reason"] == "INC-42"
    assert "requester" in activated["data"]["by"]
    assert lifted["data"]["kill_switch"] == {"name": "stop", "uid": "uid-stop"}
    assert History(path).kill_switches() == {}


async def test_a_restart_does_not_record_a_switch_again(
    world: SimulatedWorld, tmp_path: Path
) -> None:
    activate(world, switch(Target.ALL))
    await KillSwitchRecorder(world.ports, Stock(world)).record_changes()
    world.restart()

    await KillSwitchRecorder(world.ports, Stock(world)).record_changes()  # the log was pruned, say

    assert len(world.entries("kill_switch.throw")) == 1


async def test_a_log_that_cannot_be_read_ends_nothing_but_the_record(
    world: SimulatedWorld,
) -> None:
    """The operator goes on to revoke; what is recorded once the log can be read is all of it."""
    activate(world, switch(Target.ALL))
    readable = False

    def damaged() -> Mapping[str, str]:
        if not readable:
            raise TamperEvidence("entry 3 is not what was signed")
        return {}

    recorder = KillSwitchRecorder(world.ports, Stock(world), damaged)
    with pytest.raises(TamperEvidence):
        await recorder.once()
    assert world.entries("kill_switch.throw") == []

    readable = True
    await recorder.once()
    assert len(world.entries("kill_switch.throw")) == 1


async def test_a_kill_switch_that_could_not_be_recorded_is_recorded_by_the_next_look(
    world: SimulatedWorld,
) -> None:
    activate(world, switch(Target.ALL))
    recorder = KillSwitchRecorder(world.ports, Stock(world))
    world.fail("ledger.commit", LedgerReadOnly("the volume is full"))
    with pytest.raises(LedgerReadOnly):
        await recorder.once()

    await recorder.once()

    assert len(world.entries("kill_switch.throw")) == 1


async def test_what_is_refused_is_tried_again_and_told_once(
    world: SimulatedWorld, caplog: pytest.LogCaptureFixture
) -> None:
    activate(world, switch(Target.ALL))
    recorder = KillSwitchRecorder(world.ports, Stock(world))
    world.fail("ledger.commit", EntryRefused("its id tells of something else"), times=2)
    await recorder.once()
    await recorder.once()
    refused = world.entries("kill_switch.throw")
    await recorder.once()
    activate(world)
    world.fail("ledger.commit", EntryRefused("its id tells of something else"), times=2)
    await recorder.once()
    await recorder.once()
    await recorder.once()

    assert refused == []
    assert len(world.entries("kill_switch.throw")) == 1
    assert len(world.entries("kill_switch.lift")) == 1
    assert History(world.path).kill_switches() == {}
    assert len([r for r in caplog.records if r.levelname == "ERROR"]) == 2


async def test_a_switch_that_never_came_on_record_is_told_of_once_it_is_lifted(
    world: SimulatedWorld,
) -> None:
    activate(world, switch(Target.ALL))
    recorder = KillSwitchRecorder(world.ports, Stock(world))
    world.fail("ledger.commit", EntryRefused("its reason is too long"))
    await recorder.once()
    activate(world)
    await recorder.once()
    await recorder.once()

    assert world.entries("kill_switch.throw") == []
    assert len(world.entries("kill_switch.lift")) == 1


async def test_a_suspended_task_is_not_looked_at_for_its_own_sake_while_its_pod_lives(
    world: SimulatedWorld,
) -> None:
    found = job()
    world.cluster.set_workload(NAMESPACE, found)
    world.create(task(READ, job=found.name))
    world.cluster.create_pod(pod("agent", job=found))
    await world.settle()
    activate(world, switch(Target.ALL))
    await world.settle()

    again = await world.look()
    world.remove_pod()
    await world.settle()
    without = await world.look()

    assert again is not None
    assert without is not None
    assert (again.backoff, without.backoff) == (False, True)  # the end of a Job makes no event


def test_a_switch_of_a_class_stops_no_task_whole() -> None:
    made = switch(Target.CLASS, of=NAME)

    assert not made.stops(replace(task(READ), name=NAME))
    assert made.blocks(NAME)


@pytest.mark.parametrize("target", list(Target))
async def test_what_it_takes_is_counted_as_it_is_matched(
    world: SimulatedWorld, target: Target
) -> None:
    await running(world)
    reporter = ReadyConditionReporter(world.ports, Stock(world))
    for where in (MATCHING.get(target, {"of": READ.class_name}), OTHERS.get(target, {})):
        activated = switch(target, **where)

        taken = [g for g in world.held() if activated.takes(g)]

        assert sum(reporter._held(activated).values()) == len(taken)


async def test_nothing_is_compared_where_nothing_has_changed(world: SimulatedWorld) -> None:
    class Counting(Stock):
        looks = 0

        def all_policies(self) -> tuple[()]:
            self.looks += 1
            return ()

    stock = Counting(world)
    reporter = ReadyConditionReporter(world.ports, stock)
    await reporter.write_changes()
    before = stock.looks
    for _ in range(10):
        await reporter.write_changes()
    unchanged = stock.looks - before

    world.cluster.changed()
    await reporter.write_changes()

    assert (unchanged, stock.looks > before) == (0, True)
