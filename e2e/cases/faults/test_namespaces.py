"""A namespace that is deleted, with a live task in it or as the target of one."""

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from e2e.admission import (
    GRANTS,
    ROLE,
    SYSTEM,
    TARGET,
    TENANT,
    binding,
    pod,
    prepare,
    remove,
    task,
)  # fmt: skip
from e2e.impersonate import Api, Object, thing
from e2e.stage import Stage, condition, credential_class, policy, request, until

TARGETS = {TARGET: {"clusterRoles": [ROLE]}}
LONG = 60.0
"""Seconds; the cluster takes its time to take a namespace apart."""


def _in(namespace: str, each: Object) -> Object:
    each["metadata"]["namespace"] = namespace
    return each


def _begin_again(stage: Stage, **settings: Any) -> None:
    stage.operator.stop()
    stage.operator.start(**{f"TASKPASS_{k.upper()}": json.dumps(v) for k, v in settings.items()})


@pytest.fixture
def doomed(api: Api) -> Iterator[str]:
    """Return the name of a namespace that is gone afterwards."""
    namespace = f"doomed-{uuid.uuid4().hex[:8]}"
    itself = thing("v1", "Namespace", "", namespace)
    api.create(itself)
    until(lambda: api.exists(thing("v1", "ServiceAccount", namespace, "default")))
    yield namespace
    if api.exists(itself):
        api.delete(itself)
        until(lambda: not api.exists(itself), LONG)


@pytest.fixture
def tenant(stage: Stage, doomed: str) -> Iterator[str]:
    """Return a second namespace that is enrolled, with the agent and its policy."""
    operator = f"ServiceAccount/{SYSTEM}/taskpass"
    stage.api.create(
        binding("RoleBinding", doomed, "taskpass-tenant", "ClusterRole/taskpass-tenant", operator)
    )
    stage.api.create(thing("v1", "ServiceAccount", doomed, "triage-agent"))
    stage.api.create(policy("triage", "tickets", namespace=doomed))
    _begin_again(stage, tenants=[TENANT, doomed])
    yield doomed
    _begin_again(stage)


@pytest.fixture
def target(stage: Stage, doomed: str, helm: str, kubeconfig: str) -> Iterator[str]:
    """Return a second namespace in which a class binds its role, with the policy for it."""
    both = {**TARGETS, doomed: {"clusterRoles": [ROLE]}}
    prepare(stage.api, helm, kubeconfig, targets=both)
    made = credential_class(doomed, kubernetes={"namespaces": [doomed]})
    stage.api.create(made)
    stage.api.create(policy(doomed, doomed))
    _begin_again(stage, targets=both)
    yield doomed
    stage.api.delete(policy(doomed, doomed))
    remove(stage.api, made)
    prepare(stage.api, helm, kubeconfig, targets=TARGETS)
    _begin_again(stage)


def test_a_tenants_namespace_goes_with_its_tasks_and_leaves_no_debt(
    stage: Stage, tenant: str
) -> None:
    """The operator's rights there go with it, in an order that nobody chooses."""
    names = [f"t-{n}" for n in range(5)]
    for name in names:
        stage.api.create(_in(tenant, task(name)))
        stage.api.create(_in(tenant, pod(name)))

    def grants() -> list[str]:
        every = [stage.api.get("AgentTask", tenant, name).get("status", {}) for name in names]
        ready = all(condition(status, "Ready").get("status") == "True" for status in every)
        return [g["id"] for status in every for g in status["grants"]] if ready else []

    held = until(grants, said=stage.operator.tail)
    assert set(held) <= stage.accounts()

    itself = thing("v1", "Namespace", "", tenant)
    stage.api.delete(itself)

    until(lambda: not stage.api.exists(itself), LONG, said=stage.operator.tail)
    assert not set(held) & stage.accounts()
    assert not set(held) & {name[9:43] for name in stage.bindings()}
    until(lambda: stage.operator.metric("taskpass_grants_held") == 0, said=stage.operator.tail)


def test_a_targets_namespace_goes_and_what_was_bound_there_is_no_debt(
    stage: Stage, target: str, name: str
) -> None:
    """Our right to delete the binding went with it: that the namespace is gone is the proof."""
    asked = request("it", target, resources=[f"namespace/{target}"])
    stage.api.create(task(name, credentials=[asked]))
    stage.api.create(pod(name))
    stage.wait_ready(name)
    (held,) = stage.task(name)["status"]["grants"]
    itself = thing("v1", "Namespace", "", target)

    stage.api.delete(itself)
    until(lambda: not stage.api.exists(itself), LONG)
    stage.api.delete(task(name))

    until(lambda: not _exists(stage, held["id"]), said=stage.operator.tail)
    until(
        lambda: stage.operator.metric("taskpass_pending_revocations") == 0,
        LONG,
        stage.operator.tail,
    )
    assert stage.operator.metric("taskpass_grants_held") == 0


def _exists(stage: Stage, grant: str) -> bool:
    return stage.api.exists(thing("v1", "ServiceAccount", GRANTS, grant))
