import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from crd_conventions import findings
from crd_validation import compiled, crds, schema_of

CRDS = sorted(Path(__file__).parents[2].joinpath("crds").glob("*.yaml"))


def spec(kind: str) -> dict[str, Any]:
    properties: dict[str, Any] = copy.deepcopy(schema_of(kind)["properties"]["spec"]["properties"])
    return properties


@pytest.mark.parametrize("path", CRDS, ids=lambda p: p.stem)
def test_crd_follows_kubernetes_api_conventions(path: Path) -> None:
    assert findings(yaml.safe_load(path.read_text())) == []


@pytest.mark.parametrize("path", CRDS, ids=lambda p: p.stem)
def test_file_is_named_after_its_crd(path: Path) -> None:
    spec = yaml.safe_load(path.read_text())["spec"]

    assert path.stem == f"{spec['group']}_{spec['names']['plural']}"


def test_there_are_these_kinds() -> None:
    assert {
        k: (c["spec"]["scope"], c["spec"]["names"]["shortNames"]) for k, c in crds().items()
    } == {
        "AgentPolicy": ("Namespaced", ["apol"]),
        "AgentTask": ("Namespaced", ["atask"]),
        "AgentTaskTemplate": ("Namespaced", ["atemplate"]),
        "AuditAnchor": ("Cluster", ["aanchor"]),
        "ClusterAgentPolicy": ("Cluster", ["capol"]),
        "CredentialClass": ("Cluster", ["credclass"]),
        "KillSwitch": ("Cluster", ["kswitch"]),
        "TaskApproval": ("Namespaced", ["tapproval"]),
    }


def test_a_template_says_what_a_task_says_in_the_same_words() -> None:
    task = schema_of("AgentTask")["properties"]["spec"]["properties"]
    template = schema_of("AgentTaskTemplate")["properties"]["spec"]["properties"]

    own = {"agent", "requester", "changedBy", "changers"}
    of_the_job = {"phase", "operatingMode", "completionPolicy", "parentRef", "templateRef"}
    assert set(task) - set(template) == of_the_job
    assert {k: v for k, v in template.items() if k not in own} == {
        k: v for k, v in task.items() if k not in own | of_the_job
    }


@pytest.mark.parametrize("kind", sorted(crds()))
def test_every_rule_compiles(kind: str) -> None:
    sources = list(rules(schema_of(kind)))

    assert sources
    for source in sources:
        compiled(source)


def rules(schema: dict[str, Any]) -> Iterator[str]:
    for rule in schema.get("x-kubernetes-validations", []):
        # Self and oldSelf are the API server's; optionals of it are replaced in crd_validation too.
        yield re.sub(r"oldSelf\.hasValue\(\)", "true", rule["rule"])
    for sub in [
        *schema.get("properties", {}).values(),
        *([schema["items"]] if "items" in schema else []),
    ]:
        yield from rules(sub)


def test_a_request_is_the_same_in_a_task_and_in_a_phase() -> None:
    task = spec("AgentTask")

    assert (
        task["credentials"]["items"]
        == task["phases"]["items"]["properties"]["credentials"]["items"]
    )


def test_the_two_policies_differ_in_the_namespace_selector_only() -> None:
    cluster = spec("ClusterAgentPolicy")
    selector = cluster.pop("namespaceSelector")

    assert cluster == spec("AgentPolicy")
    assert selector["properties"] == spec("CredentialClass")["namespaceSelector"]["properties"]
    assert selector["properties"] == cluster["agents"]["properties"]["podSelector"]["properties"]


def test_data_and_classes_are_classified_by_the_same_words() -> None:
    classification = spec("AgentTask")["intent"]["properties"]["data"]["items"]["properties"][
        "classification"
    ]

    assert spec("CredentialClass")["sensitivity"]["enum"] == classification["enum"]


def test_the_columns_of_a_task() -> None:
    columns = crds()["AgentTask"]["spec"]["versions"][0]["additionalPrinterColumns"]

    assert [c["name"] for c in columns if not c.get("priority")] == [
        "Ready",
        "Reason",
        "Phase",
        "Expires",
        "Agent",
        "Age",
    ]
    assert [c["name"] for c in columns if c.get("priority")] == ["Sponsor", "Pod", "Parent"]
