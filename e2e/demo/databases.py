"""What `make demo-databases` tells. Each function is a chapter."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from e2e.demo.life import folded
from e2e.demo.listed import listed
from e2e.demo.server import Database, database
from e2e.demo.stage import TENANT, Stage, claim, events
from e2e.demo.story import farewell, latest, start
from e2e.demo.telling import DidNotComeOut, Telling

EXAMPLE = "examples/05-databases/"
CLASS, TASK = "tickets-db", "ticket-4716"
OURS = f"kubectl -n {TENANT}"


def tell(stage: Stage, telling: Telling) -> None:
    """Tell the whole story.

    Raises:
        DidNotComeOut: A step did not do what it should.

    """
    telling.plain("taskpass: an AI agent gets a role of its own in a database, for one task")
    telling.heading("A cluster, and a PostgreSQL server beside it")
    start(stage, telling)
    with database(stage.cluster.host_address()) as db, listed(stage, telling, db):
        before = roles(telling, db)
        kept = reads(stage, telling, db)
        leaves(stage, telling, db, kept)
        gone(stage, telling, db, before, kept)
        record(stage, telling)
        over(stage, telling)
    telling.say("The server has ended, and taskpass knows of it no more")
    farewell(stage, telling, "taskpass is still there, with its log. Look around, then")


def roles(telling: Telling, db: Database) -> list[str]:
    """Show the roles of the server before anything is asked for."""
    telling.say("psql, as the server's superuser: \\du")
    before = db.psql("\\du")
    claim("taskpass-g-" not in "".join(before), f"there is a role of a grant: {before}")
    telling.show(before)
    return before


def reads(stage: Stage, telling: Telling, db: Database) -> dict[str, str]:
    """The agent gets a role and reads; return the credential as somebody would who copied it."""
    telling.heading("An agent reads a table, with a role of its own")
    run(stage, telling, f"kubectl apply -f {EXAMPLE}")
    try:
        run(stage, telling, f"kubectl wait credentialclass/{CLASS} --for=condition=Ready")
    except DidNotComeOut as failure:
        status = stage.api.get("CredentialClass", "", CLASS).get("status", {})
        raise DidNotComeOut(f"{failure}\n{status.get('conditions')}") from failure
    telling.show(run(stage, telling, f"kubectl get credentialclass {CLASS} -o wide"))
    given = stage.wait("the credential", lambda: stage.credentials_or_why(TASK))
    kept = {key.removeprefix("tickets."): value for key, value in given.items()}
    waits = f"{OURS} wait pod --selector job-name={TASK} --for=condition=Ready --timeout=60s"
    run(stage, telling, waits)
    told = run(stage, telling, f"{OURS} logs job/{TASK}")
    claim(len(told) == 2 and "on fire again" in told[1], f"the agent says: {told}")
    telling.show(told, hang=13)
    telling.say(f"{OURS} describe agenttask {TASK}  (its Events)")
    telling.show(told_by(stage, "CredentialIssued"), hang=19)
    for command in ["\\du taskpass-*", *(["\\drg taskpass-*"] if db.is_later else [])]:
        telling.say(f"psql --expanded: {command}")
        now = db.psql(command, "--expanded")
        claim(kept["username"] in "".join(now), f"the server has no such role: {now}")
        telling.show(now)
    return kept


def leaves(stage: Stage, telling: Telling, db: Database, kept: dict[str, str]) -> None:
    """The task goes where it may not, while its transaction is open."""
    telling.heading("The task leaves its path, in the middle of the transaction")
    move = """--type merge --patch '{"spec": {"phase": "close"}}'"""
    seen = len(stage.log_of(TASK))
    with ThreadPoolExecutor(1) as pool:
        watching = pool.submit(db.watch, kept["username"])
        began = time.time()
        run(stage, telling, f"{OURS} patch agenttask {TASK} {move}")
        came_back = time.time()
        end = watching.result()
    telling.say(
        f"It was typed at {clock(began)} UTC, and kubectl was back after {came_back - began:.2f} s"
    )
    telling.say("What the server's superuser saw, and how long after it was typed:")
    for moment, what in (
        (end.groups, "the role is in no group any more: a statement is refused"),
        (end.sessions, "it has no session any more: its transaction is rolled back"),
        (end.role, "the role is dropped"),
    ):
        telling.show([f"{clock(moment)} {what} ({moment - began:.2f} s)"])

    def cut() -> list[str]:
        new = stage.log_of(TASK)[seen:]
        return new if len(new) == 3 else []

    told = stage.wait("the agent's words", cut)
    claim("cut after" in told[0] and "cannot log in" in told[1], f"the agent says: {told}")
    telling.say("What the agent saw, in its pod:")
    telling.show(told, hang=13)


def gone(
    stage: Stage, telling: Telling, db: Database, before: list[str], kept: dict[str, str]
) -> None:
    """Nothing of the role is left, for anybody."""
    telling.heading("The role is gone")
    telling.say("psql, as the server's superuser: \\du")
    after = db.psql("\\du")
    claim(after == before, f"the roles are not those from before: {after}")
    telling.show(after)
    telling.say(f"A copy of its password, which we kept: {db.refusal(kept)}")

    def stalled() -> list[str]:
        table = stage.lines("-n", TENANT, "get", "agenttask", TASK)
        return table if "UnapprovedBranch" in table[-1] else []

    telling.say(f"{OURS} get agenttask {TASK}")
    telling.show(stage.wait("what the task says of it", stalled))
    telling.say("Its condition Stalled:")
    telling.show([stage.conditions(TASK)["Stalled"]["message"]])


def record(stage: Stage, telling: Telling) -> None:
    """The same story from the signed log."""
    telling.heading("What is on record")
    telling.say(f"taskpass audit timeline {TASK}  (in the operator's pod)")
    told = folded(latest(stage.taskpass("audit", "timeline", f"{TENANT}/{TASK}")))
    claim("proven by PostgreSQL" in "".join(told), f"the log does not tell it: {told}")
    telling.show(told[:-1], hang=39)
    telling.say("taskpass audit verify  (likewise)")
    verified = stage.taskpass("audit", "verify", "--anchor")
    claim(verified[:1] and verified[0].startswith("OK"), f"the log does not hold: {verified}")
    telling.show(verified[:1])


def over(stage: Stage, telling: Telling) -> None:
    """Nothing is owed; then the class may go, and the server."""
    telling.heading("It is over")
    run(stage, telling, f"kubectl delete -f {EXAMPLE}")
    owed = stage.taskpass("pending")
    claim(owed == ["Nothing is pending."], f"taskpass pending: {owed}")
    telling.say("taskpass pending: " + " ".join(owed))


def run(stage: Stage, telling: Telling, line: str) -> list[str]:
    """Say a command, run it, and return what it prints."""
    telling.say(line)
    return stage.shell(line).splitlines()


def told_by(stage: Stage, reason: str) -> list[str]:
    """Return the Events of the task with a reason, once there is one."""

    def told() -> list[str]:
        every = events(stage.lines("-n", TENANT, "describe", "agenttask", TASK))
        return [each for each in every if each.startswith(reason)]

    found: list[str] = stage.wait(f"the Event {reason}", told)
    return found


def clock(moment: float) -> str:
    """Return a time of day as the agent and the log print it."""
    return f"{datetime.fromtimestamp(moment, UTC):%H:%M:%S.%f}"[:-3]
