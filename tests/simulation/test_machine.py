"""Random sequences of everything that can happen, drawn by hypothesis, which shrinks what fails.

After every step: nothing works that the ledger does not answer for; and at every issue, whatever
led there, an intent is durable, the pod is attested and lives, somebody allows it, nobody forbids
it. At the end all faults end, and the world comes to rest; then nothing is left.
"""

import asyncio
import os
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)

from taskpass.core.lifecycle.approval import Verdict
from taskpass.core.model.grant import Grant, GrantState, Issued
from taskpass.core.policy.evaluate import Effect
from tests.simulation.builders import LEA, NAMESPACE
from tests.simulation.faults import Crash, When
from tests.simulation.invariants import assert_at_rest, assert_nothing_left, assert_safe
from tests.simulation.test_random_walk import CALLS, NAMES, Walk
from tests.simulation.world import SimulatedWorld

SEQUENCES = int(os.environ.get("TASKPASS_SEQUENCES", "400"))
"""`make soak` asks for 10,000."""
STEPS = 12


class Life(RuleBasedStateMachine):
    """Three tasks, and what people, controllers, clocks and faults do to them."""

    @initialize(overlap=st.sampled_from([0, 90]), drawn=st.randoms(use_true_random=False))
    def begin(self, overlap: int, drawn: Any) -> None:
        """Start an operator, with a task and a pod of every name."""
        memory = Path("/dev/shm")
        self.directory = tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None)
        self.runner = asyncio.Runner()
        path = Path(self.directory.name) / "ledger.db"
        self.world = self.runner.run(_made(path, timedelta(seconds=overlap)))
        self.walk = Walk(self.world, 0)
        self.walk.random = drawn
        self.issues = 0
        self._watch_issues()
        self.walk.begin()

    @rule(data=st.data())
    def something_happens(self, data: st.DataObject) -> None:
        """Have one thing happen, and the operator look at some of the tasks."""
        names = [happening.__name__ for happening in self.walk.happenings]  # some more often
        getattr(self.walk, data.draw(st.sampled_from(names)))()
        for name in data.draw(
            st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True)
        ):
            self.runner.run(self.world.look((NAMESPACE, name)))
            assert_safe(self.world)

    @rule(call=st.sampled_from(CALLS), when=st.sampled_from(When), skip=st.integers(0, 3))
    def the_process_ends(self, call: str, when: When, skip: int) -> None:
        """End the process before or after one effect of what it does now."""
        self.world.fail(call, Crash(call), when=when, skip=skip)
        for name in NAMES:
            self.runner.run(self.world.look((NAMESPACE, name)))
            assert_safe(self.world)

    @rule()
    def faults_end(self) -> None:
        """Let everything answer: the world comes to rest, and what is held has a reason."""
        self.world.heal()
        self.runner.run(self.world.settle())
        assert_at_rest(self.world, cut_off=True)
        for grant in self.world.held():
            assert_held_for_a_reason(self.world, grant)

    def teardown(self) -> None:
        """Bring everything to its end."""
        if not hasattr(self, "world"):
            return
        try:
            self.walk.heal()
            for name in NAMES:
                self.world.cluster.delete_task((NAMESPACE, name))
            self.runner.run(self.world.settle())
            assert_nothing_left(self.world)
        finally:
            self.world.close()
            self.runner.close()
            self.directory.cleanup()

    def _watch_issues(self) -> None:
        provider, issue = self.world.provider, self.world.provider.issue

        async def watched(grant: Grant, audience: str) -> Issued:
            self.issues += 1
            assert_may_be_issued(self.world, grant)
            return await issue(grant, audience)

        provider.issue = watched  # type: ignore[method-assign]


def assert_may_be_issued(world: SimulatedWorld, grant: Grant) -> None:
    """What must be true at the moment of every issue, as the world is."""
    durable = {g.id: g.state for g in world.ports.ledger.grants(grant.task.key)}
    assert durable[grant.id] is GrantState.INTENT, "issued before the intent was durable"
    assert_held_for_a_reason(world, grant)
    effects = [p.policy.effect for p in world.cluster.policy_list]
    assert Effect.ALLOW in effects, "issued without an Allow"
    assert Effect.DENY not in effects, "issued against a Deny that cannot be evaluated"
    least = min(p.policy.max_active_tasks or 9 for p in world.cluster.policy_list)
    holding = {
        g.task.uid
        for g in world.ports.ledger.held()
        if g.state is not GrantState.REVOKING and g.task.uid != grant.task.uid
    }
    assert len(holding) < least, "issued to one more task than may hold something"
    others = [g for g in world.ports.ledger.grants(grant.task.key) if g.name == grant.name]
    live = [g for g in others if g.id in world.provider.live and g.id != grant.id]
    assert all(g.id == grant.renews for g in live), "issued beside one that it does not renew"


def assert_held_for_a_reason(world: SimulatedWorld, grant: Grant) -> None:
    """What must be true of whatever is held, once the operator has looked."""
    task = world.cluster.tasks[grant.task.key]
    assert (task.uid, task.deleting_since) == (grant.task.uid, None), "of a task that goes"
    assert task.operating_mode == "Running", "while suspended"
    assert not [s for s in world.cluster.kill_switch_list if s.takes(grant)], "a KillSwitch is on"
    pod = world.cluster.known_pods[grant.pod_uid]
    assert (pod.ended, pod.service_account) == ("", task.service_account), "by no agent"
    assert world.ports.ledger.bound_task(pod.uid) == task.uid, "by another task's pod"
    assert NAMESPACE in world.cluster.tenants, "in a namespace that is not enrolled"
    assert grant.request_digest in {r.digest for r in task.requests_in(grant.phase)}, (
        "not asked for"
    )
    assert grant.intent_digest == task.intent.digest, "for another intent"
    assert grant.expires_at is None or grant.expires_at > world.now(), "past its end"
    if task.parent:
        assert_within_the_parents(world, grant)
    policies = world.cluster.policy_list
    if any(p.policy.approval for p in policies) and not any(p.error for p in policies):
        assert_approved(world, grant)
    if not any(p.error for p in policies):  # such a one keeps what is held
        effects = {p.policy.effect for p in policies}
        assert (Effect.ALLOW in effects, Effect.DENY in effects) == (True, False), "not allowed"


def assert_approved(world: SimulatedWorld, grant: Grant) -> None:
    """Lea alone may approve: her word on this very grant is there, and has not ended."""
    task, approval = world.cluster.tasks[grant.task.key], grant.approval
    assert approval is not None, "not approved"
    words = [a for a in world.cluster.approval_list if a.digest == approval.digest]
    yes = [a for a in words if (a.decision, a.approver) == (Verdict.APPROVED, LEA)]
    assert yes, "approved by nobody who may"
    assert not [a for a in words if (a.decision, a.approver) == (Verdict.DENIED, LEA)], "denied"
    assert approval.until > world.now(), "its approval has ended"
    assert grant.generation == task.generation, "approved before the task was changed"
    others = [g for g in world.ports.ledger.held() if g.approval and g.task != grant.task]
    assert approval.digest not in {g.approval.digest for g in others if g.approval}, "used twice"


def assert_within_the_parents(world: SimulatedWorld, grant: Grant) -> None:
    """What a child holds is a part of one credential that its parent holds, and ends no later."""
    task = world.cluster.tasks[grant.task.key]
    above = world.cluster.tasks[NAMESPACE, task.parent]
    assert (above.deleting_since, above.operating_mode) == (None, "Running"), "the parent is not on"
    assert above.created_at <= task.created_at, "the parent came later"
    covers = [
        g
        for g in world.ports.ledger.grants(above.key)
        if g.task.uid == above.uid
        and g.state in (GrantState.ISSUED, GrantState.DELIVERED)
        and g.class_name == grant.class_name
        and set(grant.actions) <= set(g.actions)
        and set(grant.resources) <= set(g.resources)
    ]
    assert covers, "more than the parent holds"
    latest = max(g.expires_at for g in covers if g.expires_at)
    slack = timedelta(seconds=5)
    assert grant.expires_at is None or grant.expires_at <= latest + slack, "longer than the parent"
    assert grant.chain[-1] == above.uid, "delegated by another"


async def _made(path: Path, overlap: timedelta) -> SimulatedWorld:
    return SimulatedWorld(path, None, overlap)


@pytest.mark.slow
def test_any_sequence_of_events_stays_safe_and_comes_to_its_end() -> None:
    chosen = settings(
        max_examples=SEQUENCES, stateful_step_count=STEPS, deadline=None, derandomize=True,
        suppress_health_check=list(HealthCheck), print_blob=True,
    )  # fmt: skip

    run_state_machine_as_test(Life, settings=chosen)  # type: ignore[no-untyped-call]
