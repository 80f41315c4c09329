"""Kinds of workloads that others define, for an API server that has none of their operators."""

from e2e.admission import TENANT
from e2e.impersonate import Object, thing

KINDS = {
    "JobSet": ("jobset.x-k8s.io", "v1alpha2", "jobsets"),
    "Sandbox": ("agents.x-k8s.io", "v1alpha1", "sandboxes"),
    "Rollout": ("argoproj.io", "v1alpha1", "rollouts"),
}


def crd(kind: str) -> Object:
    """Return a definition by which anything may be said in an object of that kind."""
    group, version, plural = KINDS[kind]
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    served = {
        "name": version, "served": True, "storage": True, "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": anything},
    }  # fmt: skip
    names = {"kind": kind, "plural": plural, "singular": kind.lower(), "listKind": f"{kind}List"}
    spec = {"group": group, "scope": "Namespaced", "names": names, "versions": [served]}
    return thing("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", f"{plural}.{group}",
                 spec=spec)  # fmt: skip


def a(kind: str, name: str) -> Object:
    """Return an object of that kind which says nothing."""
    group, version, _ = KINDS[kind]
    return thing(f"{group}/{version}", kind, TENANT, name, spec={})
