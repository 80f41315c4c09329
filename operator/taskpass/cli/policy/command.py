"""`taskpass policy explain`: which policy decides on each request of a task, and why.

On files, without a cluster: before a task, a class or a policy is applied. Exit codes: 0 all that
is asked for is allowed, 1 something is not, 2 a file cannot be used.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from taskpass.cel.in_process import DirectEvaluator
from taskpass.cli.output import say, say_json, wrapped
from taskpass.cli.policy.files import Given, PodTemplate, read
from taskpass.core.errors import UsageError
from taskpass.core.model.capabilities import Capabilities, shown
from taskpass.core.model.task import CredentialRequest, Task, TaskUser
from taskpass.core.model.text import plain
from taskpass.core.policy.evaluate import (
    Agent,
    CompiledPolicy,
    Decision,
    DecisionReason,
    Question,
    evaluate,
)
from taskpass.providers.registry import capabilities_of

WIDTH = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A decision, and what it is on."""

    task: Task
    phase: str
    request: CredentialRequest
    decision: Decision
    capabilities: Capabilities | None
    """What the class's provider promises; None where there is no such class or provider."""


@click.group()
def policy() -> None:
    """See what policies decide."""


@policy.command(epilog="Example: taskpass policy explain -f task.yaml -f policies.yaml --as jane")
@click.option(
    "-f",
    "files",
    type=click.Path(path_type=Path),
    multiple=True,
    required=True,
    help="YAML with AgentTasks, CredentialClasses, policies and Namespaces. Repeatable.",
)
@click.option("--as", "username", default="", help="Who applies the task (changedBy).")
@click.option("--as-group", "groups", multiple=True, help="A group of theirs. Repeatable.")
@click.option("--pod-label", "labels", multiple=True, help="A label of the pod, as KEY=VALUE.")
@click.option("--image", "images", multiple=True, help="An image of the pod. Repeatable.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def explain(
    files: tuple[Path, ...],
    username: str,
    groups: tuple[str, ...],
    labels: tuple[str, ...],
    images: tuple[str, ...],
    as_json: bool,
) -> None:
    """Say for each request of each phase which policy decides, why, and for how long.

    The pod's labels and images come from a Pod or workload in the files that carries the task's
    label, if there is one. What needs a cluster is not asked: the right to use a class, and what
    the API server's schema and the provider refuse.
    """
    given = read(files)
    if not given.tasks:
        raise UsageError("There is no AgentTask in the files; add one with -f")
    user = TaskUser(username=username, groups=groups)
    said = PodTemplate(labels=dict(_label(text) for text in labels), images=images)
    evaluator = DirectEvaluator(_Clock())
    compiled = [
        CompiledPolicy(policy=one, error=evaluator.examined(one).error) for one in given.policies
    ]
    answers = [
        answer
        for task in given.tasks
        for answer in _answers(given, compiled, replace(task, changed_by=user), said, evaluator)
    ]
    broken = {one.policy.title: one.error for one in compiled if one.error}
    if as_json:
        say_json(_as_json(answers, broken), indent=2)
    else:
        for mark, line in _as_text(given, answers, broken):
            say(line, mark=mark)
    sys.exit(0 if all(answer.decision.allowed for answer in answers) else 1)


def _label(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise UsageError(f"--pod-label must be KEY=VALUE, not '{text}'")
    return key, value


class _Clock:
    """A command's clock: expressions may ask for the time."""

    def now(self) -> datetime:
        return datetime.now(UTC)  # noqa: TID251

    def monotonic(self) -> float:
        return self.now().timestamp()


def _answers(
    given: Given, policies: Sequence[CompiledPolicy], task: Task, said: PodTemplate,
    evaluator: DirectEvaluator,
) -> Iterator[Answer]:  # fmt: skip
    template = given.pods.get(task.key, PodTemplate(labels={}, images=()))
    agent = Agent(
        service_account=task.service_account,
        pod_labels={**template.labels, **said.labels},
        images=said.images or template.images,
    )
    for phase in [phase.name for phase in task.phases] or [""]:
        for request in task.requests_in(phase):
            credential_class = given.classes.get(request.class_name)
            question = Question(
                task=task,
                phase=phase,
                request=request,
                credential_class=credential_class,
                agent=agent,
                namespace_labels=given.namespace_labels(task.namespace),
                capabilities=capabilities_of(credential_class),
            )
            known = evaluator.answers_to(question, policies)
            yield Answer(
                task=task,
                phase=phase,
                request=request,
                decision=evaluate(question, policies, known),
                capabilities=question.capabilities,
            )


Line = tuple[str, str]
"""A mark of ours in colour, or '', and what follows it."""


def _as_text(given: Given, answers: Sequence[Answer], broken: dict[str, str]) -> Iterator[Line]:
    shown: tuple[tuple[str, str], str] | None = None
    for answer in answers:
        task = answer.task
        if shown is None or shown[0] != task.key:
            yield from _heading(given, task, first=shown is None)
        if shown != (task.key, answer.phase):
            yield "", ""
            if answer.phase:
                yield "", f"  phase {answer.phase}"
        shown = (task.key, answer.phase)
        yield from _verdict(answer)
    yield "", ""
    for title, error in broken.items():
        yield from _wrapped(f"Cannot be evaluated: {title}: {error}", "", "  ", first="")
    allowed = sum(answer.decision.allowed for answer in answers)
    yield "", f"{allowed} of {len(answers)} requests allowed."


def _heading(given: Given, task: Task, *, first: bool) -> Iterator[Line]:
    if not first:
        yield "", ""
    yield "", f"AgentTask {task.namespace}/{task.name}"
    user = task.changed_by
    groups = f" ({', '.join(user.groups)})" if user.groups else ""
    who = f"{user.username or 'nobody in particular (see --as)'}{groups}"
    yield "", f"  agent {task.service_account}, applied by {who}"
    if task.namespace not in given.namespaces:
        yield "", f"  Namespace '{task.namespace}' is not in the files: taken to have no labels"


def _verdict(answer: Answer) -> Iterator[Line]:
    request, decision = answer.request, answer.decision
    word, colour = {
        DecisionReason.ALLOWED: ("allowed", "green"),
        DecisionReason.EVALUATION_FAILED: ("unclear", "yellow"),
    }.get(decision.reason, ("denied", "red"))
    on = f" on {', '.join(request.resources)}" if request.resources else ""
    at = f" at {request.location}" if request.location else ""
    asked = f"{request.name}: {', '.join(request.actions)}{on}{at}, of class {request.class_name}"
    # Padded before it is coloured: escape codes have no width on a terminal.
    mark = f"  {click.style(word.ljust(9), fg=colour, bold=True)}"
    yield from _wrapped(asked, mark, " " * 11, first="")
    reason = "" if decision.allowed else f"{decision.reason}: "
    yield from _wrapped(f"{reason}{decision.message}", "", " " * 11)
    if decision.allowed and answer.capabilities is not None:
        yield from _wrapped(f"Credentials: {answer.capabilities}.", "", " " * 11)


def _wrapped(text: str, mark: str, indent: str, first: str | None = None) -> Iterator[Line]:
    # Files may come from anybody: what could end a line is made harmless before it is wrapped.
    for number, line in enumerate(wrapped(plain(text), WIDTH - len(indent))):
        head = indent if number or first is None else first
        yield ("" if number else mark), f"{head}{line}"


def _as_json(answers: Sequence[Answer], broken: dict[str, str]) -> dict[str, Any]:
    return {
        "decisions": [
            {
                "task": f"{answer.task.namespace}/{answer.task.name}",
                "phase": answer.phase,
                "request": answer.request.name,
                "class": answer.request.class_name,
                "allowed": answer.decision.allowed,
                "reason": str(answer.decision.reason),
                "message": answer.decision.message,
                "policy": answer.decision.policy,
                "policyDigest": answer.decision.policy_digest,
                "lifetimeSeconds": answer.decision.lifetime_seconds,
                "nearest": answer.decision.nearest,
                "capabilities": shown(answer.capabilities) if answer.capabilities else None,
            }
            for answer in answers
        ],
        "broken": broken,
    }
