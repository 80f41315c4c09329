"""What people and controllers do with workloads of agents goes on, stamped or not."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from e2e.admission import LABEL, TENANT, pod, wait_for
from e2e.impersonate import Api, Object, path_of, thing

CONTROLLER = "system:serviceaccount:kube-system:deployment-controller"
BY, FOR, CHANGERS = (f"taskpass.dev/{n}" for n in ("created-by", "created-for", "changers"))


@pytest.fixture
def deployment(alice: Api, api: Api, name: str) -> Iterator[Object]:
    """Return a Deployment of an agent."""
    made = pod(name, labels={"app": name})
    spec = {
        "replicas": 1, "selector": {"matchLabels": {"app": name}},
        "strategy": {"type": "Recreate"},
        "template": {"metadata": {"labels": made["metadata"]["labels"]}, "spec": made["spec"]},
    }  # fmt: skip
    body = thing("apps/v1", "Deployment", TENANT, name, spec=spec)
    yield alice.create(body)
    if api.exists(body):
        api.delete(body, propagationPolicy="Background")


def below(api: Api, kind: str, name: str) -> list[Object]:
    found = api.call("GET", path_of(kind, TENANT), labelSelector=f"app%3D{name}")["items"]
    return [{"apiVersion": "apps/v1", "kind": kind, **each} for each in found]


def of_image(api: Api, name: str, image: str) -> Object | None:
    return next(
        (
            each
            for each in below(api, "ReplicaSet", name)
            if each["spec"]["template"]["spec"]["containers"][0]["image"] == image
        ),
        None,
    )


def image(name: str) -> Object:
    """Return the patch of `kubectl set image`."""
    return {"spec": {"template": {"spec": {"containers": [{"name": "agent", "image": name}]}}}}


def strategic(who: Api, of: Object, patch: Object) -> Object:
    path = f"{path_of(of['kind'], TENANT)}/{of['metadata']['name']}"
    return who.call("PATCH", path, patch, content="application/strategic-merge-patch+json")


def assert_made_for(each: Object, deployment: Object) -> None:
    annotations = each["metadata"]["annotations"]
    assert json.loads(annotations[BY])["username"] == CONTROLLER
    assert annotations[FOR] == f"Deployment/{deployment['metadata']['uid']}"


def test_a_new_image_and_its_undo_make_and_reuse_replica_sets(
    api: Api, alice: Api, deployment: Object, name: str
) -> None:
    first = wait_for(lambda: of_image(api, name, "localhost/agent:1"))

    alice.merge(deployment, {"metadata": {"annotations": {"note": "copied to ReplicaSets"}}})
    strategic(alice, deployment, image("localhost/agent:2"))
    second = wait_for(lambda: of_image(api, name, "localhost/agent:2"))
    # What `kubectl rollout undo` sends: the template, and the annotations of that ReplicaSet.
    template = {**first["spec"]["template"]}
    template["metadata"] = {"labels": {LABEL: name, "app": name}}
    annotations = {**deployment["metadata"]["annotations"], **first["metadata"]["annotations"]}
    live = api.get("Deployment", TENANT, name)
    undone = api.as_user("bob", "system:masters").patch(
        {**deployment, "metadata": live["metadata"]},
        [
            {"op": "replace", "path": "/spec/template", "value": template},
            {"op": "replace", "path": "/metadata/annotations", "value": annotations},
        ],
    )

    assert_made_for(first, deployment)
    assert_made_for(second, deployment)
    # Both by merging, and by what was copied from a ReplicaSet: the Deployment's own stamps.
    assert json.loads(undone["metadata"]["annotations"][BY])["username"] == "alice"
    assert undone["metadata"]["annotations"][FOR] == ""
    assert undone["metadata"]["annotations"][CHANGERS] == '"alice"\n"bob"'
    wait_for(lambda: (of_image(api, name, "localhost/agent:1") or {})["spec"]["replicas"] == 1)
    again = of_image(api, name, "localhost/agent:1")
    assert again is not None
    assert again["metadata"]["uid"] == first["metadata"]["uid"]
    assert_made_for(again, deployment)


def test_scaling_is_no_change_of_who_made_it(
    api: Api, alice: Api, deployment: Object, name: str
) -> None:
    wait_for(lambda: below(api, "Pod", name))
    scale = {"spec": {"replicas": 2}}

    api.as_user("hpa", "system:masters").merge(deployment, scale, "/scale")
    wait_for(lambda: len(below(api, "Pod", name)) == 2)

    assert api.get("Deployment", TENANT, name)["metadata"]["annotations"][CHANGERS] == '"alice"'


@pytest.mark.parametrize("how", ["Foreground", "Background"])
def test_a_deployment_goes_with_all_that_is_below_it(
    api: Api, alice: Api, deployment: Object, name: str, how: str
) -> None:
    wait_for(lambda: below(api, "Pod", name))

    alice.delete(deployment, propagationPolicy=how)

    wait_for(lambda: not api.exists(deployment))
    wait_for(lambda: not below(api, "ReplicaSet", name))


def test_a_workload_that_makes_no_agents_is_left_alone(api: Api, alice: Api, name: str) -> None:
    made: Any = pod(name, labelled=False, labels={"app": name})
    spec = {
        "replicas": 0, "selector": {"matchLabels": {"app": name}},
        "template": {"metadata": {"labels": {"app": name}}, "spec": made["spec"]},
    }  # fmt: skip

    created = alice.create(thing("apps/v1", "Deployment", TENANT, name, spec=spec), dryRun="All")

    assert not created["metadata"].get("annotations")
