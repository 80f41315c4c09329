"""See one task whole: from the caches and the ledger, without a call to anything."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from taskpass.core.lifecycle.attestation import PodView
from taskpass.core.lifecycle.delegation import DEEPEST, Ancestor, Lineage
from taskpass.core.lifecycle.snapshot import Owners, Snapshot
from taskpass.core.model.capabilities import Capabilities
from taskpass.core.model.conditions import Finding
from taskpass.core.model.key import Key
from taskpass.core.model.task import CredentialClass, Task
from taskpass.core.policy.expression_input import Answered
from taskpass.core.rate_limit.budget import Budget
from taskpass.flows.context import Ports

MOST_SIBLINGS = 1000
"""The most that `maxChildren` of a policy can be."""


@dataclass(slots=True)
class Run:
    """What one reconcile of one task has found out and done so far."""

    task: Task | None = None
    """As it was seen last."""
    owners: Owners | None = None
    answers: dict[tuple[str, str], Answered] = field(default_factory=dict)
    may_use: dict[str, bool] = field(default_factory=dict)
    may_delegate: bool | None = None
    permissions_digest: dict[str, str] = field(default_factory=dict)
    gives: dict[str, str] = field(default_factory=dict)
    unanswered: set[str] = field(default_factory=set)
    failures: dict[str, Finding] = field(default_factory=dict)
    delivery_failure: Finding | None = None
    withdrawal_failed: bool = False
    lifted: set[str] = field(default_factory=set)
    released: bool = False
    deleted: bool = False


def observe(ports: Ports, key: Key, run: Run) -> Snapshot:
    """Return what is seen now. Only called once every cache has synced: absence then means gone."""
    world, ledger, deferred = ports.world, ports.ledger, ports.deferred
    task = world.task(key)
    records, grants = deferred.records(ledger.records_of(key)), deferred.grants(ledger.grants(key))
    uid = task.uid if task else ""
    pods = world.pods(key) if task else ()
    sight, bound, classes = world.sight(key[0]), _bound(ports, pods), tuple(_classes(ports, task))
    return Snapshot(
        task=task,
        own_record=next((r for r in records if r.task.uid == uid), None),
        gone_records=[r for r in records if r.task.uid != uid],
        grants=grants,
        secret_cache=frozenset(g.id for g in grants if g.id in ports.secret_cache),
        missing_at_provider=frozenset(g.id for g in grants if g.id in ports.missing_at_provider),
        enrolled=world.enrolled(key[0]) and not (task and task.left_out),
        pods=pods,
        bound=bound,
        service_account_uid=(
            world.service_account_uid(task.namespace, task.service_account) if task else None
        ),
        namespace_labels=world.namespace_labels(key[0]),
        classes={c.name: c for c in classes},
        capabilities=_promised(ports, classes),
        policies=world.policies(key[0]),
        queue_position=_ahead(ports, task, task.service_account) if task else 0,
        queue_position_in_namespace=_ahead(ports, task, "") if task else 0,
        kill_switches=world.kill_switches(),
        lineage=lineage_of(ports, task) if task else Lineage(),
        below=ledger.below(uid),
        approvals=world.approvals(key),
        epoch=ledger.epoch,
        audience=ports.audience,
        overlap=ports.overlap,
        controllers=ports.controllers,
        sight=sight,
        issuance_blocked_reason=ports.modes.issuance_blocked_reason
        or sight.issuance_blocked_reason,
        budget=_budget(ports, task) if task else None,
        unproven=ports.modes.unproven,
        revoke_only=ports.modes.revoke_only,
        uninstalling=ports.modes.uninstalling,
        owners=run.owners,
        answers=dict(run.answers),
        may_use=dict(run.may_use),
        may_delegate=run.may_delegate,
        permissions_digest=dict(run.permissions_digest),
        gives=dict(run.gives),
        unanswered=frozenset(run.unanswered),
        failures=dict(run.failures),
        delivery_failure=run.delivery_failure,
        withdrawal_failed=run.withdrawal_failed,
        lifted=frozenset(run.lifted),
        ever_lifted=frozenset(
            p.uid for p in pods if p.gated and p.uid in bound and ledger.gate_lifted(p.uid)
        ),
        released=run.released,
        deleted=run.deleted,
    )


def _promised(ports: Ports, classes: Iterable[CredentialClass]) -> dict[str, Capabilities]:
    """Return what the classes' providers promise, as far as they are configured."""
    made = ports.providers
    return {c.name: made[c.provider].capabilities(c) for c in classes if c.provider in made}


def _bound(ports: Ports, pods: Iterable[PodView]) -> dict[str, str]:
    """Return the UID of the task that each pod is bound to, by the pod's; of those that are."""
    deferred, ledger = ports.deferred, ports.ledger
    tasks = {p.uid: deferred.bound_task(p.uid) or ledger.bound_task(p.uid) for p in pods}
    return {pod: task for pod, task in tasks.items() if task is not None}


def lineage_of(ports: Ports, task: Task) -> Lineage:
    """Return the tasks above a task, as the caches and the ledger have them."""
    above: list[Ancestor] = []
    current, missing = task, ""
    while current.parent and len(above) <= DEEPEST:
        found = ports.world.task((task.namespace, current.parent))
        if found is None:
            missing = current.parent
            break
        grants = tuple(g for g in ports.ledger.grants(found.key) if g.task.uid == found.uid)
        record = ports.ledger.record(found.uid)
        switch = next((s for s in ports.world.kill_switches() if s.stops(found)), None)
        stopped = switch.message if switch else None
        above.append(Ancestor(task=found, record=record, grants=grants, stopped=stopped))
        current = found
    ahead = _siblings_before(ports, task) if task.parent else 0
    return Lineage(above=tuple(above), missing=missing, siblings_before=ahead)


def _siblings_before(ports: Ports, task: Task) -> int:
    """Return how many older ones are not over; counting ends where no policy allows as many."""
    ahead = 0
    for uid in ports.world.children_in_order((task.namespace, task.parent)):
        if uid == task.uid or ahead >= MOST_SIBLINGS:
            return ahead
        record = ports.ledger.record(uid)
        ahead += record is None or record.outcome is None
    return ahead


def _ahead(ports: Ports, task: Task, agent: str) -> int:
    """Return how many other tasks hold something, and did so before this one.

    Of the agent, or of all where it is ''; 0 where no policy asks.
    """
    policies = (each.policy for each in ports.world.policies(task.namespace))
    limits = (p.max_active_tasks if agent else p.max_active_tasks_in_namespace for p in policies)
    if all(limit is None for limit in limits):
        return 0
    return ports.ledger.ahead((task.namespace, agent), task.uid)


def _budget(ports: Ports, task: Task) -> Budget | None:
    """Return the task's accounts; None where nothing that begins can be recorded anyway."""
    return None if ports.modes.revoke_only else ports.budgets.of(task, ports.now())


def _classes(ports: Ports, task: Task | None) -> Iterable[CredentialClass]:
    if task is None:
        return
    requests = task.credentials + tuple(r for p in task.phases for r in p.credentials)
    for name in {r.class_name for r in requests}:
        found = ports.world.credential_class(name)
        if found is not None:
            yield found
