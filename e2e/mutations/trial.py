"""One mutant after the other in its policy's place, and what the table notices of it."""

import json
from collections.abc import Iterator
from typing import Any

from e2e.impersonate import Object, Refused
from e2e.mutations.canary import ADMISSION, Canary
from e2e.mutations.mutants import Mutant, mutants_of
from e2e.mutations.rows import Row
from e2e.mutations.stage import Stage
from e2e.mutations.table import rows_on

KINDS = ("validatingadmissionpolicies", "mutatingadmissionpolicies")
LETTERS_OF_CHANCE = ("uid", "creationTimestamp", "resourceVersion", "managedFields", "generation")
PLURALS = {
    "AgentPolicy": "agentpolicies", "ClusterAgentPolicy": "clusteragentpolicies",
    "CredentialClass": "credentialclasses", "KillSwitch": "killswitches",
}  # fmt: skip
Answer = tuple[int, str]


class Trial:
    """Asks the table, of the policies as they are and as mutants have them."""

    def __init__(self, stage: Stage, canary: Canary) -> None:
        self._stage = stage
        self._canary = canary
        self.rows = rows_on(stage)
        self._canary.wait()
        self._policies = {
            (plural, each["metadata"]["name"]): each
            for plural in KINDS
            for each in self._list(plural)
            if each["metadata"]["name"].startswith("taskpass-")
        }
        self._before: dict[Row, Answer] = {}
        self._changed: Mutant | None = None

    def ask_table(self) -> list[tuple[Row, str]]:
        """Ask every row; return those that are answered otherwise than they say."""
        wrong = []
        for row in self.rows:
            status, said = self._before[row] = self._ask(row)
            refused = status >= 400
            if refused != bool(row.answer) or (refused and row.answer not in said):
                wrong.append((row, said[:300]))
        return wrong

    def mutants(self) -> list[Mutant]:
        """Return all mutants: first what is gone as a whole, then what is turned round."""
        found = [m for (plural, _), p in self._policies.items() for m in mutants_of(plural, p)]
        return sorted(found, key=lambda m: "' is '" in m.change)

    def try_out(self, mutant: Mutant) -> str:
        """Return what became of it."""
        if self._changed is not None and self._changed.policy != mutant.policy:
            self.restore()
        try:
            self._put(mutant.plural, mutant.policy, mutant.body)
        except Refused:
            return "refused by the API server"
        self._changed = mutant
        self._canary.wait()
        resources = _resources(mutant.body) | _resources(
            self._policies[mutant.plural, mutant.policy]
        )
        for row in self.rows:
            if _resource_of(row) in resources and self._ask(row) != self._before[row]:
                return "killed"
        return "survived"

    def restore(self) -> None:
        """Put the policy that was changed last back."""
        if self._changed is None:
            return
        live = self._policies[self._changed.plural, self._changed.policy]
        metadata = {k: live["metadata"][k] for k in ("name", "labels")}
        self._put(self._changed.plural, self._changed.policy, {**live, "metadata": metadata})
        self._changed = None

    def _ask(self, row: Row) -> Answer:
        who = self._stage.as_(row.who)
        method = {"create": "POST", "patch": "PATCH", "delete": "DELETE"}[row.verb]
        body = row.body if row.verb != "delete" else None
        try:
            answer = who.call(method, row.path, body, content=row.content, dryRun="All")
        except Refused as refused:
            return refused.status, refused.message
        return 200, json.dumps(_plain(answer), sort_keys=True)

    def _put(self, plural: str, name: str, body: Object) -> None:
        path = f"{ADMISSION}/{plural}/{name}"
        version = self._stage.admin.call("GET", path)["metadata"]["resourceVersion"]
        metadata = {**body["metadata"], "resourceVersion": version}
        self._stage.admin.call("PUT", path, {**body, "metadata": metadata})

    def _list(self, plural: str) -> Iterator[Object]:
        answer = self._stage.admin.call("GET", f"{ADMISSION}/{plural}")
        kind = answer["kind"].removesuffix("List")
        return ({"apiVersion": answer["apiVersion"], "kind": kind, **i} for i in answer["items"])


def _plain(answer: Any) -> Any:
    """Return what does not change from one time to the next."""
    if isinstance(answer, dict):
        return {
            k: _plain(v)
            for k, v in answer.items()
            if k not in LETTERS_OF_CHANCE and k not in ("token", "expirationTimestamp")
        }
    if isinstance(answer, list):
        return [_plain(each) for each in answer]
    return answer


def _resources(policy: Object) -> set[str]:
    rules = policy["spec"]["matchConstraints"]["resourceRules"]
    return {resource for rule in rules for resource in rule["resources"]}


def _resource_of(row: Row) -> str:
    kind, _, sub = row.of.partition("/")
    plural = PLURALS.get(kind, f"{kind.lower()}s")
    return f"{plural}/{sub}" if sub else plural
