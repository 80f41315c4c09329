"""What the whole operator holds of each credential: many tasks, each with a role of its own.

Beside it stand as many with a token of provider Kubernetes, in the same run and the same way.
"""

import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from bench.figures import say, tell
from bench.gauge import memory_mib
from e2e.admission import TENANT, pod, prepare, task
from e2e.cluster import ensure, places, remove, tools
from e2e.impersonate import Api, Object, path_of
from e2e.operator_process import OperatorProcess
from e2e.postgresql.databases import ROLE, Databases, environment_of, furnish_cluster
from e2e.postgresql.server import PostgresServer
from e2e.stage import condition, credential_class, policy, request, until

AT_ONCE = 16
BATCH = 100
"""Tasks that are begun before those of before hold what they ask for: not how fast, how much."""
READY_SECONDS = 600.0
ASKS: Mapping[str, Object] = {"postgresql": ROLE, "kubernetes": request()}


def measure_live(server: PostgresServer, count: int) -> None:
    """Print how much memory so many live credentials take, of each provider."""
    name = f"{places.default_name()}-bench-postgresql"
    for provider, asked in ASKS.items():  # a process gives back little of what it had
        with _operator(name, server) as stage:
            idle = memory_mib(stage.operator.pid)
            say(f"{count} tasks with a credential of provider {provider}")
            for begun in range(0, count, BATCH):
                some = range(begun, min(begun + BATCH, count))
                with ThreadPoolExecutor(AT_ONCE) as pool:
                    list(pool.map(partial(_begin, stage, asked), some))
                until(partial(_are_ready, stage, some.stop), READY_SECONDS)
            live = memory_mib(stage.operator.pid)
            stage.operator.stop()
            stage.operator.start()
            tell(
                f"{provider}-live", credentials=count, idle_mib=idle, live_mib=live,
                after_restart_mib=memory_mib(stage.operator.pid),
                kib_per_credential=round(1024 * (live - idle) / count, 1),
            )  # fmt: skip


@contextmanager
def _operator(name: str, server: PostgresServer) -> Iterator[Databases]:
    cluster = ensure(name, node=False)
    if not cluster.was_made_here():
        raise RuntimeError(f"{name} was not made for tests")
    try:
        api = Api.from_kubeconfig(str(cluster.kubeconfig))
        prepare(api, str(tools.helm()), str(cluster.kubeconfig))
        api.apply(credential_class("tickets"))
        api.apply(policy("triage", "tickets"))
        furnish_cluster(api)
        with tempfile.TemporaryDirectory(prefix="taskpass-bench-") as directory:
            listed = {**environment_of(server, Path(directory)), "TASKPASS_LOG_LEVEL": "warning"}
            made = OperatorProcess(
                str(cluster.kubeconfig), Path(directory) / "operator", environment=listed
            )
            made.start()
            yield Databases(api, made, server=server)
            made.kill()
    finally:
        remove(name)
    with server.admin() as admin:
        found = "SELECT rolname FROM pg_roles WHERE starts_with(rolname, 'taskpass-g-')"
        for (role,) in admin.execute(found).fetchall():
            admin.execute(f'DROP ROLE "{role}"'.encode())


def _begin(stage: Databases, asked: Object, number: int) -> None:
    stage.alice.create(task(f"live-{number}", credentials=[asked]))
    stage.alice.create(pod(f"live-{number}"))


def _are_ready(stage: Databases, count: int) -> bool:
    tasks = stage.api.call("GET", path_of("AgentTask", TENANT))["items"]
    ready = (condition(each.get("status", {}), "Ready").get("status") for each in tasks)
    return len([each for each in ready if each == "True"]) == count
