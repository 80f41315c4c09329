"""`ports.Evaluator` by a process beside the operator, which is ended where it takes too long.

1. What is evaluated goes in messages of no more than `MESSAGE_MILLISECONDS` by price, the cluster's
   policies first, then Denies: what one namespace writes keeps nothing of the cluster's waiting.
2. Namespaces take turns, one message each. What is asked for a decision goes before what is only
   examined for a policy's `Ready`.
3. A message that takes more than `MOST_MILLISECONDS` of CPU ends the process, and the next one,
   kept warm, goes on behind the policy at which it was. Twice at the same policy within ten
   minutes: it is not evaluated for a while (`breaker`).
4. Where no process can be started, every answer says so, and `trouble` does: nothing is decided
   by what could not be evaluated, and all else goes on.
"""

import asyncio
import contextlib
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from taskpass.cel.answering import too_much
from taskpass.cel.breaker import Breaker
from taskpass.cel.frames import encoded
from taskpass.cel.in_process import sources_of
from taskpass.cel.process import EvaluatorProcess, Stopped
from taskpass.core.policy.expression_input import Answer, Answered, Examined, Inquiry
from taskpass.core.policy.types import Effect, Policy, PolicyVersion
from taskpass.core.rate_limit.fair_queue import FairQueue
from taskpass.ports.clock import Clock

logger = logging.getLogger(__name__)
MESSAGE_MILLISECONDS = 25.0
MOST_MILLISECONDS = 50.0
EXAMINING_MILLISECONDS = 200.0
"""Of one expression: 4,096 characters of brackets and commas compile in 40."""
MOST_MESSAGES = 40
"""For one decision: a second, by price."""
MOST_ENDED = 2
"""How often the process is ended for one decision."""
MOST_KNOWN = 20_000
RETRY_SECONDS = 1.0
NO_ANSWER = "the process that evaluates answered what is no answer"
NOT_REACHED = "it was not reached, as another policy took too long; it is tried again"
TOO_MANY = f"all that is to be evaluated takes longer than {MOST_MESSAGES * 25} ms by its price"
NOT_TEXT = "a field of the task, its pod or its class is no text, or too large to be looked at"


@dataclass(frozen=True, slots=True)
class _Known:
    """What an examination has found."""

    error: str = ""
    milliseconds: float = 0.0
    fields: frozenset[str] = frozenset()
    compiling: float = 0.0


@dataclass(slots=True, kw_only=True)
class _Served:
    """What came of a message."""

    answers: list[dict[str, Any]] = field(default_factory=list)
    stopped: str | None = None
    """Why the rest has no answer; None where all have."""
    at_fault: bool = False
    """Whether it was at the first without an answer."""
    unsent: bool = False
    """Whether it was never asked, as something in it is no text: another message may be."""


@dataclass(slots=True, kw_only=True)
class _Message:
    """What waits for its turn."""

    parts: int
    milliseconds: float
    build: Callable[[], bytes]
    """Called when its turn has come: what waits is no copy of anything."""
    done: asyncio.Future[_Served]


class ProcessEvaluator:
    """See the module. `run` must run; what is asked before it does waits."""

    def __init__(
        self,
        clock: Clock,
        *,
        start: Callable[[], Awaitable[EvaluatorProcess]] = EvaluatorProcess.start,
        on_stop: Callable[[], None] = lambda: None,
    ) -> None:
        self._clock = clock
        self._start = start
        self._on_stop = on_stop
        self._breaker = Breaker(clock.monotonic)
        self._asked: FairQueue[_Message] = FairQueue()
        self._examining: FairQueue[_Message] = FairQueue()
        self._any = asyncio.Event()
        self._current: EvaluatorProcess | None = None
        self._spare: EvaluatorProcess | None = None
        self._taken = asyncio.Event()
        self._news = asyncio.Event()
        self._known: OrderedDict[PolicyVersion, _Known] = OrderedDict()
        self._under_way: dict[tuple[PolicyVersion, bool], asyncio.Task[None]] = {}
        self._failed: dict[PolicyVersion, str] = {}
        """Why the last examination came to nothing."""
        self._changes = 0
        self._started = False
        self._failing: str | None = None

    @property
    def unhealthy_reason(self) -> str | None:
        """Why nothing can be evaluated now, in a sentence; None where it can."""
        if self._failing or self._started:
            return self._failing
        return "The process that evaluates policies is not started yet"

    # What is asked.

    @property
    def revision(self) -> tuple[int, int]:
        """See `ports.Evaluator`; a breaker closes without any event."""
        return self._changes, 0 if self._breaker.idle else int(self._clock.monotonic() // 10)

    def examined(self, policy: Policy) -> Examined | None:
        """See `ports.Evaluator`."""
        if not policy.validations:
            return Examined()
        if self._breaker.is_open(policy.version):
            return Examined(stopped=self._why_stopped(policy))
        known = self._known.get(policy.version)
        if known is None:
            self._examine_once(policy, asked=False)
            return None
        return Examined(error=known.error)

    async def evaluate(self, namespace: str, inquiries: Sequence[Inquiry]) -> Sequence[Answered]:
        """See `ports.Evaluator`."""
        policies = {p.version: p for each in inquiries for p in each.policies}
        new = [p for v, p in policies.items() if v not in self._known and not self._is_open(p)]
        if new:
            await asyncio.wait([self._examine_once(p, asked=True) for p in new])
        session = _Session(self._clock, inquiries)
        for number, inquiry in enumerate(inquiries):
            for policy in sorted(inquiry.policies, key=_order):
                session.begin(number, policy, self._settled(policy), self._known)
        session.items.sort(key=lambda item: _order(item.policy))
        while batch := session.batch():
            served = await self._turn(namespace, inquiries, batch)
            culprit = session.take(batch, served)
            if culprit is not None:
                self._stop_at(culprit)
        return session.answered()

    def _is_open(self, policy: Policy) -> bool:
        return self._breaker.is_open(policy.version)

    def _settled(self, policy: Policy) -> Answer | None:
        """Return what can be said without evaluating; None where nothing can."""
        if self._is_open(policy):
            return Answer(error=self._why_stopped(policy), transient=True)
        known = self._known.get(policy.version)
        if known is None:
            why = self._failed.get(policy.version) or self.unhealthy_reason or NOT_REACHED
            return Answer(error=why, transient=True)
        return Answer(error=known.error, invalid=True) if known.error else None

    def _why_stopped(self, policy: Policy) -> str:
        known = self._known.get(policy.version)
        said = (
            f"its price is {known.milliseconds:.1f} ms" if known else "compiling it takes as long"
        )
        return (
            f"evaluating it was stopped twice within ten minutes, as it took more than "
            f"{MOST_MILLISECONDS:.0f} ms ({said}); it is tried again ten minutes after that, or "
            "once it is changed: loop over fewer things, or match simpler patterns"
        )

    def _stop_at(self, policy: Policy) -> None:
        self._breaker.stopped(policy.version)
        self._changes += 1
        logger.warning(
            "Stopped the process at a policy",
            extra={"policy": policy.label, "open": self._is_open(policy)},
        )

    # Examining.

    def _examine_once(self, policy: Policy, *, asked: bool) -> "asyncio.Task[None]":
        key = policy.version, asked
        task = self._under_way.get(key)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._examine(policy, asked))
            self._under_way[key] = task
            task.add_done_callback(lambda _: self._under_way.pop(key, None))
        return task

    async def _examine(self, policy: Policy, asked: bool) -> None:
        """Find out what a policy costs, expression by expression: each is a turn of its own."""
        self._failed.pop(policy.version, None)
        whole = _Known()
        for number, source in enumerate(sources_of(policy)):
            served = await self._wait(
                policy.namespace,
                _Message(
                    parts=1,
                    milliseconds=EXAMINING_MILLISECONDS,
                    build=lambda part=(number, source): encoded({"examine": [part]}),  # type: ignore[misc]
                    done=asyncio.get_running_loop().create_future(),
                ),
                asked=asked,
            )
            if served.stopped:
                if served.at_fault:
                    self._stop_at(policy)
                self._fail(policy, served.stopped)
                return
            try:
                whole = _with(whole, served.answers[0])
            except (KeyError, TypeError, ValueError):
                self._fail(policy, NO_ANSWER)
                return
            if whole.error:
                break
        self._known[policy.version] = _bounded(policy, whole)
        self._changes += 1
        while len(self._known) > MOST_KNOWN:
            self._known.popitem(last=False)

    def _fail(self, policy: Policy, why: str) -> None:
        if len(self._failed) > MOST_KNOWN:
            self._failed.clear()
        self._failed[policy.version] = why
        self._changes += 1

    # Turns.

    async def _turn(
        self, namespace: str, inquiries: Sequence[Inquiry], batch: Sequence["_Item"]
    ) -> _Served:
        def build() -> bytes:
            numbers = sorted({item.inquiry for item in batch})
            named = {n: frozenset[str]().union(*(i.fields for i in batch if i.inquiry == n))
                     for n in numbers}  # fmt: skip
            values = [{f: inquiries[n].values[f] for f in named[n] if f != "now"} for n in numbers]
            asked = [[numbers.index(i.inquiry), sources_of(i.policy)] for i in batch]
            now = self._clock.now().isoformat()
            return encoded({"evaluate": asked, "values": values, "now": now})

        return await self._wait(
            namespace,
            _Message(
                parts=len(batch),
                milliseconds=MOST_MILLISECONDS + 3 * sum(item.compiling for item in batch),
                build=build,
                done=asyncio.get_running_loop().create_future(),
            ),
            asked=True,
        )

    async def _wait(self, namespace: str, message: _Message, *, asked: bool) -> _Served:
        (self._asked if asked else self._examining).put(namespace, message)
        self._any.set()
        return await message.done

    async def run(self) -> None:
        """Serve what is asked, with a spare process kept warm, until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._keep_spare())
                group.create_task(self._serve_all())
        finally:
            for each in (self._current, self._spare):
                if each is not None:
                    await each.end()
            self._current = self._spare = None

    async def _serve_all(self) -> None:
        while True:
            message = self._asked.take() or self._examining.take()
            if message is None:
                self._any.clear()
                await self._any.wait()
            elif not message.done.done():
                served = _Served(stopped=NO_ANSWER)
                try:
                    served = await self._serve(message)
                finally:  # whatever becomes of this loop: who asked goes on
                    if not message.done.done():
                        message.done.set_result(served)

    async def _serve(self, message: _Message) -> _Served:
        try:
            body = message.build()
        except (ValueError, KeyError):
            return _Served(stopped=NOT_TEXT, unsent=True)
        served, process = _Served(), await self._process()
        if process is None:
            return _Served(stopped=self.unhealthy_reason)
        try:
            async for answer in process.ask(body, message.parts, message.milliseconds):
                served.answers.append(answer)
        except Stopped as stopped:
            self._current = None
            self._on_stop()
            served.stopped, served.at_fault = f"the process that evaluates {stopped}", True
        return served

    async def _process(self) -> EvaluatorProcess | None:
        """Return a process that lives; None where there is none (`trouble`)."""
        while self._current is None or not self._current.alive:
            self._current, self._spare = self._spare, None
            if self._current is not None:
                self._taken.set()
            elif self._failing:
                return None
            else:
                self._news.clear()
                await self._news.wait()
        return self._current

    async def _keep_spare(self) -> None:
        while True:
            self._taken.clear()
            if self._spare is None or not self._spare.alive:
                await self._start_spare()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RETRY_SECONDS):
                    await self._taken.wait()

    async def _start_spare(self) -> None:
        try:
            self._spare = await self._start()
        except (OSError, Stopped) as error:
            why = (error.strerror or "") if isinstance(error, OSError) else f"it {error}"
            said = f"The process that evaluates policies cannot be started: {why}"
            if self._failing != said:
                logger.error("Failed to start what evaluates policies", extra={"error": why})
            self._spare, self._failing = None, said
        else:
            self._started, self._failing = True, None
        self._news.set()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Item:
    """One policy on one request."""

    inquiry: int
    policy: Policy
    milliseconds: float
    compiling: float
    fields: frozenset[str]


class _Session:
    """The answers of one call, as they come."""

    def __init__(self, clock: Clock, inquiries: Sequence[Inquiry]) -> None:
        self._clock = clock
        self._at: datetime | None = None
        self._inquiries = inquiries
        self._answers: list[dict[PolicyVersion, Answer]] = [{} for _ in inquiries]
        self._messages = self._ended = 0
        self.items: list[_Item] = []
        """What is still to be evaluated, in this order."""

    def begin(
        self, number: int, policy: Policy, settled: Answer | None,
        known: "OrderedDict[PolicyVersion, _Known]",
    ) -> None:  # fmt: skip
        """Answer at once, or have it evaluated."""
        if settled is not None:
            self._answers[number][policy.version] = settled
            return
        found = known[policy.version]
        self.items.append(
            _Item(
                inquiry=number, policy=policy, milliseconds=found.milliseconds,
                compiling=found.compiling, fields=found.fields,
            )
        )  # fmt: skip

    def batch(self) -> list[_Item]:
        """Return what goes into the next message, and is no longer in `items`."""
        if self._messages >= MOST_MESSAGES or self._ended >= MOST_ENDED:
            self._give_up(NOT_REACHED if self._ended else TOO_MANY)
        total, count = 0.0, 0
        for item in self.items:
            total += item.milliseconds + item.compiling
            if count and total > MESSAGE_MILLISECONDS:
                break
            count += 1
        batch, self.items = self.items[:count], self.items[count:]
        self._messages += 1
        return batch

    def take(self, batch: Sequence[_Item], served: _Served) -> Policy | None:
        """Take what was answered; return the policy at which the process ended, if it did."""
        self._at = self._at or self._clock.now()
        done = len(served.answers)
        for item, said in zip(batch, served.answers, strict=False):
            self._answer(item, _answer(said, len(item.policy.validations)))
        if not served.stopped:
            return None
        if not served.at_fault:
            for item in batch[done:]:
                self._answer(item, Answer(error=served.stopped, transient=True))
            if not served.unsent:
                self._give_up(served.stopped)
            return None
        self._ended += 1
        culprit = batch[done]
        self._answer(culprit, Answer(error=served.stopped, transient=True))
        self.items = [*batch[done + 1 :], *self.items]
        return culprit.policy

    def answered(self) -> list[Answered]:
        """Return what is known of each inquiry."""
        at = self._at or self._clock.now()
        return [
            Answered(values=each.values, at=at, answers=answers)
            for each, answers in zip(self._inquiries, self._answers, strict=True)
        ]

    def _give_up(self, why: str) -> None:
        for item in self.items:
            self._answer(item, Answer(error=why, transient=True))
        self.items = []

    def _answer(self, item: _Item, answer: Answer) -> None:
        self._answers[item.inquiry][item.policy.version] = answer


def _order(policy: Policy) -> tuple[bool, bool, str]:
    return policy.kind != "ClusterAgentPolicy", policy.effect is not Effect.DENY, policy.label


def _answer(said: dict[str, Any], validations: int) -> Answer:
    unmet, error = said.get("unmet"), said.get("error")
    if not isinstance(error, str) or not (
        unmet is None or (isinstance(unmet, int) and 0 <= unmet < validations)
    ):
        return Answer(error=NO_ANSWER, transient=True)
    return Answer(unmet=unmet, error=error)


def _bounded(policy: Policy, known: _Known) -> _Known:
    """Return what is known, or that it is too much for one policy."""
    said = known.error or too_much(sources_of(policy), known.milliseconds)
    return _Known(error=said) if said else known


def _with(whole: _Known, said: dict[str, Any]) -> _Known:
    """Return what is known with one more expression examined."""
    if error := str(said.get("error", "")):
        return _Known(error=error)
    return _Known(
        milliseconds=whole.milliseconds + float(said["price"]),
        fields=whole.fields | frozenset(said["fields"]),
        compiling=whole.compiling + float(said["compiling"]),
    )
