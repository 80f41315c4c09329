"""Fixtures of the adapters' unit tests."""

from collections.abc import AsyncIterator

import pytest

from tests.unit.kube.scripted_server import Script, scripted


@pytest.fixture
async def script() -> AsyncIterator[Script]:
    async with scripted() as running:
        yield running
