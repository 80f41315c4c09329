"""What the rules of a role mean for a credential that must be revocable. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from taskpass.core.task import digest

STREAMED = frozenset({"exec", "attach", "portforward", "proxy", "log"})
"""Subresources that open a connection which outlives the right to open it (a log that is followed
is sent on after its reader's rights are gone, tried)."""
WRITES = frozenset({"create", "update", "patch"})
BINDS = frozenset({"bind", "escalate"})
READS_OF_SECRETS = WRITES | {"get", "list", "watch", "delete", "deletecollection"}
"""All of them: what is written or deleted comes back in the answer."""
RBAC = "rbac.authorization.k8s.io"
ESCAPES: Mapping[tuple[str, str], frozenset[str]] = {
    ("", "secrets"): READS_OF_SECRETS,
    ("", "serviceaccounts/token"): frozenset({"create"}),
    (RBAC, "roles"): WRITES | BINDS,
    (RBAC, "clusterroles"): BINDS,
    (RBAC, "rolebindings"): WRITES,
    ("", "pods"): WRITES,
    ("", "pods/ephemeralcontainers"): WRITES,
    ("", "pods/exec"): frozenset({"get", "create"}),
    ("", "pods/attach"): frozenset({"get", "create"}),
    ("", "replicationcontrollers"): WRITES,
    ("apps", "daemonsets"): WRITES,
    ("apps", "deployments"): WRITES,
    ("apps", "replicasets"): WRITES,
    ("apps", "statefulsets"): WRITES,
    ("batch", "cronjobs"): WRITES,
    ("batch", "jobs"): WRITES,
}
"""By which verbs on what (group, resource) a credential's holder gets another, that revocation does
not reach: what Secrets or pods hold, a token, a right that is bound to somebody else, a pod."""
Rule = Mapping[str, Any]
Attributes = tuple[str, str, str, str]
"""verb, API group, resource (`pods` or `pods/log`), name ('' for any)."""


def rules_digest(rules: Sequence[Rule]) -> str:
    """Return a digest that changes with anything that a role grants."""
    return digest(list(rules))


def streams(rules: Sequence[Rule]) -> str:
    """Return what opens a stream among what a role grants, for people; '' where nothing does."""
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
    return ""


def escapes(rules: Sequence[Rule]) -> str:
    """Return what lets the holder get another credential, for people; '' where nothing does."""
    for rule in rules:
        for verb in rule.get("verbs") or ():
            for resource in rule.get("resources") or ():
                if verb.startswith("impersonate"):
                    return f"'{verb}' on '{resource}'"
                for group in rule.get("apiGroups") or ():
                    if _escapes(verb, group, resource):
                        return f"'{verb}' on '{resource}'"
    return ""


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


def _escapes(verb: str, group: str, resource: str) -> bool:
    return any(
        (verb == "*" or verb in verbs)
        and group in ("*", known_group)
        and resource in ("*", known, f"*/{known.partition('/')[2]}")
        for (known_group, known), verbs in ESCAPES.items()
    )


def _granted(rules: Sequence[Rule]) -> Iterator[Attributes]:
    for rule in rules:
        for resource in rule.get("resources") or ():
            for group in rule.get("apiGroups") or ():
                for verb in rule.get("verbs") or ():
                    for name in rule.get("resourceNames") or ("",):
                        yield verb, group, resource, name
