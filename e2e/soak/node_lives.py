"""Random lives of tasks whose agents run for real, on the cluster's node."""

import random
import time
from functools import partial
from typing import Any

from e2e.admission import TENANT, pod, task
from e2e.impersonate import Object, path_of, thing
from e2e.soak.lives import ASKED, PARENT, Lives
from e2e.spare_node import GIVEN_UP
from e2e.stage import request

JOB, EVICTED = "retried by its Job", "pod evicted"
LONGEST = 12.0
"""Seconds, before something happens to it, and the longest that an agent runs which ends itself."""


class NodeLives(Lives):
    """The ends that only a node can bring about are brought about by it."""

    ENDS = (
        "pod succeeds", "pod fails", JOB, "task deleted", "pod deleted", "pod deleted by force",
        EVICTED, "phase moves", "leaves path", "suspended", "child", "approved",
    )  # fmt: skip

    def _life(self, name: str, end: str, chance: random.Random) -> None:
        made = task(name, **_spec(name, end))
        runs = job(name) if end == JOB else agent(name, _command(end, chance))
        self._sure(partial(self._alice.create, made))
        self._sure(partial(self._alice.create, runs))
        self._watch(name, chance.uniform(0, LONGEST))
        if end.startswith("pod deleted"):
            grace = {"gracePeriodSeconds": "0"} if end.endswith("force") else {}
            self._sure(partial(self._alice.delete, runs, **grace))
        elif end == EVICTED:
            eviction = thing("policy/v1", "Eviction", TENANT, name)
            path = f"{path_of('Pod', TENANT)}/{name}/eviction"
            self._sure(partial(self._alice.call, "POST", path, eviction))
        else:
            self._change(name, end, chance)
        self._watch(name, chance.uniform(0, LONGEST / 2))
        self._take_away(made, runs)

    def _watch(self, name: str, seconds: float) -> None:
        """Let time pass, and see every token that comes."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._see_token(name)
            time.sleep(0.5)
        self._see_token(name)


def agent(name: str, command: str, **labels: str) -> Object:
    """Return a pod whose agent does what a line of shell says; it is given up with its node."""
    spec = {
        "containers": [_container(command)],
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 1,
        "tolerations": GIVEN_UP,
    }
    return pod(name, spec=spec, labels=labels)


def job(name: str) -> Object:
    """Return a Job whose pods fail every other second, and are tried again."""
    whole = agent(name, "sleep 2; exit $(( $(date +%s) % 2 ))")
    template = {"metadata": {"labels": whole["metadata"]["labels"]}, "spec": whole["spec"]}
    return thing("batch/v1", "Job", TENANT, name, spec={"template": template, "backoffLimit": 9})


def _container(command: str) -> Object:
    image = {"image": "localhost/taskpass:dev", "imagePullPolicy": "Never"}
    return {"name": "agent", **image, "command": ["sh", "-c", command]}


def _command(end: str, chance: random.Random) -> str:
    seconds = chance.uniform(1, LONGEST)
    ends = {"pod succeeds": f"sleep {seconds:.1f}", "pod fails": f"sleep {seconds:.1f}; exit 1"}
    return ends.get(end, "exec sleep 600")


def _spec(name: str, end: str) -> dict[str, Any]:
    phases = [{"name": "one", "next": ["two"]}, {"name": "two"}, {"name": "three"}]
    if end == "child":
        return {"parentRef": {"name": PARENT}}
    if end == "approved":
        return {"credentials": [request("tickets", ASKED)]}
    if end == JOB:
        workload = {"apiGroup": "batch", "kind": "Job", "name": name}
        return {"agent": {"serviceAccountName": "triage-agent", "workloadRef": workload}}
    return {"phases": phases, "phase": "one"}
