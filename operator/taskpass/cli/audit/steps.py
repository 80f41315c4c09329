"""What an entry tells, in words of ours; what others wrote stands apart from them.

Of the names in it those that people choose freely are shown as one word each
(`core/model/text.py`).
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from taskpass.core.model.entry import PREFIX
from taskpass.core.model.text import plain, quoted, word

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
_REASONED = ("give", "kill", "forgot")
"""Steps whose reason is what somebody wrote, and no word of ours."""


class StepText(NamedTuple):
    """What an entry tells."""

    step: str
    outcome: str
    what: str
    words: str = ""
    """What somebody wrote of it, in quotes; '' where nobody did. It comes after who that was."""


def describe(event: Mapping[str, Any]) -> StepText:
    """Return what an entry tells; of one of a later version, that it cannot be told."""
    data = event["data"]
    kind = event["type"].removeprefix(PREFIX)
    step = _STEPS.get(kind, kind)
    outcome = "intent" if data.get("stage") == "intent" else str(data.get("outcome", "?"))
    try:
        what = _what(step, data, event["time"])
    except (KeyError, TypeError):
        what = "cannot be told by this version; --json shows it"
        return StepText(step, outcome, what + _clock(data))
    said = data.get("reason") if step in _REASONED else ""
    return StepText(step, outcome, what + _clock(data), quoted(str(said)) if said else "")


def _clock(data: Mapping[str, Any]) -> str:
    """Say when it was where the entry's time is another: in a log no time is before the last."""
    if "clk" not in data:
        return ""
    said = f"{str(data['at'])[:19]}Z" if "at" in data else "an earlier time"
    return f" (the clock said {said}, and had been ahead before)"


def _what(step: str, data: Mapping[str, Any], at: str) -> str:
    cred = data.get("cred", {})
    task = data.get("task", {})
    first = data["stage"] == "intent"
    late = ", found at a start and undone" if data.get("recovered") else ""
    match step:
        case "issue" if first:
            where = f" at {word(cred['location'])}" if cred.get("location") else ""
            renews = f", renews grant {cred['renews']}" if cred.get("renews") else ""
            return (
                f"{cred['name']}: {_asked(cred)}{where} for {cred['ttl']} s, of class "
                f"{cred['class']}, to {task['agent']}, allowed by {data['policy']['name']}{renews}"
            )
        case "issue" if data["outcome"] == "success":
            gives = f"; it gives {plain(data['gives'])}" if data.get("gives") else ""
            until = _until(cred["exp"], at)
            return f"{cred['name']} is issued until {until}, grant {cred['ref']}{gives}"
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
            left = word(data["phase_from"]) if data["phase_from"] else "(none)"
            return f"from {left} to {word(data['phase'])}"
        case "save":
            saved = data["savepoint"]
            return f"the task has come to {word(saved['step'])} (sha256:{saved['sha256'][:8]}…)"
        case "suspend":
            return f"suspended, {data['suspend']}: nothing is issued until it goes on"
        case "resume":
            return f"it goes on; it was suspended, {data['suspend']}"
        case "orphan":
            return f"{cred['ref']} at {cred['provider']} had no grant, and is removed"
        case _:
            return _of_task(step, data) or _of_log(step, data)


def _of_task(step: str, data: Mapping[str, Any]) -> str:
    first = data["stage"] == "intent"
    match step:
        case "ask":
            return f"people are asked to approve {_approval(data)}"
        case "give":
            return f"{data['decision']['reason_code'].lower()}: {_approval(data)}"
        case "finish" if first:
            return f"it is to end as {data['finish']}"
        case "finish":
            return f"{data['finish']}, nothing is held any more"
        case "forget":
            return (
                f"the task's object is gone, {data['owed']} credentials are still to be taken back"
            )
        case "retell" if "task" in data:
            return f"told again, as those entries are archived: {_told_again(data)}"
        case "retell":
            return "of which tasks pods are, and whom the log means: told again"
        case "hold":
            counts = ", ".join(f"{count} {what}" for what, count in sorted(data["held"].items()))
            return f"of {data['tasks']} tasks in {data['ns']} was held back: {counts}"
    return ""


def _told_again(data: Mapping[str, Any]) -> str:
    """Return what an entry says again of a task, of which it may be a further part."""
    if "digest" in data:
        what = _approval({"approval": {**data["what"], "digest": data["digest"]}})
        return f"people are asked to approve {what}, {len(data['given'])} words on it are given"
    if data["part"]:
        return "the images of its pod"
    said = []
    if pod := data.get("pod"):
        said.append(f"pod {pod['name']} is the agent, attempt {pod['attempt']}")
    if data.get("phase"):
        said.append(f"it is in the phase {word(str(data['phase']))}")
    if data.get("blocked"):
        said.append(f"it went to {word(str(data['blocked']))}, which may not follow")
    if data.get("saved"):
        said.append(f"it had come to {word(str(data['saved']['step']))}")
    if data.get("suspend"):
        said.append(f"suspended, {data['suspend']}: nothing is issued until it goes on")
    if data.get("finish"):
        said.append(f"{data['finish']} at {data['finished'].removeprefix('<')[:19]}Z")
    elif data.get("ending"):
        said.append(f"it is to end as {data['ending']}")
    return ", ".join(said) or "a request of it was refused"


def _approval(data: Mapping[str, Any]) -> str:
    asked = data["approval"]
    what = asked.get("credential") or f"the move to {word(str(asked.get('branch')))}"
    return f"{what} ({asked['digest'][:15]}…)"


def _of_log(step: str, data: Mapping[str, Any]) -> str:
    match step:
        case "kill":
            switch = data["kill_switch"]
            where = "/".join(switch[key] for key in ("ns", "of") if key in switch)
            return f"KillSwitch {switch['name']} stops {switch['target']} {where}".rstrip()
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
            return f"a person had the cluster forget it at size {data['forgot']['size']}"
        case "erase":
            return f"what was known of {data['ref']} is erased"
    return ""


def _asked(cred: Mapping[str, Any]) -> str:
    what = _listed(cred["actions"])
    return f"{what} on {_listed(cred['resources'])}" if cred["resources"] else what


def _listed(names: Iterable[str]) -> str:
    return ", ".join(word(name) for name in names)


def _until(expiry: str, at: str) -> str:
    """Return a time of day, with its date where that is not the entry's own."""
    date, _, time = expiry[:19].partition("T")
    return time if date == at[:10] else f"{date} {time}"
