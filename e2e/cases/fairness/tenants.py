"""One tenant that floods, and how long another one's revocation takes meanwhile."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from e2e.admission import GROUP, pod, task
from e2e.impersonate import Api, Object, Refused, path_of, thing
from e2e.stage import Stage, policy, until

FLOOD = "flood"


class Tenants:
    """alice of `support`, who works, and mallory of `flood`, who may do what an administrator of
    a namespace may."""

    def __init__(self, stage: Stage, name: str) -> None:
        self.stage = stage
        self.name = name
        self.mallory: Api = stage.api.as_user("mallory", "team-m")

    def crowd(self, count: int, **spec: object) -> list[str]:
        """Have tasks of mallory's with their pods; return their names."""
        names = [f"{self.name}-m{number}" for number in range(count)]
        for name in names:
            self.mallory.create(in_flood(task(name, **spec)))
            self.mallory.create(in_flood(pod(name)))
        return names

    def allow(self, name: str, *expressions: str) -> Object:
        """Return a policy of mallory's; what it demands is changed with each `version`."""
        demands = [{"expression": each, "message": "m"} for each in expressions]
        spec = {"validations": demands} if demands else {}
        return policy(name, "tickets", namespace=FLOOD, **spec)

    def told(self, name: str, kind: str = "Ready") -> Object:
        """Return a condition of a policy of mallory's, once there is one."""

        def said() -> Object | None:
            live = self.mallory.get("AgentPolicy", FLOOD, name)
            current = live["metadata"]["generation"]
            found = live.get("status", {}).get("conditions", [])
            return next(
                (c for c in found if c["type"] == kind and c["observedGeneration"] == current), None
            )

        answer = until(said, 30)
        assert answer is not None
        return answer

    @contextmanager
    def flooding(self, do: Callable[[int], None]) -> Iterator[list[int]]:
        """Do something again and again meanwhile; yields how often it was done."""
        stop, done = threading.Event(), [0]

        def work() -> None:
            while not stop.is_set():
                with suppress(Refused):  # two writers of one object
                    do(done[0])
                done[0] += 1

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield done
        finally:
            stop.set()
            thread.join()

    def seconds_usually(self, count: int) -> list[float]:
        """Return how long tokens are good while mallory only writes what nobody decides on.

        It takes the machine and the API server into account, and nothing of the operator's.
        """
        body = thing("v1", "ConfigMap", FLOOD, "idle")

        def write(number: int) -> None:
            self.mallory.apply({**body, "data": {"number": str(number)}})

        with self.flooding(write):
            return self.seconds_until_refused(count, "b")

    def seconds_until_refused(self, count: int, letter: str = "a") -> list[float]:
        """End pods of alice's one after the other; return how long each one's token was good."""
        stage = self.stage
        names = [f"{self.name}-{letter}{number}" for number in range(count)]
        for name in names:
            stage.begin_ready(name)
        return [self._refused_after(name) for name in names]

    def _refused_after(self, name: str) -> float:
        token = self.stage.token(name)
        assert self.stage.reads(token) == 200
        began = time.monotonic()
        self.stage.end(name)
        until(lambda: self.stage.reads(token) != 200, 60, said=lambda: self.stage.operator.tail())
        return time.monotonic() - began

    def clear(self) -> None:
        """Leave nothing of this case."""
        for kind, version in (("AgentPolicy", GROUP), ("AgentTask", GROUP), ("Pod", "v1")):
            path = path_of(kind, FLOOD)
            for each in self.stage.api.call("GET", path)["items"]:
                with suppress(Refused):
                    self.stage.api.delete(
                        thing(version, kind, FLOOD, each["metadata"]["name"]),
                        gracePeriodSeconds="0",
                    )
        self.stage.clear(self.name)
        until(
            lambda: not self.stage.api.call("GET", path_of("AgentTask", FLOOD))["items"],
            120,
            said=lambda: self.stage.operator.tail(),
        )


def in_flood(made: Object) -> Object:
    """Return an object in mallory's namespace."""
    return {**made, "metadata": {**made["metadata"], "namespace": FLOOD}}
