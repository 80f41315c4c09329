"""The operator as a process beside the cluster, with the token of its own ServiceAccount.

It has exactly the rights that the chart gives it, and can be killed at will: what tests of crashes
need, and a control plane without a node is enough.
"""

import base64
import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import yaml
from prometheus_client.parser import text_string_to_metric_families

from e2e.admission import GROUP, ROLE, SYSTEM, TARGET, TENANT
from e2e.cluster import Cluster
from e2e.impersonate import Api, Refused, path_of, thing
from taskpass.core.errors import TaskpassError
from taskpass.ledger.log.reader import reading
from taskpass.tlog.checkpoint import parse_body, parse_note

NAME = "taskpass"
USER = f"system:serviceaccount:{SYSTEM}:{NAME}"
PATIENCE = 60.0
"""Seconds, more than a Lease lasts that an operator of another ledger held when it was killed."""
TOKEN_SECONDS = 7200
PORTS = (15_000, 30_000)
ANCHOR = thing(GROUP, "AuditAnchor", "", NAME)


@dataclass
class OperatorProcess:
    """One operator; `start` again after `kill` goes on with the same ledger."""

    kubeconfig: str
    """The administrator's; it is used to ask for the operator's own token."""
    directory: Path
    """Its ledger, log and kubeconfig lie here."""
    tenants: tuple[str, ...] = (TENANT,)
    targets: dict[str, Any] = field(default_factory=lambda: {TARGET: {"clusterRoles": [ROLE]}})
    environment: dict[str, str] = field(default_factory=dict)
    """What every start gets beside the usual settings."""
    server: str = ""
    """What it takes for the API server's address, where that is something in between."""
    port: int = 0
    _process: subprocess.Popen[bytes] | None = None
    _log: IO[bytes] | None = None

    @property
    def ledger(self) -> Path:
        """The ledger's file."""
        return self.directory / "ledger.db"

    @property
    def log(self) -> Path:
        """What every start so far has printed."""
        return self.directory / "operator.log"

    def start(self, *, ready: bool = True, **environment: str) -> None:
        """Start it; return once it is ready, unless `ready` is false."""
        self.directory.mkdir(parents=True, exist_ok=True)
        config = self.write_kubeconfig()
        self.port = free_port()
        self._log = self.log.open("ab")
        settings = {
            "TASKPASS_NAMESPACE": SYSTEM,
            "TASKPASS_TENANTS": json.dumps(self.tenants),
            "TASKPASS_TARGETS": json.dumps(self.targets),
            "TASKPASS_LEDGER_PATH": str(self.ledger),
            "TASKPASS_CLUSTER_SERVER": Api.from_kubeconfig(self.kubeconfig).server,
            "TASKPASS_HTTP_PORT": str(self.port),
            "TASKPASS_SWEEP_SECONDS": "2",
            "TASKPASS_RENEWAL_OVERLAP_SECONDS": "2",
        }
        settings |= {**self.environment, **environment}
        self._let_anchor_be_of(Path(settings["TASKPASS_LEDGER_PATH"]))
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("TASKPASS_")}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "taskpass", "operator", "--kubeconfig", str(config)],
            env={**inherited, **settings},
            stdout=self._log,
            stderr=self._log,
        )
        if ready:
            try:
                self.wait_ready()
            except BaseException:
                self.kill()
                raise

    def forget_log(self) -> None:
        """Do what a person does who means to begin with another log: make the AuditAnchor anew."""
        api = Api.from_kubeconfig(self.kubeconfig)
        if api.exists(ANCHOR):
            api.delete(ANCHOR)
        api.create(ANCHOR)

    def _let_anchor_be_of(self, ledger: Path) -> None:
        """Forget what is remembered where it is of another ledger: many use one cluster in turn."""
        try:
            remembered = Api.from_kubeconfig(self.kubeconfig).get("AuditAnchor", "", NAME)
        except Refused:
            return  # a case without our kinds, or without the anchor
        origin = remembered.get("status", {}).get("origin")
        if origin is not None and origin != _origin_of(ledger):
            self.forget_log()

    def wait_ready(self) -> None:
        """Return once `/readyz` says so."""
        deadline = time.monotonic() + PATIENCE
        said = ""
        while time.monotonic() < deadline and not self.ended():
            status, said = self.http("/readyz")
            if status == 200:
                return
            time.sleep(0.02)
        raise AssertionError(f"the operator is not ready: {said}\n{self.tail()}")

    def tail(self, characters: int = 3000) -> str:
        """Return what it printed last."""
        return self.log.read_text(errors="replace")[-characters:]

    def http(self, path: str) -> tuple[int, str]:
        """Return status and text of one of its addresses; status 0 where it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def metric(self, name: str) -> float:
        """Return a metric's value, summed over its labels; 0.0 where there is none."""
        return sum(value for _, value in self._samples(name))

    def api_calls(self) -> Counter[str]:
        """Return how many calls to the API server it has made since its start, by verb and kind."""
        counted: Counter[str] = Counter()
        for labels, value in self._samples("taskpass_api_calls_total"):
            counted[f"{labels['verb']} {labels['resource']}"] += round(value)
        return counted

    def _samples(self, name: str) -> list[tuple[dict[str, str], float]]:
        status, text = self.http("/metrics")
        assert status == 200, text
        families = text_string_to_metric_families(text)
        return [(s.labels, s.value) for f in families for s in f.samples if s.name == name]

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    def ended(self) -> bool:
        """Whether it has ended by itself or by a fail-point."""
        return self._process is None or self._process.poll() is not None

    def wait_end(self, seconds: float = PATIENCE) -> int:
        """Return its exit code once it has ended by itself; where it does not, end it and fail."""
        assert self._process is not None
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        self._forget()
        return code

    def kill(self) -> None:
        """End it without warning (SIGKILL)."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """End it gracefully (SIGTERM); return its exit code."""
        return self._end(signal.SIGTERM)

    def _end(self, with_signal: signal.Signals) -> int:
        if self._process is None:
            return 0
        if self._process.poll() is None:
            self._process.send_signal(with_signal)
        code = self._process.wait(60)
        self._forget()
        return code

    def _forget(self) -> None:
        if self._log is not None:
            self._log.close()
        self._process = self._log = None

    def write_kubeconfig(self) -> Path:
        """Write a kubeconfig that speaks as the operator's ServiceAccount; return its path."""
        admin = Api.from_kubeconfig(self.kubeconfig)
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": TOKEN_SECONDS},
        }
        path = f"/api/v1/namespaces/{SYSTEM}/serviceaccounts/{NAME}/token"
        token = admin.call("POST", path, request)["status"]["token"]
        whole = yaml.safe_load(Path(self.kubeconfig).read_text())
        cluster = whole["clusters"][0]["name"]
        if self.server:
            whole["clusters"][0]["cluster"]["server"] = self.server
        whole["users"] = [{"name": NAME, "user": {"token": token}}]
        whole["contexts"] = [{"name": NAME, "context": {"cluster": cluster, "user": NAME}}]
        whole["current-context"] = NAME
        path_of_config = self.directory / "kubeconfig"
        path_of_config.touch(mode=0o600)
        path_of_config.write_text(json.dumps(whole))
        return path_of_config


def stand_down(cluster: Cluster, api: Api) -> None:
    """Leave no operator in a pod: it will be a process beside the cluster, which can be killed."""
    cluster.kubectl("-n", SYSTEM, "scale", "deployment", NAME, "--replicas", "0")
    deadline = time.monotonic() + 2 * PATIENCE
    while api.call("GET", path_of("Pod", SYSTEM))["items"]:
        assert time.monotonic() < deadline, "the operator's pod does not go"
        time.sleep(0.1)


def free_port() -> int:
    """Return a TCP port that is free now.

    It is none of those that the system gives to whoever connects to somewhere: another one's
    connection could have it before the operator listens.
    """
    while True:
        port = random.randrange(*PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("0.0.0.0", port))
            return port


def decoded(secret: dict[str, Any]) -> dict[str, str]:
    """Return a Secret's data as text."""
    return {k: base64.b64decode(v).decode() for k, v in secret.get("data", {}).items()}


def _origin_of(ledger: Path) -> str:
    """Return the name of a ledger's log; '' where there is none that could be read."""
    try:
        with reading(ledger) as log:
            return parse_body(parse_note(log.note)[0]).origin
    except TaskpassError:
        return ""
