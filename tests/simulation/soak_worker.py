"""One forked operator: real flows on the real ledger, the world at the other end of a pipe."""

import asyncio
import copyreg
import os
import pickle
import signal
import socket
import struct
import threading
import time
import traceback
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from taskpass.cel.in_process import DirectEvaluator
from taskpass.core.errors import TransientError
from taskpass.core.model.grant import Issued, SecretValue
from taskpass.flows.cluster.orphans import Sweeper
from taskpass.flows.context import Ports
from taskpass.flows.task.reconcile import Reconciler
from taskpass.ledger.log.signing import SeedSigner
from taskpass.ledger.store.sqlite import SqliteLedger
from taskpass.ports.credentials import Delivery
from tests.simulation.adapters import SimulatedCalls, SimulatedProvider
from tests.simulation.cluster import Clock
from tests.simulation.faults import Life
from tests.simulation.world import SEED, SimulatedWorld

POINTS = (
    "ledger.before-commit", "ledger.after-commit", "issue.before-intent", "issue.after-intent",
    "issue.after-provider", "issue.after-result", "deliver.before-secret", "deliver.after-secret",
    "revoke.before-intent", "revoke.after-intent", "revoke.after-provider",
    "withdraw.after-delete", "lift.after-record",
)  # fmt: skip
LOCAL = ("prepare", "capabilities", "problem", "is_gone", "surplus")
"""What a provider answers at once, of what it is given: it calls nothing."""
PASSES = 6


def _view(items: dict[Any, Any]) -> MappingProxyType[Any, Any]:
    return MappingProxyType(items)


copyreg.pickle(MappingProxyType, lambda view: (_view, (dict(view),)))
WATCHDOG_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """Where a worker is killed."""

    kind: str
    """`call`: around the effect of a call; `point`: at a fail-point; `moment`: any."""
    name: str = ""
    after: int = 1
    """At the how-manieth."""
    effect: bool = False
    """Of a call: whether it took effect."""

    @property
    def label(self) -> str:
        """Return it for the report."""
        if self.kind == "call":
            return f"{'after' if self.effect else 'before'} {self.name}"
        return self.name or "any moment"


class Worker:
    """The parent's side: answers the worker's calls, and kills it where it should."""

    def __init__(self, world: SimulatedWorld, kill: Kill) -> None:
        self._world = world
        self._kill = kill
        self._left = kill.after
        life = Life([], [], None)
        self._ports: dict[str, Any] = {
            "calls": SimulatedCalls(world.cluster, life),
            "provider": SimulatedProvider(world.provider, life),
        }

    def run(self, moment: float) -> bool:
        """Return True once it was killed, False if it came to rest before."""
        ours, theirs = socket.socketpair()
        child = os.fork()
        if child == 0:
            ours.close()
            try:
                asyncio.run(_live(self._world, theirs, self._kill))
                os._exit(0)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
        theirs.close()
        timer = None
        if self._kill.kind == "moment":
            timer = threading.Timer(moment, os.kill, (child, signal.SIGKILL))
            timer.start()
        try:
            while (asked := _receive(ours)) is not None:
                self._answer(ours, child, *asked)
        finally:
            if timer is not None:
                timer.cancel()
                timer.join()  # nothing may run beside the next fork
            ours.close()
            _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            assert os.WTERMSIG(status) == signal.SIGKILL
            return True
        assert os.WEXITSTATUS(status) == 0, "a worker ended by a fault of its own"
        return False

    def _answer(
        self, wire: socket.socket, child: int, port: str, name: str, arguments: tuple[Any, ...],
        keywords: Mapping[str, Any],
    ) -> None:  # fmt: skip
        if port == "world":
            _send(wire, (None, pickle.dumps(self._world.cluster)))
            return
        due = self._is_due(port, name)
        if due and not self._kill.effect:
            os.kill(child, signal.SIGKILL)
            return
        if name == "deliver":
            arguments = (_revived(arguments[0]),)
        error: Exception | None = None
        answer: Any = None
        try:
            answer = _driven(getattr(self._ports[port], name)(*arguments, **keywords))
        except Exception as failure:
            error = failure
        if due:
            os.kill(child, signal.SIGKILL)
            return
        _send(wire, (error, _plain(answer)))

    def _is_due(self, port: str, name: str) -> bool:
        if self._kill.kind != "call":
            return False
        family = {"lift_gate": "pods", "patch_status": "tasks", "release": "tasks"}
        family |= {"deliver": "sink", "withdraw": "sink"}
        full = f"{port if port == 'provider' else family.get(name, port)}.{name}"
        if full != self._kill.name:
            return False
        self._left -= 1
        return self._left == 0


class Remote:
    """A port whose calls are carried out in the parent."""

    def __init__(self, wire: socket.socket, port: str, local: Any) -> None:
        self._wire = wire
        self._port = port
        self._local = local
        """For what is no call to anything: answered here."""

    def __getattr__(self, name: str) -> Any:
        if self._local is not None and name in LOCAL:
            return getattr(self._local, name)

        async def call(*arguments: Any, **keywords: Any) -> Any:
            if name == "deliver":
                arguments = (_told(arguments[0]),)
            answer = self.ask(name, arguments, keywords)
            return _secret(answer) if name == "issue" else answer

        return call

    def ask(self, name: str, arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> Any:
        _send(self._wire, (self._port, name, arguments, dict(keywords)))
        received = _receive(self._wire)
        if received is None:
            raise TransientError("the world is gone")
        error, answer = received
        if error is not None:
            raise error
        return answer


async def _live(world: SimulatedWorld, wire: socket.socket, kill: Kill) -> None:
    """Be the operator, until there is nothing to do, or it ends."""
    reached = 0

    def point(name: str) -> None:
        nonlocal reached
        reached += kill.kind == "point" and name == kill.name
        if reached >= kill.after and kill.kind == "point":
            os.kill(os.getpid(), signal.SIGKILL)
            threading.Event().wait()

    seen = Remote(wire, "world", None)
    cluster = pickle.loads(seen.ask("", (), {}))
    clock: Clock = cluster.clock
    ledger = SqliteLedger.open(
        world.path, signer=SeedSigner(SEED), cluster_id="c0ffee00", instance="worker",
        now=clock.now(), fail_point=point,
    )  # fmt: skip
    calls: Any = Remote(wire, "calls", None)
    provider: Any = Remote(wire, "provider", world.provider)
    ports = Ports(
        clock=clock, world=cluster, ledger=ledger, providers={"Fake": provider}, sink=calls,
        pods=calls, tasks=calls, events=calls, reviewer=calls, workloads=calls,
        ready_conditions=calls, evaluator=DirectEvaluator(clock),
        audience="taskpass", overlap=world.overlap, fingerprint_key=b"k" * 32, fail_point=point,
    )  # fmt: skip
    ports.modes.issuance_blocked_reason = None
    await Sweeper(ports, lambda _: None).sweep(quiet=True)
    end = time.monotonic() + WATCHDOG_SECONDS
    for _ in range(PASSES):
        before = (cluster.version, ledger.size)
        known = {g.task.key for g in ledger.held()} | {r.task.key for r in ledger.records()}
        for key in sorted(known | set(cluster.tasks)):
            # Its caches are as old as the last look, as they are in the cluster.
            ports = replace(ports, world=cluster)
            try:
                await Reconciler(ports).reconcile(key)
            except TransientError:
                pass
            cluster = pickle.loads(seen.ask("", (), {}))
        assert time.monotonic() < end
        if (cluster.version, ledger.size) == before:
            break
    ledger.close()


def _driven(call: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine that never waits."""
    try:
        call.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("the simulated world never waits")


def _send(wire: socket.socket, what: object) -> None:
    raw = pickle.dumps(what)
    try:
        wire.sendall(struct.pack(">I", len(raw)) + raw)
    except BrokenPipeError:
        return  # it was killed meanwhile


def _receive(wire: socket.socket) -> Any:
    head = _exactly(wire, 4)
    raw = _exactly(wire, struct.unpack(">I", head)[0]) if head else b""
    return pickle.loads(raw) if raw else None


def _exactly(wire: socket.socket, count: int) -> bytes:
    got = b""
    while len(got) < count:
        try:
            more = wire.recv(count - len(got))
        except ConnectionResetError:
            return b""
        if not more:
            return b""
        got += more
    return got


# A secret refuses to be pickled, so it crosses the pipe as what it is: a test's.


def _told(delivery: Delivery) -> tuple[Any, ...]:
    fields = {name: value.reveal() for name, value in delivery.fields.items()}
    return delivery.task, fields, dict(delivery.index)


def _revived(told: tuple[Any, ...]) -> Delivery:
    task, fields, index = told
    return Delivery(
        task=task, fields={name: SecretValue(raw) for name, raw in fields.items()}, index=index
    )


def _plain(answer: Any) -> Any:
    if not isinstance(answer, Issued):
        return answer
    fields = {name: value.reveal() for name, value in answer.fields.items()}
    return dict(answer.provider_state), answer.expires_at, answer.credential_ref, fields


def _secret(plain: tuple[Any, ...]) -> Issued:
    provider_state, expires_at, credential_ref, fields = plain
    return Issued(
        provider_state=provider_state, expires_at=expires_at, credential_ref=credential_ref,
        fields={name: SecretValue(raw) for name, raw in fields.items()}, primary="token",
    )  # fmt: skip
