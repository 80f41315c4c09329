"""The command: `python -m bench`. Figures on standard output, progress on standard error.

Exit code 1: something was lost, doubled or left behind, whatever the speed; 2: what was typed.
"""

import argparse
import asyncio
import contextlib
import os
import platform
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.ends import run_ends, run_family
from bench.figures import say, tell
from bench.many import run_many
from bench.rates import run_rate
from bench.stage import stage
from e2e.cluster import ClusterFailed, ensure, places, remove

POLICY_ENDS = 1_000
"""The number of live tasks that one policy ends; larger crowds are deleted."""


def main(arguments: list[str]) -> int:
    """Run the benchmark; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rates", type=_numbers, default=[5, 20, 50], help="tasks a second")
    parser.add_argument("--seconds", type=float, default=60, help="of each rate")
    parser.add_argument("--live", type=_numbers, default=[1_000, 10_000], help="live tasks at once")
    parser.add_argument("--ends", type=int, default=200, help="credentials that end, of each kind")
    parser.add_argument("--family", type=int, default=200, help="tasks that one root delegates to")
    parser.add_argument("--name", default=None, help="the cluster's; it is taken away at the end")
    parser.add_argument("--kubeconfig", type=Path, help="a cluster made for tests, which is kept")
    chosen = parser.parse_args(arguments)
    for each in (signal.SIGINT, signal.SIGTERM):  # whichever ends it, nothing stays behind
        signal.signal(each, signal.default_int_handler)
    try:
        with _cluster(chosen.name, chosen.kubeconfig) as (name, kubeconfig):
            failures = _run(_measure(name, kubeconfig, chosen))
    except ClusterFailed as error:
        say(str(error))
        return 1
    tell("result", ok=not failures, failures=failures)
    return 1 if failures else 0


async def _measure(name: str, kubeconfig: str, chosen: argparse.Namespace) -> list[str]:
    _tell_machine()
    directory = Path(tempfile.mkdtemp(prefix="taskpass-bench-"))
    async with stage(name, kubeconfig, directory) as made:
        for rate in chosen.rates:
            await run_rate(made, rate, chosen.seconds)
        if chosen.ends:
            await run_ends(made, chosen.ends)
        if chosen.family:
            await run_family(made, chosen.family)
        for count in chosen.live:
            await run_many(made, count, by_policy=count <= POLICY_ENDS)
        await made.verify()
    if made.failures:
        say(f"the operator's log and ledger are in {directory}")
    else:
        shutil.rmtree(directory)
    return made.failures


def _tell_machine() -> None:
    load = [round(each, 2) for each in os.getloadavg()]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    tell(
        "machine", cores=os.cpu_count(), memory_gib=round(memory), load_before=load,
        python=platform.python_version(), kernel=platform.release(),
    )  # fmt: skip


@contextlib.contextmanager
def _cluster(name: str | None, kubeconfig: Path | None) -> Iterator[tuple[str, str]]:
    if kubeconfig is not None:
        yield kubeconfig.parent.name, str(kubeconfig)
        return
    name = name or f"{places.default_name()}-bench"
    cluster = ensure(name, node=False)
    if not cluster.was_made_here():
        raise ClusterFailed(f"{name} was not made for tests: the benchmark would change it")
    try:
        yield name, str(cluster.kubeconfig)
    finally:
        remove(name)


def _numbers(text: str) -> list[float]:
    return [float(each) if "." in each else int(each) for each in text.split(",") if each]


def _run(work: "asyncio.Future[list[str]] | object") -> list[str]:
    import uvloop

    return uvloop.run(work)  # type: ignore[arg-type]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
