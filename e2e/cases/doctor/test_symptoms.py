"""Symptoms of docs/troubleshooting.md that no other case produces, as a person sees them."""

import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from e2e.admission import RBAC, SYSTEM, TENANT, pod
from e2e.cluster.interface import kubectl
from e2e.impersonate import MERGE_PATCH, Api, thing
from e2e.operator_process import OperatorProcess
from e2e.stage import Stage, policy, until

ROLE = f"/apis/{RBAC}/v1/clusterroles/taskpass-operator"
KEY = thing("v1", "Secret", SYSTEM, "taskpass-signing-key")


@pytest.fixture
def stage(api: Api, operator: OperatorProcess) -> Iterator[Stage]:
    """Return a stage with a policy; the operator may have ended, and runs again afterwards."""
    api.apply(thing("v1", "ConfigMap", "tickets", "read-me", data={"answer": "42"}))
    api.apply(policy("triage", "tickets"))
    yield Stage(api, operator)
    if operator.ended():
        operator.kill()
        operator.start()
    Stage(api, operator).clear("t-")


@pytest.fixture
def name(stage: Stage) -> str:
    return f"t-{uuid.uuid4().hex[:8]}"


@contextmanager
def restarted(operator: OperatorProcess) -> Iterator[None]:
    """End it for the block, in which it may be started otherwise; then start it as usual."""
    operator.stop()
    try:
        yield
    finally:
        operator.kill()
        operator.start()


@contextmanager
def without(api: Api, verb: str, resource: str) -> Iterator[None]:
    """Take a right in the whole cluster away."""
    rules = api.call("GET", ROLE)["rules"]
    less = [
        {**r, "verbs": [v for v in r["verbs"] if resource not in r["resources"] or v != verb]}
        for r in rules
    ]
    api.call("PATCH", ROLE, {"rules": less}, content=MERGE_PATCH)
    try:
        yield
    finally:
        api.call("PATCH", ROLE, {"rules": rules}, content=MERGE_PATCH)


def last_line(operator: OperatorProcess, since: int) -> str:
    said = operator.log.read_text()[since:]
    assert "Traceback" not in said
    return said.splitlines()[-1]


def test_a_pod_whose_task_does_not_exist_is_told_so(stage: Stage, name: str) -> None:
    stage.alice.create(pod(name))

    said = stage.wait_event(name, "TaskMissing", kind="Pod")

    assert said["note"].startswith(f"AgentTask '{name}' does not exist in namespace '{TENANT}'")
    assert said["type"] == "Warning"
    assert stage.gated(name)


def test_a_kubeconfig_names_the_server_that_the_setting_says_whether_it_is_there_or_not(
    stage: Stage, name: str, tmp_path: Path
) -> None:
    with restarted(stage.operator):
        stage.operator.start(TASKPASS_CLUSTER_SERVER="https://127.0.0.1:1")
        stage.begin_ready(name)
        config = tmp_path / "kubeconfig"
        config.write_text((stage.secret(name) or {})["tickets.kubeconfig"])
        command = [str(kubectl()), "--kubeconfig", str(config), "get", "configmap", "read-me"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert "127.0.0.1:1" in done.stderr
    assert "refused" in done.stderr


def test_without_the_right_to_list_namespaces_it_is_not_ready_and_says_so(stage: Stage) -> None:
    operator = stage.operator
    with restarted(operator), without(stage.api, "list", "namespaces"):
        operator.start(ready=False)
        said = until(lambda: _with(operator, "watching: The API server"))

    assert "watching: The API server answered 403 to list of namespaces" in said


def _with(operator: OperatorProcess, words: str) -> str:
    said = operator.http("/readyz")[1]
    return said if words in said else ""


def test_without_the_right_to_list_tasks_the_start_waits_for_it_and_says_so(stage: Stage) -> None:
    operator = stage.operator
    with restarted(operator):
        with without(stage.api, "list", "agenttasks"):
            operator.start(ready=False)
            said = until(lambda: _with(operator, "start: failed to list our kinds"))
        operator.wait_ready()

    assert "will retry: The API server answered 403 to list of agenttasks" in said


def test_a_key_that_is_none_ends_the_start_with_one_line(stage: Stage) -> None:
    operator, api = stage.operator, stage.api
    live = api.get("Secret", SYSTEM, "taskpass-signing-key")
    with restarted(operator):
        since = len(operator.log.read_text())
        api.delete(KEY)
        api.create({**KEY, "type": "Opaque", "stringData": {"seed": "x"}})
        try:
            operator.start(ready=False)
            code = operator.wait_end()
            line = last_line(operator, since)
        finally:
            api.delete(KEY)
            api.create({**KEY, "type": live["type"], "data": live["data"], "immutable": True})

    assert code == 2
    assert line.startswith("taskpass: Secret 'taskpass-signing-key' in namespace")
    assert "restore it from a backup" in line


def test_a_ledger_without_the_key_that_signed_it_ends_the_start_with_one_line(
    stage: Stage,
) -> None:
    operator, api = stage.operator, stage.api
    live = api.get("Secret", SYSTEM, "taskpass-signing-key")
    with restarted(operator):
        since = len(operator.log.read_text())
        api.delete(KEY)
        try:
            operator.start(ready=False)  # it makes a new key
            code = operator.wait_end()
            line = last_line(operator, since)
        finally:
            api.delete(KEY)
            api.create({**KEY, "type": live["type"], "data": live["data"], "immutable": True})

    assert code == 3
    assert line.startswith("taskpass: The ledger")
    assert "key" in line


def test_a_tenant_whose_namespace_is_not_there_does_not_keep_it_from_being_ready(
    stage: Stage, name: str
) -> None:
    with restarted(stage.operator):
        stage.operator.start(TASKPASS_TENANTS=f'["{TENANT}", "gone"]')
        stage.begin_ready(name)

        assert stage.operator.http("/readyz")[0] == 200


def test_a_second_operator_waits_and_says_so(stage: Stage, kubeconfig: str, tmp_path: Path) -> None:
    second = OperatorProcess(kubeconfig, tmp_path, targets=stage.operator.targets)
    second.start(ready=False)
    try:
        said = until(lambda: _with(second, "lease: waiting"), seconds=30)
    finally:
        second.stop()

    assert "lease: waiting, nothing is written: " in said
    assert stage.operator.http("/readyz")[0] == 200


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Path]:
    """Return a file system of its own."""
    directory = tmp_path / "volume"
    directory.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(directory)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("NOT RUN: it mounts a file system, and needs root")
    yield directory
    subprocess.run(["umount", "-l", str(directory)], check=True)


def test_a_volume_that_takes_no_writes_leaves_it_revoking_only(stage: Stage, volume: Path) -> None:
    operator, path = stage.operator, str(volume / "ledger.db")
    with restarted(operator):
        operator.start(TASKPASS_LEDGER_PATH=path)
        operator.stop()
        subprocess.run(["mount", "-o", "remount,ro", str(volume)], check=True)
        operator.start(ready=False, TASKPASS_LEDGER_PATH=path)
        try:
            said = until(lambda: _with(operator, "ledger: revoking only"), seconds=30)
        finally:
            operator.stop()  # a killed one keeps its Lease for a while from another ledger

    assert "ledger: revoking only: " in said
