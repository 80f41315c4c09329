"""Ways to a running agent past the pod's own update: subresources, nodes, other namespaces."""

import contextlib

import pytest

from e2e.admission import GATE, LABEL, TENANT, container, pod, volume, wait_for
from e2e.as_operator import without
from e2e.impersonate import Api, Object, Refused, path_of, thing

PODS = path_of("Pod", TENANT)


def bind(api: Api, name: str) -> Object:
    target = {"kind": "Node", "name": "node1"}
    return api.call(
        "POST", f"{PODS}/{name}/binding", thing("v1", "Binding", TENANT, name, target=target)
    )


@pytest.mark.parametrize("sub", ["/resize", "/ephemeralcontainers"])
@pytest.mark.parametrize("who", ["alice", "the administrator"])
def test_a_subresource_brings_no_label(api: Api, alice: Api, name: str, who: str, sub: str) -> None:
    made = alice.create(pod(name, labelled=False))
    anybody = alice if who == "alice" else api

    with contextlib.suppress(Refused):  # one is refused, the other does not look at labels
        anybody.merge(made, {"metadata": {"labels": {LABEL: name}}}, sub)

    assert LABEL not in api.get("Pod", TENANT, name)["metadata"].get("labels", {})


@pytest.mark.parametrize(
    "patch",
    [
        pytest.param({"metadata": {"labels": {LABEL: "another"}}}, id="another task's label"),
        pytest.param({"metadata": {"labels": {LABEL: None}}}, id="no label"),
        pytest.param(
            {"metadata": {"annotations": {"taskpass.dev/created-by": "{}"}}}, id="another creator"
        ),
        pytest.param({"spec": {"schedulingGates": None}}, id="no gate"),
        pytest.param(
            {"spec": {"containers": [{"name": "agent", "image": "localhost/evil:1"}]}},
            id="another image",
        ),
        pytest.param({"spec": {"volumes": None}}, id="no volume"),
    ],
)
@pytest.mark.parametrize("sub", ["/resize", "/ephemeralcontainers"])
def test_a_subresource_changes_nothing_that_was_attested(
    api: Api, alice: Api, name: str, patch: Object, sub: str
) -> None:
    before = alice.create(pod(name))

    with contextlib.suppress(Refused):  # some are refused, of others nothing is looked at
        api.merge(before, patch, sub)

    after = api.get("Pod", TENANT, name)
    frozen = ("labels", "annotations")
    assert {k: after["metadata"][k] for k in frozen} == {k: before["metadata"][k] for k in frozen}
    for each in ("schedulingGates", "containers", "volumes"):
        assert after["spec"][each] == before["spec"][each]


def test_a_gated_pod_is_put_on_no_node(api: Api, alice: Api, name: str) -> None:
    alice.create(pod(name))

    with pytest.raises(Refused, match=r"non-empty \.spec\.schedulingGates"):
        bind(api, name)


@pytest.mark.parametrize("gate", [[], [{"name": GATE}]], ids=["without a gate", "with the gate"])
def test_a_pod_that_names_its_node_itself_goes_past_no_gate(
    api: Api, name: str, gate: list[Object]
) -> None:
    own = {"schedulingGates": gate, "volumes": [volume(name)]} if gate else {}

    with pytest.raises(Refused, match="cannot be set until all schedulingGates have been cleared"):
        api.create(pod(name, spec={"nodeName": "node1", **own}))


def test_a_node_makes_no_pod_that_runs_as_the_agent(api: Api, name: str) -> None:
    kubelet = api.as_user("system:node:node1", "system:nodes")
    mirror = {"kubernetes.io/config.mirror": "x", "kubernetes.io/config.source": "file"}

    with pytest.raises(Refused, match="a mirror pod may not reference service accounts"):
        kubelet.create(pod(name, annotations=mirror, spec={"nodeName": "node1"}))


def test_an_eviction_is_a_deletion_and_brings_nothing(api: Api, alice: Api, name: str) -> None:
    made = alice.create(pod(name))
    body = thing("policy/v1", "Eviction", TENANT, name, labels={LABEL: "another"})

    assert alice.call("POST", f"{PODS}/{name}/eviction", body)["status"] == "Success"

    assert not api.exists(made)


@pytest.mark.parametrize(
    "metadata",
    [
        pytest.param({}, id="the label in a template"),
        pytest.param(
            {"annotations": {"taskpass.dev/created-by": '{"username":"job-controller"}'}},
            id="a stamp in a template",
        ),
    ],
)
@pytest.mark.parametrize(
    ("version", "kind", "controller"),
    [
        ("apps/v1", "ReplicaSet", "replicaset-controller"),
        ("apps/v1", "StatefulSet", "statefulset-controller"),
        ("batch/v1", "Job", "job-controller"),
    ],
)
def test_a_template_cannot_say_more_than_a_pod(
    api: Api, alice: Api, name: str, metadata: Object, version: str, kind: str, controller: str
) -> None:
    template = pod(name, **metadata)
    own = {
        "labels": {**template["metadata"]["labels"], "app": name},
        "annotations": template["metadata"].get("annotations", {}),
    }
    spec: Object = {"template": {"metadata": own, "spec": template["spec"]}}
    if kind == "Job":
        spec["template"]["spec"]["restartPolicy"] = "Never"
    else:
        spec |= {"selector": {"matchLabels": {"app": name}}}
    group, plural = version.partition("/")[0], f"{kind.lower()}s"
    path = f"/apis/{group}/v1/namespaces/{TENANT}/{plural}"
    alice.call("POST", path, thing(version, kind, TENANT, name, spec=spec))

    try:
        made = _first_pod(api, name)
    finally:
        alice.call("DELETE", f"{path}/{name}", propagationPolicy="Foreground")

    assert made["spec"]["schedulingGates"] == [{"name": GATE}]
    stamp = made["metadata"]["annotations"]["taskpass.dev/created-by"]
    assert f'"username":"system:serviceaccount:kube-system:{controller}"' in stamp


def _first_pod(api: Api, name: str) -> Object:
    found: Object = wait_for(
        lambda: api.call("GET", PODS, labelSelector=f"{LABEL}%3D{name}")["items"], 20
    )[0]
    return found


def test_a_pod_elsewhere_reads_no_tasks_secret(api: Api, name: str) -> None:
    """A reference to a Secret has no namespace: what a pod elsewhere names is not the task's."""
    elsewhere = "default"
    body = pod(name, spec={"serviceAccountName": "default"})
    body["metadata"]["namespace"] = elsewhere
    made = api.create(pod(name))
    [ours] = [v for v in made["spec"]["volumes"] if v["name"] == "taskpass"]
    secrets = [s["secret"] for s in ours["projected"]["sources"] if "secret" in s]
    with_namespace = dict(secrets[0], namespace=TENANT)
    worse = pod(f"{name}-2", labelled=False)
    worse["metadata"]["namespace"] = elsewhere
    worse["spec"] |= {
        "serviceAccountName": "default",
        "volumes": [{"name": "v", "projected": {"sources": [{"secret": with_namespace}]}}],
    }

    with pytest.raises(Refused, match="must be enrolled before it has pods with the label"):
        api.create(body)
    with pytest.raises(Refused, match=r"unknown field|must not refer"):
        api.create(worse, fieldValidation="Strict")

    assert secrets == [{"name": f"taskpass-{name}", "optional": True}]
    assert made["spec"]["schedulingGates"] == [{"name": GATE}]
    assert not api.exists(thing("v1", "Secret", elsewhere, f"taskpass-{name}"))


def test_a_pod_without_the_label_gets_no_gate_and_no_secret(alice: Api, name: str) -> None:
    """Whoever runs as the agent's ServiceAccount is not the agent."""
    token = {"serviceAccountToken": {"audience": "taskpass", "path": "t"}}
    own = {"name": "own", "projected": {"sources": [token]}}

    made = alice.create(pod(name, labelled=False, spec={"volumes": [own]}))

    assert "schedulingGates" not in made["spec"]
    assert "taskpass-" not in str(made["spec"]["volumes"])


def test_there_is_one_volume_of_our_name(alice: Api, name: str) -> None:
    """A second volume of our name would decide what the agent reads."""
    twice = [volume(name), {"name": "taskpass", "emptyDir": {}}]

    with pytest.raises(Refused, match="Duplicate value"):
        alice.create(
            pod(
                name,
                spec={
                    "volumes": twice,
                    "schedulingGates": [{"name": GATE}],
                    "containers": [container("agent")],
                },
            )
        )


def test_a_pod_from_before_the_installation_keeps_its_reference(
    api: Api, alice: Api, name: str
) -> None:
    """Not defended: admission judges what is made, and the operator sees labelled pods only."""
    refers = {"name": "v", "secret": {"secretName": f"taskpass-{name}", "optional": True}}
    body = pod(name, labelled=False, spec={"volumes": [refers]})

    with without(api, "validatingadmissionpolicybindings", "taskpass-secret-references"):
        wait_for(lambda: _accepted(alice, body), 20)
        alice.create(body)
    again = {**body, "metadata": {**body["metadata"], "name": f"{name}-2"}}
    wait_for(lambda: not _accepted(alice, again), 20)

    assert refers["name"] in [v["name"] for v in api.get("Pod", TENANT, name)["spec"]["volumes"]]


def _accepted(who: Api, body: Object) -> bool:
    try:
        who.create(body, dryRun="All")
    except Refused as refused:
        if "must not refer to the Secret" not in refused.message:
            raise
        return False
    return True
