"""Kubernetes' own controllers pass every policy: what they delete or orphan is never wedged."""

from typing import Any
from uuid import uuid4

import pytest

from e2e.admission import (
    GROUP,
    LABEL,
    SYSTEM,
    TENANT,
    binding,
    pod,
    secret,
    stamped,
    task,
    wait_for,
)
from e2e.impersonate import Api, Object, Refused, path_of, thing

FINALIZER = "taskpass.dev/revoke"


def release(taskpass: Api, made: Object) -> None:
    """Take our finalizer off, as the operator does once everything is revoked."""
    wait_for(lambda: _released(taskpass, made))


def _released(taskpass: Api, made: Object) -> bool:
    metadata = made["metadata"]
    try:
        current = taskpass.get("AgentTask", metadata["namespace"], metadata["name"])["metadata"]
        kept = [f for f in current.get("finalizers", []) if f != FINALIZER]
        version = current["resourceVersion"]
        taskpass.merge(made, {"metadata": {"finalizers": kept or None, "resourceVersion": version}})
    except Refused as refused:
        # A controller was faster: look again. Gone: nothing to take off.
        if refused.status not in (404, 409):
            raise
        return refused.status == 404
    return True


@pytest.mark.parametrize("how", ["Background", "Foreground"])
def test_a_deleted_tasks_secret_is_collected(
    api: Api, alice: Api, taskpass: Api, name: str, how: str
) -> None:
    made = alice.create(task(name))
    delivered = taskpass.create(secret(f"taskpass-{name}", owner=made))

    alice.delete(made, propagationPolicy=how)
    if how == "Foreground":
        wait_for(lambda: not api.exists(delivered))
    release(taskpass, made)

    wait_for(lambda: not api.exists(made))
    wait_for(lambda: not api.exists(delivered))


def test_a_secret_can_be_orphaned(api: Api, alice: Api, taskpass: Api, name: str) -> None:
    made = alice.create(task(name))
    delivered = taskpass.create(secret(f"taskpass-{name}", owner=made))

    alice.delete(made, propagationPolicy="Orphan")
    wait_for(
        lambda: "ownerReferences" not in api.get("Secret", TENANT, f"taskpass-{name}")["metadata"]
    )
    release(taskpass, made)
    wait_for(lambda: not api.exists(made))

    assert api.exists(delivered)


def test_a_jobs_pod_is_stamped_by_its_controller_and_goes_with_it(
    api: Api, alice: Api, name: str
) -> None:
    template = pod(name)
    template["spec"]["restartPolicy"] = "Never"
    job = thing(
        "batch/v1",
        "Job",
        TENANT,
        name,
        spec={"template": {"metadata": {"labels": {LABEL: name}}, "spec": template["spec"]}},
    )
    alice.create(job)

    made = wait_for(lambda: labelled(api, name))[0]
    alice.delete(job, propagationPolicy="Foreground")

    assert stamped(made)["username"] == "system:serviceaccount:kube-system:job-controller"
    wait_for(lambda: not labelled(api, name) and not api.exists(job))


def labelled(api: Api, name: str) -> list[Any]:
    answer: list[Any] = api.call("GET", path_of("Pod", TENANT), labelSelector=f"{LABEL}%3D{name}")[
        "items"
    ]
    return answer


def test_a_namespace_goes_with_everything_in_it(api: Api, taskpass: Api) -> None:
    namespace = f"doomed-{uuid4().hex[:8]}"
    api.create(thing("v1", "Namespace", "", namespace))
    api.create(
        binding(
            "RoleBinding",
            namespace,
            "taskpass-tenant",
            "ClusterRole/taskpass-tenant",
            f"ServiceAccount/{SYSTEM}/taskpass",
        )
    )
    wait_for(lambda: _has(api, namespace, "default"))
    made = api.create(_in(namespace, task("t")))
    body = _in(namespace, secret("taskpass-t", owner=made))
    wait_for(lambda: _created(taskpass, body))
    api.create(_in(namespace, pod("t", spec={"serviceAccountName": "default"})))
    api.create(thing(GROUP, "AgentPolicy", namespace, "deny", spec={"effect": "Deny"}))

    api.delete(thing("v1", "Namespace", "", namespace))
    wait_for(lambda: "deletionTimestamp" in api.get("AgentTask", namespace, "t")["metadata"])
    release(taskpass, made)

    wait_for(lambda: not api.exists(thing("v1", "Namespace", "", namespace)))


def _created(taskpass: Api, body: Object) -> bool:
    try:
        taskpass.create(body)
    except Refused as refused:
        if "cannot create resource" not in refused.message:
            raise
        return False  # a new RoleBinding takes a moment
    return True


def _in(namespace: str, each: Object) -> Object:
    each["metadata"]["namespace"] = namespace
    return each


def _has(api: Api, namespace: str, account: str) -> bool:
    return api.exists(thing("v1", "ServiceAccount", namespace, account))
