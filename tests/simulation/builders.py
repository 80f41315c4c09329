"""Values that tests are about, each with what matters in the call and the rest as it usually is."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from taskpass.core.lifecycle.approval import TaskApproval, Verdict
from taskpass.core.lifecycle.attestation import PodView
from taskpass.core.lifecycle.ownership import CONTROLLERS, Owner, WorkloadView
from taskpass.core.model.kill_switch import KillSwitch, Target
from taskpass.core.model.task import (
    LABEL,
    CredentialClass,
    CredentialRequest,
    Intent,
    LabelSelector,
    Output,
    Phase,
    Task,
    TaskUser,
    User,
    WorkloadRef,
    digest,
)
from taskpass.core.policy.evaluate import Agents, CompiledPolicy, Effect, Policy
from taskpass.core.policy.types import ApprovalRule

T0 = datetime(2027, 3, 1, 12, 0, tzinfo=UTC)
NAMESPACE = "support"
NAME = "ticket-4711"
ACCOUNT = "triage-agent"
JOB_CONTROLLER = CONTROLLERS["Job"][0]


def request(
    name: str = "tickets",
    *,
    of: str = "tickets-api",
    actions: Sequence[str] = ("tickets.read",),
    resources: Sequence[str] = ("fake/4711",),
    seconds: int | None = None,
    outputs: Sequence[tuple[str, str]] = (),
) -> CredentialRequest:
    """Return a request; `outputs` are (field, key)."""
    return CredentialRequest(
        name=name,
        class_name=of,
        actions=tuple(actions),
        resources=tuple(resources),
        expiration_seconds=seconds,
        outputs=tuple(Output(field=field, key=key) for field, key in outputs),
    )


def phase(name: str, *asking: CredentialRequest, next: Sequence[str] = ()) -> Phase:
    """Return a phase and what it asks for."""
    return Phase(name=name, next=tuple(next), credentials=tuple(asking))


def task(
    *asking: CredentialRequest,
    name: str = NAME,
    phases: Sequence[Phase] = (),
    phase: str = "",
    job: str = "",
    goal: str = "Answer ticket 4711",
    start_deadline: int | None = None,
    deadline: int | None = None,
    ttl: int | None = None,
    mode: str = "Running",
    completion: str = "",
    idle: int | None = None,
    parent: str = "",
    by: str = "ada",
    uid: str = "task-1",
) -> Task:
    """Return a task as it was created at T0."""
    return Task(
        namespace=NAMESPACE,
        name=name,
        uid=uid,
        generation=1,
        resource_version="1",
        created_at=T0,
        service_account=ACCOUNT,
        workload=WorkloadRef(api_group="batch", kind="Job", name=job) if job else None,
        requester=TaskUser(username=by),
        changed_by=TaskUser(username=by),
        sponsor="support-platform",
        intent=Intent(goal=goal, tools=("tickets.read",)),
        credentials=tuple(asking),
        phases=tuple(phases),
        phase=phase,
        operating_mode=mode,
        start_deadline_seconds=start_deadline,
        active_deadline_seconds=deadline,
        ttl_seconds_after_finished=ttl,
        completion_policy=completion,
        idle_timeout_seconds=idle,
        parent=parent,
    )


def pod(name: str = "agent", *, task: str = NAME, job: WorkloadView | None = None) -> PodView:
    """Return a pod as admission leaves it: labelled, gated, with our volume."""
    return PodView(
        namespace=NAMESPACE,
        name=name,
        uid=f"pod-{name}",
        created_at=T0,
        deleting_since=None,
        labels={LABEL: task},
        created_by=JOB_CONTROLLER if job else "ada",
        created_for=f"Job/{job.uid}" if job else "",
        owner=Owner(api_group="batch", kind="Job", name=job.name, uid=job.uid) if job else None,
        service_account=ACCOUNT,
        gated=True,
        ended="",
        audience="taskpass",
        token_seconds=3600,
        secret=f"taskpass-{task}",
        images=("registry.example/agent:1",),
    )


def job(name: str = NAME, *, uid: str = "job-1", ended: str = "") -> WorkloadView:
    """Return a Job that goes on, or has ended."""
    return WorkloadView(
        api_group="batch", kind="Job", name=name, uid=uid, owner=None, ended=ended,
        created_by="ada", created_for="", changers=("ada",),
    )  # fmt: skip


def switch(target: Target, name: str = "stop", **where: str) -> KillSwitch:
    """Return a KillSwitch that ona activated."""
    return KillSwitch(
        name=name, uid=f"uid-{name}", generation=1, target=target, reason="INC-42",
        requester=User(username="ona"), **where,
    )  # fmt: skip


ASKS_LEADS = ApprovalRule(approver_groups=("support-leads",), excluded_usernames=("argocd",))
LEA = User(username="lea", uid="u-lea", groups=("support-leads",))


def word(
    of: Task, digest: str, who: User = LEA, *, decision: Verdict = Verdict.APPROVED,
    seconds: int | None = None, name: str = "",
) -> TaskApproval:  # fmt: skip
    """Return a TaskApproval on what a digest names, as admission stamped it."""
    return TaskApproval(
        namespace=of.namespace, name=name, uid="", generation=1, created_at=T0,
        task_name=of.name, task_uid=of.uid, digest=digest, decision=decision, reason="looked at it",
        valid_seconds=seconds, approver=who,
    )  # fmt: skip


def credential_class(name: str = "tickets-api", **changes: Any) -> CredentialClass:
    """Return a class of the fake provider for every namespace."""
    made = CredentialClass(
        name=name,
        uid=f"class-{name}",
        generation=1,
        provider="Fake",
        config={},
        actions=("tickets.read", "tickets.write"),
        namespace_selector=LabelSelector(),
    )
    made = replace(made, **changes)
    return replace(made, digest=digest([made.name, made.actions, made.default_expiration_seconds]))


def policy(name: str = "triage", **changes: Any) -> CompiledPolicy:
    """Return a policy that allows everything of the class to the agent, or as `changes` say."""
    made = Policy(
        kind="AgentPolicy",
        namespace=NAMESPACE,
        name=name,
        uid=f"policy-{name}",
        generation=1,
        resource_version="1",
        effect=Effect.ALLOW,
        agents=Agents(service_account_names=(ACCOUNT,)),
        classes=("tickets-api",),
        actions=("tickets.*",),
        resources=("fake/*",),
        locations=("*",),
    )
    made = replace(made, **changes)
    limits = [made.max_expiration_seconds, made.max_renewals, made.max_active_tasks]
    shown = [made.name, made.effect, made.classes, made.actions, *limits]
    return CompiledPolicy(policy=replace(made, digest=digest(shown)))


def broken(name: str, effect: Effect) -> CompiledPolicy:
    """Return a policy that selects everything and whose expression does not compile."""
    made = policy(name, effect=effect)
    return replace(made, error="spec.validations[0].expression: it does not compile")
