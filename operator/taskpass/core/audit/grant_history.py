"""What the log's entries say of a grant, to hold the record of it against, and the next entry.

What a grant is of never changes: an entry that says otherwise than the one before was made of a
record that somebody had edited.

The record of what is held lies beside the log and is not signed. Each step of a grant is an entry
in the same transaction, made of the grant as it is afterwards: so the last of them says what the
record has to say, in every field that an entry has.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from taskpass.core.audit.redaction import could_be
from taskpass.core.audit.terms import of_grant
from taskpass.core.model.entry import PREFIX, EventType, Result, Stage
from taskpass.core.model.grant import Grant, GrantState

_SAID = ("cred", "task", "policy", "digests")
_OPTIONAL = frozenset(
    {
        "location", "approval", "renews", "renewal_n", "exp", "id", "fp", "within", "chain",
        "reason",
    }
)  # fmt: skip
"""Keys that an entry lacks where there is nothing to say. Any other that it lacks, an earlier
version did not write, and it says nothing of that."""


_ISSUED_KEYS = frozenset({"record", "exp", "id", "fp"})
"""Keys of `cred` that the issue's result tells anew, and no other entry."""


class GrantAltered(Exception):
    """An entry says otherwise of a grant than the one before; the text names the fields."""


@dataclass(frozen=True, slots=True)
class GrantHistory:
    """A grant whose issue was begun, as of the last entry about it."""

    first: int
    """Index of its first entry."""
    state: GrantState
    since: str
    """Time of the entry that brought it into this state."""
    task: str
    """`namespace/name`."""
    data: Mapping[str, Any]
    """Of the last entry about it."""
    issued: int = -1
    """Index of the entry that tells of its issue's success; -1 where there is none."""

    def after(self, step: "Step") -> "GrantHistory":
        """Return it as of a later entry.

        Raises:
            GrantAltered: It says something else of what never changes.

        """
        if altered := sorted(self._altered(step)):
            raise GrantAltered(", ".join(altered))
        issued = step.index if step.state is GrantState.ISSUED else self.issued
        return replace(
            self, state=step.state, since=step.time, task=step.task, data=step.data, issued=issued
        )

    def _altered(self, step: "Step") -> Iterator[str]:
        """Return the names of what a later entry says otherwise, or leaves out, or adds."""
        lenient = "redacted" in self.data or "redacted" in step.data
        issued = step.state is GrantState.ISSUED and self.state is GrantState.INTENT
        if step.task != self.task:
            yield "subject"
        for part in _SAID:
            before, after = self.data.get(part), step.data.get(part)
            if before == after or not (isinstance(before, Mapping) and isinstance(after, Mapping)):
                continue
            told = (before.keys() & after.keys()) | (_OPTIONAL & (before.keys() | after.keys()))
            for key in sorted(told - (_ISSUED_KEYS if issued and part == "cred" else set())):
                there, now = before.get(key), after.get(key)
                if there != now and not (lenient and could_be(there, now)):
                    yield f"{part}.{key}"
        if self.state is GrantState.REVOKING and self.data.get("reason") != step.data.get("reason"):
            yield "reason"

    def differences(self, grant: Grant) -> Iterator[str]:
        """Return the names of what a record of it says otherwise than the log does."""
        if grant.state is not self.state:
            yield "state"
        if str(grant.task) != self.task:
            yield "task"
        if grant.audit_index != self.issued:
            yield "audit_index"
        said = {**of_grant(grant), "reason": grant.revoke_reason}
        lenient = "redacted" in self.data
        for part in _SAID:
            told = self.data.get(part)
            if isinstance(told, Mapping):
                yield from _different(part, told, said[part], lenient=lenient)
        if self.data.get("reason", "") != said["reason"]:
            yield "reason"


@dataclass(frozen=True, slots=True)
class Step:
    """One entry that moves a grant."""

    index: int
    state: GrantState
    time: str
    task: str
    data: Mapping[str, Any]


def step_of(index: int, event: Mapping[str, Any]) -> Step | None:
    """Return how an entry about a credential moves its grant; None where it does not."""
    data = event["data"]
    kind = str(event["type"]).removeprefix(PREFIX)
    state = _STATES.get((kind, data.get("stage"), data.get("outcome")))
    if state is None:
        return None
    return Step(index, state, event["time"], event.get("subject", ""), data)


_STATES: Mapping[tuple[object, object, object], GrantState] = {
    (EventType.CREDENTIAL_ISSUE, Stage.INTENT, Result.PENDING): GrantState.INTENT,
    (EventType.CREDENTIAL_ISSUE, Stage.RESULT, Result.SUCCESS): GrantState.ISSUED,
    (EventType.CREDENTIAL_DELIVER, Stage.POINT, Result.SUCCESS): GrantState.DELIVERED,
    (EventType.CREDENTIAL_REVOKE, Stage.INTENT, Result.PENDING): GrantState.REVOKING,
    (EventType.CREDENTIAL_REVOKE, Stage.RESULT, Result.SUCCESS): GrantState.REVOKED,
    (EventType.CREDENTIAL_REVOKE, Stage.RESULT, Result.UNKNOWN): GrantState.DECLARED_GONE,
}


def _different(
    where: str, told: Mapping[str, Any], said: Mapping[str, Any], *, lenient: bool
) -> Iterator[str]:
    for key in sorted(told.keys() | (said.keys() & _OPTIONAL)):
        there, noted = told.get(key), said.get(key)
        if there != noted and not (lenient and could_be(there, noted)):
            yield f"{where}.{key}"
