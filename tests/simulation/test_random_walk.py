"""Three tasks in a world where anything happens in any order, from a fixed seed.

After every round what must hold at every moment does; now and then all faults end, and then the
world comes to the rest that it should.
"""

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from taskpass.core.errors import ApiUnavailable, ProviderRefused, ProviderUnavailable
from taskpass.core.lifecycle.approval import Verdict
from taskpass.core.model.key import Key
from taskpass.core.model.kill_switch import Target
from taskpass.core.model.task import CredentialRequest, User
from taskpass.core.policy.evaluate import Effect
from tests.simulation.builders import (
    ACCOUNT,
    ASKS_LEADS,
    LEA,
    NAMESPACE,
    broken,
    credential_class,
    job,
    phase,
    pod,
    policy,
    request,
    switch,
    task,
    word,
)
from tests.simulation.conftest import MakeWorld
from tests.simulation.faults import Crash, When
from tests.simulation.invariants import assert_at_rest, assert_nothing_left, assert_safe
from tests.simulation.world import SimulatedWorld

ROUNDS = 300
REST = 10
NAMES = ("alpha", "beta", "gamma")
CALLS = (
    "ledger.commit", "provider.issue", "provider.revoke", "sink.deliver", "sink.withdraw",
    "pods.lift_gate", "tasks.patch_status", "tasks.release", "reviewer.may_use",
)  # fmt: skip


class Walk:
    """Draws what happens next."""

    def __init__(self, world: SimulatedWorld, seed: int) -> None:
        self.world = world
        self.cluster = world.cluster
        self.random = random.Random(seed)
        self.cluster.delegates = {("ada", name) for name in NAMES}
        self.happenings: list[Callable[[], None]] = [
            *[self.task_comes] * 8, *[self.pod_comes] * 8, *[self.pod_ends] * 2, self.pod_goes,
            *[self.phase_moves] * 3, self.request_changes, self.intent_changes, self.task_goes,
            *[self.mode_changes] * 2, self.switch_changes, self.policy_changes, self.class_changes,
            self.account_changes, self.job_ends,
            self.enrolment_changes, self.limits_change, self.state_is_doubted,
            *[self.time_passes] * 3, self.clock_jumps,
            *[self.renewal_comes] * 4, *[self.somebody_approves] * 4, self.word_is_taken_back,
            *[self.something_fails] * 4, *[self.process_ends] * 3, *[self.heal] * 6,
        ]  # fmt: skip

    def step(self) -> None:
        """Have one thing happen."""
        self.random.choice(self.happenings)()

    def heal(self) -> None:
        """End all that keeps the world from rest."""
        self.world.heal()
        self.cluster.tenants.add(NAMESPACE)
        self.cluster.kill_switch_list = []
        for key in self.cluster.tasks:
            self.cluster.change_task(key, operating_mode="Running")
        self.world.ports.modes.issuance_blocked_reason = None
        self.world.ports.modes.unproven = False
        self.cluster.policy_list = [policy()]
        self.cluster.accounts[NAMESPACE, ACCOUNT] = "account-1"

    def clean(self) -> None:
        """Delete what is over, so that something new can begin."""
        for key, found in list(self.cluster.tasks.items()):
            conditions = {c["type"]: c["status"] for c in found.status.get("conditions", ())}
            if "True" in (conditions.get("Finished"), conditions.get("Stalled")):
                self.cluster.delete_task(key)
        for each in list(self.cluster.known_pods.values()):
            self.cluster.remove_pod(each.uid)

    def begin(self) -> None:
        """Have a task and a pod of every name."""
        for name in NAMES:
            self.task_comes((NAMESPACE, name))
            self.pod_comes((NAMESPACE, name))

    def key(self) -> Key:
        return (NAMESPACE, self.random.choice(NAMES))

    def requests(self) -> tuple[CredentialRequest, ...]:
        names = self.random.sample(("kb", "tickets"), self.random.randint(1, 2))
        return tuple(
            request(name, resources=[f"fake/{self.random.randint(1, 2)}"]) for name in names
        )

    def task_comes(self, key: Key | None = None) -> None:
        key = key or self.key()
        if key in self.cluster.tasks:
            return
        phases = [phase("one", next=["two"]), phase("two", next=["three"]), phase("three")]
        above = self.random.choice([n for n in NAMES if n < key[1]] + ["", ""])
        made = task(
            *self.requests(), name=key[1], phases=phases, phase="one", parent=above,
            job=key[1] if self.random.random() < 0.5 else "",
            deadline=self.random.choice([None, 1800]), ttl=self.random.choice([None, 60]),
        )  # fmt: skip
        if made.workload is not None:
            uid = f"job-{self.cluster.changed()}"
            self.cluster.set_workload(NAMESPACE, job(key[1], uid=uid))
        self.cluster.create_task(made)

    def pod_comes(self, key: Key | None = None) -> None:
        key = key or self.key()
        owner = self.cluster.workloads.get((NAMESPACE, "Job", key[1]))
        if owner is not None and owner.ended:
            return
        name = f"{key[1]}-{self.cluster.changed()}"
        self.cluster.create_pod(pod(name, task=key[1], job=owner))

    def any_pod(self) -> str:
        return self.random.choice([*self.cluster.known_pods, ""])

    def pod_ends(self) -> None:
        if uid := self.any_pod():
            how = self.random.choice(["Succeeded", "Failed"])
            self.cluster.change_pod(uid, ended=how)

    def pod_goes(self) -> None:
        if uid := self.any_pod():
            self.cluster.remove_pod(uid)

    def job_ends(self) -> None:
        found = self.cluster.workloads.get((NAMESPACE, "Job", self.key()[1]))
        if found is not None:
            self.cluster.set_workload(NAMESPACE, replace(found, ended="Succeeded"))

    def phase_moves(self) -> None:
        key = self.key()
        found = self.cluster.tasks.get(key)
        if found is None:
            return
        following = {"one": "two", "two": "three", "three": "three"}[found.phase]
        self.cluster.change_task(key, phase=self.random.choice([following] * 4 + ["three"]))

    def request_changes(self) -> None:
        key = self.key()
        if key in self.cluster.tasks:
            self.cluster.change_task(key, credentials=self.requests())

    def intent_changes(self) -> None:
        key = self.key()
        if key in self.cluster.tasks:
            goal = f"Goal {self.random.randint(1, 9)}"
            self.cluster.change_task(key, intent=task(goal=goal).intent)

    def mode_changes(self) -> None:
        key = self.key()
        if key in self.cluster.tasks:
            mode = self.random.choice(["Running", "Suspended"])
            self.cluster.change_task(key, operating_mode=mode)

    def switch_changes(self) -> None:
        self.cluster.kill_switch_list = self.random.choice(
            [[], [switch(Target.CLASS, of="tickets-api")]]
            + [[switch(Target.TASK, namespace=NAMESPACE, of=name)] for name in NAMES]
        )

    def task_goes(self) -> None:
        self.cluster.delete_task(self.key())

    def policy_changes(self) -> None:
        self.cluster.policy_list = self.random.choice(
            [
                [],
                [policy()],
                [policy(), policy("second")],
                [policy(max_expiration_seconds=300)],
                [policy(max_renewals=1)],
                [policy(max_active_tasks=1)],
                [policy(approval=ASKS_LEADS)],
                [policy(approval=ASKS_LEADS)],
                [policy(), policy("freeze", effect=Effect.DENY)],
                [policy(), broken("freeze", Effect.DENY)],
            ]
        )

    def somebody_approves(self) -> None:
        found = self.cluster.tasks.get(self.key())
        for asked in found.status.get("pendingApprovals", ()) if found else ():
            who = self.random.choice([LEA] * 4 + [User(username="ada", groups=LEA.groups)])
            said = self.random.choice([Verdict.APPROVED] * 5 + [Verdict.DENIED])
            self.cluster.approve(word(found, asked["digest"], who, decision=said))

    def word_is_taken_back(self) -> None:
        if self.cluster.approval_list:
            self.cluster.withdraw_approval(self.random.choice(self.cluster.approval_list).uid)

    def class_changes(self) -> None:
        seconds = self.random.choice([300, 600, 900])
        self.cluster.classes["tickets-api"] = credential_class(default_expiration_seconds=seconds)

    def account_changes(self) -> None:
        uid = f"account-{self.random.randint(1, 2)}"
        self.cluster.accounts[NAMESPACE, ACCOUNT] = uid

    def enrolment_changes(self) -> None:
        self.cluster.tenants ^= {NAMESPACE}

    def limits_change(self) -> None:
        held_back = self.world.ports.modes.issuance_blocked_reason
        self.world.ports.modes.issuance_blocked_reason = (
            None if held_back else "The limits do not hold"
        )

    def state_is_doubted(self) -> None:
        """The ledger's state is compared with its log, as at a start, until all is well again."""
        self.world.ports.modes.unproven = True
        self.world.ports.modes.issuance_blocked_reason = "The state is being compared"

    def time_passes(self) -> None:
        self.world.clock.advance(self.random.choice([1, 30, 300, 1000]))

    def renewal_comes(self) -> None:
        ends = [g.expires_at for g in self.world.held() if g.expires_at]
        left = min((e - self.world.now() for e in ends), default=timedelta())
        self.world.clock.advance(max(0, left.total_seconds() - 75))

    def clock_jumps(self) -> None:
        self.world.clock.set_forward(timedelta(hours=self.random.choice([-1, 1])))

    def something_fails(self) -> None:
        call = self.random.choice(CALLS)
        error: BaseException = ApiUnavailable("no answer")
        if call.startswith("provider."):
            error = ProviderUnavailable("no answer")
        if call == "provider.issue" and self.random.random() < 0.3:
            error = ProviderRefused("no")
        if call == "ledger.commit":
            error = Crash("around a commit")
        self.world.fail(
            call, error, when=self.random.choice(list(When)), skip=self.random.randint(0, 2),
            times=self.random.randint(1, 3),
        )  # fmt: skip

    def process_ends(self) -> None:
        if self.random.random() < 0.3:
            self.world.restart()
            return
        call = self.random.choice(CALLS)
        when = self.random.choice(list(When))
        self.world.fail(call, Crash(call), when=when, skip=self.random.randint(0, 3))


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "overlap"), [(4711, 90), (4712, 90), (4713, 0)])
async def test_a_world_where_anything_happens_stays_safe_and_comes_to_rest(
    make_world: MakeWorld, seed: int, overlap: int
) -> None:
    world = make_world(overlap=timedelta(seconds=overlap))
    walk = Walk(world, seed)

    for number in range(ROUNDS):
        walk.step()
        for key in walk.random.sample(NAMES, 2):
            await world.look((NAMESPACE, key))
            assert_safe(world)
        if number % REST == REST - 1:
            walk.heal()
            await world.settle()
            assert_at_rest(world, cut_off=True)
            walk.clean()
            await world.settle()
            walk.begin()

    walk.heal()
    for name in NAMES:
        world.cluster.delete_task((NAMESPACE, name))
    await world.settle()
    assert_nothing_left(world)
    assert world.swept == 0
    assert world.starts > 3
    assert any("renews" in e["data"]["cred"] for e in world.entries("credential.issue"))
    issued = [call for call, _ in world.provider.calls if call == "issue"]
    assert len(issued) > 20
