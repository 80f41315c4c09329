"""What attesting a pod reads, and what it leaves on record."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from taskpass.core.errors import ApiUnavailable, Forbidden, KindNotServed
from taskpass.core.lifecycle.attestation import AttestedPod, PodView
from taskpass.core.lifecycle.delegation import Ancestor, Lineage
from taskpass.core.lifecycle.ownership import Origin, WorkloadView
from taskpass.core.lifecycle.progress import activity_of
from taskpass.core.lifecycle.records import TaskRecord
from taskpass.core.lifecycle.snapshot import Owners, Snapshot
from taskpass.core.lifecycle.steps import Bind, FetchOwners, LiftGate, RefusePod
from taskpass.core.model.conditions import Reason, false
from taskpass.core.model.notice import Notice, Severity
from taskpass.core.model.task import WorkloadRef
from taskpass.flows.deferred import Deferred
from taskpass.flows.recording import record_deferred
from taskpass.flows.task.attest import bind, fetch_owners, lift_gate, refuse_pod
from taskpass.ports.ledger import Batch
from tests.simulation.builders import T0, job, phase, pod, request, task
from tests.unit.core.snapshots import NEW, record_of

NOW = T0.replace(hour=13)
OF_A_JOB = task(request("tickets"), job="ticket-4711")
POD = pod("agent", job=job())
OTHER = pod("other", job=job("other", uid="job-2"))


class World:
    """Answers what it was told to, and keeps what it was asked and given."""

    def __init__(self, **chains: tuple[WorkloadView, ...] | Exception) -> None:
        self.chains = {uid.replace("_", "-"): chain for uid, chain in chains.items()}
        self.asked: list[object] = []
        self.batches: list[Batch] = []
        self.events: list[tuple[str, str, str, Severity]] = []
        self.lifted: set[str] = set()
        self.deferred = Deferred()

    async def workload(self, namespace: str, group: str, kind: str, name: str) -> WorkloadView:
        self.asked.append((namespace, group, kind, name))
        return job()

    async def owners(self, of: PodView) -> tuple[WorkloadView, ...]:
        self.asked.append(of.name)
        chain = self.chains[of.owner.uid if of.owner else "none"]
        if isinstance(chain, Exception):
            raise chain
        return chain

    def record(self, uid: str) -> TaskRecord | None:
        return None

    async def commit(self, batch: Batch) -> tuple[int, ...]:
        self.batches.append(batch)
        self.lifted.update(batch.lifts)
        return tuple(range(7, 7 + len(batch.entries)))

    def gate_lifted(self, uid: str) -> bool:
        return uid in self.lifted

    async def lift_gate(self, of: PodView) -> None:
        self.asked.append(("lift", of.uid, tuple(sorted(self.lifted))))

    async def post(
        self, *, kind: str, name: str, message: str, severity: Severity, **_: Any
    ) -> None:
        self.events.append((kind, name, message, severity))

    @property
    def ports(self) -> Any:
        uncharged = SimpleNamespace(charge=lambda batch, record, now: batch)
        return SimpleNamespace(
            workloads=self, ledger=self, pods=self, events=self, budgets=uncharged,
            now=lambda: NOW, fail_point=self.asked.append, deferred=self.deferred,
            world=SimpleNamespace(children=lambda key: ()),
        )  # fmt: skip


async def test_a_task_without_a_workload_has_none_looked_up() -> None:
    world = World()

    found = await fetch_owners(world.ports, NEW, FetchOwners(pods=()))

    assert found == Owners(workload=None, by_pod={}, unanswered={}, rounds=1)
    assert world.asked == []


async def test_the_workload_is_the_one_that_the_task_names() -> None:
    world = World()
    seen = replace(
        NEW, task=replace(OF_A_JOB, workload=WorkloadRef(api_group="g", kind="K", name="n"))
    )

    found = await fetch_owners(world.ports, seen, FetchOwners(pods=()))

    assert world.asked == [("support", "g", "K", "n")]
    assert found.workload == job()


async def test_owners_are_read_once_for_all_pods_of_one() -> None:
    world = World(job_1=(job(),), job_2=KindNotServed("no such kind"))
    again = replace(POD, name="again", uid="pod-again")
    seen = replace(NEW, task=OF_A_JOB)

    found = await fetch_owners(world.ports, seen, FetchOwners(pods=(POD, again, OTHER)))

    assert world.asked[1:] == ["agent", "other"]
    assert found.by_pod == {"pod-agent": (job(),), "pod-again": (job(),)}
    assert found.unanswered == {
        "pod-other": "Whose pod 'other' is could not be found out: no such kind"
    }


@pytest.mark.parametrize("error", [KindNotServed("not served"), Forbidden("may not")])
async def test_a_second_look_of_a_run_keeps_what_the_first_has_found(error: Exception) -> None:
    world = World(job_1=(job(),), job_2=error)
    seen = replace(NEW, task=OF_A_JOB)

    first = await fetch_owners(world.ports, seen, FetchOwners(pods=(OTHER,)))
    second = await fetch_owners(world.ports, replace(seen, owners=first), FetchOwners(pods=(POD,)))
    third = await fetch_owners(world.ports, replace(seen, owners=second), FetchOwners(pods=()))

    assert (first.rounds, second.rounds, third.rounds) == (1, 2, 3)
    assert third.by_pod == {"pod-agent": (job(),)}
    assert set(third.unanswered) == {"pod-other"}


async def test_without_an_answer_of_the_api_server_nothing_is_found() -> None:
    """It is looked at again, later and as a whole."""
    world = World(job_1=ApiUnavailable("no answer"))

    with pytest.raises(ApiUnavailable, match="no answer"):
        await fetch_owners(world.ports, replace(NEW, task=OF_A_JOB), FetchOwners(pods=(POD,)))


PHASED = task(phases=[phase("research", request("tickets")), phase("reply", request("answers"))])
ATTESTED = AttestedPod(
    pod=POD, service_account_uid="account-1", workload_uid="job-1", origin=Origin(names=("ada",))
)
BOUND = TaskRecord(
    task=PHASED.ref, attempt=1, phase="research", pod_name="agent", pod_uid="pod-agent",
    service_account_uid="account-1", workload_uid="job-1", images=POD.images,
    origin=Origin(names=("ada",)), started_at=NOW, activity=activity_of(PHASED), active_at=NOW,
)  # fmt: skip


async def bound(seen: Snapshot) -> tuple[World, TaskRecord]:
    world = World()
    bind(world.ports, seen, Bind(attested=ATTESTED))
    assert world.batches == [], "it shares a transaction with what comes next"
    await record_deferred(world.ports, seen.task)
    (batch,) = world.batches
    (kept,) = batch.tasks
    return world, kept


async def test_the_first_pod_begins_the_task_in_its_first_phase() -> None:
    world, kept = await bound(replace(NEW, task=PHASED))

    assert kept == BOUND
    assert world.batches[0].entries[0].data["pod"] == {
        "name": "agent", "uid": "pod-agent", "attempt": 1,
    }  # fmt: skip
    assert world.events == [
        ("AgentTask", "ticket-4711", "Pod 'agent' is the agent (attempt 1) (audit 7)",
         Severity.NORMAL)
    ]  # fmt: skip


async def test_the_next_pod_goes_on_where_the_task_was_and_nothing_else_is_left() -> None:
    """Renewals and a refusal were those of the pod before."""
    before = record_of(
        PHASED, attempt=1, phase="reply", pod_uid="", renewals={"use": 2}, denial="sha256:refused"
    )

    _, kept = await bound(replace(NEW, task=PHASED, own_record=before))

    assert kept == replace(
        before, attempt=2, pod_name="agent", pod_uid="pod-agent", workload_uid="job-1",
        images=POD.images, origin=Origin(names=("ada",)), started_at=T0,
        activity=activity_of(PHASED), active_at=NOW, renewals={}, denial="",
    )  # fmt: skip


async def test_a_child_is_bound_to_the_parent_that_lives_then() -> None:
    parent, root = (
        Ancestor(task=task(name=name, uid=f"task-{name}"), record=None, grants=())
        for name in ("parent", "root")
    )

    _, kept = await bound(replace(NEW, task=PHASED, lineage=Lineage(above=(parent, root))))

    assert kept == replace(BOUND, parent_uid="task-parent")


async def test_that_a_gate_is_lifted_is_on_record_before_it_is_and_once() -> None:
    world = World()

    await lift_gate(world.ports, NEW, LiftGate(pod=POD))
    await lift_gate(world.ports, NEW, LiftGate(pod=POD))

    assert [batch.lifts for batch in world.batches] == [("pod-agent",)]
    assert world.asked == 2 * ["lift.after-record", ("lift", "pod-agent", ("pod-agent",))]


async def test_a_refusal_is_on_record_and_said_on_task_and_pod_as_a_warning() -> None:
    world = World()
    step = RefusePod(
        pod=POD, finding=false(Reason.WORKLOAD_MISMATCH, "not yours"), refusal="sha256:refused"
    )
    before = record_of(PHASED, pod_uid="", denial="sha256:before")

    await refuse_pod(world.ports, replace(NEW, task=PHASED, own_record=before), step)

    (batch,) = world.batches
    assert batch.tasks == (replace(before, denial="sha256:refused"),)
    assert batch.entries[0].data["attest"]["result"] == "WorkloadMismatch"
    assert batch.entries[0].data["pod"] == {"name": "agent", "uid": "pod-agent"}
    assert batch.entries[0].time == NOW
    assert batch.entries[0].notice == Notice(
        reason="AttestationFailed", message="not yours", severity=Severity.WARNING, on_pod=True
    )
    assert world.events == [
        (kind, name, "not yours (audit 7)", Severity.WARNING)
        for kind, name in (("AgentTask", "ticket-4711"), ("Pod", "agent"))
    ]
