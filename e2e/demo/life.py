"""The long life of a task, as `make demo-life` tells it. Each function is a chapter."""

import re
from functools import partial
from pathlib import Path

from e2e.demo.stage import EXAMPLES, SYSTEM, TENANT, Stage, claim, taking
from e2e.demo.story import farewell, install
from e2e.demo.telling import Telling

HERE = Path(__file__).with_name("life")
INCIDENT, SEARCH = "incident-17", "search-17"
READS, NOTHING = "reads the ticket", "has no credential"
LEAD = "--as lea --as-group support-leads"


def tell(stage: Stage, telling: Telling) -> None:
    """Tell the whole story.

    Raises:
        DidNotComeOut: A step did not do what it should.

    """
    telling.plain("taskpass: a task that waits for people, rests, delegates, and is stopped")
    install(stage, telling)
    stage.kubectl("delete", "killswitch", "--all", "--wait")
    stage.apply(EXAMPLES / "01-first-task")
    stage.apply(HERE / "00-policy.yaml")
    stage.apply(HERE / "01-approval.yaml")
    approval(stage, telling)
    rest(stage, telling)
    delegation(stage, telling)
    policy(stage, telling)
    stop(stage, telling)
    record(stage, telling)
    farewell(stage, telling)


def approval(stage: Stage, telling: Telling) -> None:
    """Nothing is issued before somebody has approved."""
    telling.heading("It waits for a person")
    telling.say(f"kubectl apply -f e2e/demo/life/02-incident.yaml  (AgentTask and Job {INCIDENT})")
    stage.apply(HERE / "02-incident.yaml")
    waits(stage, telling)
    table = stage.lines("-n", TENANT, "get", "pods", "--selector", f"taskpass.dev/task={INCIDENT}")
    claim("SchedulingGated" in table[-1], f"the pod was not held back: {table}")
    telling.show(table)
    approve(stage, telling, "looked at the printer")
    agents_say(stage, telling, {INCIDENT: READS})


def rest(stage: Stage, telling: Telling) -> None:
    """Suspended, it holds nothing; what it gets afterwards is approved and issued anew."""
    telling.heading("It rests, and goes on")
    old = stage.credentials(INCIDENT)["tickets.token"]
    with taking() as since:
        mode(stage, "Suspended")
        telling.say(f"kubectl patch agenttask {INCIDENT}  (operatingMode: Suspended)")
        gone(stage, INCIDENT)
        telling.say(f"Its credential is taken back and its Secret is gone, {since()} after that")
    agents_say(stage, telling, {INCIDENT: NOTHING})
    mode(stage, "Running")
    telling.say(f"kubectl patch agenttask {INCIDENT}  (operatingMode: Running)")
    waits(stage, telling)
    approve(stage, telling, "they go on today")
    agents_say(stage, telling, {INCIDENT: READS})
    status, _ = stage.answer_to(old, "/api/v1/namespaces/tickets/configmaps/ticket-4711")
    claim(status in (401, 403), f"the old token is answered {status}")
    telling.say(f"A copy of the token from before, which we kept, is answered {status}")


def delegation(stage: Stage, telling: Telling) -> None:
    """A child gets a part of what it holds."""
    telling.heading("It delegates a part of its work")
    telling.say(f"kubectl apply -f e2e/demo/life/03-search.yaml  (parentRef: {INCIDENT})")
    stage.apply(HERE / "03-search.yaml")
    agents_say(stage, telling, {SEARCH: READS})
    telling.say(f"taskpass tree {TENANT}/{SEARCH}")
    drawn = stage.shell(f"taskpass tree {TENANT}/{SEARCH}").splitlines()
    claim(len(drawn) == 2, f"the family is {drawn}")
    telling.show(drawn)


def policy(stage: Stage, telling: Telling) -> None:
    """What policy no longer allows is taken back, from the child as well."""
    telling.heading("Policy changes its mind")
    with taking() as since:
        stage.kubectl("-n", TENANT, "delete", "agentpolicy", "triage")
        telling.say("kubectl delete agentpolicy triage")
        gone(stage, INCIDENT, SEARCH)
        telling.say(f"Neither holds anything, {since()} after that")
    agents_say(stage, telling, {INCIDENT: NOTHING, SEARCH: NOTHING})
    telling.show(stage.lines("-n", TENANT, "get", "agenttasks"))
    stage.apply(HERE / "00-policy.yaml")
    telling.say("kubectl apply -f e2e/demo/life/00-policy.yaml  (the policy is back)")
    waits(stage, telling)
    approve(stage, telling, "it was a mistake")
    agents_say(stage, telling, {INCIDENT: READS, SEARCH: READS})


def stop(stage: Stage, telling: Telling) -> None:
    """A kill switch takes back all that the agent holds, whatever the tasks are called."""
    telling.heading("It is stopped")
    command = f"taskpass revoke --agent {TENANT}/triage-agent --name demo --reason 'INC-42, a demo'"
    telling.say(command)
    telling.show(stage.shell(command).splitlines())
    agents_say(stage, telling, {INCIDENT: NOTHING, SEARCH: NOTHING})
    telling.show(stage.lines("-n", TENANT, "get", "agenttasks"))
    telling.say("taskpass lift demo; kubectl delete agenttasks --all")
    stage.shell("taskpass lift demo")
    stage.clear()


def record(stage: Stage, telling: Telling) -> None:
    """The same story from the signed log."""
    telling.heading("What is on record")
    telling.say(f"taskpass audit timeline {INCIDENT}  (in the operator's pod; its end)")
    told = folded(stage.taskpass("audit", "timeline", f"{TENANT}/{INCIDENT}"))
    steps = [line for line in told if re.search(r" (ask|give|suspend|resume|forget) ", line)]
    claim(len(steps) >= 8, f"the log does not tell it: {told}")
    telling.show(steps[-9:], hang=44)
    telling.say("taskpass audit verify  (likewise)")
    verified = stage.taskpass("audit", "verify", "--anchor")
    claim(verified[:1] and verified[0].startswith("OK"), f"the log does not hold: {verified}")
    telling.show(verified[:1])
    owed = stage.lines("-n", SYSTEM, "exec", "deploy/taskpass", "--", "taskpass", "pending")
    telling.say("taskpass pending: " + " ".join(owed))


def folded(timeline: list[str]) -> list[str]:
    """Return one line for each entry of a timeline, which wraps them."""
    lines: list[str] = []
    for line in timeline:
        if lines and line.startswith(" " * 20):
            lines[-1] += f" {line.strip()}"
        else:
            lines.append(line)
    return lines


def waits(stage: Stage, telling: Telling) -> None:
    """Wait until people are asked, and show what for."""

    def asked() -> bool:
        suspended = stage.conditions(INCIDENT).get("Suspended", {})
        return bool(suspended.get("reason") == "AwaitingApproval")

    stage.wait("the question", asked)
    command = f"taskpass approvals --namespace {TENANT}"
    telling.say(f"It holds nothing before a lead approves: {command}")
    telling.show(stage.shell(command).splitlines(), hang=4)


def approve(stage: Stage, telling: Telling, reason: str) -> None:
    """Have lea approve what is asked."""
    command = f"taskpass approve {TENANT}/{INCIDENT} {LEAD} --yes --reason '{reason}'"
    telling.say(command)
    said = stage.shell(command).splitlines()
    shown = [line for line in said if not line.startswith((" ", "{", "}"))]
    telling.show(shown)


def mode(stage: Stage, name: str) -> None:
    """Suspend the incident, or have it go on."""
    patch = f'{{"spec": {{"operatingMode": "{name}"}}}}'
    what = ("-n", TENANT, "patch", "agenttask", INCIDENT, "--type", "merge", "--patch", patch)
    stage.kubectl(*what)


def gone(stage: Stage, *tasks: str) -> None:
    """Wait until tasks hold nothing and have no Secret."""

    def nothing() -> bool:
        live = [stage.api.get("AgentTask", TENANT, task) for task in tasks]
        held = [each.get("status", {}).get("grants") for each in live]
        return not any(held) and not any(stage.credentials(task) for task in tasks)

    stage.wait("the end of what is held", nothing)


def agents_say(stage: Stage, telling: Telling, expected: dict[str, str]) -> None:
    """Wait until the agents say what is expected, and how long that took since they were asked."""
    with taking() as since:
        for task, words in expected.items():
            says = partial(_last_words, stage, task, words)
            stage.wait(f"'{words}' from the agent of {task}", says)
            telling.say(f'The agent of {task}, in its pod: "{words}" ({since()})')


def _last_words(stage: Stage, task: str, words: str) -> bool:
    return stage.log_of(task)[-1:] == [words]
