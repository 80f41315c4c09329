"""Both evaluators, by the same suite."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from taskpass.cel.evaluator import ProcessEvaluator
from taskpass.cel.in_process import DirectEvaluator
from taskpass.ports.policies import Evaluator
from tests.contract.evaluator_suite import EvaluatorSuite, Still


class TestDirect(EvaluatorSuite):
    """In this process."""

    @pytest.fixture
    def evaluator(self) -> Evaluator:
        return DirectEvaluator(Still())


class TestProcess(EvaluatorSuite):
    """In a process beside."""

    @pytest.fixture
    async def evaluator(self) -> AsyncIterator[Evaluator]:
        made = ProcessEvaluator(Still())
        running = asyncio.create_task(made.run())
        yield made
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
