"""Our kinds are defined once, and everything else that lists them says the same."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from taskpass.cli.policy.schema import SPECS
from taskpass.kube.cache.cluster_view import InformerCache
from taskpass.kube.kinds import ALL, API_VERSION, BY_NAME, GROUP, VERSION, WATCHED, Kind

ROOT = Path(__file__).parents[3]
SOURCE = ROOT / "operator/taskpass"


def definition(kind: Kind) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / f"crds/{GROUP}_{kind.plural}.yaml").read_text())
    return found


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.name)
def test_its_definition_says_the_same_of_it(kind: Kind) -> None:
    spec = definition(kind)["spec"]

    assert definition(kind)["metadata"]["name"] == kind.crd
    assert (spec["group"], spec["scope"]) == (GROUP, "Namespaced" if kind.namespaced else "Cluster")
    assert (spec["names"]["kind"], spec["names"]["plural"]) == (kind.name, kind.plural)
    assert [version["name"] for version in spec["versions"] if version["served"]] == [VERSION]


def test_every_definition_is_of_one_of_them() -> None:
    assert {path.name for path in (ROOT / "crds").glob("*.yaml")} == {
        f"{GROUP}_{kind.plural}.yaml" for kind in ALL
    }


def test_a_path_leads_to_one_or_to_all() -> None:
    tasks = BY_NAME["AgentTask"]

    assert tasks.path() == "/apis/taskpass.dev/v1alpha1/agenttasks"
    assert tasks.path("support", "t") == (
        "/apis/taskpass.dev/v1alpha1/namespaces/support/agenttasks/t"
    )


async def test_the_cache_has_a_place_for_each_that_is_watched(caches: InformerCache) -> None:
    assert set(caches._kinds) == {kind.name for kind in WATCHED}


def test_what_is_decided_on_files_is_of_them() -> None:
    assert set(SPECS) <= set(BY_NAME)


def test_nobody_else_spells_group_version_or_a_path() -> None:
    spelled = re.compile(rf"/apis/{GROUP}|{API_VERSION}")
    found = [
        f"{path.relative_to(SOURCE)}: {line.strip()}"
        for path in SOURCE.rglob("*.py")
        for line in path.read_text().splitlines()
        if spelled.search(line) and not line.lstrip().startswith(("#", "Example", "apiVersion:"))
    ]

    assert found == []
