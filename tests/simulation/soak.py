"""Kill an operator again and again: `python -m tests.simulation.soak ROUNDS SEED [DIRECTORY]`.

Each round something happens in a simulated world, and a forked worker reconciles it on the real
ledger until it is killed (SIGKILL) at one boundary: before or after the effect of a call, at a
fail-point, or at any moment. The world lives in this process, so it survives; the worker reaches it
by a pipe and remembers nothing. After each kill nothing may exist that the ledger does not answer
for; now and then everything is let come to rest, and compared. Prints one line of JSON.
"""

import asyncio
import contextlib
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from taskpass.core.model.key import Key
from taskpass.ledger.log import schema
from taskpass.ledger.state import tables as state
from taskpass.ledger.verify.log import verify_database
from tests.simulation.builders import NAMESPACE, phase, pod, policy, request, task
from tests.simulation.invariants import assert_at_rest, assert_nothing_left
from tests.simulation.soak_worker import POINTS, Kill, Worker
from tests.simulation.world import SimulatedWorld

NAMES = ("alpha", "beta", "gamma")
REST = 5
VERIFY = 25
CALLS = (
    "provider.issue", "provider.revoke", "sink.deliver", "sink.withdraw", "pods.lift_gate",
    "tasks.patch_status", "tasks.release",
)  # fmt: skip


class Soak:
    """One world and what happens in it."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.random = random.Random(seed)
        self.world = SimulatedWorld(directory / "ledger.db")
        self.world.close()
        self.kills: Counter[str] = Counter()
        self.unmet = 0

    def run(self, kills: int) -> None:
        """Go on until so many workers were killed; then end everything."""
        rounds = 0
        while self.kills.total() < kills:
            rounds += 1
            self.world.clock.advance(1)
            for _ in range(self.random.randint(3, 6)):
                self.random.choice(self._happenings())()
            self._one_life()
            self._assert_answered_for()
            if rounds % VERIFY == 0:
                verify_database(self.world.path)
            if rounds % REST == 0:
                self._rest()
        for name in NAMES:
            self.world.cluster.delete_task((NAMESPACE, name))
        self._rest()
        with self._whole() as world:
            assert_nothing_left(world)

    def _one_life(self) -> None:
        """Run one worker; count how it was killed, or that it came to rest before."""
        kind = self.random.choice(("call", "call", "point", "point", "moment"))
        after, effect = self.random.choice([1, 1, 2]), self.random.random() < 0.5
        name = {"call": self.random.choice(CALLS), "point": self.random.choice(POINTS)}.get(kind)
        kill = Kill(kind=kind, name=name or "", after=after, effect=effect)
        worker = Worker(self.world, kill)
        if worker.run(self.random.random() * 0.05):
            self.kills[kill.label] += 1
        else:
            self.unmet += 1

    def _assert_answered_for(self) -> None:
        db = schema.connect_reader(f"file:{self.world.path}?mode=ro")
        try:
            held = {id_ for id_, _ in state.held_grants(db)}
        finally:
            db.close()
        assert set(self.world.provider.live) <= held, "a credential works that no grant answers for"

    def _rest(self) -> None:
        self.world.cluster.policy_list = [policy()]
        with self._whole() as world:
            asyncio.run(world.settle())
            assert_at_rest(world, cut_off=True)
            assert world.swept == 0, "what a crash left was in no ledger"
        for name in NAMES:  # what was cut off runs out, or goes with its task
            found = self.world.cluster.tasks.get((NAMESPACE, name))
            if found is None or self._is_over(found.status):
                self.world.cluster.delete_task((NAMESPACE, name))
                for each in self.world.cluster.pods((NAMESPACE, name)):
                    self.world.cluster.remove_pod(each.uid)

    def _is_over(self, status: Mapping[str, Any]) -> bool:
        """Whether nothing can happen any more, or too much has: half of the living are enough."""
        said = status.get("conditions", ())  # none, where it has waited for a pod for a moment only
        finished = any(c["type"] == "Finished" and c["status"] == "True" for c in said)
        return finished or self.random.random() < 0.5

    @contextlib.contextmanager
    def _whole(self) -> Iterator[SimulatedWorld]:
        """Lend the world with an operator of its own in this process, which nothing kills."""
        self.world.restart()
        try:
            yield self.world
        finally:
            self.world.close()

    # What happens.

    def _happenings(self) -> list[Callable[[], None]]:
        return [
            *[self._task_comes] * 6, *[self._pod_comes] * 6, *[self._pod_ends] * 3,
            *[self._phase_moves] * 3, self._task_goes, self._policy_changes, self._time_passes,
        ]  # fmt: skip

    def _key(self) -> Key:
        return (NAMESPACE, self.random.choice(NAMES))

    def _task_comes(self) -> None:
        key = self._key()
        if key not in self.world.cluster.tasks:
            phases = [phase("one", next=["two"]), phase("two", next=["one"])]
            asked = [request("tickets"), request("kb")][: self.random.randint(1, 2)]
            made = task(*asked, name=key[1], phases=phases, phase="one")
            self.world.cluster.create_task(made)
            self._pod_comes(key)

    def _pod_comes(self, key: Key | None = None) -> None:
        key = key or self._key()
        if len(self.world.cluster.pods(key)) > 2:
            return
        name = f"{key[1]}-{self.world.cluster.changed()}"
        self.world.cluster.create_pod(pod(name, task=key[1]))

    def _pod_ends(self) -> None:
        if self.world.cluster.known_pods:
            uid = self.random.choice([*self.world.cluster.known_pods])
            self.world.cluster.change_pod(uid, ended=self.random.choice(["Succeeded", "Failed"]))

    def _phase_moves(self) -> None:
        key = self._key()
        if found := self.world.cluster.tasks.get(key):
            self.world.cluster.change_task(key, phase="two" if found.phase == "one" else "one")

    def _task_goes(self) -> None:
        self.world.cluster.delete_task(self._key())

    def _policy_changes(self) -> None:
        self.world.cluster.policy_list = self.random.choice([[], [policy()], [policy("other")]])

    def _time_passes(self) -> None:
        self.world.clock.advance(self.random.choice([1, 60, 1000]))


def main(kills: int, seed: int, directory: Path) -> dict[str, object]:
    """Run it; return what is printed."""
    began = time.monotonic()
    soak = Soak(directory, seed)
    soak.run(kills)
    report = verify_database(soak.world.path)
    issued = sum(call == "issue" for call, _ in soak.world.provider.calls)
    return {
        "soak": "simulated",
        "kills": soak.kills.total(),
        "by_place": dict(sorted(soak.kills.items())),
        "came_to_rest_before": soak.unmet,
        "issued": issued,
        "log_entries": report.size,
        "left": len(soak.world.provider.live),
        "seconds": round(time.monotonic() - began, 1),
    }


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as made:
        print(json.dumps(main(int(sys.argv[1]), int(sys.argv[2]), Path(made))))
