from dataclasses import replace
from pathlib import Path

from taskpass.core.model.capabilities import Revocation
from taskpass.core.model.task import Data, Intent, User, WorkloadRef
from taskpass.core.policy.variables import FIELDS, values_of
from tests.unit.core.policies import AGENT, CAPABILITIES, CLASS, IMAGE, QUESTION, TASK, asking

PROMISED = ("revocation", "revocationSeconds", "minimumSeconds")
DOCUMENT = Path(__file__).parents[3] / "docs" / "api" / "agentpolicy.md"


def test_the_documentation_lists_every_field_and_no_other() -> None:
    rows = [
        tuple(cell.strip() for cell in line.strip("|").split("|"))
        for line in DOCUMENT.read_text().split("## Validations")[1].split("## ")[0].splitlines()
        if line.startswith("| `")
    ]

    assert rows == [(f"`{field.name}`", f"`{field.kind}`", field.about) for field in FIELDS]


def test_a_bounded_revocation_says_within_how_many_seconds() -> None:
    promised = replace(
        CAPABILITIES, revocation=Revocation.BOUNDED, revocation_seconds=10, minimum_seconds=60
    )

    values = values_of(replace(QUESTION, capabilities=promised), CLASS)

    assert [values[f"class.{each}"] for each in PROMISED] == ["Bounded", 10, 60]


def test_of_a_provider_that_is_not_configured_nothing_is_promised() -> None:
    values = values_of(replace(QUESTION, capabilities=None), CLASS)

    assert [values[f"class.{each}"] for each in PROMISED] == ["", 0, 0]


def test_there_is_a_value_for_every_field_and_no_other() -> None:
    assert {*values_of(QUESTION, CLASS), "now"} == {field.name for field in FIELDS}


def test_the_values_are_those_of_the_question() -> None:
    question = asking(expiration_seconds=700, location="https://tickets.internal")
    intent = Intent(
        goal="Answer",
        tools=("kb.search",),
        data=(Data(name="tickets", classification="Internal"),),
        trust_boundary="internal",
    )
    task = replace(
        TASK,
        intent=intent,
        workload=WorkloadRef(api_group="batch", kind="Job", name="j"),
        requester=User(username="argocd", uid="u-1", groups=("pipelines",)),
        changed_by=User(username="jane", uid="u-2", groups=("support-platform",)),
    )
    agent = replace(AGENT, pod_name="agent-1", created_by="job-controller")

    assert values_of(replace(question, task=task, agent=agent), CLASS) == {
        "task.namespace": "support",
        "task.name": "ticket-4711",
        "task.uid": "t-1",
        "task.sponsor": "support-platform",
        "task.requester.username": "argocd",
        "task.requester.uid": "u-1",
        "task.requester.groups": ("pipelines",),
        "task.changedBy.username": "jane",
        "task.changedBy.uid": "u-2",
        "task.changedBy.groups": ("support-platform",),
        "intent.goal": "Answer",
        "intent.tools": ("kb.search",),
        "intent.data": [{"name": "tickets", "classification": "Internal"}],
        "intent.trustBoundary": "internal",
        "agent.serviceAccountName": "triage-agent",
        "agent.podName": "agent-1",
        "agent.podLabels": {"app": "triage"},
        "agent.images": (IMAGE,),
        "agent.createdBy": "job-controller",
        "agent.workloadRef.apiGroup": "batch",
        "agent.workloadRef.kind": "Job",
        "agent.workloadRef.name": "j",
        "request.name": "tickets",
        "request.actions": ("tickets.read",),
        "request.resources": ("ticket/4711",),
        "request.location": "https://tickets.internal",
        "request.expirationSeconds": 700,
        "class.name": "tickets",
        "class.provider": "Kubernetes",
        "class.sensitivity": "Internal",
        "class.actions": ("tickets.read", "tickets.write"),
        "class.locations": ("https://tickets.internal",),
        "class.defaultExpirationSeconds": 900,
        "class.maxExpirationSeconds": 3600,
        "class.revocation": "Immediate",
        "class.revocationSeconds": 0,
        "class.minimumSeconds": 600,
        "phase": "research",
    }


def test_what_is_not_set_is_empty_and_never_missing() -> None:
    """An expression that names it is then false and not broken."""
    values = values_of(QUESTION, CLASS)

    assert values["agent.workloadRef.apiGroup"] == ""
    assert values["agent.workloadRef.kind"] == ""
    assert values["agent.workloadRef.name"] == ""
    assert values["request.expirationSeconds"] == 0
    assert values["request.location"] == ""
    assert values["intent.data"] == []
