"""What a user did, by the API server's own audit log; and whether its rights say the same.

Each event names the call and the API server's decision, so that nothing here depends on what the
operator says of itself.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from e2e.cluster import ensure
from e2e.impersonate import Api

RBAC = "/apis/rbac.authorization.k8s.io/v1"


@dataclass(frozen=True, order=True)
class Call:
    """One call: what RBAC is asked."""

    group: str
    resource: str
    """With its subresource, such as 'agenttasks/status'."""
    verb: str
    namespace: str
    """'' for the whole cluster."""
    name: str
    allowed: bool

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}.{self.group or 'core'} in '{self.namespace}'"


@dataclass(frozen=True)
class Trail:
    """The audit log from a moment on, for one user."""

    log: Path
    begin: int
    user: str

    @classmethod
    def of_cluster(cls, kubeconfig: str, user: str) -> "Trail":
        """Return the trail of a cluster that was made here, from now on."""
        log = ensure(Path(kubeconfig).parent.name, node=False).audit_log
        if log is None:
            pytest.skip("NOT RUN: the audit log of a cluster that is not ours cannot be had")
        return cls(log, log.stat().st_size, user)

    def calls(self) -> set[Call]:
        """Return every call so far, each once, by the user itself and not in its name."""
        return set(self._calls())

    def _calls(self) -> Iterator[Call]:
        with self.log.open("rb") as file:
            file.seek(self.begin)
            for line in file:
                event = json.loads(line)
                mine = event["user"].get("username") == self.user
                if not mine or "impersonatedUser" in event or "objectRef" not in event:
                    continue
                what = event["objectRef"]
                if "resource" not in what:
                    continue  # discovery
                sub = what.get("subresource")
                yield Call(
                    what.get("apiGroup", ""),
                    what["resource"] + (f"/{sub}" if sub else ""),
                    event["verb"],
                    what.get("namespace", ""),
                    what.get("name", ""),
                    event["annotations"].get("authorization.k8s.io/decision") == "allow",
                )


@dataclass(frozen=True, order=True)
class Right:
    """One cell of a role's rules, and where a binding makes it count."""

    role: str
    group: str
    resource: str
    verb: str
    namespaces: frozenset[str]
    """Empty: everywhere."""
    names: frozenset[str]
    """Empty: any."""

    def covers(self, call: Call) -> bool:
        """Tell whether the call is one that this right is for."""
        return (
            (self.group, self.resource, self.verb) == (call.group, call.resource, call.verb)
            and (not self.namespaces or call.namespace in self.namespaces)
            and (not self.names or call.name in self.names)
        )

    def __str__(self) -> str:
        where = ", ".join(sorted(self.namespaces)) or "everywhere"
        return f"{self.role}: {self.verb} {self.resource}.{self.group or 'core'} ({where})"


def rights_of(api: Api, namespace: str, service_account: str) -> set[Right]:
    """Return every right that a ServiceAccount has by a binding to itself, as it lives now."""
    subject = ("ServiceAccount", namespace, service_account)
    places: dict[tuple[str, str, str], set[str]] = {}
    for kind in ("rolebindings", "clusterrolebindings"):
        for each in api.call("GET", f"{RBAC}/{kind}")["items"]:
            subjects = each.get("subjects") or []
            if subject not in [(s["kind"], s.get("namespace", ""), s["name"]) for s in subjects]:
                continue
            ref, where = each["roleRef"], each["metadata"].get("namespace", "")
            home = where if ref["kind"] == "Role" else ""
            places.setdefault((ref["kind"], home, ref["name"]), set()).add(where)
    return {
        right
        for (kind, home, name), where in places.items()
        for right in _rights(api, kind, home, name, frozenset(where - {""}))
    }


def _rights(
    api: Api, kind: str, home: str, name: str, namespaces: frozenset[str]
) -> Iterable[Right]:
    path = f"{RBAC}/namespaces/{home}/roles/{name}" if home else f"{RBAC}/clusterroles/{name}"
    for rule in api.call("GET", path).get("rules") or []:
        yield from _cells(f"{kind} {name}", rule, namespaces)


def _cells(role: str, rule: Mapping[str, Any], namespaces: frozenset[str]) -> Iterator[Right]:
    names = frozenset(rule.get("resourceNames") or ())
    for group in rule.get("apiGroups") or ():
        for resource in rule.get("resources") or ():
            for verb in rule.get("verbs") or ():
                yield Right(role, group, resource, verb, namespaces, names)
