"""The cluster of the demo, taskpass on it, and the few ways in which the story asks it."""

import base64
import hashlib
import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import urllib3

from e2e.cluster import Cluster, ensure, places, tools
from e2e.cluster.interface import kubectl
from e2e.demo.telling import DidNotComeOut
from e2e.impersonate import Api, thing

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
SYSTEM, TENANT, TARGET, GRANTS = "taskpass-system", "support", "tickets", "taskpass-grants"
REPORTER = "taskpass.dev/operator"
PATIENCE = 60.0


class Stage:
    """What the story plays on. `set_up` first."""

    def __init__(self, name: str | None) -> None:
        self.name = name or places.default_name()
        self.is_default = self.name == places.default_name()
        self._loaded = ""
        self.cluster: Cluster
        self.api: Api

    def start_cluster(self) -> str:
        """Start the cluster, or find it running; return Kubernetes' version."""
        self.cluster = ensure(self.name)
        if not self.cluster.was_made_here():
            raise DidNotComeOut(
                f"{self.name} was not made for demos and tests, which change what they like; "
                "unset CLUSTER"
            )
        self.api = Api.from_kubeconfig(str(self.cluster.kubeconfig))
        version: str = self.api.call("GET", "/version")["gitVersion"]
        return version

    def install(self, *options: str) -> None:
        """Bring the image to the node and install or upgrade the chart; return once it is ready.

        `options` are helm's, beside `examples/values.yaml`.
        """
        code = digest_of_code()
        if self._installed_code() != code:
            self._load(code)
        self.kubectl("apply", "-f", str(EXAMPLES / "01-first-task" / "00-namespaces.yaml"))
        done = self.helm(
            *("upgrade", "--install", "taskpass", "charts/taskpass", "--namespace", SYSTEM),
            *("--create-namespace", "--values", "examples/values.yaml", *options),
            # The image has the same name whatever is in it; this replaces a pod of other code.
            *("--set", f"podAnnotations.demo/code={code}", "--wait", "--timeout", "120s"),
        )
        if done.returncode:
            log = self.kubectl("-n", SYSTEM, "logs", "deploy/taskpass", "--tail=5", check=False)
            said = done.stderr.strip().splitlines()[-1]
            raise DidNotComeOut(f"helm: {said}\nThe operator's log ends:\n{log}")

    def clear(self) -> None:
        """Remove what an earlier run of the demo left; its tasks' credentials go with them."""
        left = ["agenttask,pod,job", "--all", "--wait", "--ignore-not-found"]
        self.kubectl("-n", TENANT, "delete", *left)

    def begin_anew(self) -> None:
        """Uninstall the chart, if it is there, with all tasks; leave the image on the node."""
        self._load(digest_of_code())
        if self._installed_code():
            self.clear()
            done = self.helm("uninstall", "taskpass", "-n", SYSTEM, "--wait")
            claim(done.returncode == 0, f"helm uninstall: {done.stderr}")

    def helm(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run helm in the root of the tree."""
        command = [str(tools.helm()), *arguments, "--kubeconfig", str(self.cluster.kubeconfig)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    def shell(self, line: str, folder: Path = ROOT) -> str:
        """Run a line of our pages as somebody would who has just read it; it must succeed."""
        programs = [ROOT / ".venv/bin", tools.helm().parent, kubectl().parent]
        path = ":".join([*map(str, programs), os.environ["PATH"]])
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", line],
            cwd=folder,
            env={**os.environ, "PATH": path, "KUBECONFIG": str(self.cluster.kubeconfig)},
            capture_output=True,
            text=True,
            check=False,
        )
        claim(done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    def remove(self) -> None:
        """Take taskpass away, and all that the examples made."""
        self.helm("uninstall", "taskpass", "-n", SYSTEM, "--ignore-not-found", "--wait")
        gone = ["--ignore-not-found", "--wait", "--timeout=90s"]
        self.kubectl("delete", "crd", "--selector", "app.kubernetes.io/name=taskpass", *gone)
        self.kubectl("delete", "namespace", TENANT, TARGET, SYSTEM, GRANTS, *gone)
        self.kubectl("delete", "clusterrolebinding", "use-tickets", *gone)
        roles = ("tickets-reader", "tickets-writer", "use-tickets")
        self.kubectl("delete", "clusterrole", *roles, *gone)

    def kubectl(self, *arguments: str, check: bool = True) -> str:
        """Return what kubectl prints."""
        return self.cluster.kubectl(*arguments, check=check)

    def lines(self, *arguments: str) -> list[str]:
        """Return the lines that kubectl prints."""
        return self.kubectl(*arguments).splitlines()

    def apply(self, path: Path) -> None:
        """Apply a file or a folder of files."""
        self.kubectl("apply", "-f", str(path))

    @contextmanager
    def applying(self, path: Path) -> Iterator[None]:
        """Apply a folder while the block runs, so that it can watch."""
        with ThreadPoolExecutor(1) as pool:
            done = pool.submit(self.apply, path)
            yield
            done.result()

    def pods_of(self, task: str) -> list[dict[str, Any]]:
        """Return the pods that carry the task's label."""
        path = f"/api/v1/namespaces/{TENANT}/pods"
        found = self.api.call("GET", path, labelSelector=f"taskpass.dev/task={task}")
        items: list[dict[str, Any]] = found["items"]
        return items

    def taskpass(self, *arguments: str) -> list[str]:
        """Run the command in the operator's pod; return the lines that it prints."""
        return self.lines("-n", SYSTEM, "exec", "deploy/taskpass", "--", "taskpass", *arguments)

    def conditions(self, task: str) -> dict[str, dict[str, Any]]:
        """Return the conditions of a task by type."""
        if not self.exists("AgentTask", TENANT, task):
            return {}
        seen = self.api.get("AgentTask", TENANT, task).get("status", {}).get("conditions", [])
        return {each["type"]: each for each in seen}

    def credentials(self, task: str) -> dict[str, str]:
        """Return what is in the Secret of a task; empty where there is none."""
        whole = thing("v1", "Secret", TENANT, f"taskpass-{task}")
        if not self.api.exists(whole):
            return {}
        data = self.api.get("Secret", TENANT, f"taskpass-{task}").get("data", {})
        return {key: base64.b64decode(value).decode() for key, value in data.items()}

    def credentials_or_why(self, task: str) -> dict[str, str]:
        """Return what is in the Secret of a task, once it is there.

        Raises:
            DidNotComeOut: A person must act first; says what.

        """
        stalled = self.conditions(task).get("Stalled", {})
        if stalled.get("status") == "True":
            raise DidNotComeOut(f"AgentTask {task} is stalled: {stalled['message']}")
        return self.credentials(task)

    def exists(self, kind: str, namespace: str, name: str) -> bool:
        """Tell whether an object is there."""
        return self.api.exists(thing("v1", kind, namespace, name))

    def answer_to(self, token: str, path: str) -> tuple[int, str]:
        """Return the API server's status for whoever holds the token, and its message."""
        ca = json.loads(self.kubectl("config", "view", "--raw", "--output", "json"))
        data = ca["clusters"][0]["cluster"]["certificate-authority-data"]
        # Without the administrator's certificate, which would speak louder than the token.
        with urllib3.PoolManager(ca_cert_data=base64.b64decode(data).decode()) as pool:
            answer = pool.request(
                "GET", self.api.server + path, headers={"Authorization": f"Bearer {token}"}
            )
        return answer.status, json.loads(answer.data).get("message", "")

    def log_of(self, job: str) -> list[str]:
        """Return what the agent of a Job has printed so far."""
        return self.kubectl("-n", TENANT, "logs", f"job/{job}", check=False).splitlines()

    def wait(self, what: str, seen: Callable[[], Any], seconds: float = PATIENCE) -> Any:
        """Return the first true answer; where none comes, say what was seen last."""
        deadline = time.monotonic() + seconds
        while not (answer := seen()):
            if time.monotonic() > deadline:
                tasks = self.kubectl("-n", TENANT, "get", "agenttasks,pods", check=False)
                raise DidNotComeOut(f"{what}: not within {seconds:.0f} s. Seen:\n{tasks}")
            time.sleep(0.01)
        return answer

    def _load(self, code: str) -> None:
        if self._loaded != code:
            self.cluster.load_operator()
            self._loaded = code

    def _installed_code(self) -> str:
        path = "jsonpath={.spec.template.metadata.annotations.demo/code}"
        command = ("-n", SYSTEM, "get", "deployment", "taskpass", "--ignore-not-found")
        return self.kubectl(*command, "--output", path, check=False)


def digest_of_code() -> str:
    """Return what tells the operator's code of one moment from that of another."""
    whole = hashlib.sha256((ROOT / "requirements/run.lock").read_bytes())
    for path in sorted((ROOT / "operator").rglob("*.py")):
        whole.update(path.read_bytes())
    return whole.hexdigest()[:16]


def claim(holds: object, otherwise: str) -> None:
    """End the demo where something is not as it should be."""
    if not holds:
        raise DidNotComeOut(otherwise)


@contextmanager
def taking() -> Iterator[Callable[[], str]]:
    """Give a function that says how long it has been since the block began."""
    began = time.monotonic()
    yield lambda: f"{time.monotonic() - began:.2f} s"


def events(described: list[str]) -> list[str]:
    """Return the Events that `kubectl describe` prints, as reason and message.

    Those of one second have no order there; here they have that of the log's entries they name.
    """
    start = next((i for i, line in enumerate(described) if line.startswith("Events:")), None)
    rows = [re.split(r"\s{2,}", line.strip(), maxsplit=4) for line in described[(start or 0) + 3 :]]
    ours = [(row[1], row[4]) for row in rows if len(row) == 5 and row[3] == REPORTER]
    return [f"{reason:<19}{text}" for reason, text in sorted(ours, key=_audit_index)]


def _audit_index(event: tuple[str, str]) -> int:
    found = re.search(r"\(audit (\d+)\)", event[1])
    return int(found[1]) if found else -1
