"""`python -m e2e.soak --minutes 10`: kills under load, then count what is left. One JSON line.

Exit code 0 where nothing is left over, nothing is missing, and the log verifies; 1 otherwise. It
ends by itself, and takes its cluster away.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from e2e.admission import ROOT, TARGET, TENANT, binding, cluster_role, prepare
from e2e.cases.faults.proxy import Proxy
from e2e.cluster import ensure, places, remove, tools
from e2e.impersonate import Api, thing
from e2e.operator_process import OperatorProcess
from e2e.postgresql.databases import ROLE, Databases, environment_of, furnish_cluster
from e2e.postgresql.server import PostgresServer, running
from e2e.postgresql.stage import furnish
from e2e.soak.databases import DatabaseLives, ServerDeaths
from e2e.soak.deaths import OF_DATABASES, POINTS, Deaths
from e2e.soak.lives import ASKED, Lives
from e2e.stage import Stage, credential_class, policy, request, until

REST_SECONDS = 120.0
"""Between two rests, at which everything is compared."""
DRAIN_SECONDS = 240.0
STANDING = 5
"""Tasks that live all the while: what must not be missing."""
STANDING_ALONE = {f"standing-{number}": 1 for number in range(STANDING)}
BOTH = "standing-both"
"""One that holds a credential of each provider."""


def main() -> int:
    """Run it; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m e2e.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--kills", type=int, default=50, help="at least so many, or it fails")
    parser.add_argument("--rate", type=float, default=3.0, help="tasks a second")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--away", type=float, default=5.0, help="longest absence, seconds")
    parser.add_argument("--name", default=f"{places.default_name()}-soak")
    wish = parser.parse_args()
    cluster = ensure(wish.name, node=False)
    assert cluster.was_made_here()
    try:
        with (
            tempfile.TemporaryDirectory(prefix="taskpass-soak-") as directory,
            Proxy.of_kubeconfig(str(cluster.kubeconfig)) as proxy,
            running(durable=True) as server,
        ):
            furnish(server)
            told = soak(wish, str(cluster.kubeconfig), Path(directory), proxy, server)
    finally:
        remove(wish.name)
    print(json.dumps(told), flush=True)
    return 1 if told["problems"] else 0


def soak(
    wish: argparse.Namespace, kubeconfig: str, directory: Path, proxy: Proxy,
    server: PostgresServer,
) -> dict[str, Any]:  # fmt: skip
    """Run lives and deaths until the time is over; return what is printed."""
    began = time.monotonic()
    api = furnished(kubeconfig)
    furnish_cluster(api)
    environment = {
        "TASKPASS_WATCH_IDLE_SECONDS": "5", "TASKPASS_LOG_LEVEL": "warning",
        **environment_of(server, directory),
    }  # fmt: skip
    operator = OperatorProcess(kubeconfig, directory, environment=environment, server=proxy.url)
    stage = Databases(api, operator, server=server)
    deaths = Deaths(operator, proxy, wish.seed, wish.away, (*POINTS, *OF_DATABASES))
    lives = DatabaseLives(stage, wish.seed, wish.rate)
    downs = ServerDeaths(server, wish.seed)
    problems: list[str] = []
    rests = 0
    operator.start()
    for name in STANDING_ALONE:
        stage.begin(name)
    stage.begin(BOTH, credentials=[ROLE, request()])
    standing = {**STANDING_ALONE, BOTH: 2}
    lives.start()
    downs.start()
    try:
        end = began + 60 * wish.minutes
        while time.monotonic() < end:
            until_rest = min(end, time.monotonic() + REST_SECONDS)
            operator.kill()
            while time.monotonic() < until_rest:
                deaths.begin()
                deaths.live()
            rests += 1
            say(f"{time.monotonic() - began:.0f} s: {deaths.kills.total()} kills, "
                f"{lives.counts.total() + lives.failures.total()} lives; resting")  # fmt: skip
            downs.pause()
            problems += compared(stage, lives, standing)
            close(stage)
            lives.go_on()
            downs.go_on()
        downs.pause()
        lives.pause(DRAIN_SECONDS)
        problems += at_the_end(stage, lives)
    except Exception as error:
        problems.append(f"{type(error).__name__}: {error}")
        say(operator.tail(4000))
    finally:
        proxy.heal()
        downs.stop()
        lives.stop()
        close(stage)
        operator.stop()
        deaths.close()
    said, wrong = verified(operator.ledger)
    problems += wrong
    problems += [f"FAILED {text}" for text in lives.failures]
    problems += [f"ended by itself: {text}" for text in deaths.ended_by_itself]
    problems += downs.failures
    if deaths.kills.total() < wish.kills:
        problems.append(f"only {deaths.kills.total()} kills")
    return {
        "soak": "real",
        "seconds": round(time.monotonic() - began),
        "seed": wish.seed,
        "kills": deaths.kills.total(),
        "by_place": dict(sorted(deaths.kills.items())),
        "faults": dict(sorted((deaths.faults + downs.counts).items())),
        "lives": dict(sorted(lives.counts.items())),
        "tokens_seen": len(set(lives.tokens)),
        "rests_compared": rests,
        "left": {**left(stage), "roles": len(stage.roles()), "sessions": stage.sessions()},
        "audit_verify": said,
        "problems": problems,
    }


def furnished(kubeconfig: str) -> Api:
    """Install the chart, two classes, their policies, and who may delegate and approve."""
    api = Api.from_kubeconfig(kubeconfig)
    prepare(api, str(tools.helm()), kubeconfig)
    api.apply(thing("v1", "ConfigMap", TARGET, "read-me", data={"answer": "42"}))
    api.apply(credential_class("tickets"))
    api.apply(policy("triage", "tickets"))
    api.apply(credential_class(ASKED))
    api.apply(policy(ASKED, ASKED, approval={"approverGroups": ["support-leads"]}))
    ours = {"apiGroups": ["taskpass.dev"]}
    classes = {"resources": ["credentialclasses"], "resourceNames": [ASKED], "verbs": ["use"]}
    rules = [{**ours, **classes}, {**ours, "resources": ["agenttasks"], "verbs": ["delegate"]}]
    api.apply(cluster_role("soak", *rules))
    api.apply(binding("ClusterRoleBinding", "", "soak", "ClusterRole/soak", "User/alice"))
    leads = ("ClusterRole/taskpass-approver", "Group/support-leads")
    api.apply(binding("RoleBinding", TENANT, "leads", *leads))
    return api


def compared(stage: Stage, lives: Lives, standing: Mapping[str, int] = STANDING_ALONE) -> list[str]:
    """Let all lives end with a whole operator; nothing may be left, and nothing missing.

    `standing` has how many credentials each task holds that lives all the while.
    """
    stage.operator.start()
    lives.pause(DRAIN_SECONDS)
    for name in standing:
        until(partial(ready, stage, name), seconds=90, said=partial(stage.told, name))
    wanted = {name.replace("-", "_"): count for name, count in standing.items()}
    try:  # a renewal may be under way: for a moment there are two of one then
        until(
            partial(_holds, stage, wanted), seconds=90,
            said=lambda: [*(stage.told(n) for n in standing), stage.accounts()],
        )  # fmt: skip
    except AssertionError as error:
        return [f"at a rest: {error}"]
    return []


def close(stage: Databases) -> None:
    """Close what the lives have opened; the server has ended most of it."""
    while stage.open:
        stage.open.pop().close()


def _holds(stage: Stage, wanted: dict[str, int]) -> bool:
    try:
        stage.assert_holds(**wanted)
    except AssertionError:
        return False
    return True


def ready(stage: Stage, name: str) -> bool:
    """Tell whether a standing task holds what it asks for; renew one that ran out by hand."""
    conditions = stage.task(name).get("status", {}).get("conditions", [])
    found = {c["type"]: (c["status"], c["reason"]) for c in conditions}
    if found.get("CredentialsIssued") == ("False", "Revoked"):
        # A version that does not renew: a changed intent has everything decided anew.
        stage.change(name, {"intent": {"goal": f"Go on {time.monotonic():.0f}"}})
    return bool(found.get("Ready", ("", ""))[0] == "True")


def at_the_end(stage: Stage, lives: Lives) -> list[str]:
    """Delete what stands; nothing may be left, and no token may work."""
    stage.clear("")
    until(lambda: not any(left(stage).values()), seconds=90, said=lambda: left(stage))
    if isinstance(stage, Databases):
        until(lambda: not stage.roles(), seconds=90, said=stage.roles)
    problems = []
    if isinstance(stage, Databases) and (sessions := stage.sessions()):
        problems.append(f"{sessions} sessions of tasks are open")
    if held := stage.operator.metric("taskpass_grants_held"):
        problems.append(f"the operator holds {held:.0f} grants")
    time.sleep(10)  # the API server remembers for so long that a token was good
    for token in sorted({*lives.tokens, *stage.tokens}):
        if stage.known_to_token_review(token):
            problems.append("a token is still alive")
            break
    return problems


def verified(ledger: Path) -> tuple[str, list[str]]:
    """Verify the log; return the first line that was said, and what is wrong."""
    done = subprocess.run(
        [sys.executable, "-m", "taskpass", "audit", "verify", "--db", str(ledger)],
        capture_output=True, text=True, check=False, cwd=ROOT / "operator",
    )  # fmt: skip
    wrong = [f"audit verify: {done.stdout}{done.stderr}"] if done.returncode else []
    return done.stdout.split("\n")[0], wrong


def left(stage: Stage) -> dict[str, int]:
    """Count what exists of grants."""
    return {
        "service_accounts": len(stage.accounts()),
        "role_bindings": len(stage.bindings()),
        "secrets": len(stage.secrets()),
    }


def say(text: str) -> None:
    """Report progress, on standard error."""
    print(f"soak: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    os.environ.pop("TASKPASS_TEST_CONTROL_PLANE", None)
    sys.exit(main())
