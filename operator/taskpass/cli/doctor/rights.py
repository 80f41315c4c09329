"""What the operator's calls need, as RBAC says it, against what the API server says that it has.

`needed` is the code's side; a test compares it with what the chart grants. The API server answers
with the rules that count in a namespace (SelfSubjectRulesReview), which may be incomplete, so what
they lack is asked for singly (SelfSubjectAccessReview). What they hold beyond that is found too: a
right that nobody uses is one that a thief of the token would have.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from taskpass.core.model.diagnosis import Diagnosis, doubtful, failed, well
from taskpass.kube import guardrails, lease
from taskpass.kube.api.client import KubeClient
from taskpass.kube.kinds import GROUP, WATCHED
from taskpass.kube.writers import audit_anchor, signing_key, uninstall_hook

AUTHORIZATION = "/apis/authorization.k8s.io/v1"
GRANTS = "taskpass-grants"
LEASES = "coordination.k8s.io"
RBAC = "rbac.authorization.k8s.io"
EVERYBODYS = frozenset(
    {
        ("authorization.k8s.io", "selfsubjectaccessreviews"),
        ("authorization.k8s.io", "selfsubjectrulesreviews"),
        ("authentication.k8s.io", "selfsubjectreviews"),
        ("certificates.k8s.io", "clustertrustbundles"),
    }
)
"""(group, resource): what Kubernetes itself lets every ServiceAccount do."""
MOST_NAMED = 4
Rule = Mapping[str, Any]


@dataclass(frozen=True, slots=True, order=True)
class Right:
    """One verb on one resource."""

    verb: str
    resource: str
    """With its subresource: `agenttasks/status`."""
    group: str = ""
    name: str = ""
    """'' is any."""
    namespace: str = ""
    """'' is everywhere."""

    def __str__(self) -> str:
        whole = f"{self.resource}.{self.group}" if self.group else self.resource
        return f"{self.verb} {whole}" + (f" '{self.name}'" if self.name else "")


def needed(
    home: str,
    tenants: Iterable[str],
    targets: Mapping[str, Sequence[tuple[str, str]]],
    key_generation: int = 1,
    read_api: bool = False,
) -> frozenset[Right]:
    """Return every right that the operator's code uses.

    Arguments are as for `guardrails.verify_guardrails`.
    `key_generation` is that of the signing key; `read_api` says whether the log is served.
    """
    return frozenset(
        [
            *_in_the_cluster(targets),
            *(right for namespace in tenants for right in _in_a_tenant(namespace)),
            *(right for each in targets.items() for right in _in_a_target(*each)),
            *_rights("get list create delete", "serviceaccounts", namespace=GRANTS),
            *(_rights("create", "tokenreviews", "authentication.k8s.io") if read_api else ()),
            *_rights("create", "serviceaccounts/token", namespace=GRANTS),
            *_rights("create", "leases", LEASES, namespace=lease.NAMESPACE),
            *_rights("get update", "leases", LEASES, lease.NAME, lease.NAMESPACE),
            *_rights("create", "secrets", namespace=home),
            *(
                right
                for name in signing_key.names_of(key_generation)
                for right in _rights("get", "secrets", name=name, namespace=home)
            ),
            *_rights("get patch", "configmaps", name=uninstall_hook.NAME, namespace=home),
            *_rights("create", "events", "events.k8s.io", namespace="default"),
        ]
    )


def _in_the_cluster(targets: Mapping[str, Sequence[tuple[str, str]]]) -> Iterator[Right]:
    yield from _rights("create patch delete", "agenttasks", GROUP)
    for ours in WATCHED:
        yield from _rights("get list watch", ours.plural, GROUP)
        yield from _rights("patch", f"{ours.plural}/status", GROUP)
    yield from _rights("patch", "credentialclasses", GROUP)
    yield from _rights("get", "auditanchors", GROUP, audit_anchor.NAME)
    yield from _rights("patch", "auditanchors/status", GROUP, audit_anchor.NAME)
    yield from _rights("get list watch", "namespaces")
    yield from _rights("create", "subjectaccessreviews", "authorization.k8s.io")
    for name in guardrails.CRDS:
        yield from _rights("get", "customresourcedefinitions", "apiextensions.k8s.io", name)
    for kind, names in (("mutating", guardrails.MUTATING), ("validating", guardrails.VALIDATING)):
        for name in names:
            for plural in (f"{kind}admissionpolicies", f"{kind}admissionpolicybindings"):
                yield from _rights("get", plural, "admissionregistration.k8s.io", name)
    for kind_of_role, name in {role for roles in targets.values() for role in roles}:
        if kind_of_role == "ClusterRole":
            yield from _rights("get", "clusterroles", RBAC, name)


def _in_a_tenant(namespace: str) -> Iterator[Right]:
    yield from _rights("get list watch patch", "pods", namespace=namespace)
    yield from _rights("create update delete", "secrets", namespace=namespace)
    yield from _rights("list watch", "serviceaccounts", namespace=namespace)
    for kind in ("jobs", "cronjobs"):
        yield from _rights("get", kind, "batch", namespace=namespace)
    yield from _rights("get", "jobsets", "jobset.x-k8s.io", namespace=namespace)
    yield from _rights("get", "sandboxes", "agents.x-k8s.io", namespace=namespace)
    yield from _rights("get", "rollouts", "argoproj.io", namespace=namespace)
    for kind in ("deployments", "replicasets", "statefulsets"):
        yield from _rights("get", kind, "apps", namespace=namespace)
    yield from _rights("create", "events", "events.k8s.io", namespace=namespace)


def _in_a_target(namespace: str, roles: Sequence[tuple[str, str]]) -> Iterator[Right]:
    yield from _rights("get list create delete", "rolebindings", RBAC, namespace=namespace)
    for kind, name in roles:
        verbs, plural = ("bind", "clusterroles") if kind == "ClusterRole" else ("bind get", "roles")
        yield from _rights(verbs, plural, RBAC, name, namespace)


def _rights(
    verbs: str, resource: str, group: str = "", name: str = "", namespace: str = ""
) -> Iterator[Right]:
    for verb in verbs.split():
        yield Right(verb, resource, group, name, namespace)


async def compare(client: KubeClient, rights: Iterable[Right]) -> list[Diagnosis]:
    """Compare in every namespace that a right names, and say one thing or two of each."""
    wanted = sorted(set(rights))
    everywhere = [right for right in wanted if not right.namespace]
    namespaces = sorted({right.namespace for right in wanted if right.namespace})
    found = await asyncio.gather(
        *(
            _compare_in(client, namespace, wanted, everywhere if index == 0 else [])
            for index, namespace in enumerate(namespaces)
        )
    )
    return [each for one in found for each in one]


async def _compare_in(
    client: KubeClient, namespace: str, wanted: Sequence[Right], everywhere: Sequence[Right]
) -> list[Diagnosis]:
    rules = await _rules(client, namespace)
    here = [right for right in wanted if right.namespace == namespace]
    asked = [right for right in (*here, *everywhere) if not any(_gives(r, right) for r in rules)]
    answers = await asyncio.gather(*(_allowed(client, right) for right in asked))
    missing = [str(r) for r, yes in zip(asked, answers, strict=True) if not yes]
    about = f"rights in {namespace}"
    said = []
    if missing:
        said.append(
            failed(
                about,
                f"the operator may not {_some(missing)}",
                "upgrade the chart with the same values; RoleBindings of its ServiceAccount were "
                "removed or narrowed",
            )
        )
    counted = [right for right in wanted if right.namespace in ("", namespace)]
    if beyond := sorted(set(_beyond(rules, counted))):
        said.append(
            doubtful(
                about,
                f"the operator may {_some(beyond)}, which it does not need",
                "remove the binding that grants this to its ServiceAccount, or to a group of it",
            )
        )
    return said or [well(about, f"the {len(here)} that are needed, and no others")]


async def _rules(client: KubeClient, namespace: str) -> list[Rule]:
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": namespace},
    }
    answer = await client.create(f"{AUTHORIZATION}/selfsubjectrulesreviews", body)
    rules: list[Rule] = answer["status"].get("resourceRules") or []
    return rules


async def _allowed(client: KubeClient, right: Right) -> bool:
    kind, _, subresource = right.resource.partition("/")
    attributes = {
        "verb": right.verb,
        "group": right.group,
        "resource": kind,
        "subresource": subresource,
        "name": right.name,
        "namespace": right.namespace,
    }
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {k: v for k, v in attributes.items() if v}},
    }
    answer = await client.create(f"{AUTHORIZATION}/selfsubjectaccessreviews", body)
    return bool(answer["status"].get("allowed"))


def _gives(rule: Rule, right: Right) -> bool:
    names = rule.get("resourceNames") or ()
    return (
        _lists(rule, "verbs", right.verb)
        and _lists(rule, "apiGroups", right.group)
        and _lists(rule, "resources", right.resource)
        and (not names or right.name in names)
    )


def _lists(rule: Rule, key: str, value: str) -> bool:
    listed = rule.get(key) or ()
    return value in listed or "*" in listed


def _beyond(rules: Iterable[Rule], wanted: Iterable[Right]) -> Iterator[str]:
    """Yield what the rules grant and nothing needs, a wildcard included."""
    known = {(r.verb, r.group, r.resource, r.name) for r in wanted}
    for rule in rules:
        for group in rule.get("apiGroups") or ():
            for resource in rule.get("resources") or ():
                if (group, resource) in EVERYBODYS:
                    continue
                for verb in rule.get("verbs") or ():
                    for name in rule.get("resourceNames") or ("",):
                        if not {(verb, group, resource, n) for n in ("", name)} & known:
                            yield str(Right(verb, resource, group, name))


def _some(names: Sequence[str]) -> str:
    more = len(names) - MOST_NAMED
    text = ", ".join(names[:MOST_NAMED])
    return f"{text} and {more} more" if more > 0 else text
