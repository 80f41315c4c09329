"""What the rules of a role mean for a credential that must be revocable. Pure."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from taskpass.core.model.task import digest

STREAMED = frozenset({"exec", "attach", "portforward", "proxy", "log"})
"""Subresources that open a connection which outlives the right to open it (a log that is followed
is sent on after its reader's rights are gone, tried)."""
READS = frozenset({"get", "list", "watch"})
READS_THAT_ESCALATE = frozenset(
    {("", "secrets"), ("", "pods/exec"), ("", "pods/attach"), ("", "pods/portforward")}
)
"""(group, resource) of which a read alone gives its reader another credential: what Secrets or pods
hold. (A `get` is enough to enter a pod.)"""
DELETES = frozenset({"delete", "deletecollection"})
CHANGES = DELETES | {"create", "update", "patch"}
SCALES = frozenset({"update", "patch"})
NONE: frozenset[str] = frozenset()
HARMLESS: Mapping[tuple[str, str], frozenset[str]] = {
    ("", "configmaps"): CHANGES,
    ("", "events"): CHANGES,
    ("events.k8s.io", "events"): CHANGES,
    ("coordination.k8s.io", "leases"): CHANGES,
    ("", "pods"): DELETES,
    ("", "pods/eviction"): frozenset({"create"}),
    ("apps", "deployments"): DELETES,
    ("apps", "replicasets"): DELETES,
    ("apps", "statefulsets"): DELETES,
    ("apps", "daemonsets"): DELETES,
    ("batch", "cronjobs"): DELETES,
    ("batch", "jobs"): DELETES,
    ("apps", "deployments/scale"): SCALES,
    ("apps", "replicasets/scale"): SCALES,
    ("apps", "statefulsets/scale"): SCALES,
    ("", "replicationcontrollers/scale"): SCALES,
    ("authorization.k8s.io", "localsubjectaccessreviews"): frozenset({"create"}),
}
"""Which verbs that are no reads, on what (group, resource), lead to no other credential. All others
count as if they did: a kind that makes pods, gives rights, steers traffic or decides who gets what
need not be known here. Damage is another thing: a role that deletes is its author's to judge."""
Rule = Mapping[str, Any]
Attributes = tuple[str, str, str, str]
"""verb, API group, resource (`pods` or `pods/log`), name ('' for any)."""


def rules_digest(rules: Sequence[Rule]) -> str:
    """Return a digest that changes with anything that a role grants."""
    return digest(list(rules))


def streams(rules: Sequence[Rule]) -> str | None:
    """Return what opens a stream among what a role grants, for people; None where nothing does."""
    for rule in rules:
        resources = rule.get("resources") or ()
        if not resources:
            continue  # paths that are no resources count in no RoleBinding
        for verb in rule.get("verbs") or ():
            if verb in ("watch", "*"):
                return f"the verb '{verb}'"
        for resource in resources:
            subresource = resource.partition("/")[2]
            if resource == "*" or subresource in STREAMED or subresource == "*":
                return f"the resource '{resource}'"
    return None


def privilege_escalation(
    rules: Sequence[Rule], harmless: Collection[tuple[str, str]] = ()
) -> str | None:
    """Return what may let the holder get another credential, for people; None where nothing does.

    `harmless` are (group, resource) that may be written as well, as an installation knows them.
    """
    for rule in rules:
        for verb in rule.get("verbs") or ():
            for resource in rule.get("resources") or ():
                for group in rule.get("apiGroups") or ():
                    if _escalates(verb, group, resource, harmless):
                        return f"'{verb}' on '{resource}'"
    return None


def representative(rules: Sequence[Rule], others: Iterable[Sequence[Rule]]) -> dict[str, str]:
    """Return something that the rules grant, and the others do not if there is any such thing.

    As `resourceAttributes` of a review, without the namespace; empty where they grant nothing.
    """
    elsewhere = {each for other in others for each in _granted(other)}
    own = list(_granted(rules))
    if not own:
        return {}
    verb, group, resource, name = next((each for each in own if each not in elsewhere), own[0])
    kind, _, subresource = resource.partition("/")
    attributes = {"verb": verb, "group": group, "resource": kind}
    if subresource:
        attributes["subresource"] = subresource
    if name:
        attributes["name"] = name
    return attributes


def access_review(
    namespace: str, service_account: str, attributes: Mapping[str, str]
) -> dict[str, Any]:
    """Return the question whether a ServiceAccount may do something."""
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": f"system:serviceaccount:{namespace}:{service_account}",
            "groups": [
                "system:serviceaccounts",
                f"system:serviceaccounts:{namespace}",
                "system:authenticated",
            ],
            "resourceAttributes": dict(attributes),
        },
    }


def _escalates(verb: str, group: str, resource: str, harmless: Collection[tuple[str, str]]) -> bool:
    if verb in READS:
        return any(
            group in ("*", known_group) and resource in ("*", known, f"*/{known.partition('/')[2]}")
            for known_group, known in READS_THAT_ESCALATE
        )
    verbs = CHANGES if (group, resource) in harmless else HARMLESS.get((group, resource), NONE)
    return not (verb in verbs or (verb == "*" and verbs >= CHANGES))


def _granted(rules: Sequence[Rule]) -> Iterator[Attributes]:
    for rule in rules:
        for resource in rule.get("resources") or ():
            for group in rule.get("apiGroups") or ():
                for verb in rule.get("verbs") or ():
                    for name in rule.get("resourceNames") or ("",):
                        yield verb, group, resource, name
