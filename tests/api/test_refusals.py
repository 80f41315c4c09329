import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from api_objects import REFUSALS, SPECS, Refusal, good
from crd_validation import refusals, schema_of

# values*.yaml hold values of the chart, which has a schema of its own.
EXAMPLES = sorted(
    path
    for path in Path(__file__).parents[2].joinpath("examples").rglob("*.yaml")
    if not path.name.startswith("values")
)


@pytest.mark.parametrize("kind", SPECS)
def test_a_good_object_is_accepted(kind: str) -> None:
    assert refusals(good(kind)) == []
    assert refusals(good(kind), good(kind)) == []


@pytest.mark.parametrize("bad", REFUSALS, ids=str)
def test_a_bad_object_is_refused_in_these_words(bad: Refusal) -> None:
    said = refusals(bad.thing, bad.before if bad.on_update else None)

    assert any(bad.message in line for line in said), said


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_every_object_of_ours_in_the_examples_is_valid(path: Path) -> None:
    documents: list[Any] = [d for d in yaml.safe_load_all(path.read_text()) if d]

    assert documents
    for document in documents:
        if document["apiVersion"].startswith("taskpass.dev/"):
            assert refusals(document) == []


DOCUMENTATION = sorted(Path(__file__).parents[2].joinpath("docs/api").glob("*.md"))


@pytest.mark.parametrize("path", DOCUMENTATION, ids=lambda p: p.stem)
def test_the_example_in_the_documentation_is_valid(path: Path) -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", path.read_text(), re.DOTALL)
    document = yaml.safe_load(block)

    assert document["kind"].lower() == path.stem
    assert refusals(document) == []


@pytest.mark.parametrize("kind", SPECS)
def test_every_field_of_a_kind_is_in_its_documentation(kind: str) -> None:
    pages = {"ClusterAgentPolicy": ["agentpolicy", "clusteragentpolicy"]}.get(kind, [kind.lower()])
    text = "".join(DOCUMENTATION[0].with_name(f"{page}.md").read_text() for page in pages)

    for field in schema_of(kind)["properties"]["spec"]["properties"]:
        assert field in text
