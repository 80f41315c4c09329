"""What every test needs to be loaded before it.

Hypothesis loads one of its modules in the middle of a search, and pytest reads it as it does tests.
Python 3.11 fails to read any source while a garbage collection that begins meanwhile runs Python
code (a task that nobody waits for says so): a test failed by that, of nothing that it tests.
"""

import gc

import hypothesis.internal.conjecture.optimiser  # noqa: F401
import pytest
from hypothesis import HealthCheck, settings

# How fast values are drawn is a matter of what else the machine does.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


@pytest.fixture(autouse=True)
def _nothing_left_of_the_test_before(request: pytest.FixtureRequest) -> None:
    """Collect what a long test left, so that it is not told of while the next is read."""
    if request.node.get_closest_marker("slow"):
        gc.collect()
