"""A task's entries as people read them: who, what, when, in at most 100 columns."""

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from taskpass.core.model.entry import PREFIX
from taskpass.ledger.query.timeline import Timeline

WIDTH = 100
_STEPS = {
    "workload.attest": "attest",
    "credential.issue": "issue",
    "credential.deliver": "deliver",
    "credential.deny": "deny",
    "credential.revoke": "revoke",
    "task.phase": "phase",
    "task.save": "save",
    "task.suspend": "suspend",
    "task.resume": "resume",
    "approval.ask": "ask",
    "approval.give": "give",
    "task.finish": "finish",
    "task.forget": "forget",
    "task.retell": "retell",
    "workload.forget": "unbind",
    "budget.hold": "hold",
    "orphan.undo": "orphan",
    "kill_switch.throw": "kill",
    "kill_switch.lift": "lift",
    "log.genesis": "begin",
    "log.open": "open",
    "log.key_rotate": "rotate",
    "log.prune": "prune",
    "log.retell": "retell",
    "log.re_origin": "forgot",
    "privacy.erase": "erase",
}


def lines(told: Timeline) -> Iterator[str]:
    """Return the lines of a timeline."""
    yield _head("INDEX", "TIME (UTC)", "STEP", "OUTCOME") + "WHAT"
    uid = day = ""
    for index, event in told.entries:
        data = event["data"]
        if data["task"]["uid"] != uid:
            uid = data["task"]["uid"]
            yield from _wrapped("", f"{told.task}, uid {uid}")
        date, _, time = event["time"].partition("T")
        if date != day:
            day = date
            yield day
        step, outcome, what = told_of(event)
        if by := _by(data.get("by"), told.people):
            what += f"; {by}"
        yield from _wrapped(_head(index, time[:12], step, outcome), what)


def line(index: int, event: Mapping[str, Any]) -> str:
    """Return one line for an entry, for lists of entries of many tasks."""
    step, outcome, what = told_of(event)
    about = event.get("subject", "-")
    text = f"{index:>6}  {event['time'][:19]}Z  {step:<7}  {outcome:<7}  {about}  {what}".rstrip()
    return plain(text)


def told_of(event: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return what an entry tells: step, outcome, and the rest in words."""
    data = event["data"]
    kind = event["type"].removeprefix(PREFIX)
    step = _STEPS.get(kind, kind)
    outcome = "intent" if data.get("stage") == "intent" else str(data.get("outcome", "?"))
    try:
        return step, outcome, _what(step, data)
    except (KeyError, TypeError):  # an entry of a later version
        return step, outcome, "cannot be told by this version; --json shows it"


def plain(text: str) -> str:
    """Return the text with nothing in it that could move the reader's cursor.

    Names and resources are a tenant's words.
    """
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _head(index: object, time: str, step: str, outcome: str) -> str:
    return f"{index:>6}  {time:<12}  {step:<7}  {outcome:<7}  "


def _what(step: str, data: Mapping[str, Any]) -> str:
    cred = data.get("cred", {})
    task = data.get("task", {})
    first = data["stage"] == "intent"
    late = ", found at a start and undone" if data.get("recovered") else ""
    match step:
        case "issue" if first:
            where = f" at {cred['location']}" if cred.get("location") else ""
            renews = f", renews grant {cred['renews']}" if cred.get("renews") else ""
            return (
                f"{cred['name']}: {_asked(cred)}{where} for {cred['ttl']} s, of class "
                f"{cred['class']}, to {task['agent']}, allowed by {data['policy']['name']}{renews}"
            )
        case "issue" if data["outcome"] == "success":
            return f"{cred['name']} is issued until {cred['exp'][11:19]}, grant {cred['ref']}"
        case "issue":
            return f"{cred['name']} is not known to be issued ({data.get('error', '?')}{late})"
        case "deliver":
            return f"{cred['name']} is in front of the pod"
        case "revoke" if first:
            return f"{cred['name']} is to be taken back: {data['reason']}"
        case "revoke":
            return f"{cred['name']} is gone, proven by {cred['provider']}"
        case "deny":
            by = f" by {data['policy']['name']}" if data["policy"]["name"] else ""
            why = data["decision"]["reason_code"]
            return f"{data['request']} of class {cred['class']} is refused{by}: {why}"
        case "attest" if data["outcome"] == "success":
            return f"pod {data['pod']['name']} is the agent, attempt {data['pod']['attempt']}"
        case "attest":
            return f"pod {data['pod']['name']} is not the agent: {data['attest']['result']}"
        case "phase":
            return f"from {data['phase_from'] or '(none)'} to {data['phase']}"
        case "save":
            told = data["savepoint"]
            return f"the task has come to {told['step']} (sha256:{told['sha256'][:8]}…)"
        case "suspend":
            return f"suspended, {data['suspend']}: nothing is issued until it goes on"
        case "resume":
            return f"it goes on; it was suspended, {data['suspend']}"
        case "ask":
            return f"people are asked to approve {_approval(data)}"
        case "give":
            said = data["decision"]["reason_code"].lower()
            return f"{said}: {_approval(data)}" + (f" ({data['reason']})" if data["reason"] else "")
        case "finish" if first:
            return f"it is to end as {data['finish']}"
        case "finish":
            return f"{data['finish']}, nothing is held any more"
        case "forget":
            return f"the task's object is gone, {data['owed']} credentials are still owed"
        case "retell" if "task" in data:
            return "what the log told of it before is told again, as those entries are archived"
        case "retell":
            return "of which tasks pods are, and whom the log means: told again"
        case "hold":
            told = ", ".join(f"{count} {what}" for what, count in sorted(data["held"].items()))
            return f"of {data['tasks']} tasks in {data['ns']} was held back: {told}"
        case "orphan":
            return f"{cred['ref']} at {cred['provider']} had no grant, and is removed"
        case _:
            return _of_log(step, data)


def _approval(data: Mapping[str, Any]) -> str:
    told = data["approval"]
    what = told.get("credential") or f"the move to {told.get('branch')}"
    return f"{what} ({told['digest'][:15]}…)"


def _of_log(step: str, data: Mapping[str, Any]) -> str:
    match step:
        case "kill":
            told = data["kill_switch"]
            where = "/".join(told[key] for key in ("ns", "of") if key in told)
            return f"KillSwitch {told['name']} stops {told['target']} {where}: {data['reason']}"
        case "lift":
            return f"KillSwitch {data['kill_switch']['name']} is lifted"
        case "begin":
            return f"the log begins, with key {data['vkey']}"
        case "open":
            return f"{data['instance']} took it over, the {data['epoch']}. time"
        case "rotate":
            return f"the key is another from here on: {data['vkey']}"
        case "prune":
            return f"the entries before {data['min_index']} are absent by policy"
        case "forgot":
            size = data["forgot"]["size"]
            return f"a person had the cluster forget it at size {size}: {data['reason']}"
        case "erase":
            return f"what was known of {data['ref']} is erased"
    return ""


def _by(by: object, people: Mapping[str, str] | None) -> str:
    """Return who asked, and who answers for it; a reference where the name was erased.

    Of whom an entry speaks was either named by an opened commitment, or erased, as another entry
    says. Where no names are to be had (`people` is None) a reference stands for itself.
    """
    if not isinstance(by, Mapping):
        return ""
    names = {
        role: who.get("name") or _named(str(who.get("ref", "?")), people)
        for role, who in by.items()
        if isinstance(who, Mapping)
    }
    words = (("requester", "asked for by"), ("sponsor", "sponsor"), ("approver", "by"))
    return ", ".join(f"{word} {names[role]}" for role, word in words if role in names)


def _named(ref: str, people: Mapping[str, str] | None) -> str:
    return ref if people is None else people.get(ref, f"{ref} (erased)")


def _asked(cred: Mapping[str, Any]) -> str:
    what = ", ".join(cred["actions"])
    return f"{what} on {', '.join(cred['resources'])}" if cred["resources"] else what


def _wrapped(head: str, text: str) -> list[str]:
    wrapped = textwrap.wrap(plain(text), WIDTH - len(head), break_on_hyphens=False) or [""]
    return [head + wrapped[0], *(" " * len(head) + line for line in wrapped[1:])]
