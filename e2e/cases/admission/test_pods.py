"""What admission makes of a pod with our label, and the attacks on such a pod."""

import pytest

from e2e.admission import GATE, LABEL, TENANT, container, pod, stamped, volume
from e2e.impersonate import Api, Object, Refused, thing

OURS = {"mountPath": "/var/run/taskpass", "name": "taskpass", "readOnly": True}


def mounts(made: Object) -> dict[str, list[Object]]:
    containers = made["spec"]["containers"] + made["spec"].get("initContainers", [])
    return {
        c["name"]: [m for m in c.get("volumeMounts", []) if m["name"] == "taskpass"]
        for c in containers
    }


def volumes(made: Object) -> list[Object]:
    return [v for v in made["spec"].get("volumes", []) if v["name"] == "taskpass"]


# Injection


def test_the_label_is_all_that_a_pod_needs(alice: Api, name: str) -> None:
    made = alice.create(pod(name, spec={"initContainers": [container("first")]}))

    assert made["spec"]["schedulingGates"] == [{"name": GATE}]
    assert [v["projected"]["sources"] for v in volumes(made)] == [
        volume(name)["projected"]["sources"]
    ]
    assert mounts(made) == {"agent": [OURS], "first": [OURS]}


def test_only_the_listed_containers_get_the_mount(alice: Api, name: str) -> None:
    spec = {
        "containers": [container("agent"), container("proxy")],
        "initContainers": [container("first")],
    }

    made = alice.create(
        pod(name, spec=spec, annotations={"taskpass.dev/containers": "agent, first"})
    )

    assert mounts(made) == {"agent": [OURS], "first": [OURS], "proxy": []}


def test_a_list_of_containers_with_an_unknown_name_is_refused(alice: Api, name: str) -> None:
    with pytest.raises(Refused, match="must list containers or init containers of the pod"):
        alice.create(pod(name, annotations={"taskpass.dev/containers": "agnet"}))


def test_what_the_pod_has_already_stays(alice: Api, name: str) -> None:
    data = {"name": "data", "emptyDir": {}}
    mount = {"name": "data", "mountPath": "/data"}
    spec = {
        "containers": [container("agent", volumeMounts=[mount])],
        "volumes": [data],
        "schedulingGates": [{"name": "example.com/other"}],
    }

    made = alice.create(pod(name, spec=spec))

    assert made["spec"]["schedulingGates"] == [{"name": "example.com/other"}, {"name": GATE}]
    assert data in made["spec"]["volumes"]
    assert [
        m
        for m in made["spec"]["containers"][0]["volumeMounts"]
        if m["name"] in ("data", "taskpass")
    ] == [mount, OURS]


def test_a_pod_that_brings_gate_and_volume_is_left_as_it_is(alice: Api, name: str) -> None:
    elsewhere = {"name": "taskpass", "mountPath": "/credentials", "readOnly": True}
    spec = {
        "containers": [container("agent", volumeMounts=[elsewhere]), container("proxy")],
        "volumes": [volume(name, seconds=1200)],
        "schedulingGates": [{"name": GATE}],
    }

    made = alice.create(pod(name, spec=spec))

    assert made["spec"]["schedulingGates"] == [{"name": GATE}]
    assert (
        volumes(made)[0]["projected"]["sources"]
        == volume(name, seconds=1200)["projected"]["sources"]
    )
    assert mounts(made) == {"agent": [elsewhere], "proxy": []}


def test_a_container_that_mounts_the_volume_itself_keeps_its_own_path(
    alice: Api, name: str
) -> None:
    elsewhere = {"name": "taskpass", "mountPath": "/credentials", "readOnly": True}

    made = alice.create(
        pod(
            name,
            spec={"containers": [container("agent", volumeMounts=[elsewhere]), container("proxy")]},
        )
    )

    assert mounts(made) == {"agent": [elsewhere], "proxy": [OURS]}


def test_a_pod_without_the_label_is_left_alone(alice: Api, name: str) -> None:
    made = alice.create(pod(name, labelled=False))

    assert "schedulingGates" not in made["spec"]
    assert volumes(made) == []
    assert "annotations" not in made["metadata"]


# What a labelled pod must be


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        pytest.param(
            {"schedulingGates": [{"name": GATE}]},
            "must have a volume 'taskpass'",
            id="a gate without the volume",
        ),
        pytest.param(
            {"volumes": ["ours"]}, "must have the scheduling gate", id="the volume without a gate"
        ),
        pytest.param(
            {
                "schedulingGates": [{"name": GATE}],
                "volumes": [{"name": "taskpass", "emptyDir": {}}],
            },
            "must have a volume 'taskpass' that projects",
            id="another volume under the name",
        ),
        pytest.param(
            {"schedulingGates": [{"name": GATE}], "volumes": ["audience"]},
            "a token with audience 'taskpass'",
            id="another audience",
        ),
        pytest.param(
            {"schedulingGates": [{"name": GATE}], "volumes": ["other"]},
            "must have a volume 'taskpass'|must not refer",
            id="another task's Secret",
        ),
        pytest.param(
            {"schedulingGates": [{"name": GATE}], "volumes": ["long"]},
            "must live at most 3600 seconds",
            id="a token of an hour and a minute",
        ),
        pytest.param(
            {"schedulingGates": [{"name": GATE}], "volumes": ["ours", "second"]},
            "must live at most 3600 seconds",
            id="a second token that lives long",
        ),
    ],
)
def test_a_labelled_pod_without_what_it_needs_is_refused(
    alice: Api, name: str, spec: Object, message: str
) -> None:
    known = {
        "ours": volume(name),
        "audience": volume(name, audience="vault"),
        "other": volume("another"),
        "long": volume(name, seconds=3660),
        "second": {
            "name": "second",
            "projected": {"sources": volume(name, seconds=7200)["projected"]["sources"][:1]},
        },
    }
    spec = spec | {
        "volumes": [known[v] if isinstance(v, str) else v for v in spec.get("volumes", [])]
    }

    with pytest.raises(Refused, match=message):
        alice.create(pod(name, spec=spec))


@pytest.mark.parametrize("label", ["", "Upper", "under_score", "with.dot"])
def test_a_label_that_names_no_task_is_refused(alice: Api, name: str, label: str) -> None:
    with pytest.raises(Refused, match="must be the name of an AgentTask"):
        alice.create(pod(name, labels={LABEL: label}))


# Stamps


def test_a_pod_is_stamped_with_its_creator_whatever_it_claims(alice: Api, name: str) -> None:
    forged = {
        "taskpass.dev/created-by": '{"username":"system:serviceaccount:kube-system:job-controller"}'
    }

    made = alice.create(pod(name, annotations=forged))

    assert stamped(made) == {"username": "alice", "uid": ""}


def test_a_stamp_survives_a_user_name_with_quotes_and_backslashes(api: Api, name: str) -> None:
    odd = 'al"ice\\'

    made = api.as_user(odd, "system:masters").create(pod(name))

    assert stamped(made)["username"] == odd


@pytest.mark.parametrize("sub", ["", "/status"])
def test_a_stamp_is_not_rewritten(api: Api, alice: Api, name: str, sub: str) -> None:
    made = alice.create(pod(name))

    for stamp in ("taskpass.dev/created-by", "taskpass.dev/created-for"):
        for value in ('{"username":"bob"}', None):
            with pytest.raises(Refused, match=r"created-by, created-for and containers must not"):
                api.merge(made, {"metadata": {"annotations": {stamp: value}}}, sub)


# Changes


@pytest.mark.parametrize("sub", ["", "/status"])
def test_a_running_pod_does_not_become_an_agent_by_the_label(
    api: Api, alice: Api, name: str, sub: str
) -> None:
    made = alice.create(pod(name, labelled=False))

    with pytest.raises(Refused, match="must be there when the pod is created"):
        api.merge(made, {"metadata": {"labels": {LABEL: name}}}, sub)


@pytest.mark.parametrize("sub", ["", "/status"])
@pytest.mark.parametrize("value", ["another", None])
def test_the_label_does_not_change_and_does_not_go(
    api: Api, alice: Api, name: str, sub: str, value: str | None
) -> None:
    made = alice.create(pod(name))

    with pytest.raises(Refused, match="must not change; make a new pod"):
        api.merge(made, {"metadata": {"labels": {LABEL: value}}}, sub)


def test_labels_that_policies_select_by_do_not_change(api: Api, alice: Api, name: str) -> None:
    made = alice.create(pod(name, labels={"tier": "low"}))

    with pytest.raises(Refused, match="must not change, as policies select by them"):
        api.merge(made, {"metadata": {"labels": {"tier": "high"}}})


def test_the_image_does_not_change(api: Api, alice: Api, name: str) -> None:
    made = alice.create(pod(name))

    with pytest.raises(Refused, match="containers and images of a pod"):
        api.patch(
            made,
            [{"op": "replace", "path": "/spec/containers/0/image", "value": "localhost/evil:1"}],
        )


def test_the_service_account_does_not_change(api: Api, alice: Api, name: str) -> None:
    made = alice.create(pod(name))

    with pytest.raises(Refused, match="pod updates may not change fields other than"):
        api.merge(made, {"spec": {"serviceAccountName": "default", "serviceAccount": "default"}})


def test_no_debug_container_gets_in(api: Api, alice: Api, name: str) -> None:
    made = alice.create(pod(name))
    debug = container("debug", volumeMounts=[OURS], targetContainerName="agent")

    with pytest.raises(Refused, match="it must get no debug container"):
        api.patch(
            made,
            [{"op": "add", "path": "/spec/ephemeralContainers", "value": [debug]}],
            "/ephemeralcontainers",
        )


@pytest.mark.parametrize("what", ["labels", "annotations"])
def test_a_binding_to_a_node_brings_no_label_or_stamp(
    api: Api, alice: Api, name: str, what: str
) -> None:
    made = alice.create(pod(name, labelled=False))
    path = f"/api/v1/namespaces/{TENANT}/pods/{name}/binding"
    target = {"kind": "Node", "name": "node1"}
    body = thing("v1", "Binding", TENANT, name, target=target, **{what: {LABEL: name}})

    with pytest.raises(
        Refused, match=r"a Binding must not carry labels or annotations of taskpass.dev"
    ):
        api.call("POST", path, body)

    assert LABEL not in api.get("Pod", TENANT, made["metadata"]["name"])["metadata"].get(
        "labels", {}
    )


def test_a_label_that_comes_by_a_binding_is_a_real_attack(api: Api, alice: Api, name: str) -> None:
    made = alice.create(pod(name, labelled=False))
    path = f"/api/v1/namespaces/{TENANT}/pods/{name}/binding"

    api.call(
        "POST",
        path,
        thing(
            "v1",
            "Binding",
            TENANT,
            name,
            target={"kind": "Node", "name": "node1"},
            annotations={"seen": "yes"},
        ),
    )

    assert (
        api.get("Pod", TENANT, made["metadata"]["name"])["metadata"]["annotations"]["seen"] == "yes"
    )


# The gate, and the operator


REMOVE = [
    {"op": "test", "path": "/spec/schedulingGates/0/name", "value": GATE},
    {"op": "remove", "path": "/spec/schedulingGates/0"},
]


def test_nobody_but_the_operator_lifts_the_gate(api: Api, alice: Api, name: str) -> None:
    made = alice.create(pod(name))

    for anybody in (alice, api):
        with pytest.raises(Refused, match="must be left to taskpass"):
            anybody.patch(made, REMOVE)


def test_the_operator_lifts_the_gate(alice: Api, taskpass: Api, name: str) -> None:
    made = alice.create(pod(name))

    assert "schedulingGates" not in taskpass.patch(made, REMOVE)["spec"]


def test_the_operator_sets_its_annotation(alice: Api, taskpass: Api, name: str) -> None:
    made = alice.create(pod(name))

    for version in ("1", "2"):
        after = taskpass.merge(
            made, {"metadata": {"annotations": {"taskpass.dev/credentials-version": version}}}
        )

        assert after["metadata"]["annotations"]["taskpass.dev/credentials-version"] == version


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        pytest.param(
            {"spec": {"schedulingGates": None}},
            "nothing of a pod's spec",
            id="lifts the gates of others by a merge patch",
        ),
        pytest.param(
            {"spec": {"activeDeadlineSeconds": 1}}, "nothing of a pod's spec", id="ends the pod"
        ),
        pytest.param(
            {"metadata": {"labels": {"a": "b"}}},
            "nothing of a pod's metadata|labels of a pod",
            id="sets a label",
        ),
        pytest.param(
            {"metadata": {"annotations": {"a": "b"}}},
            "nothing of a pod's metadata",
            id="sets another annotation",
        ),
        pytest.param(
            {"metadata": {"annotations": None}},
            "nothing of a pod's metadata|must not change",
            id="removes annotations",
        ),
        pytest.param(
            {"metadata": {"finalizers": ["example.com/x"]}},
            "nothing of a pod's metadata",
            id="sets a finalizer",
        ),
    ],
)
def test_the_operator_changes_nothing_else_of_a_pod(
    alice: Api, taskpass: Api, name: str, patch: Object, message: str
) -> None:
    made = alice.create(
        pod(
            name,
            spec={"schedulingGates": [{"name": "example.com/other"}]},
            annotations={"keep": "me"},
        )
    )

    with pytest.raises(Refused, match=message):
        taskpass.merge(made, patch)


def test_the_operator_changes_no_image(alice: Api, taskpass: Api, name: str) -> None:
    made = alice.create(pod(name))

    with pytest.raises(Refused, match=r"nothing of a pod's spec|containers and images"):
        taskpass.patch(
            made,
            [{"op": "replace", "path": "/spec/containers/0/image", "value": "localhost/evil:1"}],
        )


def test_the_operator_changes_no_pod_without_the_label(
    alice: Api, taskpass: Api, name: str
) -> None:
    made = alice.create(pod(name, labelled=False))

    with pytest.raises(Refused, match="must change pods with the label"):
        taskpass.merge(
            made, {"metadata": {"annotations": {"taskpass.dev/credentials-version": "1"}}}
        )


def test_the_kubelet_reports_status(api: Api, alice: Api, taskpass: Api, name: str) -> None:
    made = alice.create(pod(name))
    taskpass.patch(made, REMOVE)
    path = f"/api/v1/namespaces/{TENANT}/pods/{name}/binding"
    api.call(
        "POST", path, thing("v1", "Binding", TENANT, name, target={"kind": "Node", "name": "node1"})
    )
    kubelet = api.as_user("system:node:node1", "system:nodes")

    after = kubelet.merge(made, {"status": {"phase": "Running"}}, "/status")

    assert after["status"]["phase"] == "Running"


def test_a_job_controllers_finalizer_comes_off(api: Api, alice: Api, name: str) -> None:
    made = alice.create(pod(name, finalizers=["batch.kubernetes.io/job-tracking"]))
    controller = api.as_service_account("kube-system", "job-controller")

    after = controller.merge(made, {"metadata": {"finalizers": None}})

    assert "finalizers" not in after["metadata"]
