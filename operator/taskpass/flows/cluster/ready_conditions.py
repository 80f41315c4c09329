"""Say of policies and classes whether they can be used, of kill switches what they have done."""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from taskpass.core.errors import MustEnd, TaskpassError
from taskpass.core.lifecycle.template import Template
from taskpass.core.model.capabilities import shown
from taskpass.core.model.conditions import Finding, Reason, false, true
from taskpass.core.model.kill_switch import KillSwitch, Target
from taskpass.core.model.notice import Severity
from taskpass.core.model.task import CredentialClass
from taskpass.core.policy.evaluate import CompiledPolicy
from taskpass.flows.context import Ports
from taskpass.ports.tasks import ReadyCondition

logger = logging.getLogger(__name__)
POLL_SECONDS = 0.5


class Stock(Protocol):
    """Where all policies and classes are."""

    @property
    def revision(self) -> int:
        """Grows with every change of one of them."""

    def all_policies(self) -> tuple[CompiledPolicy, ...]:
        """Return every policy."""

    def all_classes(self) -> tuple[CredentialClass, ...]:
        """Return every class."""

    def all_templates(self) -> tuple[Template, ...]:
        """Return every template."""

    def kill_switches(self) -> Sequence[KillSwitch]:
        """Return every KillSwitch."""

    def tasks_stopped_by(self, switch: KillSwitch) -> int:
        """Return how many tasks there are that it matches."""


class ReadyConditionReporter:
    """Compares what was last said of each with what is true now."""

    def __init__(self, ports: Ports, stock: Stock) -> None:
        self._ports = ports
        self._stock = stock
        self._said: dict[str, tuple[int, Finding]] = {}
        self._looked_at: object = None
        """How policies, classes and templates stood at the last look at them; None: look anew."""
        self._seen: set[str] = set()
        """UIDs of the kill switches of the look before."""

    async def write_changes(self) -> None:
        """Write what has changed: the condition `Ready`, and an Event.

        Twice a second it is asked whether anything changed, and only then what.
        """
        known = self._ports.evaluator.revision
        told = (*self._ports.policy_errors.items(), *self._ports.class_findings.items())
        state = (self._stock.revision, known, told)
        changed, self._looked_at = state != self._looked_at, None
        found = [*(self._of_stock() if changed else ()), *self._of_switches()]
        if changed:
            self._forget(found)
        for condition in found:
            said = self._said.get(condition.uid)
            if said == (condition.generation, condition.finding):
                continue
            try:
                await self._say(condition)
            except MustEnd:
                raise
            except TaskpassError as error:
                state = (-1, known, ())  # so that it is looked at again
                logger.warning(
                    "Failed to write a Ready condition, will retry",
                    extra={"kind": condition.kind, "object": condition.name, "error": str(error)},
                )
        self._looked_at = state

    def _forget(self, found: Sequence[ReadyCondition]) -> None:
        """Drop what was remembered of objects that are gone: tenants make and delete them."""
        there = {each.uid for each in found} | self._seen
        self._said = {uid: said for uid, said in self._said.items() if uid in there}
        labels = {each.policy.label for each in self._stock.all_policies()}
        for label in self._ports.policy_errors.keys() - labels:
            del self._ports.policy_errors[label]

    async def _say(self, condition: ReadyCondition) -> None:
        now = self._ports.now()
        await self._ports.ready_conditions.say(condition, now)
        self._said[condition.uid] = (condition.generation, condition.finding)
        good = condition.finding.status == "True"
        if not good or condition.kind == "KillSwitch":
            await self._ports.events.post(
                kind=condition.kind, namespace=condition.namespace, name=condition.name,
                uid=condition.uid, unique=f"{condition.generation}-{condition.finding.message}",
                reason=condition.finding.reason, message=condition.finding.message,
                severity=Severity.NORMAL if good else Severity.WARNING,
                at=now,
            )  # fmt: skip

    def _of_stock(self) -> Iterator[ReadyCondition]:
        for compiled in self._stock.all_policies():
            policy, finding = compiled.policy, self._of_policy(compiled)
            if finding is not None:
                yield ReadyCondition(
                    kind=policy.kind, namespace=policy.namespace, name=policy.name, uid=policy.uid,
                    generation=policy.generation, finding=finding,
                )  # fmt: skip
        for credential_class in self._stock.all_classes():
            if (finding := self._of_class(credential_class)) is not None:
                yield ReadyCondition(
                    kind="CredentialClass", namespace="", name=credential_class.name,
                    uid=credential_class.uid, generation=credential_class.generation,
                    finding=finding, more=self._promised(credential_class),
                )  # fmt: skip
        for each in self._stock.all_templates():
            yield ReadyCondition(
                kind="AgentTaskTemplate", namespace=each.namespace, name=each.name, uid=each.uid,
                generation=each.generation, finding=TEMPLATE_READY,
            )  # fmt: skip

    def _of_switches(self) -> Iterator[ReadyCondition]:
        switches = self._stock.kill_switches()
        for switch in switches:
            if switch.uid in self._seen:
                yield ReadyCondition(
                    kind="KillSwitch", namespace="", name=switch.name, uid=switch.uid,
                    generation=switch.generation, finding=self._of_switch(switch),
                )  # fmt: skip
        # What was being issued when it came is in the ledger by the next look.
        self._seen = {switch.uid for switch in switches}

    def _of_switch(self, switch: KillSwitch) -> Finding:
        held = self._held(switch)
        if not held:
            tasks = self._stock.tasks_stopped_by(switch)
            what = "1 task is held back" if tasks == 1 else f"{tasks} tasks are held back"
            what = what if tasks else "no task matches it now, so see that the names are right"
            return true(Reason.ENFORCED, f"Nothing that it matches is held; {what}")
        providers = ", ".join(sorted(held))
        return false(
            Reason.REVOKING,
            f"{sum(held.values())} still to be taken back: {providers} has not confirmed it; it is "
            "tried again until it does",
        )

    def _held(self, switch: KillSwitch) -> Mapping[str, int]:
        """Return how many grants it takes back, by provider (`KillSwitch.takes`, counted)."""
        ledger = self._ports.ledger
        match switch.target:
            case Target.TASK:
                return Counter(g.provider for g in ledger.grants((switch.namespace, switch.of)))
            case Target.AGENT:
                return ledger.tally(namespace=switch.namespace, account=switch.of)
            case Target.NAMESPACE:
                return ledger.tally(namespace=switch.namespace)
            case Target.CLASS:
                return ledger.tally(class_name=switch.of)
            case Target.ALL:
                return ledger.tally()

    def _of_policy(self, compiled: CompiledPolicy) -> Finding | None:
        """Return what is true of a policy; None where its expressions are still examined."""
        label = compiled.policy.label
        if compiled.error:
            return false(Reason.INVALID_EXPRESSION, f"{compiled.error} {EFFECT}")
        known = self._ports.evaluator.examined(compiled.policy)
        if known is None:
            return None
        if known.error:
            return false(Reason.INVALID_EXPRESSION, f"{known.error} {EFFECT}")
        if known.stopped:
            return false(Reason.EVALUATION_FAILED, f"{known.stopped} {EFFECT}")
        generation, error = self._ports.policy_errors.get(label, (0, ""))
        if error and generation == compiled.policy.generation:
            return false(Reason.EVALUATION_FAILED, f"{error} {EFFECT}")
        return true(Reason.READY, "Every expression compiles")

    def _of_class(self, credential_class: CredentialClass) -> Finding | None:
        """Return what is true of a class; None where its provider is still being asked."""
        if credential_class.deleting:
            return false(
                Reason.REVOKING, "It is being deleted; what is held of it is taken back first"
            )
        generation, finding = self._ports.class_findings.get(credential_class.uid, (0, None))
        return finding if generation == credential_class.generation else None

    def _promised(self, credential_class: CredentialClass) -> Mapping[str, Any]:
        """Return what the class's status shows of its provider's promises."""
        provider = self._ports.providers.get(credential_class.provider)
        if provider is None:
            return {}
        return {"capabilities": shown(provider.capabilities(credential_class))}


TEMPLATE_READY = true(
    Reason.READY, "Each Job whose pods have the label taskpass.dev/task-template of it gets a task"
)
EFFECT = (
    "(a Deny or Constrain blocks what it selects until this is mended, an Allow counts only where "
    "no other covers; what is held stays until it expires)"
)
