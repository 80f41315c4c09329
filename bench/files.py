"""`python -m bench.files`: how long a file stays in a pod once what it opens is taken back.

On a cluster with a node: the agent itself says when its file came and went, by the machine's clock,
which is also that of whoever asks. Figures on standard output, progress on standard error.
"""

import argparse
import contextlib
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from bench.figures import say, spread, tell
from e2e.admission import GROUP, TARGET, TENANT, prepare, task
from e2e.cluster import Cluster, ensure, places, remove, tools
from e2e.impersonate import Api, Object, Refused, path_of, thing
from e2e.operator_process import OperatorProcess, stand_down
from e2e.soak.node_lives import agent
from e2e.stage import Stage, credential_class, policy, until

AGENTS = 10
"""Side by side."""
LOOKS = """
import pathlib, sys, time
file, there = pathlib.Path("/var/run/taskpass/tickets.token"), None
while True:
    if file.exists() != there:
        there = not there
        print("there" if there else "gone", time.time(), flush=True)
    time.sleep(0.005)
"""
PATIENCE = 120.0
End = Callable[[Stage, str], None]


def main(arguments: list[str]) -> int:
    """Measure; return the exit code: 1 where a file did not go."""
    parser = argparse.ArgumentParser(prog="python -m bench.files", description=__doc__)
    parser.add_argument("--ends", type=int, default=200, help="files that go, of each kind")
    parser.add_argument("--name", default=f"{places.default_name()}-files")
    wish = parser.parse_args(arguments)
    cluster = ensure(wish.name)
    if not cluster.was_made_here():
        say(f"{wish.name} was not made for tests: the benchmark would change it")
        return 1
    try:
        cluster.load_operator()
        with tempfile.TemporaryDirectory(prefix="taskpass-files-") as directory:
            stage = beside(cluster, Path(directory))
            try:
                for kind in KINDS:
                    measure(stage, kind, wish.ends)
            finally:
                stage.operator.stop()
    finally:
        remove(wish.name)
    return 0


def beside(cluster: Cluster, directory: Path) -> Stage:
    """Install the chart, and run its operator as a process beside the cluster."""
    kubeconfig = str(cluster.kubeconfig)
    api = Api.from_kubeconfig(kubeconfig)
    prepare(api, str(tools.helm()), kubeconfig)
    stand_down(cluster, api)
    for each in (
        thing("v1", "ConfigMap", TARGET, "read-me", data={"answer": "42"}),
        credential_class("tickets"),
        policy("triage", "tickets"),
    ):
        api.apply(each)
    made = Stage(api, OperatorProcess(kubeconfig, directory))
    made.operator.start()
    return made


def measure(stage: Stage, kind: str, count: int) -> None:
    """Print how long files stay, over so many ends of a kind."""
    say(f"{count} files go: {kind}")
    names = [f"f-{number}" for number in range(AGENTS)]
    rounds = max(1, count // AGENTS)
    with ThreadPoolExecutor(AGENTS) as pool:
        took = [
            t for found in pool.map(partial(_rounds, stage, kind, rounds), names) for t in found
        ]
    tell("end-file-gone", kind=kind, unit="ms", n=len(took), **spread(took))


def _rounds(stage: Stage, kind: str, rounds: int, name: str) -> list[float]:
    end, again = KINDS[kind]
    _begin(stage, name)
    took = []
    for _ in range(rounds):
        _said(stage, name, "there", 0.0)
        asked = time.time()
        end(stage, name)
        took.append(_said(stage, name, "gone", asked) - asked)
        again(stage, name)
    _clear(stage, name)
    return took


def _begin(stage: Stage, name: str) -> None:
    runs = agent(name, "")
    runs["spec"]["containers"][0]["command"] = ["python3", "-c", LOOKS]
    stage.alice.create(task(name))
    stage.alice.create(runs)


def _clear(stage: Stage, name: str) -> None:
    gone = thing("v1", "Pod", TENANT, name)
    for each in (task(name), gone):
        with contextlib.suppress(Refused):  # it may be gone
            stage.alice.delete(each, gracePeriodSeconds="0")
        until(partial(_is_gone, stage, each), PATIENCE)


def _is_gone(stage: Stage, each: Object) -> bool:
    return not stage.api.exists(each)


def _said(stage: Stage, name: str, what: str, since: float) -> float:
    """Return when the agent saw that its file came or went, after a moment."""

    def seen() -> float:
        lines = stage.api.text(f"{path_of('Pod', TENANT)}/{name}/log").splitlines()
        word, at = lines[-1].split() if lines else ("", "0")
        return float(at) if word == what and float(at) > since else 0.0

    return until(seen, PATIENCE, said=lambda: stage.told(name))


def _suspend(stage: Stage, name: str) -> None:
    stage.change(name, {"operatingMode": "Suspended"})


def _resume(stage: Stage, name: str) -> None:
    stage.change(name, {"operatingMode": "Running"})


def _switch(name: str) -> Object:
    spec = {"target": "Task", "namespace": TENANT, "of": name, "reason": "bench"}
    return thing(GROUP, "KillSwitch", "", name, spec=spec)


def _throw(stage: Stage, name: str) -> None:
    stage.api.create(_switch(name))


def _lift(stage: Stage, name: str) -> None:
    stage.api.delete(_switch(name))


def _delete(stage: Stage, name: str) -> None:
    stage.alice.delete(task(name))


def _make_anew(stage: Stage, name: str) -> None:
    _clear(stage, name)
    _begin(stage, name)


KINDS: dict[str, tuple[End, End]] = {
    "suspended": (_suspend, _resume),
    "kill-switch": (_throw, _lift),
    "task-deleted": (_delete, _make_anew),
}
"""What ends it, and what has it come again."""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
