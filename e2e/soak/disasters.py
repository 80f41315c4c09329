"""What happens to the cluster itself, one after the other, beside what happens to the operator."""

import random
import signal
import threading
import time
from collections import Counter

from e2e.cases.faults.proxy import Proxy, Rule
from e2e.cluster import Cluster
from e2e.impersonate import Api
from e2e.spare_node import spare_node

KUBELET_SECONDS = 40.0
"""Long enough for its node to be given up: a local cluster's is after 20 s of silence."""
SLOW_SECONDS = 15.0
SLOW_BY = 2.0
SLOW = (
    ("POST", "/serviceaccounts$"), ("POST", "/token$"), ("POST", "/rolebindings$"),
    ("DELETE", "/rolebindings/"), ("DELETE", "/serviceaccounts/"),
)  # fmt: skip
"""What the provider asks of the API server."""


class Disasters:
    """One plan, in random order, each after a pause; `over` once all of it happened."""

    def __init__(self, cluster: Cluster, api: Api, proxy: Proxy, seed: int) -> None:
        self.counts: Counter[str] = Counter()
        self.failures: list[str] = []
        """Why not all of it happened."""
        self._cluster = cluster
        self._api = api
        self._proxy = proxy
        self._random = random.Random(seed)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="disasters")

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    @property
    def over(self) -> bool:
        """Whether all of it happened."""
        return not self._thread.is_alive()

    def stop(self) -> None:
        """Begin no other."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            self._carry_out()
        except Exception as error:
            self.failures.append(f"a disaster failed: {type(error).__name__}: {error}")

    def _carry_out(self) -> None:
        plan = 2 * [self._kill_api_server, self._stop_kubelet, self._slow_provider]
        self._random.shuffle(plan)
        with spare_node(self._api):
            for each in plan:
                if self._ended.wait(self._random.uniform(5, 12)):
                    return
                each()

    def _kill_api_server(self) -> None:
        self._cluster.signal("kube-apiserver", signal.SIGKILL)
        self.counts["API server killed"] += 1

    def _stop_kubelet(self) -> None:
        with self._cluster.stopped("kubelet"):
            self.counts["kubelet stopped"] += 1
            self._ended.wait(KUBELET_SECONDS)

    def _slow_provider(self) -> None:
        """Slow it down again whenever what failed the operator has healed the proxy."""
        self.counts["provider slow"] += 1
        end = time.monotonic() + SLOW_SECONDS
        while time.monotonic() < end and not self._ended.is_set():
            if not any(rule.delay for rule in self._proxy.rules):
                self._proxy.rules += [
                    Rule(method, path, delay=SLOW_BY, times=1000) for method, path in SLOW
                ]
            self._ended.wait(0.5)
        self._proxy.rules[:] = [rule for rule in self._proxy.rules if not rule.delay]
