"""`python -m e2e.soak.kills`: kill -9 at every step of a database credential. One JSON line.

Each story of a task is told anew for each step of the operator's that it comes by, and for each
time that it does: the operator is killed there, and another one started. After each, nothing may be
left at the server, in Kubernetes, and among the ledger's pending revocations. Roles that are
renewed all the while are killed around too. It ends by itself, and takes its cluster away.
"""

import argparse
import json
import re
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from e2e.admission import ROOT, TENANT, binding, cluster_role, prepare
from e2e.cluster import ensure, places, remove, tools
from e2e.impersonate import Api
from e2e.operator_process import OperatorProcess
from e2e.postgresql.databases import (
    ROLE,
    USE,
    Databases,
    database_class,
    database_policy,
    environment_of,
    furnish_cluster,
)
from e2e.postgresql.server import PostgresServer, running
from e2e.postgresql.stage import DATABASE, furnish
from e2e.postgresql.stage import GROUP as TICKETS
from e2e.soak.__main__ import left, say, verified
from e2e.soak.stories import ASKED, PATIENCE, REFUSED, STORIES, Story
from e2e.stage import credential_class, policy, until

MISSING = "nobodys_ro"
"""A group role that is listed, and is not there."""
RENEWED = 10
"""Tasks whose roles are renewed all the while."""
FIGURES = ("taskpass_grants_held", "taskpass_pending_revocations")
NOT_OF_TASKS = ("upkeep.",)


def steps() -> list[str]:
    """Return every fail-point that a task's credential may come by."""
    files = (ROOT / "operator/taskpass").rglob("*.py")
    found = {name for f in files for name in re.findall(r'fail_point\("([^"]+)"\)', f.read_text())}
    return sorted(name for name in found if not name.startswith(NOT_OF_TASKS))


@dataclass
class Killed:
    """The operator, armed to die once; another one is started as soon as it has."""

    operator: OperatorProcess
    folder: Path
    deaths: Counter[str] = field(default_factory=Counter)
    ended_by_itself: list[str] = field(default_factory=list)
    _number: int = 0

    @contextmanager
    def at(self, step: str, passage: int) -> Iterator[Path]:
        """Start one that dies at a step, the so-manieth time; yield what is there once it has."""
        self._number += 1
        mark = self.folder / str(self._number)
        self.operator.kill()
        self.operator.start(ready=False, FAILPOINT=f"{step}#{passage}", FAILPOINT_ONCE=str(mark))
        over = threading.Event()
        watching = threading.Thread(target=self._start_anew, args=(over,))
        watching.start()
        try:
            yield mark
        finally:
            over.set()
            watching.join()
        if step != "*" and mark.exists():
            self.deaths[step] += 1

    def _start_anew(self, over: threading.Event) -> None:
        while not over.is_set():
            if self.operator.ended():
                code = self.operator.wait_end()
                if code != -signal.SIGKILL:
                    self.ended_by_itself.append(f"{code}: {self.operator.tail(400)}")
                self.operator.start(ready=False)
            over.wait(0.02)


def main() -> int:
    """Run it; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m e2e.soak.kills", description=__doc__)
    parser.add_argument("--stories", nargs="*", choices=list(STORIES), default=list(STORIES))
    parser.add_argument("--steps", nargs="*", choices=steps(), default=steps())
    parser.add_argument("--minutes", type=float, default=35.0, help="it fails if it takes longer")
    parser.add_argument("--name", default=f"{places.default_name()}-kills")
    wish = parser.parse_args()
    cluster = ensure(wish.name, node=False)
    assert cluster.was_made_here()
    try:
        with (
            tempfile.TemporaryDirectory(prefix="taskpass-kills-") as directory,
            running(durable=True) as server,
        ):
            furnish(server)
            told = matrix(wish, str(cluster.kubeconfig), Path(directory), server)
    finally:
        remove(wish.name)
    print(json.dumps(told), flush=True)
    return 1 if told["problems"] else 0


def matrix(
    wish: argparse.Namespace, kubeconfig: str, directory: Path, server: PostgresServer
) -> dict[str, Any]:
    """Tell every story with every death; return what is printed."""
    began = time.monotonic()
    api = furnished(kubeconfig)
    listed = environment_of(server, directory, databases={DATABASE: [TICKETS, MISSING]})
    environment = {**listed, "TASKPASS_LOG_LEVEL": "warning"}
    operator = OperatorProcess(kubeconfig, directory / "operator", environment=environment)
    stage = Databases(api, operator, server=server)
    (directory / "marks").mkdir()
    killed = Killed(operator, directory / "marks")
    cells: Counter[str] = Counter()
    problems: list[str] = []
    deadline = began + 60 * wish.minutes
    try:
        for name in wish.stories:
            times = passed(stage, killed, name)
            for step in wish.steps:
                cells[name] += tell(stage, killed, name, step, times[step], deadline)
            say(f"{time.monotonic() - began:.0f} s: {name}, {cells[name]} deaths")
        cells["renewed"] = renewed(stage, killed, wish.steps, deadline)
    except Exception as error:
        problems.append(f"{type(error).__name__}: {error}")
        say(operator.tail(4000))
    finally:
        operator.stop()
    said, wrong = verified(operator.ledger)
    problems += wrong + [f"ended by itself: {text}" for text in killed.ended_by_itself]
    return {
        "soak": "kills",
        "server": server.version,
        "seconds": round(time.monotonic() - began),
        "deaths": killed.deaths.total(),
        "by_story": dict(cells),
        "by_step": dict(sorted(killed.deaths.items())),
        "never_come_by": sorted(set(wish.steps) - set(killed.deaths)),
        "left": {**left(stage), "roles": len(stage.roles()), "sessions": stage.sessions()},
        "audit_verify": said,
        "problems": problems,
    }


def furnished(kubeconfig: str) -> Api:
    """Install the chart, and the classes and policies that the stories name."""
    api = Api.from_kubeconfig(kubeconfig)
    prepare(api, str(tools.helm()), kubeconfig)
    api.apply(credential_class("tickets"))
    api.apply(policy("triage", "tickets"))
    furnish_cluster(api)
    api.apply(database_class(ASKED))
    api.apply(database_class(REFUSED, roles=[{"action": "tickets.read", "name": MISSING}]))
    asks = {"approverGroups": ["support-leads"]}
    api.apply(database_policy(ASKED, ASKED, approval=asks))
    api.apply(database_policy(REFUSED, REFUSED))
    api.apply(cluster_role("kills", USE | {"resourceNames": [ASKED, REFUSED]}))
    api.apply(binding("ClusterRoleBinding", "", "kills", "ClusterRole/kills", "User/alice"))
    leads = ("ClusterRole/taskpass-approver", "Group/support-leads")
    api.apply(binding("RoleBinding", TENANT, "leads", *leads))
    return api


def passed(stage: Databases, killed: Killed, story: str) -> Counter[str]:
    """Tell a story once in which nobody dies; return how often it comes by each step."""
    with killed.at("*", 1) as written:
        told(stage, STORIES[story], f"{story}-whole")
    return Counter(written.read_text().split())


def tell(
    stage: Databases, killed: Killed, story: str, step: str, times: int, deadline: float
) -> int:  # fmt: skip
    """Tell a story with a death at each passage of a step; return how many deaths those were."""
    deaths = 0
    for passage in range(1, times + 1):
        assert time.monotonic() < deadline, "it takes longer than it may"
        with killed.at(step, passage) as mark:
            told(stage, STORIES[story], f"{story}-{step.replace('.', '-')}-{passage}")
        deaths += mark.exists()
    return deaths


def told(stage: Databases, story: Story, name: str) -> None:
    """Tell a story; nothing may be left."""
    try:
        story(stage, name)
        stage.clear(name)
        assert_nothing_left(stage)
    except Exception as error:
        raise AssertionError(f"{name}: {type(error).__name__}: {error}") from error
    finally:
        while stage.open:
            stage.open.pop().close()


def assert_nothing_left(stage: Databases) -> None:
    """Wait until nothing is there of any grant, and nothing is owed."""
    until(partial(_is_clean, stage), PATIENCE, lambda: (left(stage), stage.roles()))
    assert stage.sessions() == 0


def _is_clean(stage: Databases) -> bool:
    if any(left(stage).values()) or stage.roles() or stage.operator.http("/readyz")[0] != 200:
        return False
    try:
        return not any(stage.operator.metric(each) for each in FIGURES)
    except AssertionError:
        return False  # it died in between


def renewed(stage: Databases, killed: Killed, wanted: Sequence[str], deadline: float) -> int:
    """Kill at each step while roles are renewed; each task must hold what it asks for then."""
    names = [f"renewed-{number}" for number in range(RENEWED)]
    stage.operator.kill()
    stage.operator.start()
    for name in names:
        stage.begin(name, credentials=[ROLE | {"expirationSeconds": 60}])
    for name in names:
        stage.wait_ready(name, PATIENCE)
    before = killed.deaths.total()
    for step in wanted:
        assert time.monotonic() < deadline, "it takes longer than it may"
        if step.startswith(("lift.", "withdraw.")):
            continue  # once for each task
        with killed.at(step, 1) as mark:
            until(mark.exists, PATIENCE, lambda at=step: f"no renewal comes by {at}")  # type: ignore[misc]
            until(lambda: stage.operator.http("/readyz")[0] == 200, PATIENCE)
            until(partial(_all_hold, stage, names), PATIENCE, stage.roles)
    stage.clear("renewed-")
    assert_nothing_left(stage)
    return killed.deaths.total() - before


def _all_hold(stage: Databases, names: Sequence[str]) -> bool:
    """Whether every task holds a role (two, during a renewal), and the server has just those."""
    grants = {name: stage.task(name)["status"].get("grants", []) for name in names}
    ids = {each["id"] for held in grants.values() for each in held}
    return all(grants.values()) and {r.removeprefix("taskpass-") for r in stage.roles()} == ids


if __name__ == "__main__":
    sys.exit(main())
