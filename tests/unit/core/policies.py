"""A task, a class, policies and words to judge with, for the tests of policy."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from taskpass.core.model.capabilities import Capabilities, Revocation
from taskpass.core.model.task import (
    CredentialClass,
    CredentialRequest,
    Intent,
    LabelSelector,
    Task,
    User,
)
from taskpass.core.policy.evaluate import (
    Agent,
    CompiledPolicy,
    Decision,
    Effect,
    Policy,
    Question,
    Validation,
    evaluate,
)
from taskpass.core.policy.expression_input import Answer

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
EVERYTHING = LabelSelector()
DIGEST = "sha256:" + "a" * 64
IMAGE = f"registry.example/agent@{DIGEST}"

TASK = Task(
    namespace="support",
    name="ticket-4711",
    uid="t-1",
    generation=1,
    resource_version="1",
    created_at=NOW,
    service_account="triage-agent",
    requester=User(username="argocd", groups=("pipelines",)),
    changed_by=User(username="jane", groups=("support-platform",)),
    sponsor="support-platform",
    intent=Intent(goal="Answer ticket 4711", tools=("tickets.read",)),
)
REQUEST = CredentialRequest(
    name="tickets", class_name="tickets", actions=("tickets.read",), resources=("ticket/4711",)
)
CLASS = CredentialClass(
    name="tickets",
    uid="c-1",
    generation=1,
    provider="Kubernetes",
    config={},
    actions=("tickets.read", "tickets.write"),
    locations=("https://tickets.internal",),
    sensitivity="Internal",
    namespace_selector=EVERYTHING,
    default_expiration_seconds=900,
    max_expiration_seconds=3600,
)
AGENT = Agent(service_account="triage-agent", pod_labels={"app": "triage"}, images=(IMAGE,))
CAPABILITIES = Capabilities(
    revocation=Revocation.IMMEDIATE, minimum_seconds=600, listable=True, ends_sessions=True,
    fields=frozenset({"token"}),
)  # fmt: skip
QUESTION = Question(
    task=TASK,
    phase="research",
    request=REQUEST,
    credential_class=CLASS,
    agent=AGENT,
    namespace_labels={"team": "support"},
    capabilities=CAPABILITIES,
)
ALLOW = Policy(
    kind="AgentPolicy",
    namespace="support",
    name="triage",
    uid="p-1",
    generation=1,
    resource_version="1",
    effect=Effect.ALLOW,
    classes=("tickets",),
    actions=("tickets.read",),
    resources=("ticket/*",),
    digest="sha256:triage",
)
DENY = Policy(
    kind="AgentPolicy",
    namespace="support",
    name="freeze",
    uid="p-2",
    generation=1,
    resource_version="1",
    effect=Effect.DENY,
)
CONSTRAIN = replace(
    DENY, name="short", uid="p-3", effect=Effect.CONSTRAIN, max_expiration_seconds=600
)


def of_cluster(policy: Policy, selector: LabelSelector | None = EVERYTHING) -> Policy:
    """Return the policy as a ClusterAgentPolicy."""
    return replace(policy, kind="ClusterAgentPolicy", namespace="", namespace_selector=selector)


def asking(question: Question = QUESTION, **changes: Any) -> Question:
    """Return the question with changes to its request."""
    return replace(question, request=replace(question.request, **changes))


def demanding(policy: Policy, *expressions: str) -> Policy:
    """Return the policy with validations, each with the message 'must be <expression>'."""
    return replace(
        policy,
        validations=tuple(Validation(expression=e, message=f"must be {e}") for e in expressions),
    )


def decide(policies: Sequence[Policy], question: Question = QUESTION) -> Decision:
    """Evaluate, with every validation answered as its word says."""
    answers = {policy.version: answer_of(policy) for policy in policies}
    return evaluate(question, [compiled(policy) for policy in policies], answers)


def compiled(policy: Policy) -> CompiledPolicy:
    """Return a policy as it is read."""
    return CompiledPolicy(policy=policy)


def answer_of(policy: Policy) -> Answer:
    """Answer validations of three words: true, false, fails; another does not compile."""
    words = [validation.expression for validation in policy.validations]
    for number, word in enumerate(words):
        if word not in ("true", "false", "fails"):
            where = f"spec.validations[{number}].expression"
            return Answer(error=f"{where}: '{word}' is no word", invalid=True)
    if "false" in words:
        return Answer(unmet=words.index("false"))
    return Answer(error="it fails" if "fails" in words else "")
