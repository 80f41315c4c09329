from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from taskpass.core.lifecycle.ownership import Owner
from taskpass.core.model.task import (
    CredentialRequest,
    Data,
    Intent,
    LabelSelector,
    Output,
    Phase,
    TaskUser,
    WorkloadRef,
    digest,
)
from taskpass.core.policy.evaluate import Agents, Effect, Requesters, Validation
from taskpass.kube.cache.convert import (
    class_from,
    pod_from,
    policy_from,
    selector_from,
    task_from,
    workload_from,
)

Object = dict[str, Any]


def thing(kind: str, spec: Object, **metadata: Any) -> Object:
    return {
        "apiVersion": "taskpass.dev/v1alpha1",
        "kind": kind,
        "metadata": {
            "namespace": "support",
            "name": "one",
            "uid": "u-1",
            "generation": 3,
            "resourceVersion": "42",
            "creationTimestamp": "2026-01-02T03:04:05Z",
            **metadata,
        },
        "spec": spec,
    }


REQUEST = {"name": "tickets", "classRef": {"name": "tickets"}, "actions": ["tickets.read"]}


def test_a_task_is_converted_whole() -> None:
    task = task_from(
        thing(
            "AgentTask",
            {
                "agent": {
                    "serviceAccountName": "triage-agent",
                    "workloadRef": {"apiGroup": "batch", "kind": "Job", "name": "ticket-4711"},
                },
                "requester": {"username": "argocd"},
                "changedBy": {"username": "jane", "uid": "7", "groups": ["support"]},
                "sponsor": "support-platform",
                "intent": {
                    "goal": "Answer",
                    "tools": ["kb.search"],
                    "data": [{"name": "tickets", "classification": "Internal"}],
                    "trustBoundary": "internal",
                },
                "credentials": [
                    {
                        **REQUEST,
                        "resources": ["namespace/tickets"],
                        "location": "https://tickets.internal",
                        "expirationSeconds": 900,
                        "outputs": [{"field": "token", "key": "TOKEN"}],
                    }
                ],
                "phases": [{"name": "a", "next": ["b"]}, {"name": "b", "credentials": [REQUEST]}],
                "phase": "a",
                "operatingMode": "Suspended",
                "startDeadlineSeconds": 600,
                "activeDeadlineSeconds": 3600,
                "ttlSecondsAfterFinished": 0,
            },
            finalizers=["taskpass.dev/revoke"],
            deletionTimestamp="2026-01-03T00:00:00Z",
        )
        | {"status": {"phaseName": "a"}}
    )

    assert (task.namespace, task.name, task.uid) == ("support", "one", "u-1")
    assert (task.generation, task.resource_version, task.has_finalizer) == (3, "42", True)
    assert task.created_at == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert task.deleting_since == datetime(2026, 1, 3, tzinfo=UTC)
    assert task.service_account == "triage-agent"
    assert task.workload == WorkloadRef(api_group="batch", kind="Job", name="ticket-4711")
    assert task.requester == TaskUser(username="argocd")
    assert task.changed_by == TaskUser(username="jane", uid="7", groups=("support",))
    assert task.sponsor == "support-platform"
    assert task.intent == Intent(
        goal="Answer",
        tools=("kb.search",),
        data=(Data(name="tickets", classification="Internal"),),
        trust_boundary="internal",
    )
    assert task.credentials == (
        CredentialRequest(
            name="tickets",
            class_name="tickets",
            actions=("tickets.read",),
            resources=("namespace/tickets",),
            location="https://tickets.internal",
            expiration_seconds=900,
            outputs=(Output(field="token", key="TOKEN"),),
        ),
    )
    bare = CredentialRequest(name="tickets", class_name="tickets", actions=("tickets.read",))
    assert task.phases == (Phase(name="a", next=("b",)), Phase(name="b", credentials=(bare,)))
    assert (task.phase, task.status) == ("a", {"phaseName": "a"})
    assert (task.operating_mode, task.start_deadline_seconds) == ("Suspended", 600)
    assert (task.active_deadline_seconds, task.ttl_seconds_after_finished) == (3600, 0)


def test_a_task_that_says_little_is_empty_elsewhere() -> None:
    task = task_from(
        thing("AgentTask", {"agent": {"serviceAccountName": "a"}, "credentials": [REQUEST]})
    )

    assert (task.deleting_since, task.has_finalizer, task.workload) == (None, False, None)
    assert (task.changed_by, task.sponsor, task.intent) == (TaskUser(), "", Intent())
    assert (task.phases, task.phase, task.first_phase) == ((), "", "")
    assert task.operating_mode == "Running"
    assert (task.active_deadline_seconds, task.ttl_seconds_after_finished) == (None, None)


KUBERNETES = {
    "roles": [{"action": "tickets.read", "kind": "Role", "name": "reader"}],
    "namespaces": ["tickets"],
    "streams": "Refused",
    "privilegeEscalation": "Refused",
}
CLASS = {
    "provider": "Kubernetes",
    "kubernetes": KUBERNETES,
    "actions": ["tickets.read"],
    "locations": ["https://kubernetes.example"],
    "sensitivity": "Restricted",
    "namespaceSelector": {"matchLabels": {"team": "support"}},
    "defaultExpirationSeconds": 600,
    "maxExpirationSeconds": 1200,
}


def test_a_class_is_converted_whole() -> None:
    converted = class_from(thing("CredentialClass", CLASS))

    assert (converted.name, converted.uid, converted.generation) == ("one", "u-1", 3)
    assert (converted.provider, converted.config) == ("Kubernetes", KUBERNETES)
    assert converted.actions == ("tickets.read",)
    assert converted.locations == ("https://kubernetes.example",)
    assert converted.sensitivity == "Restricted"
    assert converted.namespace_selector == LabelSelector(match_labels={"team": "support"})
    assert converted.default_expiration_seconds == 600
    assert converted.max_expiration_seconds == 1200


def test_a_class_that_selects_no_namespace_is_for_none() -> None:
    spec = {name: value for name, value in CLASS.items() if name != "namespaceSelector"}

    assert class_from(thing("CredentialClass", spec)).namespace_selector is None


@pytest.mark.parametrize(
    ("change", "same"),
    [
        pytest.param({"kubernetes": {**KUBERNETES, "namespaces": ["x"]}}, False, id="the section"),
        pytest.param({"maxExpirationSeconds": 3600}, True, id="a limit"),
        pytest.param({"namespaceSelector": {}}, True, id="who may use it"),
    ],
)
def test_the_digest_of_a_class_changes_with_what_is_issued(change: Object, same: bool) -> None:
    before = class_from(thing("CredentialClass", CLASS)).digest
    after = class_from(thing("CredentialClass", {**CLASS, **change})).digest

    assert before == digest({"provider": "Kubernetes", "kubernetes": KUBERNETES})
    assert (after == before) is same


POLICY = {
    "effect": "Allow",
    "requesters": {"usernames": ["jane"], "groups": ["support"]},
    "agents": {
        "serviceAccountNames": ["triage-agent"],
        "podSelector": {"matchLabels": {"app": "triage"}},
        "imageDigests": ["sha256:abc"],
    },
    "classes": ["tickets"],
    "actions": ["tickets.*"],
    "resources": ["ticket/*"],
    "locations": ["https://*"],
    "validations": [{"expression": "true", "message": "must be"}],
    "limits": {"maxExpirationSeconds": 900},
}


def test_a_policy_is_converted_whole() -> None:
    policy = policy_from(thing("AgentPolicy", POLICY))

    assert (policy.label, policy.title) == ("AgentPolicy/support/one", "AgentPolicy 'support/one'")
    assert (policy.uid, policy.generation, policy.resource_version) == ("u-1", 3, "42")
    assert policy.effect is Effect.ALLOW
    assert policy.requesters == Requesters(usernames=("jane",), groups=("support",))
    assert policy.agents == Agents(
        service_account_names=("triage-agent",),
        pod_selector=LabelSelector(match_labels={"app": "triage"}),
        image_digests=("sha256:abc",),
    )
    assert (policy.classes, policy.actions) == (("tickets",), ("tickets.*",))
    assert (policy.resources, policy.locations) == (("ticket/*",), ("https://*",))
    assert policy.validations == (Validation(expression="true", message="must be"),)
    assert policy.max_expiration_seconds == 900
    assert policy.digest == digest(POLICY)


def test_a_policy_of_the_cluster_has_no_namespace_but_a_selector() -> None:
    obj = thing("ClusterAgentPolicy", {"effect": "Deny", "namespaceSelector": {}})
    del obj["metadata"]["namespace"]

    policy = policy_from(obj)

    assert policy.label == "ClusterAgentPolicy/one"
    assert policy.namespace_selector == LabelSelector()


def test_a_selector_that_is_absent_is_not_an_empty_one() -> None:
    policy = policy_from(thing("AgentPolicy", {"effect": "Deny"}))

    assert (policy.requesters, policy.agents, policy.namespace_selector) == (None, None, None)
    assert (policy.classes, policy.actions, policy.resources, policy.locations) == (None,) * 4
    assert (policy.validations, policy.max_expiration_seconds) == ((), None)
    assert selector_from(None) is None
    assert selector_from({}) == LabelSelector()


@pytest.mark.parametrize(
    ("expression", "labels", "matches"),
    [
        ({"operator": "In", "values": ["a", "b"]}, {"k": "b"}, True),
        ({"operator": "In", "values": ["a", "b"]}, {}, False),
        ({"operator": "NotIn", "values": ["a"]}, {"k": "a"}, False),
        ({"operator": "NotIn", "values": ["a"]}, {}, True),
        ({"operator": "Exists"}, {"k": ""}, True),
        ({"operator": "DoesNotExist"}, {"k": ""}, False),
    ],
)
def test_a_selector_s_expressions_hold_as_in_kubernetes(
    expression: Object, labels: dict[str, str], matches: bool
) -> None:
    selector = selector_from({"matchExpressions": [{"key": "k", **expression}]})

    assert selector is not None
    assert selector.matches(labels) is matches


TOKEN = {
    "serviceAccountToken": {
        "audience": "taskpass",
        "expirationSeconds": 600,
        "path": "identity/token",
    }
}
SECRET = {"secret": {"name": "taskpass-ticket-4711", "optional": True}}


def pod(*sources: Object, volume: str = "taskpass", **spec: Any) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "namespace": "support",
            "name": "p",
            "uid": "p-1",
            "resourceVersion": "7",
            "creationTimestamp": "2026-01-02T03:04:05Z",
            "labels": {"taskpass.dev/task": "ticket-4711"},
            "annotations": {"taskpass.dev/created-by": '{"username":"jane","uid":"7"}'},
            "ownerReferences": [
                {"apiVersion": "example.com/v1", "kind": "Other", "name": "o", "uid": "o-1"},
                {
                    "apiVersion": "batch/v1",
                    "kind": "Job",
                    "name": "j",
                    "uid": "j-1",
                    "controller": True,
                },
            ],
        },
        "spec": {
            "serviceAccountName": "triage-agent",
            "schedulingGates": [{"name": "other"}, {"name": "taskpass.dev/credentials"}],
            "volumes": [{"name": volume, "projected": {"sources": list(sources)}}],
            "containers": [{"image": "b:1"}],
            **spec,
        },
        "status": {"phase": "Pending"},
    }


def test_a_pod_is_converted_whole() -> None:
    view = pod_from(
        pod(
            TOKEN,
            SECRET,
            initContainers=[{"image": "a:1"}],
            ephemeralContainers=[{"image": "c:1"}],
        )
    )

    assert (view.namespace, view.name, view.uid) == ("support", "p", "p-1")
    assert view.labels == {"taskpass.dev/task": "ticket-4711"}
    assert view.created_by == "jane"
    assert view.owner == Owner(api_group="batch", kind="Job", name="j", uid="j-1")
    assert (view.service_account, view.gated, view.ended) == ("triage-agent", True, "")
    assert (view.audience, view.token_seconds) == ("taskpass", 600)
    assert view.secret == "taskpass-ticket-4711"
    assert view.images == ("a:1", "b:1", "c:1")
    assert view.deleting_since is None


def test_a_digest_says_nothing_of_command_and_environment() -> None:
    """Told in the threat model: what policies know of a container is its image."""
    image = "registry.example/agent@sha256:" + "a" * 64
    honest = {"name": "agent", "image": image}
    other = {
        **honest,
        "command": ["python3", "-c", "print('anything')"],
        "env": [{"name": "LD_PRELOAD", "value": "/tmp/evil.so"}],
    }

    one, two = (pod_from(pod(TOKEN, SECRET, containers=[each])) for each in (honest, other))

    assert one == two
    assert one.images == (image,)


@pytest.mark.parametrize(
    ("phase", "ended"),
    [
        ("Pending", ""),
        ("Running", ""),
        ("Unknown", ""),
        ("Succeeded", "Succeeded"),
        ("Failed", "Failed"),
    ],
)
def test_a_pod_has_ended_when_its_phase_is_final(phase: str, ended: str) -> None:
    assert pod_from(pod(TOKEN, SECRET) | {"status": {"phase": phase}}).ended == ended


@pytest.mark.parametrize(
    "obj",
    [
        pytest.param(pod(SECRET), id="no token"),
        pytest.param(pod(TOKEN, SECRET, volume="other"), id="another volume"),
        pytest.param(
            pod(TOKEN, volumes=[{"name": "taskpass", "emptyDir": {}}]), id="no projection"
        ),
        pytest.param(
            pod({"serviceAccountToken": {"audience": "taskpass", "path": "elsewhere"}}, SECRET),
            id="at another path",
        ),
        pytest.param(
            pod({"serviceAccountToken": {"path": "identity/token"}}, SECRET), id="of no audience"
        ),
    ],
)
def test_a_pod_without_our_identity_token_has_no_audience(obj: Object) -> None:
    assert pod_from(obj).audience == ""


@pytest.mark.parametrize(
    "source",
    [
        pytest.param({"secret": {"name": "taskpass-other", "optional": True}}, id="another task's"),
        pytest.param({"secret": {"name": "taskpass-ticket-4711"}}, id="not optional"),
        pytest.param({"configMap": {"name": "taskpass-ticket-4711"}}, id="a ConfigMap"),
    ],
)
def test_a_pod_without_its_task_s_secret_has_none(source: Object) -> None:
    assert pod_from(pod(TOKEN, source)).secret == ""


@pytest.mark.parametrize(
    "stamp",
    [
        "",
        "jane",
        '"jane"',
        "[]",
        '{"uid":"7"}',
        '{"username":7}',
        '{"username":"jane"',
        '{"username":"a\\aline"}',
        "[" * 100_000,
    ],
    ids=["none", "a name", "a string", "a list", "no name", "a number", "cut", "no JSON", "deep"],
)
def test_a_stamp_that_admission_did_not_write_names_nobody(stamp: str) -> None:
    obj = pod(TOKEN)
    obj["metadata"]["annotations"] = {"taskpass.dev/created-by": stamp}

    assert pod_from(obj).created_by == ""


def test_a_pod_with_nothing_optional_is_converted() -> None:
    obj = pod()
    for name in ("labels", "annotations", "ownerReferences"):
        del obj["metadata"][name]
    obj["spec"] = {"containers": [{"image": "a"}]}
    del obj["status"]

    view = pod_from(obj)

    assert (view.labels, view.created_by, view.owner, view.gated) == ({}, "", None, False)
    assert (view.audience, view.token_seconds, view.secret, view.ended) == ("", 0, "", "")


def workload(kind: str, *conditions: tuple[str, str], group: str = "batch/v1") -> Object:
    return {
        "apiVersion": group,
        "kind": kind,
        "metadata": {"name": "w", "uid": "w-1"},
        "status": {"conditions": [{"type": t, "status": s} for t, s in conditions]},
    }


@pytest.mark.parametrize(
    ("obj", "ended"),
    [
        pytest.param(workload("Job"), "", id="a Job that runs"),
        pytest.param(workload("Job", ("Complete", "True")), "Succeeded", id="a Job that completed"),
        pytest.param(workload("Job", ("Failed", "True")), "Failed", id="a Job that failed"),
        pytest.param(workload("Job", ("Failed", "False")), "", id="a Job that has not failed"),
        pytest.param(
            workload("Job", ("FailureTarget", "True")), "", id="a Job whose pods are still ending"
        ),
        pytest.param(
            workload("Deployment", ("Complete", "True"), group="apps/v1"), "", id="a Deployment"
        ),
        pytest.param(
            workload("Job", ("Complete", "True"), group="example.com/v1"), "", id="another Job"
        ),
    ],
)
def test_only_a_job_of_kubernetes_ends_by_itself(obj: Object, ended: str) -> None:
    assert workload_from(obj).ended == ended


def test_a_workload_has_its_group_and_owner() -> None:
    obj = workload("ReplicaSet", group="apps/v1")
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d", "uid": "d-1"}
    obj["metadata"]["ownerReferences"] = [{**owner, "controller": True}]

    view = workload_from(obj)

    assert (view.api_group, view.kind, view.name, view.uid) == ("apps", "ReplicaSet", "w", "w-1")
    assert view.owner == Owner(api_group="apps", kind="Deployment", name="d", uid="d-1")


def test_an_owner_of_the_core_group_has_no_group() -> None:
    obj = pod(TOKEN)
    reference = {"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "n-1", "controller": True}
    obj["metadata"]["ownerReferences"] = [reference]

    owner = pod_from(obj).owner

    assert owner is not None
    assert owner == replace(owner, api_group="", kind="Node")
