"""The ports of the flows over a simulated cluster, each call surrounded by what may go wrong."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from taskpass.cel.in_process import DirectEvaluator
from taskpass.core.errors import SecretNameTaken
from taskpass.core.lifecycle.attestation import PodView
from taskpass.core.lifecycle.ownership import WorkloadView
from taskpass.core.lifecycle.records import PodBinding, TaskRecord, TrailItem
from taskpass.core.model.capabilities import Capabilities
from taskpass.core.model.entry import Entry
from taskpass.core.model.grant import Grant, Issued
from taskpass.core.model.key import Key
from taskpass.core.model.notice import Severity
from taskpass.core.model.task import CredentialClass, CredentialRequest, Task, User
from taskpass.core.policy.evaluate import Policy
from taskpass.core.policy.expression_input import Answer, Answered, Examined, Inquiry
from taskpass.core.rate_limit.budget import Meter
from taskpass.ledger.store.sqlite import SqliteLedger
from taskpass.ports.credentials import Delivery
from taskpass.ports.ledger import Batch
from taskpass.ports.tasks import ReadyCondition
from tests.fake_provider import FakeProvider
from tests.simulation.cluster import Cluster, StoredEvent, StoredSecret
from tests.simulation.faults import Life


class SimulatedCalls:
    """`CredentialSink`, `PodControl`, `TaskWriter`, `EventPoster`, `AccessReviewer`, `Evaluator`
    and `WorkloadReader` of one process."""

    def __init__(self, cluster: Cluster, life: Life) -> None:
        self._cluster = cluster
        self._life = life
        self._evaluator = DirectEvaluator(cluster.clock)

    async def deliver(self, delivery: Delivery) -> str:
        with self._life.call("sink.deliver"):
            task = delivery.task
            key = (task.namespace, f"taskpass-{task.name}")
            found = self._cluster.secrets.get(key)
            if found is not None and found.owner != task.uid:
                raise SecretNameTaken(f"Secret '{key[1]}' exists and is not this task's")
            uid = found.uid if found else f"secret-{self._cluster.changed()}"
            fields = {name: value.reveal() for name, value in delivery.fields.items()}
            self._cluster.changed()
            self._cluster.secrets[key] = StoredSecret(uid, task.uid, fields, delivery.index)
            return uid

    async def withdraw(self, namespace: str, name: str, task_uid: str, secret_uid: str) -> None:
        with self._life.call("sink.withdraw"):
            key = (namespace, f"taskpass-{name}")
            found = self._cluster.secrets.get(key)
            if found is None or found.owner != task_uid or secret_uid not in ("", found.uid):
                return
            self._cluster.changed()
            del self._cluster.secrets[key]

    async def lift_gate(self, pod: PodView) -> None:
        with self._life.call("pods.lift_gate"):
            if pod.uid in self._cluster.known_pods:
                self._cluster.change_pod(pod.uid, gated=False)

    async def is_gone(self, namespace: str, name: str, uid: str) -> bool:
        with self._life.call("pods.is_gone"):
            return self._cluster.pod_uid(namespace, name) != uid

    async def nudge(self, pod: PodView, version: str) -> None:
        with self._life.call("pods.nudge", version):
            pass

    async def patch_status(self, task: Task, status: Mapping[str, Any]) -> None:
        with self._life.call("tasks.patch_status"):
            self._cluster.patch_status(task, status)

    async def create(self, body: Mapping[str, Any]) -> None:
        with self._life.call("tasks.create"):
            self._cluster.create_made(body)

    async def release(self, task: Task) -> None:
        with self._life.call("tasks.release"):
            self._cluster.release(task)

    async def delete(self, task: Task) -> None:
        with self._life.call("tasks.delete"):
            live = self._cluster.tasks.get(task.key)
            if live is not None and live.uid == task.uid:
                self._cluster.delete_task(task.key)

    async def post(
        self, *, kind: str, namespace: str, name: str, uid: str, unique: str,
        reason: str, message: str, severity: Severity, at: datetime,
    ) -> None:  # fmt: skip
        with self._life.call("events.post", reason):
            event = StoredEvent(kind, name, reason, message)
            self._cluster.events.setdefault(f"{uid}|{unique}", event)

    async def say(self, condition: ReadyCondition, now: datetime) -> None:
        with self._life.call("standings.say", condition.finding.reason):
            self._cluster.say(condition)

    async def release_class(self, used: CredentialClass) -> None:
        with self._life.call("standings.release_class", used.name):
            self._cluster.release_class(used)

    async def may_use(self, user: User, class_name: str) -> bool:
        with self._life.call("reviewer.may_use"):
            return (user.username, class_name) not in self._cluster.may_not_use

    async def may_delegate(self, user: User, namespace: str, name: str) -> bool:
        with self._life.call("reviewer.may_delegate"):
            return (user.username, name) in self._cluster.delegates

    async def evaluate(self, namespace: str, inquiries: Sequence[Inquiry]) -> Sequence[Answered]:
        with self._life.call("evaluator.evaluate"):
            answered = await self._evaluator.evaluate(namespace, inquiries)
            return [self._undecided(*each) for each in zip(inquiries, answered, strict=True)]

    def _undecided(self, inquiry: Inquiry, answered: Answered) -> Answered:
        out = {p.version for p in inquiry.policies if p.name in self._cluster.undecided}
        waiting = Answer(error="it took too long", transient=True)
        answers = {v: waiting if v in out else a for v, a in answered.answers.items()}
        return replace(answered, answers=answers)

    @property
    def revision(self) -> tuple[int, int]:
        return self._evaluator.revision

    def examined(self, policy: Policy) -> Examined:
        return self._evaluator.examined(policy)

    async def workload(
        self, namespace: str, api_group: str, kind: str, name: str
    ) -> WorkloadView | None:
        with self._life.call("workloads.workload"):
            return self._cluster.workloads.get((namespace, kind, name))

    async def owners(self, pod: PodView) -> tuple[WorkloadView, ...]:
        with self._life.call("workloads.owners"):
            return tuple(self._cluster.owners_of(pod))


class SimulatedLedger:
    """The real ledger; only its commits may go wrong."""

    def __init__(self, ledger: SqliteLedger, life: Life) -> None:
        self._ledger = ledger
        self._life = life

    async def commit(self, batch: Batch) -> tuple[int, ...]:
        said = [*map(_told, batch.entries), *("gate lifted" for _ in batch.lifts)]
        with self._life.call("ledger.commit", ", ".join(said)):
            return await self._ledger.commit(batch)

    @property
    def epoch(self) -> int:
        return self._ledger.epoch

    def grants(self, key: Key) -> tuple[Grant, ...]:
        return self._ledger.grants(key)

    def held(self) -> Iterable[Grant]:
        return self._ledger.held()

    def holders(self, agent: Key) -> Mapping[str, datetime]:
        return self._ledger.holders(agent)

    def ahead(self, agent: Key, task_uid: str) -> int:
        return self._ledger.ahead(agent, task_uid)

    def tally(
        self, namespace: str = "", account: str = "", class_name: str = ""
    ) -> Mapping[str, int]:
        return self._ledger.tally(namespace, account, class_name)

    def below(self, task_uid: str) -> Sequence[Grant]:
        return self._ledger.below(task_uid)

    def record(self, task_uid: str) -> TaskRecord | None:
        return self._ledger.record(task_uid)

    def records_of(self, key: Key) -> tuple[TaskRecord, ...]:
        return self._ledger.records_of(key)

    def records(self) -> Iterable[TaskRecord]:
        return self._ledger.records()

    def meters(self) -> Mapping[str, Meter]:
        return self._ledger.meters()

    def bound_task(self, pod_uid: str) -> str | None:
        return self._ledger.bound_task(pod_uid)

    def leftover_bindings(self, after: str, most: int) -> Sequence[PodBinding]:
        return self._ledger.leftover_bindings(after, most)

    def gate_lifted(self, pod_uid: str) -> bool:
        return self._ledger.gate_lifted(pod_uid)

    def trail(self, task_uid: str) -> tuple[TrailItem, ...]:
        return self._ledger.trail(task_uid)


class SimulatedProvider:
    """The fake provider, whose calls may go wrong around their effect."""

    def __init__(self, provider: FakeProvider, life: Life) -> None:
        self._provider = provider
        self._life = life

    def prepare(
        self, request: CredentialRequest, credential_class: CredentialClass, grant_id: str
    ) -> Mapping[str, Any]:
        return self._provider.prepare(request, credential_class, grant_id)

    def capabilities(self, credential_class: CredentialClass) -> Capabilities:
        return self._provider.capabilities(credential_class)

    def problem(self, credential_class: CredentialClass) -> None:
        return None

    async def obstacles(self, credential_class: CredentialClass) -> Sequence[str]:
        return await self._provider.obstacles(credential_class)  # no life asks

    async def permissions_digest(self, credential_class: CredentialClass) -> str:
        with self._life.call("provider.reach"):
            return await self._provider.permissions_digest(credential_class)

    async def describe(self, credential_class: CredentialClass, actions: Sequence[str]) -> str:
        return await self._provider.describe(credential_class, actions)

    async def issue(self, grant: Grant, audience: str) -> Issued:
        with self._life.call("provider.issue"):
            return await self._provider.issue(grant, audience)

    async def revoke(self, grant: Grant) -> None:
        with self._life.call("provider.revoke"):
            await self._provider.revoke(grant)

    async def inventory(self) -> Mapping[str, Mapping[str, Any]]:
        with self._life.call("provider.inventory"):
            return await self._provider.inventory()

    def is_gone(self, grant: Grant, found: Mapping[str, Any] | None) -> bool:
        return self._provider.is_gone(grant, found)

    def surplus(self, grant: Grant, found: Mapping[str, Any]) -> Mapping[str, Any] | None:
        return self._provider.surplus(grant, found)

    async def undo(self, grant_id: str, state: Mapping[str, Any]) -> None:
        with self._life.call("provider.undo"):
            await self._provider.undo(grant_id, state)


def _told(entry: Entry) -> str:
    stage = entry.data["stage"]
    return entry.type.value if stage == "point" else f"{entry.type.value} {stage}"
