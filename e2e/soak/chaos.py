"""`python -m e2e.soak.chaos --tasks 100`: lives on a node while everything breaks. One JSON line.

The operator is killed over and over, the API server killed, the provider slow, the node's kubelet
stopped until its pods are given up. Exit code 0 where nothing is left over, nothing that stood is
missing, no token works, and the log verifies. It ends by itself, and takes its cluster away.
"""

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import urllib3

from e2e.admission import TENANT, task
from e2e.cases.faults.proxy import Proxy
from e2e.cluster import Cluster, ensure, places, remove
from e2e.operator_process import OperatorProcess, stand_down
from e2e.soak.__main__ import STANDING, at_the_end, compared, furnished, left, say, verified
from e2e.soak.deaths import Deaths
from e2e.soak.disasters import Disasters
from e2e.soak.node_lives import NodeLives, agent
from e2e.stage import Stage, until

BACK_SECONDS = 60.0
"""How long an API server that was killed may take to come back."""
LEAST_KILLS = 5


class PatientDeaths(Deaths):
    """The operator is started while there may be no API server to ask for its token."""

    def begin(self) -> None:
        """Start it as soon as that is possible."""
        deadline = time.monotonic() + BACK_SECONDS
        while True:
            try:
                return super().begin()
            except urllib3.exceptions.HTTPError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.25)


def main() -> int:
    """Run it; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m e2e.soak.chaos", description=__doc__)
    parser.add_argument("--tasks", type=int, default=100)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--name", default=f"{places.default_name()}-chaos")
    wish = parser.parse_args()
    cluster = ensure(wish.name)
    assert cluster.was_made_here()
    try:
        cluster.load_operator()  # what agents run is in its image
        with (
            tempfile.TemporaryDirectory(prefix="taskpass-chaos-") as directory,
            Proxy.of_kubeconfig(str(cluster.kubeconfig)) as proxy,
        ):
            told = chaos(cluster, proxy, Path(directory), wish.tasks, wish.seed)
    finally:
        remove(wish.name)
    print(json.dumps(told), flush=True)
    return 1 if told["problems"] else 0


def chaos(cluster: Cluster, proxy: Proxy, directory: Path, tasks: int, seed: int) -> dict[str, Any]:
    """Let it all happen; return what is printed."""
    began = time.monotonic()
    kubeconfig = str(cluster.kubeconfig)
    api = furnished(kubeconfig)
    stand_down(cluster, api)
    environment = {"TASKPASS_WATCH_IDLE_SECONDS": "5", "TASKPASS_LOG_LEVEL": "warning"}
    operator = OperatorProcess(kubeconfig, directory, environment=environment, server=proxy.url)
    stage = Stage(api, operator)
    deaths = PatientDeaths(operator, proxy, seed, away=3.0)
    lives = NodeLives(stage, seed, rate=tasks / 150, limit=tasks)
    disasters = Disasters(cluster, api, proxy, seed)
    problems: list[str] = []
    operator.start()
    for number in range(STANDING):
        stand(stage, f"standing-{number}")
    lives.start()
    disasters.start()
    try:
        operator.kill()
        while not disasters.over or lives.begun < tasks:
            deaths.begin()
            deaths.live()
        say(f"{time.monotonic() - began:.0f} s: {deaths.kills.total()} kills, "
            f"{dict(disasters.counts)}, {lives.begun} lives; all heals")  # fmt: skip
        problems += compared(stage, lives)
        assert_no_files(stage, cluster)
        problems += at_the_end(stage, lives)
    except Exception as error:
        problems.append(f"{type(error).__name__}: {error}")
        say(operator.tail(4000))
    finally:
        disasters.stop()
        proxy.heal()
        lives.stop()
        operator.stop()
        deaths.close()
    problems += [f"FAILED {text}" for text in lives.failures]
    problems += disasters.failures
    problems += [f"ended by itself: {text}" for text in deaths.ended_by_itself]
    if deaths.kills.total() < LEAST_KILLS:
        problems.append(f"only {deaths.kills.total()} kills")
    said, wrong = verified(operator.ledger)
    return {
        "soak": "chaos",
        "seconds": round(time.monotonic() - began),
        "seed": seed,
        "tasks": lives.begun,
        "kills": dict(sorted(deaths.kills.items())),
        "faults": dict(sorted(deaths.faults.items())),
        "disasters": dict(sorted(disasters.counts.items())),
        "lives": dict(sorted(lives.counts.items())),
        "tokens_seen": len(set(lives.tokens)),
        "left": left(stage),
        "audit_verify": said,
        "problems": problems + wrong,
    }


def stand(stage: Stage, name: str) -> None:
    """Begin a task that lives all the while, on a pod that no silent node gives up."""
    stage.alice.create(task(name))
    runs = agent(name, "exec sleep 3600")
    del runs["spec"]["tolerations"]
    stage.alice.create(runs)


def assert_no_files(stage: Stage, cluster: Cluster) -> None:
    """Delete what stands, but not its pods, and assert that nothing is left to read in them."""
    names = [f"standing-{number}" for number in range(STANDING)]
    for name in names:
        stage.alice.delete(task(name))
    for name in names:
        stage.wait_gone(task(name))
        see = partial(_files, cluster, name)
        until(partial(_is_empty, see), said=see)


def _files(cluster: Cluster, name: str) -> list[str]:
    look = ("exec", name, "--", "ls", "/var/run/taskpass")
    return cluster.kubectl("-n", TENANT, *look).split()


def _is_empty(see: Callable[[], list[str]]) -> bool:
    return see() == ["identity"]


if __name__ == "__main__":
    sys.exit(main())
