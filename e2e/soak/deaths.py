"""Kill the operator and fail its API server, at random."""

import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from e2e.cases.faults.proxy import Proxy, Rule
from e2e.cases.operator.test_crashes import BEGINNING, END
from e2e.operator_process import OperatorProcess

POINTS = (*BEGINNING, *END)
OF_DATABASES = ("postgresql.before-change", "postgresql.after-change")
LONGEST_LIFE = 5.0
PATIENCE = 10.0
"""Seconds within which a fail-point should be met under load."""
LOST = (
    Rule("POST", "/rolebindings$", lose=True), Rule("POST", "/serviceaccounts$", lose=True),
    Rule("POST", "/token$", lose=True), Rule("POST", "/token$", status=500),
    Rule("POST", "/token$", status=429), Rule("DELETE", "/rolebindings/", lose=True),
    Rule("DELETE", "/serviceaccounts/", status=500), Rule("POST", "/secrets$", lose=True),
    Rule("DELETE", "/secrets/", lose=True), Rule("PATCH", "/agenttasks/", lose=True),
)  # fmt: skip


class Deaths:
    """One life of the operator after the other."""

    def __init__(
        self, operator: OperatorProcess, proxy: Proxy, seed: int, away: float,
        points: Sequence[str] = POINTS,
    ) -> None:  # fmt: skip
        """`away` is how many seconds the API server is away at most."""
        self._points = points
        self.kills: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.ended_by_itself: list[str] = []
        """What it said last when it ended and nobody had killed it: a fault of its own."""
        self._operator = operator
        self._proxy = proxy
        self._random = random.Random(seed)
        self._away = away
        self._folder = Path(tempfile.mkdtemp(prefix="taskpass-soak-"))
        self._point = ""

    def begin(self) -> None:
        """Start the operator; half of its lives end at a fail-point."""
        self._point = self._random.choice(self._points) if self._random.random() < 0.5 else ""
        if not self._point:
            self._operator.start(ready=False)
            return
        once = self._folder / f"{self.kills.total()}-{self._point}"
        self._operator.start(ready=False, FAILPOINT=self._point, FAILPOINT_ONCE=str(once))

    def live(self) -> None:
        """Let it live for a while among faults, and kill it unless it died at its fail-point."""
        if self._random.random() < 0.8:  # else it dies while it starts
            self._grow_up()
        longest = PATIENCE if self._point else self._random.uniform(0.2, LONGEST_LIFE)
        deadline = time.monotonic() + longest
        if self._random.random() < 0.5:
            self._fail()
        while time.monotonic() < deadline and not self._operator.ended():
            time.sleep(0.05)
        if self._operator.ended():
            code = self._operator.wait_end()
            if self._point and code == -signal.SIGKILL:
                self.kills[self._point] += 1
            else:
                self.ended_by_itself.append(f"{code}: {self._operator.tail(400)}")
        else:
            self._operator.kill()
            self.kills["any moment"] += 1
        self._proxy.heal()

    def _grow_up(self) -> None:
        deadline = time.monotonic() + 3 * PATIENCE
        while time.monotonic() < deadline and not self._operator.ended():
            if self._operator.http("/readyz")[0] == 200:
                return
            time.sleep(0.05)

    def close(self) -> None:
        """Leave nothing."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _fail(self) -> None:
        faults: dict[str, Callable[[], None]] = {
            "API server away": self._be_away,
            "connections cut": self._proxy.cut,
            "watches stalled": self._proxy.stall,
            "slow answers": lambda: setattr(self._proxy, "delay", 0.2),
            "too old": lambda: setattr(self._proxy, "expired", True),
            "wrong or lost answers": self._lose,
        }
        name = self._random.choice(list(faults))
        self.faults[name] += 1
        faults[name]()

    def _be_away(self) -> None:
        self._proxy.go_away()
        time.sleep(self._random.uniform(0.5, self._away))
        self._proxy.heal()

    def _lose(self) -> None:
        for rule in self._random.sample(LOST, 3):
            self._proxy.rules.append(
                Rule(rule.method, rule.path, status=rule.status, lose=rule.lose)
            )
