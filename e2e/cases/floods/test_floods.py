"""One tenant floods, in each of these ways; another one's access is refused in time anyway."""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.admission import LABEL, pod, task
from e2e.cases.floods.conftest import FLOOD
from e2e.impersonate import Api, path_of
from e2e.operator_process import OperatorProcess
from e2e.stage import Stage, condition, job, until

WITHIN_SECONDS = 0.5
"""From the end of a pod until its token is refused."""
LARGE = 250_000
TASKS = 100
BASE_MIB = 170
"""What the operator may have at its start, whatever lies in the cluster; an empty one has 115."""

CONNECT = """
import select, socket, sys
port, kept, n = int(sys.argv[1]), [], 0
print("begun", flush=True)
while True:
    made = socket.socket()
    made.bind((f"127.0.{1 + n // 200 % 20}.{1 + n % 200}", 0))
    made.settimeout(1)
    try:
        made.connect(("127.0.0.1", port))
        made.sendall(b"GET /metrics HTTP/1.1\\r\\nHost: x\\r\\n")
    except OSError:
        pass
    kept.append(made)
    n += 1
    if len(kept) > 800:
        kept.pop(0).close()
    if n % 20 == 0:
        select.select([], [], [], 0.01)
"""


@contextlib.contextmanager
def connecting(port: int) -> Iterator[None]:
    """Have connections made without end that ask for half of something."""
    made = subprocess.Popen([sys.executable, "-c", CONNECT, str(port)], stdout=subprocess.PIPE)
    assert made.stdout is not None
    try:
        assert made.stdout.readline()
        yield
    finally:
        made.kill()
        made.wait()
        made.stdout.close()


def refused_after(stage: Stage, name: str) -> float:
    """End the pod of a task that is ready; return how many seconds its token is taken for."""
    token = stage.token(name)
    assert stage.reads(token) == 200
    begun = time.monotonic()
    stage.end(name)
    until(lambda: stage.reads(token) != 200)
    return time.monotonic() - begun


def largest_mib(operator: OperatorProcess) -> int:
    """Return the most memory that the process has had so far."""
    lines = Path(f"/proc/{operator.pid}/status").read_text().splitlines()
    [found] = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return int(found) // 1024


@pytest.fixture
def filled(mallory: Api) -> Iterator[list[str]]:
    """Return the names of tasks with a quarter of a megabyte of annotations each."""
    names = [f"large-{n}" for n in range(TASKS)]
    path = path_of("AgentTask", FLOOD)
    for each in names:
        made = task(each)
        made["metadata"]["namespace"] = FLOOD
        made["metadata"]["annotations"] = {"notes": "x" * LARGE}
        mallory.call("POST", path, made)
    yield names
    for each in names:
        mallory.call("DELETE", f"{path}/{each}")


def test_half_requests_without_end_hold_up_nothing(stage: Stage, name: str) -> None:
    stage.begin_ready(name)

    with connecting(stage.operator.port):
        until(lambda: stage.operator.metric("taskpass_connections_refused_total") > 300)
        begun = time.monotonic()
        status, said = stage.operator.http("/readyz")
        probed_after = time.monotonic() - begun
        refused = refused_after(stage, name)
        descriptors = len(list(Path(f"/proc/{stage.operator.pid}/fd").iterdir()))

    assert (status, said) == (200, said)
    assert probed_after < 1
    assert refused < WITHIN_SECONDS
    assert descriptors < 700


def test_large_objects_fill_nobodys_memory(stage: Stage, name: str, filled: list[str]) -> None:
    stage.begin_ready(name)
    assert (
        len(json.dumps(stage.api.call("GET", f"{path_of('AgentTask', FLOOD)}/{filled[0]}"))) > LARGE
    )
    stage.operator.kill()

    stage.operator.start()

    stage.wait_ready(name)
    assert largest_mib(stage.operator) < BASE_MIB
    assert refused_after(stage, name) < WITHIN_SECONDS
    assert largest_mib(stage.operator) < BASE_MIB


def test_pods_that_only_say_whose_they_are_keep_nobody_waiting(
    stage: Stage, name: str, mallory: Api
) -> None:
    stage.begin_ready(name)
    workload = {"apiGroup": "batch", "kind": "Job", "name": "rightful"}
    agent = {"serviceAccountName": "triage-agent", "workloadRef": workload}
    wanted = task("rightful", agent=agent)
    wanted["metadata"]["namespace"] = FLOOD
    mallory.call("POST", path_of("AgentTask", FLOOD), wanted)
    for number in range(70):
        bogus = pod(f"bogus-{number}", labels={LABEL: "rightful"})
        bogus["metadata"]["namespace"] = FLOOD
        mallory.call("POST", path_of("Pod", FLOOD), bogus)
    rightful = job("rightful")
    rightful["metadata"]["namespace"] = FLOOD
    mallory.call("POST", f"/apis/batch/v1/namespaces/{FLOOD}/jobs", rightful)

    def ready() -> bool:
        live = mallory.call("GET", f"{path_of('AgentTask', FLOOD)}/rightful")
        return condition(live.get("status", {}), "Ready").get("status") == "True"

    until(ready, said=stage.operator.tail)
    assert "did not come to rest" not in stage.operator.log.read_text()
    assert refused_after(stage, name) < WITHIN_SECONDS


def test_tasks_without_end_keep_nobody_waiting(stage: Stage, name: str, mallory: Api) -> None:
    stage.begin_ready(name)
    path = path_of("AgentTask", FLOOD)
    for number in range(300):
        made = task(f"busy-{number}", sponsor="0")
        made["metadata"]["namespace"] = FLOOD
        mallory.call("POST", path, made)

    assert refused_after(stage, name) < WITHIN_SECONDS
    until(lambda: stage.operator.metric("taskpass_queue_length") == 0)
