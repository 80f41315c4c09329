from dataclasses import replace
from pathlib import Path

from taskpass.core.model.task import Data, Intent, WorkloadRef
from taskpass.core.policy.variables import FIELDS, values_of
from tests.unit.core.policies import CLASS, QUESTION, TASK, asking

DOCUMENT = Path(__file__).parents[3] / "docs" / "api" / "agentpolicy.md"


def test_the_documentation_lists_every_field_and_no_other() -> None:
    rows = [
        tuple(cell.strip() for cell in line.strip("|").split("|"))
        for line in DOCUMENT.read_text().split("## Validations")[1].split("## ")[0].splitlines()
        if line.startswith("| `")
    ]

    assert rows == [(f"`{field.name}`", f"`{field.kind}`", field.about) for field in FIELDS]


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
    workload = WorkloadRef(api_group="batch", kind="Job", name="j")
    question = replace(question, task=replace(TASK, intent=intent, workload=workload))

    values = values_of(question, CLASS)

    assert values["task.requester.username"] == "argocd"
    assert values["task.changedBy.groups"] == ("support-platform",)
    assert values["intent.data"] == [{"name": "tickets", "classification": "Internal"}]
    assert values["intent.trustBoundary"] == "internal"
    assert values["agent.serviceAccountName"] == "triage-agent"
    assert values["agent.podLabels"] == {"app": "triage"}
    assert values["agent.workloadRef.kind"] == "Job"
    assert values["request.expirationSeconds"] == 700
    assert values["request.location"] == "https://tickets.internal"
    assert values["class.sensitivity"] == "Internal"
    assert values["class.maxExpirationSeconds"] == 3600
    assert values["phase"] == "research"
