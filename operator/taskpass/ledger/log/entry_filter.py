"""What is asked of a log, and whether an entry answers it: by the entry's own words alone."""

from dataclasses import dataclass
from typing import Any

from taskpass.core.model.entry import PREFIX
from taskpass.ledger.log.index import IndexRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What is asked for; '' asks for nothing. All of it must hold."""

    type: str = ""
    """Of the entry, without `dev.taskpass.`; a trailing '.' takes all that begin so."""
    task: str = ""
    """`namespace/name`, or the task's UID."""
    name: str = ""
    """`namespace/name`, or a name alone, whatever its namespace."""
    cred: str = ""
    """A grant's id."""
    since: str = ""
    """A time, as the log writes times; entries from then on."""
    until: str = ""
    """Entries before it."""
    outcome: str = ""
    agent: str = ""
    """A ServiceAccount's name."""
    reason: str = ""
    """Why a credential was taken back, or a request refused."""
    id: bytes = b""
    """An entry's own id."""
    fingerprints: frozenset[str] = frozenset()
    """Of credentials; one of them."""
    index: int = -1
    """Of one entry; -1 asks for none."""
    nothing: bool = False
    """No entry is asked for: only whether the log holds."""

    def wants(self, index: int, row: IndexRow, event: dict[str, Any]) -> bool:
        """Tell whether an entry is asked for; `row` is what the index has to say of it."""
        identity, kind, time, subject, task, cred = row
        if self.nothing or self.index not in (-1, index):
            return False
        wanted = self.type.removeprefix(PREFIX)
        if wanted and not (
            str(kind).startswith(wanted) if wanted.endswith(".") else kind == wanted
        ):
            return False
        if self.since and not str(time) >= self.since:
            return False
        if self.until and not str(time) < self.until:
            return False
        return (
            (not self.task or self.task == (subject if "/" in self.task else task))
            and (not self.name or _is_named(subject, self.name))
            and (not self.cred or cred == self.cred)
            and (not self.id or identity == self.id)
            and self._holds(event)
        )

    def _holds(self, event: dict[str, Any]) -> bool:
        data = event["data"]
        if self.fingerprints and data.get("cred", {}).get("fp") not in self.fingerprints:
            return False
        reasons = (data.get("reason"), data.get("decision", {}).get("reason_code"))
        return (
            (not self.outcome or data.get("outcome") == self.outcome)
            and (not self.agent or data.get("task", {}).get("agent") == self.agent)
            and (not self.reason or self.reason in reasons)
        )


def _is_named(subject: object, name: str) -> bool:
    return isinstance(subject, str) and name in (subject, subject.partition("/")[2])
