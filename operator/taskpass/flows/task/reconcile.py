"""Reconcile one task: observe, decide, act, and again, until there is nothing to do but wait.

The work queue runs one reconcile of a task at a time. Whatever something outside depends on is in
the ledger before it is done (`deferred.py` says what may wait), so a crash between any two steps is
a reconcile that starts over.
"""

import asyncio
import logging
from dataclasses import replace
from datetime import datetime
from functools import partial

from taskpass.core.errors import MustEnd, TaskpassError, TransientError
from taskpass.core.lifecycle.ending import ending_step
from taskpass.core.lifecycle.next_step import next_step
from taskpass.core.lifecycle.snapshot import Snapshot
from taskpass.core.lifecycle.steps import (
    AskApproval,
    Bind,
    Block,
    Delete,
    Deliver,
    Enter,
    Evaluate,
    FetchOwners,
    Finish,
    Forget,
    Issue,
    LiftGate,
    NoteActivity,
    NoteApprovals,
    RefusePod,
    RefuseRequests,
    Release,
    ResolvePermissions,
    Resume,
    ReviewAccess,
    Revoke,
    Save,
    Step,
    Suspend,
    Unbind,
    Wait,
    Withdraw,
)
from taskpass.core.model.conditions import Finding, Reason, unknown
from taskpass.core.model.grant import GrantState
from taskpass.core.model.key import Key
from taskpass.flows import provider_calls
from taskpass.flows.context import Ports
from taskpass.flows.deferred import Deferred
from taskpass.flows.recording import record_deferred
from taskpass.flows.task import advance, approve, attest, missing_task, relatives, templates
from taskpass.flows.task.issue import deliver, issue
from taskpass.flows.task.observe import Run, observe
from taskpass.flows.task.revoke import forget, revoke, withdraw
from taskpass.flows.task.status import Reporter
from taskpass.flows.work_queue import Requeue

logger = logging.getLogger(__name__)
CHANGING = (Revoke, Issue, Block, Enter, Suspend, Resume, Finish, Bind, Unbind, Release)
"""What tasks below may hold depends on these."""
ENDS = (
    Revoke,
    Withdraw,
    Enter,
    Block,
    Suspend,
    Finish,
    Unbind,
    Release,
    Delete,
    RefuseRequests,
    Wait,
)
"""What is not to be kept waiting by a provider that is being asked for a credential."""
RECORDED_BEFORE = (Deliver, Release, Delete, Unbind, Wait)
"""What does something before it records anything, or takes back what was decided: all that was
decided before is durable then."""
READS = (FetchOwners, ReviewAccess, ResolvePermissions, Evaluate)
"""What may take long: a confirmed revocation does not wait for it, a pod that is bound may."""
MOST_STEPS = 64
"""A task whose life takes more steps at once than this is going in circles: a bug, and shown."""


class Reconciler:
    """Carries steps out; holds nothing but the ports."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._reporter = Reporter(ports)
        self._queued_for: dict[Key, dict[Key, None]] = {}
        """Tasks that wait until another holds nothing, in the order of waiting; by the agent whose
        tasks are counted, or by the namespace where all are."""
        self._agents: dict[Key, Key] = {}
        """Their agents, until they rest without waiting: one that is gone passes its turn on."""
        self._failures: dict[Key, tuple[int, dict[str, Finding]]] = {}
        """Why requests of a generation were not issued, of tasks whose others are still being taken
        back. The look after that tells it, and does not begin them anew at once."""

    async def reconcile(self, key: Key) -> Requeue:
        """Bring one task to rest.

        Raises:
            TransientError: Try again with back-off.
            LedgerError: The process must end.

        """
        ports = replace(self._ports, deferred=Deferred())
        run = Run(failures=self._failures_before(key))
        try:
            return await self._run(ports, key, run)
        except MustEnd:
            raise
        except (Exception, asyncio.CancelledError):
            ours = asyncio.current_task()
            if ours is None or not ours.cancelling():  # else the process ends
                await record_deferred(ports, run.task)
            raise

    async def _run(self, ports: Ports, key: Key, run: Run) -> Requeue:
        for _ in range(MOST_STEPS):
            snapshot = observe(ports, key, run)
            run.task = snapshot.task
            step = _decided(snapshot, ports.now())
            if _is_recorded_before(ports, step):
                await record_deferred(ports, snapshot.task)
            if isinstance(step, Wait):
                return await self._rest(ports, key, snapshot, step, run)
            logger.debug(
                "Decided a step", extra={"task": "/".join(key), "step": type(step).__name__}
            )
            if isinstance(step, Revoke):  # they need not wait for this one's providers
                relatives.enqueue_descendants(ports, key)
            try:
                await self._act(ports, snapshot, step, run)
            except TransientError as error:
                await record_deferred(ports, snapshot.task)
                await self._tell(snapshot, step, error)
                raise
            if isinstance(step, CHANGING):
                relatives.enqueue_descendants(ports, key)
        raise TaskpassError(f"Task {'/'.join(key)} did not come to rest in {MOST_STEPS} steps")

    async def _rest(
        self, ports: Ports, key: Key, snapshot: Snapshot, step: Wait, run: Run
    ) -> Requeue:
        """Say how things stand; return when to look again."""
        self._note_broken(snapshot, step)
        self._note_held_back(key, snapshot, step)
        self._note_failures(key, snapshot, run)
        unsaid = await self._reporter.report(snapshot, step)
        await approve.answer_approvals(ports, snapshot, step)
        until = min(filter(None, (step.until, unsaid)), default=None)
        if snapshot.task is None:
            ports.modes.waiting.discard(key)
            await templates.make_task(ports, key)
            told = await missing_task.tell_pods(ports, key)
            until = min(filter(None, (until, told)), default=None)
        again = step.retry or bool(step.pending or run.unanswered)
        if step.issuance_blocked:
            again = again or not ports.modes.issuance_blocked_reason
            ports.modes.waiting.add(key)
        enqueue = self._next_in_line(key, snapshot, step)
        return Requeue(at=until, backoff=again, enqueue=enqueue)

    async def _act(self, ports: Ports, snapshot: Snapshot, step: Step, run: Run) -> None:
        task = snapshot.task
        match step:
            case Revoke():
                run.unanswered |= await revoke(ports, step, task)
            case Withdraw():
                pod = snapshot.bound_pod if task else None
                reader = pod if pod is not None and snapshot.may_run(pod) else None
                run.withdrawal_failed = not await withdraw(ports, step, reader)
            case Forget():
                await forget(ports, step)
            case FetchOwners():
                run.owners = await attest.fetch_owners(ports, snapshot, step)
            case Bind():
                attest.bind(ports, snapshot, step)
            case RefusePod():
                await attest.refuse_pod(ports, snapshot, step)
            case ReviewAccess():
                await self._ask(snapshot, step, run)
            case ResolvePermissions():
                await provider_calls.asked(
                    ports, snapshot.live_task.key, approve.inspect(ports, snapshot, step, run),
                    partial(_is_wanted, ports, snapshot.live_task.key, run),
                )  # fmt: skip
            case Evaluate():
                await self._evaluate(snapshot, step, run)
            case RefuseRequests():
                await advance.refuse_requests(ports, snapshot, step)
            case Issue():
                failed = await issue(
                    ports, snapshot, step, partial(_is_wanted, ports, snapshot.live_task.key, run)
                )
                run.failures |= dict(failed.findings) if failed else {}
            case Deliver():
                run.delivery_failure = await deliver(ports, snapshot, step)
            case LiftGate():
                await attest.lift_gate(ports, snapshot, step)
                run.lifted.add(step.pod.uid)
            case _:
                await self._move(ports, snapshot, step, run)

    async def _move(self, ports: Ports, snapshot: Snapshot, step: Step, run: Run) -> None:
        match step:
            case AskApproval():
                await approve.ask_approval(ports, snapshot, step)
            case NoteApprovals():
                await approve.note_approvals(ports, snapshot, step)
            case Enter():
                await advance.enter(ports, snapshot, step)
            case Block():
                await advance.block(ports, snapshot, step)
            case Save():
                await advance.save(ports, snapshot, step)
            case NoteActivity():
                await advance.note_activity(ports, snapshot)
            case Suspend():
                await advance.suspend(ports, snapshot, step)
            case Resume():
                await advance.resume(ports, snapshot)
            case Unbind():
                await advance.unbind(ports, snapshot)
            case Finish():
                await advance.finish(ports, snapshot, step)
            case Release():
                await ports.tasks.release(snapshot.live_task)
                run.released = True
            case Delete():
                await ports.tasks.delete(snapshot.live_task)
                run.deleted = True
            case _:
                raise TypeError(f"no way to carry out {type(step).__name__}")

    async def _tell(self, snapshot: Snapshot, step: Step, error: TransientError) -> None:
        """Show what could not be found out; best effort, as the API server may be what is away."""
        if isinstance(step, FetchOwners):
            rest = Wait(
                attested=unknown(Reason.CHECK_FAILED, str(error)),
                pending=snapshot.own_pending_revocations,
            )
        elif isinstance(step, ReviewAccess | ResolvePermissions):
            rest = Wait(
                authorized=unknown(Reason.EVALUATION_FAILED, str(error)),
                pending=snapshot.own_pending_revocations,
            )
        else:
            return
        try:
            await self._reporter.report(snapshot, rest)
        except TransientError as second:
            logger.info("Failed to report a failure", extra={"error": str(second)})

    def _next_in_line(self, key: Key, snapshot: Snapshot, rest: Wait) -> Key | None:
        """Return who may have the place that this task does not take; None where it takes one."""
        agent = self._agents.pop(key, None)
        if snapshot.task is not None:
            agent = (snapshot.task.namespace, snapshot.task.service_account)
        if agent is None:
            return None
        lines = agent, (agent[0], "")
        quota = next((d.decision.quota for d in rest.denials if d.decision.quota), None)
        for line in lines:
            if line != quota:
                self._queued_for.get(line, {}).pop(key, None)
        if quota is not None:
            self._queued_for.setdefault(quota, {})[key] = None
            self._agents[key] = agent
            return None
        if any(g.state is not GrantState.REVOKING for g in snapshot.own_grants):
            return None
        waiting = next((found for line in lines if (found := self._queued_for.get(line))), {})
        if not waiting:
            return None
        first = next(iter(waiting))
        del waiting[first]
        return first

    def _note_broken(self, snapshot: Snapshot, rest: Wait) -> None:
        """Remember which policies failed at run time, for their `Ready` condition."""
        generations = {p.policy.label: p.policy.generation for p in snapshot.policies}
        for denial in rest.denials:
            for label, error in denial.decision.policy_errors:
                self._ports.policy_errors[label] = (generations.get(label, 0), error)

    def _failures_before(self, key: Key) -> dict[str, Finding]:
        """Return what failed at the last look, where that waited for a provider's answer."""
        generation, failures = self._failures.pop(key, (0, {}))
        task = self._ports.world.task(key)
        return failures if task is not None and task.generation == generation else {}

    def _note_failures(self, key: Key, snapshot: Snapshot, run: Run) -> None:
        """Remember what failed where the next look comes as soon as a provider has answered."""
        if run.failures and run.unanswered and snapshot.task is not None:
            self._failures[key] = (snapshot.task.generation, run.failures)
        else:
            self._failures.pop(key, None)

    def _note_held_back(self, key: Key, snapshot: Snapshot, rest: Wait) -> None:
        uid = snapshot.task.uid if snapshot.task is not None else ""
        self._ports.budgets.note(key, uid, rest.throttled, self._ports.now())

    async def _evaluate(self, snapshot: Snapshot, step: Evaluate, run: Run) -> None:
        """Ask all that is to be known at once; others may go on meanwhile."""
        with self._ports.aside(snapshot.live_task.key):
            answered = await self._ports.evaluator.evaluate(
                snapshot.live_task.namespace, step.inquiries
            )
        for inquiry, answers in zip(step.inquiries, answered, strict=True):
            known = run.answers.get((inquiry.request, inquiry.phase))
            if known is not None and known.counts(inquiry.values, answers.at):
                answers = replace(
                    answers,
                    at=min(known.at, answers.at),
                    answers={**known.answers, **answers.answers},
                )
            run.answers[inquiry.request, inquiry.phase] = answers

    async def _ask(self, snapshot: Snapshot, step: ReviewAccess, run: Run) -> None:
        for name in step.classes:
            run.may_use[name] = await self._ports.reviewer.may_use(
                snapshot.live_task.changed_by, name
            )
        if step.parent:
            task = snapshot.live_task
            run.may_delegate = await self._ports.reviewer.may_delegate(
                task.changed_by, task.namespace, step.parent
            )


def _decided(snapshot: Snapshot, now: datetime) -> Step:
    """Return the next step; of a record by which it cannot be told, what ends all the same."""
    error: Exception | None = None
    if not (snapshot.unproven or snapshot.revoke_only):
        try:
            return next_step(snapshot, now)
        except Exception as raised:
            snapshot, error = replace(snapshot, revoke_only=True), raised
    ending = ending_step(snapshot, now)
    if isinstance(ending.step, Wait):
        if error is not None:
            raise error
        for failed in ending.failed:
            logger.error(
                "A check failed, the others went on",
                extra={"task": str(snapshot.task and snapshot.task.ref)}, exc_info=failed,
            )  # fmt: skip
    return ending.step


def _is_wanted(ports: Ports, key: Key, run: Run) -> bool:
    """Tell whether what is being issued would still be, by what is seen now.

    Its own intents are left out: to whoever finds them they are what a crash has left.
    """
    seen = observe(ports, key, run)
    others = [each for each in seen.grants if each.state is not GrantState.INTENT]
    return not isinstance(_decided(replace(seen, grants=others, budget=None), ports.now()), ENDS)


def _is_recorded_before(ports: Ports, step: Step) -> bool:
    """Tell whether what is deferred must be durable before the step, and is not recorded by it."""
    ends = ports.deferred.batch is not None and bool(ports.deferred.batch.grants)
    return isinstance(step, RECORDED_BEFORE) or (isinstance(step, READS) and ends)
