"""What happens in the demo, in order. Each function is a chapter."""

import base64
import json
import textwrap
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from e2e.demo.stage import EXAMPLES, GRANTS, SYSTEM, TARGET, TENANT, Stage, claim, events, taking
from e2e.demo.telling import MARGIN, Telling

AGENT = f"system:serviceaccount:{TENANT}:triage-agent"
READ, ANSWER, DENIED = "ticket-4711", "ticket-4712", "ticket-4713"
TICKET = f"/api/v1/namespaces/{TARGET}/configmaps/{READ}"


@dataclass(frozen=True)
class Held:
    """What the first task held, as the demo remembers it."""

    grant: str
    token: str


def tell(stage: Stage, telling: Telling) -> None:
    """Tell the whole story.

    Raises:
        DidNotComeOut: A step did not do what it should.

    """
    telling.plain("taskpass: an AI agent gets the credentials of one task, and loses them with it")
    install(stage, telling)
    held = allowed(stage, telling)
    over(stage, telling, held)
    phases(stage, telling)
    denied(stage, telling)
    record(stage, telling, held)
    farewell(stage, telling)


def farewell(
    stage: Stage, telling: Telling, still: str = "All of this is still there. Look around, then"
) -> None:
    """Say what is still there."""
    telling.plain()
    telling.plain(f"{still} take it away:")
    name, make = ("", "") if stage.is_default else (f" --name {stage.name}", f" NAME={stage.name}")
    kubectl = f".venv/bin/python -m e2e.cluster kubectl{name}"
    telling.plain(f"  {kubectl} get agenttasks -A")
    telling.plain(f"  export KUBECONFIG={stage.cluster.kubeconfig}")
    telling.plain(f"  make cluster-down{make}")


def install(stage: Stage, telling: Telling) -> None:
    """A cluster, and the operator in it, ready."""
    telling.heading("A cluster, and taskpass in it")
    start(stage, telling)
    stage.install()
    ready(stage, telling)
    stage.clear()


def start(stage: Stage, telling: Telling) -> None:
    """A cluster, started now or found running."""
    version = stage.start_cluster()
    telling.say(f"Kubernetes {version} runs ({stage.cluster.way})")


def ready(stage: Stage, telling: Telling) -> None:
    """What the operator, just installed, says of itself."""
    checks = stage.lines(
        "get", "--raw", f"/api/v1/namespaces/{SYSTEM}/services/taskpass:http/proxy/readyz"
    )
    claim(all(line.endswith(": ok") for line in checks), f"the operator says of itself: {checks}")
    named = ", ".join(line.removesuffix(": ok") for line in checks)
    telling.say(f"The chart is installed, and the operator says that it is ready ({named})")


def allowed(stage: Stage, telling: Telling) -> Held:
    """A task whose agent gets what it asked for."""
    telling.heading("A task that is allowed")
    command = ("auth", "can-i", "get", "configmaps", "-n", TARGET, "--as", AGENT)
    by_itself = stage.kubectl(*command, check=False).strip()
    claim(by_itself == "no", f"triage-agent may read tickets by itself: {by_itself}")
    telling.say(f"May ServiceAccount triage-agent read ConfigMaps in '{TARGET}'?  {by_itself}")
    telling.say("kubectl apply -f examples/01-first-task/  (an AgentTask, a Job with its label, …)")
    with stage.applying(EXAMPLES / "01-first-task"):
        stage.wait("the pod", lambda: stage.pods_of(READ))
        with taking() as since:
            given = stage.wait("the credential", lambda: stage.credentials_or_why(READ))
            token = given["tickets.token"]
            telling.say(f"The pod waits; its credential is there {since()} after it:")
        telling.show([f"Secret taskpass-{READ}: " + ", ".join(sorted(given))], hang=4)
        status, _ = stage.answer_to(token, TICKET)
        claim(status == 200, f"the token that was issued is answered {status}")
    said = stage.wait("the agent's words", lambda: stage.log_of(READ))
    telling.say("The pod runs. Its agent has read the ticket:")
    telling.show(said)
    return Held(grant=subject_of(token), token=token)


def over(stage: Stage, telling: Telling, held: Held) -> None:
    """The task ends, and everything that it held is gone."""
    telling.heading("The task is over, and so is what it held")
    telling.say(f"AgentTask {READ} is Finished: {finished(stage, READ)}")
    secret = stage.exists("Secret", TENANT, f"taskpass-{READ}")
    account = stage.exists("ServiceAccount", GRANTS, held.grant)
    bindings = stage.kubectl("-n", TARGET, "get", "rolebindings", "--output", "name").split()
    left = [name for name in bindings if held.grant in name]
    claim(not (secret or account or left), f"left: {secret=} {account=} {left=}")
    telling.say(f"Gone: Secret taskpass-{READ}; RoleBinding and ServiceAccount of the grant,")
    telling.plain(" " * MARGIN + held.grant)
    status, _ = stage.answer_to(held.token, TICKET)
    claim(status in (401, 403), f"the old token is still answered {status}")
    telling.say(f"A copy of its token, which we kept, is answered {said_of(status)}")


def phases(stage: Stage, telling: Telling) -> None:
    """A task moves from one phase to the next, seen from inside its pod."""
    telling.heading("A task in two phases, as its agent sees it from inside the pod")
    telling.say("kubectl apply -f examples/02-phases/")
    stage.apply(EXAMPLES / "02-phases")
    before = stage.wait("the agent's first look", lambda: stage.log_of(ANSWER))
    telling.show(before)
    telling.say(f"kubectl patch agenttask {ANSWER}  (spec.phase: reply)")
    stage.kubectl(
        *("-n", TENANT, "patch", "agenttask", ANSWER, "--type", "merge"),
        *("--patch", '{"spec": {"phase": "reply"}}'),
    )
    with taking() as since:

        def answered() -> list[str]:
            new = stage.log_of(ANSWER)[len(before) :]
            return new if any("phase reply" in line for line in new) else []

        after = stage.wait("the agent's look at phase reply", answered)
        took = since()
    telling.show(after)
    telling.say(f"Files of the running container changed, and were used, within {took}")
    claim("read 200, answer 403" in before[-1], f"in research the agent saw: {before[-1]}")
    claim("answer 200" in after[-1], f"in reply the agent saw: {after[-1]}")


def denied(stage: Stage, telling: Telling) -> None:
    """A task that asks for what no policy allows."""
    telling.heading("A task that policy denies: it asks to answer tickets, without a phase 'reply'")
    telling.say("kubectl apply -f e2e/demo/denied.yaml; kubectl describe pod " + DENIED)
    stage.apply(Path(__file__).with_name("denied.yaml"))

    def told() -> list[str]:
        return events(stage.lines("-n", TENANT, "describe", "pod", DENIED))

    telling.show(stage.wait("the Event on the pod", told), hang=19)
    claim(not stage.credentials(DENIED), "a Secret was written for a task that was denied")
    table = stage.lines("-n", TENANT, "get", "pod", DENIED)
    claim("SchedulingGated" in table[-1], f"the pod was not held back: {table}")
    telling.show(table)


def record(stage: Stage, telling: Telling, held: Held) -> None:
    """The same story from the cluster's Events and from the signed log."""
    telling.heading("What is on record")
    finished(stage, ANSWER)
    telling.say("kubectl get agenttasks")
    telling.show(stage.lines("-n", TENANT, "get", "agenttasks"))
    telling.say(f"kubectl describe agenttask {ANSWER}  (its Events)")
    told = events(stage.lines("-n", TENANT, "describe", "agenttask", ANSWER))
    claim(told, f"AgentTask {ANSWER} has no Events")
    telling.show(told, hang=19)
    telling.say(f"taskpass audit timeline {READ}  (in the operator's pod)")
    telling.show(latest(stage.taskpass("audit", "timeline", f"{TENANT}/{READ}")), hang=44)
    telling.say("taskpass audit verify  (likewise)")
    verified = stage.taskpass("audit", "verify", "--anchor")
    claim(verified[:1] and verified[0].startswith("OK"), f"the log does not hold: {verified}")
    telling.show(line for line in verified if not line.startswith(("key ", " ")))

    def dead() -> bool:
        return stage.answer_to(held.token, TICKET)[0] == 401

    # The API server remembers for 10 s that a token is good; its rights went at once.
    stage.wait("the end of the old token", dead, seconds=30)
    telling.say("The copy of the first task's token by now: " + said_of(401))


def finished(stage: Stage, task: str) -> str:
    """Wait until a task is over; return why. It must have succeeded."""

    def reason() -> str:
        condition = stage.conditions(task).get("Finished", {})
        return condition.get("reason", "") if condition.get("status") == "True" else ""

    why: str = stage.wait(f"the end of task {task}", reason)
    claim(why == "Succeeded", f"task {task} finished: {why}")
    return why


def said_of(status: int) -> str:
    """Return a status as HTTP names it."""
    return f"{status} {HTTPStatus(status).phrase}"


def subject_of(token: str) -> str:
    """Return the name of the ServiceAccount that a token is of: the grant's id."""
    body = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    name: str = claims["kubernetes.io"]["serviceaccount"]["name"]
    return name


def latest(timeline: list[str]) -> list[str]:
    """Return the heading, the last task UID's part and the last line; earlier runs are left out."""
    starts = [i for i, line in enumerate(timeline) if ", uid " in line]
    if not starts:
        return timeline
    rows = [line for line in timeline[starts[-1] + 1 : -1] if line.startswith(" ")]
    table = textwrap.dedent("\n".join([timeline[0], *rows]))
    return [*table.splitlines(), timeline[-1]]
