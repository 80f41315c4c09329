"""Mutants in their policies' places, and what the table notices of them."""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from e2e.impersonate import Object, Refused
from e2e.mutations.canary import ADMISSION, Canary
from e2e.mutations.mutants import Mutant, mutants_of
from e2e.mutations.rows import Row
from e2e.mutations.stage import Stage
from e2e.mutations.table import rows_on

KINDS = ("validatingadmissionpolicies", "mutatingadmissionpolicies")
OF_CHANCE = (
    "uid", "creationTimestamp", "deletionTimestamp", "resourceVersion", "managedFields",
    "generation", "lastTransitionTime", "token", "expirationTimestamp",
    "batch.kubernetes.io/controller-uid", "controller-uid",
)  # fmt: skip
VOLUME_OF_CHANCE = re.compile(r"\bkube-api-access-[a-z0-9]{5}\b")
"""Kubernetes draws the name of the volume that it adds to each pod."""
PLURALS = {
    "AgentPolicy": "agentpolicies", "ClusterAgentPolicy": "clusteragentpolicies",
    "CredentialClass": "credentialclasses", "KillSwitch": "killswitches", "Sandbox": "sandboxes",
}  # fmt: skip
OF_OURS = "AdmissionPolicy 'taskpass-"
SHUFFLES = 6
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
        self._before: dict[Row, set[Answer]] = {}
        self._changed: dict[str, Mutant] = {}

    def ask_table(self) -> list[tuple[Row, str]]:
        """Ask every row several times; return those that are answered otherwise than they say.

        Where chance is in what is accepted, that row would notice every mutant, and so prove
        nothing. A refusal may be said by one policy or by another: the API server asks them in an
        order that is another one each time that any of them is written, as the canary is.
        """
        wrong = []
        for row in self.rows:
            answer = self._ask(row)
            self._before[row] = {answer}
            wrong += [(row, said) for said in _wrong(row, answer)]
        for _ in range(SHUFFLES):
            self._canary.wait()  # a second passes, so that a time of day is another one
            for row in self.rows:
                again = self._ask(row)
                first = next(iter(self._before[row]))
                if again not in self._before[row] and not row.answer:
                    wrong.append((row, _apart(first[1], again[1])))
                self._before[row].add(again)
                wrong += [(row, said) for said in _wrong(row, again)]
        return wrong

    def changed_since(self) -> list[tuple[Row, str]]:
        """Ask every row once more at the end: nothing but mutants may have changed its answer."""
        self._canary.wait()
        asked = [(row, self._ask(row)) for row in self.rows]
        return [(row, answer[1][:300]) for row, answer in asked if not self._as_before(row, answer)]

    def mutants(self) -> list[Mutant]:
        """Return all mutants: first what is gone as a whole, then what is turned round."""
        found = [m for (plural, _), p in self._policies.items() for m in mutants_of(plural, p)]
        return sorted(found, key=lambda m: "' is '" in m.change)

    def batches(self, mutants: Sequence[Mutant]) -> Iterator[list[Mutant]]:
        """Yield mutants that are tried at the same time: no row can notice two of a batch."""
        left: dict[str, list[Mutant]] = {}
        for mutant in mutants:
            left.setdefault(mutant.policy, []).append(mutant)
        while left:
            batch: list[Mutant] = []
            taken: set[str] = set()
            # What has most to come goes first, as it says how many batches there are.
            for policy in sorted(left, key=lambda p: -len(left[p])):
                touched = self._touched(left[policy][0])
                if not touched & taken:
                    taken |= touched
                    batch.append(left[policy].pop(0))
            left = {policy: queue for policy, queue in left.items() if queue}
            yield batch

    def try_out(self, batch: Sequence[Mutant]) -> Iterator[tuple[Mutant, str]]:
        """Yield what became of each mutant of a batch."""
        here = {mutant.policy for mutant in batch}
        for policy in [p for p in self._changed if p not in here]:
            self._restore(policy)
        tried = []
        for mutant in batch:
            try:
                self._put(mutant.plural, mutant.policy, mutant.body)
            except Refused:
                self._restore(mutant.policy)
                yield mutant, "refused by the API server"
            else:
                self._changed[mutant.policy] = mutant
                tried.append(mutant)
        self._canary.wait()
        for mutant in tried:
            touched = self._touched(mutant)
            asked = (row for row in self.rows if _resource_of(row) in touched)
            noticed = any(not self._as_before(row, self._ask(row)) for row in asked)
            yield mutant, "killed" if noticed else "survived"

    def restore(self) -> None:
        """Put all policies that were changed back."""
        for policy in list(self._changed):
            self._restore(policy)

    def _as_before(self, row: Row, answer: Answer) -> bool:
        # Where two policies refuse, which of them says so is chance: it is as the row says.
        as_it_says = bool(row.answer) and not _wrong(row, answer)
        return as_it_says or answer in self._before[row]

    def _restore(self, policy: str) -> None:
        changed = self._changed.pop(policy, None)
        if changed is not None:
            live = self._policies[changed.plural, policy]
            metadata = {k: live["metadata"][k] for k in ("name", "labels")}
            self._put(changed.plural, policy, {**live, "metadata": metadata})

    def _touched(self, mutant: Mutant) -> set[str]:
        live = self._policies[mutant.plural, mutant.policy]
        return _resources(mutant.body) | _resources(live)

    def _ask(self, row: Row) -> Answer:
        who = self._stage.as_(row.who)
        method = {"create": "POST", "patch": "PATCH", "delete": "DELETE"}[row.verb]
        body = row.body if row.verb != "delete" else None
        try:
            answer, warned = who.answer(method, row.path, body, content=row.content, dryRun="All")
        except Refused as refused:
            return refused.status, refused.message
        if answer.get("kind") == "Pod":
            answer.pop("status", None)  # what the scheduler and others say of it in the meantime
        ours = [each for each in warned if OF_OURS in each]
        text = json.dumps([*ours, _plain(answer)], sort_keys=True)
        return 200, VOLUME_OF_CHANCE.sub("kube-api-access", text)

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
        return {k: _plain(v) for k, v in answer.items() if k not in OF_CHANCE}
    if isinstance(answer, list):
        return [_plain(each) for each in answer]
    return answer


def _wrong(row: Row, answer: Answer) -> list[str]:
    """Return what was answered where it is not what the row says."""
    status, said = answer
    refused = status >= 400
    if refused != bool(row.answer) or (refused and row.answer not in said):
        return [said[:300]]
    warned = not refused and OF_OURS in said
    if warned != bool(row.warning) or row.warning not in said:
        return [f"warned: {said[:300]}"]
    return []


def _apart(first: str, second: str) -> str:
    """Say where two answers part."""
    at = next((i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), 0)
    begin = max(0, at - 60)
    return f"the first time …{first[begin : at + 60]}…, then …{second[begin : at + 60]}…"


def _resources(policy: Object) -> set[str]:
    rules = policy["spec"]["matchConstraints"]["resourceRules"]
    return {resource for rule in rules for resource in rule["resources"]}


def _resource_of(row: Row) -> str:
    kind, _, sub = row.of.partition("/")
    plural = PLURALS.get(kind, f"{kind.lower()}s")
    return f"{plural}/{sub}" if sub else plural
