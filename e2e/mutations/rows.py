"""Rows of the table, and how they are written."""

from dataclasses import dataclass
from typing import Any

from e2e.impersonate import JSON_PATCH, MERGE_PATCH, Object, path_of
from e2e.mutations.stage import Stage


@dataclass(frozen=True, eq=False)
class Row:
    """One question, and the answer: '' is yes, else what the refusal says."""

    who: str
    verb: str
    of: str
    """The resource that admission sees, with its subresource."""
    what: str
    path: str
    body: Any
    content: str
    answer: str
    warning: str = ""
    """What a policy of ours warns of where the answer is yes; '' is nothing."""

    @property
    def label(self) -> str:
        """Say it in a line."""
        return f"{self.who}: {self.verb} {self.of}: {self.what}"


class Table:
    """Collects rows on a stage."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.rows: list[Row] = []

    def create(
        self, who: str, what: str, each: Object, answer: str = "", sub: str = "", warning: str = ""
    ) -> None:
        path = path_of(each["kind"], each["metadata"].get("namespace", ""))
        if sub:
            path = f"{path}/{each['metadata']['name']}/{sub}"
        self.add(who, "create", each["kind"], sub, what, path, each, "application/json", answer,
                 warning)  # fmt: skip

    def merge(
        self, who: str, what: str, live: str, patch: Object, answer: str = "", sub: str = "",
        warning: str = "",
    ) -> None:  # fmt: skip
        self._patch(who, what, live, patch, MERGE_PATCH, answer, sub, warning)

    def json(
        self, who: str, what: str, live: str, steps: list[Object], answer: str = "", sub: str = ""
    ) -> None:
        self._patch(who, what, live, steps, JSON_PATCH, answer, sub)

    def delete(self, who: str, what: str, live: str, answer: str = "") -> None:
        each = self.stage.live[live]
        self.add(who, "delete", each["kind"], "", what, one(each), {}, "application/json", answer)

    def _patch(
        self, who: str, what: str, live: str, body: Any, content: str, answer: str, sub: str,
        warning: str = "",
    ) -> None:  # fmt: skip
        each = self.stage.live[live]
        path = one(each) + (f"/{sub}" if sub else "")
        self.add(who, "patch", each["kind"], sub, what, path, body, content, answer, warning)

    def add(
        self, who: str, verb: str, kind: str, sub: str, what: str, path: str, body: Any,
        content: str, answer: str, warning: str = "",
    ) -> None:  # fmt: skip
        of = f"{kind}/{sub}" if sub else kind
        self.rows.append(Row(who, verb, of, what, path, body, content, answer, warning))


def one(each: Object) -> str:
    metadata = each["metadata"]
    return f"{path_of(each['kind'], metadata.get('namespace', ''))}/{metadata['name']}"
