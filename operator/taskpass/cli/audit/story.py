"""A task's entries as people read them: who, what, when, in at most 100 columns."""

from collections.abc import Iterator, Mapping
from typing import Any

from taskpass.cli.audit.steps import StepText, describe
from taskpass.cli.output import wrapped
from taskpass.core.audit.events import STARTED_BY
from taskpass.core.model.text import plain, word
from taskpass.ledger.query.timeline import Timeline

WIDTH = 100
_ROLES = (
    ("requester", "asked for by"), ("sponsor", "sponsor"), ("changed_by", "last changed by"),
    ("approver", "by"),
)  # fmt: skip


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
        each = describe(event)
        said = _said(each, data.get("by"), told.people)
        yield from _wrapped(_head(index, time[:12], each.step, each.outcome), said)


def line(index: int, event: Mapping[str, Any], people: Mapping[str, str] | None) -> str:
    """Return one line for an entry, for lists of entries of many tasks.

    `people` are as those of a `Timeline`.
    """
    each = describe(event)
    what = _said(each, event["data"].get("by"), people)
    about = event.get("subject", "-")
    time = f"{event['time'][:19]}Z"
    return plain(f"{index:>6}  {time}  {each.step:<7}  {each.outcome:<7}  {about}  {what}".rstrip())


def _head(index: object, time: str, step: str, outcome: str) -> str:
    return f"{index:>6}  {time:<12}  {step:<7}  {outcome:<7}  "


def _said(told: StepText, by: object, people: Mapping[str, str] | None) -> str:
    """Return what an entry tells, then of whom, and last what they wrote.

    In that order nothing that somebody wrote can say who it was.
    """
    who = _by(by, people)
    return told.what + (f"; {who}" if who else "") + (f": {told.words}" if told.words else "")


def _by(by: object, people: Mapping[str, str] | None) -> str:
    """Return who asked, changed and answers for it, or started a pod; a reference of who is erased.

    Of whom an entry speaks was either named by an opened commitment, or erased, as another entry
    says. Where no names are to be had (`people` is None) a reference stands for itself.
    """
    if not isinstance(by, Mapping):
        return ""
    names = {role: _named(who, people) for role, who in by.items() if isinstance(who, Mapping)}
    if names.get("changed_by") == names.get("requester"):
        names.pop("changed_by", None)
    said = [f"{verb} {names[role]}" for role, verb in _ROLES if role in names]
    starters = [name for role, name in names.items() if role.startswith(STARTED_BY)]
    return ", ".join([*said, *([f"started by {' and '.join(starters)}"] if starters else [])])


def _named(who: Mapping[str, Any], people: Mapping[str, str] | None) -> str:
    if name := who.get("name"):
        return word(str(name))
    ref = str(who.get("ref", "?"))
    if people is None:
        return ref
    return word(people[ref]) if ref in people else f"{ref} (erased)"


def _wrapped(head: str, text: str) -> list[str]:
    first, *rest = wrapped(plain(text), WIDTH - len(head))
    return [head + first, *(" " * len(head) + line for line in rest)]
