"""A workload that would wait for itself is warned of, and made all the same."""

import json
from typing import Any

import pytest
import urllib3

from e2e.admission import LABEL, TENANT, container
from e2e.impersonate import Api, Object, thing

RECREATE = {"strategy": {"type": "Recreate"}}
STRATEGY = "the strategy of a Deployment whose pods have the label"
MANY = "must be at most 1 where pods have the label"


def workload(kind: str, name: str, *, label: str = LABEL, **spec: Any) -> Object:
    template: Object = {
        "metadata": {"labels": {"app": name, **({label: name} if label else {})}},
        "spec": {"containers": [container("agent")]},
    }
    whole = {"template": template, **spec}
    if kind == "Job":
        template["spec"]["restartPolicy"] = "Never"
    else:
        whole["selector"] = {"matchLabels": {"app": name}}
    if kind == "StatefulSet":
        whole["serviceName"] = name
    group = "batch/v1" if kind == "Job" else "apps/v1"
    return thing(group, kind, TENANT, name, spec=whole)


def warnings(who: Api, made: Object) -> list[str]:
    """Make it as a dry run; return what the API server warns of."""
    headers = urllib3.HTTPHeaderDict({"Content-Type": "application/json"})
    headers.add("Impersonate-User", who.user)
    for group in who.groups:
        headers.add("Impersonate-Group", group)
    path = f"/apis/{made['apiVersion']}/namespaces/{TENANT}/{made['kind'].lower()}s?dryRun=All"
    answer = who.pool.request("POST", who.server + path, body=json.dumps(made), headers=headers)
    assert answer.status == 201, answer.data
    return answer.headers.getlist("Warning")


@pytest.mark.parametrize(
    ("kind", "spec", "said"),
    [
        pytest.param("Deployment", {}, [STRATEGY], id="a Deployment by default"),
        pytest.param(
            "Deployment", {"strategy": {"type": "RollingUpdate"}}, [STRATEGY], id="rolling"
        ),
        pytest.param("Deployment", {**RECREATE, "replicas": 2}, [MANY], id="two replicas"),
        pytest.param("Deployment", {"replicas": 2}, [STRATEGY, MANY], id="both"),
        pytest.param("StatefulSet", {"replicas": 2}, [MANY], id="a StatefulSet of two"),
        pytest.param("ReplicaSet", {"replicas": 2}, [MANY], id="a ReplicaSet of two"),
        pytest.param("Job", {"parallelism": 2, "completions": 2}, [MANY], id="a Job of two"),
    ],
)
def test_what_waits_for_itself_is_warned_of(
    alice: Api, name: str, kind: str, spec: Object, said: list[str]
) -> None:
    found = warnings(alice, workload(kind, name, **spec))

    assert len(found) == len(said)
    assert all(any(part in each for each in found) for part in said)


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        pytest.param("Deployment", RECREATE, id="Recreate"),
        pytest.param("Deployment", {**RECREATE, "replicas": 0}, id="scaled to none"),
        pytest.param("StatefulSet", {}, id="a StatefulSet of one"),
        pytest.param("Job", {}, id="a Job"),
        pytest.param("Deployment", {"label": "", "replicas": 3}, id="no label"),
    ],
)
def test_what_does_not_is_not(alice: Api, name: str, kind: str, spec: Object) -> None:
    assert warnings(alice, workload(kind, name, **spec)) == []
