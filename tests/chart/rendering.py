"""Render the chart with the real helm, and find things in what comes out."""

import functools
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parents[2] / "charts/taskpass"
NAMESPACE = "taskpass-system"
Object = dict[str, Any]
ENROLLED = {
    "tenants": {"support": {}, "sales": {}},
    "targets": {
        "tickets": {"clusterRoles": ["tickets-reader"], "roles": ["tickets-writer"]},
        "kb": {"clusterRoles": ["kb-reader"]},
    },
}


class HelmFailed(Exception):
    """Helm refused; the text is what it said."""


@functools.cache
def helm() -> str:
    """Return the path of helm: $HELM, or the one that `make` keeps (built at its first use)."""
    if given := os.environ.get("HELM"):
        return given
    from e2e.cluster import tools

    return str(tools.helm())


@functools.cache
def _render(values: str, namespace: str, kube_version: str, hooks: bool) -> str:
    command = [
        helm(),
        "template",
        "taskpass",
        str(CHART),
        "--namespace",
        namespace,
        "--kube-version",
        kube_version,
        "--values",
        "-",
    ]
    done = subprocess.run(
        command + ([] if hooks else ["--no-hooks"]), input=values, capture_output=True, text=True
    )
    if done.returncode:
        raise HelmFailed(done.stderr)
    return done.stdout


def render(
    values: Object | None = None,
    *,
    namespace: str = NAMESPACE,
    kube_version: str = "1.36.0",
    hooks: bool = True,
) -> list[Object]:
    """Return every object that the chart makes of the values."""
    text = _render(json.dumps(values or {}), namespace, kube_version, hooks)
    return [document for document in yaml.safe_load_all(text) if document]


def one(objects: list[Object], kind: str, name: str, namespace: str | None = None) -> Object:
    """Return the one object of that kind and name."""
    found = [
        o
        for o in objects
        if o["kind"] == kind
        and o["metadata"]["name"] == name
        and namespace in (None, o["metadata"].get("namespace"))
    ]
    assert len(found) == 1, f"{kind} {name}: {len(found)} found"
    return found[0]


def of_kind(objects: list[Object], *kinds: str) -> list[Object]:
    """Return the objects of those kinds."""
    return [o for o in objects if o["kind"] in kinds]


def pod_spec(objects: list[Object]) -> Object:
    """Return the spec of the operator's pod."""
    spec: Object = one(objects, "Deployment", "taskpass")["spec"]["template"]["spec"]
    return spec
