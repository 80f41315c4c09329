"""The process that evaluates: whatever becomes of it, the operator goes on, and says so."""

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest

from taskpass.cel.breaker import WITHIN_SECONDS
from taskpass.cel.evaluator import NOT_REACHED, ProcessEvaluator
from taskpass.cel.process import EvaluatorProcess, Stopped
from taskpass.core.policy.expression_input import Answer, Examined
from taskpass.core.policy.types import Effect, Policy
from tests.contract.evaluator_suite import Still, answers_of, asking, inquiry
from tests.unit.cel.stub import COMMAND
from tests.unit.core.policies import of_cluster

T = TypeVar("T")


def told(word: str, name: str = "") -> Policy:
    """Return a policy whose evaluation does what a word says."""
    return asking(name or word, f"'{word}' != ''")


async def start_stub() -> EvaluatorProcess:
    return await EvaluatorProcess.start(COMMAND)


@contextlib.asynccontextmanager
async def running(made: ProcessEvaluator) -> AsyncIterator[ProcessEvaluator]:
    work = asyncio.create_task(made.run())
    try:
        yield made
    finally:
        work.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await work


class Stops:
    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


@pytest.fixture
def clock() -> Still:
    return Still()


@pytest.fixture
def stops() -> Stops:
    return Stops()


@pytest.fixture
async def evaluator(clock: Still, stops: Stops) -> AsyncIterator[ProcessEvaluator]:
    async with running(ProcessEvaluator(clock, start=start_stub, on_stop=stops)) as made:
        yield made


def pid_of(evaluator: ProcessEvaluator) -> int:
    assert evaluator._current is not None
    return evaluator._current.pid


async def until(what: Callable[[], T]) -> T:
    """Return the first true answer."""
    async with asyncio.timeout(30):
        while not (answer := what()):
            await asyncio.sleep(0.01)
        return answer


# What ends it.


@pytest.mark.parametrize(
    ("word", "why"),
    [
        pytest.param("spin", r"took more than 5|within 2 s", id="takes too long"),
        pytest.param("hang", "did not answer within 2 s", id="hangs"),
        pytest.param("end", "ended by itself", id="ends"),
        pytest.param("killed", "ended by itself", id="is killed"),
        pytest.param("memory", "ended by itself", id="asks for more memory than it may"),
        pytest.param("rubbish", "answered what is no answer", id="answers no JSON"),
        pytest.param("huge", "answered what is no answer", id="answers without end"),
        pytest.param("list", "answered what is no answer", id="answers something else"),
    ],
)
async def test_the_policy_at_which_it_ended_has_no_answer_and_the_others_have(
    evaluator: ProcessEvaluator, stops: Stops, word: str, why: str
) -> None:
    said = await answers_of(evaluator, asking("a", "true"), told(word), asking("z", "false"))

    assert (said["a"], said["z"]) == (Answer(), Answer(unmet=0))
    assert (said[word].transient, said[word].unmet) == (True, None)
    assert re.search(why, said[word].error)
    assert stops.count == 1
    assert evaluator.unhealthy_reason is None


async def test_what_it_could_not_reach_after_two_ends_is_not_decided(
    evaluator: ProcessEvaluator,
) -> None:
    said = await answers_of(
        evaluator, told("end", "a"), told("end", "b"), asking("y", "true"), asking("z", "false")
    )

    assert said["y"] == said["z"] == Answer(error=NOT_REACHED, transient=True)


async def test_what_the_cluster_says_is_asked_before_what_a_namespace_writes(
    evaluator: ProcessEvaluator,
) -> None:
    freeze = of_cluster(asking("zz", "true", effect=Effect.DENY))

    said = await answers_of(evaluator, told("end", "a"), told("end", "b"), freeze)

    assert said["zz"] == Answer()


async def test_one_that_ended_while_nobody_asked_is_nobodys_fault(
    evaluator: ProcessEvaluator, stops: Stops
) -> None:
    await answers_of(evaluator, asking("a", "true"))
    for _ in range(3):
        killed = pid_of(evaluator)
        os.kill(killed, signal.SIGKILL)
        await until(lambda pid=killed: not alive(pid))  # type: ignore[misc]

        assert await answers_of(evaluator, asking("a", "true")) == {"a": Answer()}

    assert stops.count == 0
    assert evaluator.examined(asking("a", "true")) == Examined()


# The breaker.


async def test_two_ends_within_ten_minutes_keep_a_policy_out_and_its_ready_says_why(
    evaluator: ProcessEvaluator, clock: Still, stops: Stops
) -> None:
    policy = told("spin")
    for _ in range(2):
        await answers_of(evaluator, policy)
        clock.seconds += 100

    out = await answers_of(evaluator, policy, asking("z", "true"))
    known = evaluator.examined(policy)

    assert stops.count == 2
    assert out["z"] == Answer()
    assert out["spin"].transient
    assert known is not None
    assert known.stopped == out["spin"].error
    assert known.stopped.startswith(
        "evaluating it was stopped twice within ten minutes, as it took more than 50 ms (its price "
        "is 0."
    )


async def test_a_new_generation_and_ten_minutes_let_it_in_again(
    evaluator: ProcessEvaluator, clock: Still, stops: Stops
) -> None:
    policy = told("end")
    for _ in range(2):
        await answers_of(evaluator, policy)
    mended = replace(asking("end", "true"), generation=2)

    assert (await answers_of(evaluator, mended))["end"] == Answer()
    assert stops.count == 2

    clock.seconds += WITHIN_SECONDS + 1
    await answers_of(evaluator, policy)
    assert stops.count == 3


async def test_two_ends_far_apart_keep_nothing_out(
    evaluator: ProcessEvaluator, clock: Still, stops: Stops
) -> None:
    for _ in range(3):
        await answers_of(evaluator, told("end"))
        clock.seconds += WITHIN_SECONDS + 1

    assert stops.count == 3
    assert evaluator.examined(told("end")) == Examined()


# Turns.


async def test_a_namespace_that_floods_keeps_no_other_waiting(evaluator: ProcessEvaluator) -> None:
    work, done = told("work"), []

    async def flood(number: int) -> None:
        await evaluator.evaluate("flood", [inquiry(work)])
        done.append(number)

    flooding = [asyncio.create_task(flood(number)) for number in range(100)]
    await until(lambda: len(done) > 3)
    before = len(done)
    await answers_of(evaluator, asking("a", "true"))
    meanwhile = len(done) - before
    for each in flooding:
        each.cancel()
    await asyncio.wait(flooding)

    assert meanwhile <= 4


async def test_a_decision_goes_before_what_is_examined_for_a_condition(
    evaluator: ProcessEvaluator,
) -> None:
    many = [asking(f"p{number}", f"phase != '{'x' * 3000}{number}'") for number in range(300)]
    for each in many:
        evaluator.examined(each)

    await answers_of(evaluator, asking("a", "true"))

    known = [each for each in many if evaluator.examined(each)]
    assert len(known) < 100
    await until(lambda: all(evaluator.examined(each) for each in many))


async def test_a_namespace_without_end_of_dear_policies_is_not_decided(
    evaluator: ProcessEvaluator,
) -> None:
    dear = "'x' in task.requester.groups && 'y' in task.changedBy.groups"
    many = [asking(f"p{number:03}", *[dear] * 5) for number in range(60)]

    said = await answers_of(evaluator, *many)

    undecided = [name for name, answer in said.items() if answer.transient]
    assert undecided == [f"p{number:03}" for number in range(40, 60)]
    assert "takes longer than 1000 ms by its price" in said["p059"].error


# Starting.


async def test_where_none_can_be_started_nothing_is_decided_and_it_is_said(clock: Still) -> None:
    full = [True]

    async def start() -> EvaluatorProcess:
        if full:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return await EvaluatorProcess.start()

    made = ProcessEvaluator(clock, start=start)
    assert made.unhealthy_reason == "The process that evaluates policies is not started yet"
    async with running(made):
        said = await answers_of(made, asking("a", "true"))
        assert said["a"].transient
        assert said["a"].error == made.unhealthy_reason
        assert made.unhealthy_reason.endswith("cannot be started: Resource temporarily unavailable")
        full.clear()
        await until(lambda: not made.unhealthy_reason)

        assert await answers_of(made, asking("a", "true")) == {"a": Answer()}


@pytest.mark.parametrize(
    ("command", "why"),
    [
        pytest.param(("/nonexistent",), None, id="is not there"),
        pytest.param((sys.executable, "-c", "pass"), "ended by itself", id="ends at once"),
        pytest.param((sys.executable, "-c", "print('hello')"), "no answer", id="says rubbish"),
    ],
)
async def test_what_does_not_come_up_is_an_error_and_leaves_nothing(
    command: tuple[str, ...], why: str | None, before: set[int]
) -> None:
    with pytest.raises(OSError if why is None else Stopped, match=why):
        await EvaluatorProcess.start(command)

    assert children() - before == set()


# What it holds.


async def test_it_has_no_environment_no_descriptors_and_can_take_nothing_more() -> None:
    process = await EvaluatorProcess.start()
    try:
        proc = Path(f"/proc/{process.pid}")
        limits = {
            line[:26].strip(): line[26:].split()[:2]
            for line in (proc / "limits").read_text().splitlines()[1:]
        }
        environment = (proc / "environ").read_bytes().split(b"\0")
        assert [each.partition(b"=")[0] for each in environment if each] == [b"PYTHONPATH"]
        assert {each.name for each in (proc / "fd").iterdir()} == {"0", "1", "2"}
        assert os.readlink(proc / "fd" / "2") == "/dev/null"
        assert os.readlink(proc / "cwd") == "/"
        assert limits["Max core file size"] == ["0", "0"]
        assert limits["Max file size"] == ["0", "0"]
        assert limits["Max processes"] == ["0", "0"]
        assert limits["Max address space"] == [str(256 << 20)] * 2
        assert limits["Max open files"] == ["16", "16"]
        assert (proc / "oom_score_adj").read_text().strip() == "1000"
    finally:
        await process.end()


async def test_it_ends_with_the_operator_however_that_ends() -> None:
    code = (
        "import asyncio, os\n"
        "from taskpass.cel.process import EvaluatorProcess\n"
        "async def main():\n"
        "    process = await EvaluatorProcess.start()\n"
        "    print(process.pid, flush=True)\n"
        "    os.kill(os.getpid(), 9)\n"
        "asyncio.run(main())\n"
    )
    killed = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)

    pid = int(killed.stdout)
    await until(lambda: not alive(pid))
    assert killed.returncode == -signal.SIGKILL


async def test_none_is_left_and_none_is_a_zombie_once_it_has_stopped(
    clock: Still, before: set[int]
) -> None:
    async with running(ProcessEvaluator(clock, start=start_stub)) as made:
        await answers_of(made, asking("a", "true"))
        await answers_of(made, told("end"))

    assert children() - before == set()


async def test_a_machine_that_is_busy_with_others_is_not_taken_for_a_slow_policy(
    evaluator: ProcessEvaluator, stops: Stops
) -> None:
    """Only its own CPU counts: a process that is not let run for a while is waited for."""
    await answers_of(evaluator, asking("a", "true"))
    pid = pid_of(evaluator)
    os.kill(pid, signal.SIGSTOP)
    asked = asyncio.create_task(answers_of(evaluator, asking("a", "true")))
    began = time.monotonic()
    await until(lambda: time.monotonic() - began > 0.5)
    os.kill(pid, signal.SIGCONT)

    assert await asked == {"a": Answer()}
    assert stops.count == 0


async def test_one_that_is_cancelled_keeps_no_other_from_its_answer(
    evaluator: ProcessEvaluator,
) -> None:
    policy = told("work")
    first = asyncio.create_task(answers_of(evaluator, policy))
    second: Awaitable[object] = asyncio.create_task(answers_of(evaluator, policy))
    await asyncio.sleep(0)
    first.cancel()

    assert await second == {"work": Answer()}


def children() -> set[int]:
    """Return the processes that are ours, zombies included."""
    path = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    return {int(each) for each in path.read_text().split()}


@pytest.fixture
def before() -> set[int]:
    """Return what runs already for tests of other files."""
    return children()


def alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
