"""Tasks that come and go in random ways, a few each second, from threads of their own."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import urllib3

from e2e.admission import GROUP, TENANT, pod, task
from e2e.impersonate import Api, Object, Refused, thing
from e2e.stage import Stage, request

T = TypeVar("T")
PARENT = "standing-0"
"""Delegates to every child."""
ASKED = "asked"
"""The class whose credentials a lead approves."""
LONGEST_LIFE = 8.0
MOST = 64
"""Lives at once."""
TRIES = 120
"""Half a second apart: an API server that was killed is back by then."""


class Lives:
    """Begins lives until it is told to pause; each ends by itself, and takes its objects away."""

    ASKS: tuple[Sequence[Object], ...] = ([request()], [request(), request("more")])
    ENDS: tuple[str, ...] = (
        "pod succeeds", "pod fails", "task deleted", "pod deleted", "phase moves", "leaves path",
        "suspended", "child", "approved",
    )  # fmt: skip

    def __init__(self, stage: Stage, seed: int, rate: float, limit: int | None = None) -> None:
        """Begin `rate` of them a second, `limit` in all."""
        self.counts: Counter[str] = Counter()
        """By end: lives that ended as they should."""
        self.failures: Counter[str] = Counter()
        """By what went wrong: the others."""
        self.tokens: list[str] = []
        """Every token that was seen; all of them must be dead in the end."""
        self._stage = stage
        self._alice: Api = stage.alice
        self._lead = stage.api.as_user("lea", "support-leads")
        self._random = random.Random(seed)
        self._rate = rate
        self._limit = limit
        self._pool = ThreadPoolExecutor(MOST, thread_name_prefix="life")
        self.begun = 0
        self._going = threading.Event()
        self._ended = threading.Event()
        self._living: set[str] = set()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="lives")

    def start(self) -> None:
        """Begin."""
        self._going.set()
        self._thread.start()

    def pause(self, seconds: float) -> None:
        """Begin no more; return once all have ended, and are gone."""
        self._going.clear()
        deadline = time.monotonic() + seconds
        while self._living:
            assert time.monotonic() < deadline, f"these lives do not end: {sorted(self._living)}"
            time.sleep(0.1)

    def go_on(self) -> None:
        """Begin again."""
        self._going.set()

    def stop(self) -> None:
        """End for good."""
        self._ended.set()
        self._going.set()
        self._thread.join(30)
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _run(self) -> None:
        while not self._ended.is_set():
            self._going.wait()
            if self._ended.is_set():
                return
            full = len(self._living) >= MOST or self.begun == self._limit
            if self._going.is_set() and not full:
                self.begun += 1
                name = f"life-{self.begun}"
                with self._lock:
                    self._living.add(name)
                self._pool.submit(self._live, name, random.Random(self._random.random()))
            time.sleep(self._random.expovariate(self._rate))

    def _live(self, name: str, chance: random.Random) -> None:
        end = chance.choice(self.ENDS)
        try:
            self._life(name, end, chance)
            self.counts[end] += 1
        except Exception as error:
            self.failures[f"{type(error).__name__}: {error}"] += 1
        finally:
            with self._lock:
                self._living.discard(name)

    def _life(self, name: str, end: str, chance: random.Random) -> None:
        phases = [{"name": "one", "next": ["two"]}, {"name": "two"}, {"name": "three"}]
        asked = list(chance.choice(self.ASKS))
        spec: dict[str, Any] = {"credentials": asked, "phases": phases, "phase": "one"}
        if end == "child":
            spec = {"credentials": [request()], "parentRef": {"name": PARENT}}
        elif end == "approved":
            spec = {"credentials": [request("tickets", ASKED)]}
        made = task(name, **spec)
        self._sure(lambda: self._alice.create(made))
        self._sure(lambda: self._alice.create(pod(name)))
        time.sleep(chance.uniform(0, LONGEST_LIFE))
        self._see_token(name)
        if end.startswith("pod ") and end != "pod deleted":
            how = "Succeeded" if end == "pod succeeds" else "Failed"
            self._sure(lambda: self._stage.end(name, how))
        elif end == "pod deleted":
            self._sure(lambda: self._alice.delete(_pod(name), gracePeriodSeconds="0"))
        else:
            self._change(name, end, chance)
        time.sleep(chance.uniform(0, 2))
        self._take_away(task(name), _pod(name))

    def _change(self, name: str, end: str, chance: random.Random) -> None:
        """What a task may live through, and go on."""
        if end == "suspended":
            for mode in ("Suspended", "Running"):
                self._sure(partial(self._stage.change, name, {"operatingMode": mode}))
                time.sleep(chance.uniform(0, 2))
                self._see_token(name)
        elif end == "approved":
            self._approve(name)
            time.sleep(chance.uniform(0, 3))
            self._see_token(name)
        elif end in ("phase moves", "leaves path"):
            to = "two" if end == "phase moves" else "three"
            self._sure(lambda: self._stage.change(name, {"phase": to}))
            time.sleep(chance.uniform(0, 2))
            self._see_token(name)

    def _take_away(self, made: Object, *others: Object) -> None:
        """Delete a task and what else there is of it; return once the task is gone."""
        self._sure(lambda: self._alice.delete(made))
        for each in others:
            self._sure(partial(self._alice.delete, each, gracePeriodSeconds="0"))
        deadline = time.monotonic() + 150
        while self._sure(lambda: self._stage.api.exists(made)):
            assert time.monotonic() < deadline, "the task is not gone after 150 s"
            time.sleep(0.25)

    def _approve(self, name: str) -> None:
        live = self._sure(lambda: self._stage.task(name)) or {"metadata": {"uid": ""}}
        for each in live.get("status", {}).get("pendingApprovals", []):
            ref = {"name": name, "uid": live["metadata"]["uid"]}
            spec = {"taskRef": ref, "digest": each["digest"], "decision": "Approved"}
            made = thing(GROUP, "TaskApproval", TENANT, f"{name}-yes", spec=spec)
            self._sure(partial(self._lead.create, made))

    def _see_token(self, name: str) -> None:
        content = self._sure(lambda: self._stage.secret(name)) or {}
        self.tokens += [v for k, v in content.items() if k.endswith(".token")]

    def _sure(self, call: Callable[[], T]) -> T | None:
        """Call until it was carried out; None where what is there, or gone, already counts.

        So does a move that comes before the last one has settled (422).
        """
        for _ in range(TRIES):
            try:
                return call()
            except Refused as refused:
                if refused.status in (404, 409, 422):
                    return None
                # 403: an API server that has just begun does not know every right yet.
                if refused.status not in (403, 429, 500, 503, 504):
                    raise
            except urllib3.exceptions.HTTPError:
                pass
            time.sleep(0.5)
        raise AssertionError(f"the API server did not answer {TRIES} times")


def _pod(name: str) -> Object:
    return thing("v1", "Pod", TENANT, name)
