"""What is printed: one JSON object a line for each figure, and progress for people beside it."""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

SHARES = (50, 95, 99)
BEGAN = time.monotonic()


def tell(figure: str, **values: Any) -> None:
    """Print one figure on standard output."""
    print(json.dumps({"figure": figure, **values}), flush=True)


def say(text: str) -> None:
    """Print one line of progress on standard error."""
    print(f"bench {time.monotonic() - BEGAN:7.1f} s  {text}", file=sys.stderr, flush=True)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that `share` per cent do not exceed (nearest rank).

    Raises:
        ValueError: There are no values.

    """
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    rank = -(-len(ordered) * share // 100)  # rounded up
    return ordered[max(0, int(rank) - 1)]


def spread(seconds: Sequence[float]) -> dict[str, float]:
    """Return p50, p95, p99 and the greatest of some times, in milliseconds; empty for none."""
    if not seconds:
        return {}
    shares = {f"p{share}": round(1000 * percentile(seconds, share), 1) for share in SHARES}
    return {**shares, "max": round(1000 * max(seconds), 1)}


def beside(spreads: Mapping[str, float], prefix: str) -> dict[str, float]:
    """Return the same numbers under names with a prefix, to stand beside others in one line."""
    return {f"{prefix}_{name}": value for name, value in spreads.items()}
