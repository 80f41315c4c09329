"""Objects as an API server holds them, as far as the caches read them."""

from typing import Any

from tests.unit.kube.scripted_server import Object

T0 = "2027-03-01T12:00:00Z"


def meta(name: str, version: int, namespace: str = "support", **more: Any) -> Object:
    return {
        "name": name,
        "uid": f"uid-{namespace}-{name}",
        "resourceVersion": str(version),
        "generation": 1,
        "creationTimestamp": T0,
        **({"namespace": namespace} if namespace else {}),
        **more,
    }


def a_task(
    name: str, version: int, namespace: str = "support", *, account: str = "triage",
    of_class: str = "tickets", status: Object | None = None, **more: Any,
) -> Object:  # fmt: skip
    asked = {"name": "c", "classRef": {"name": of_class}, "actions": ["read"]}
    spec = {"agent": {"serviceAccountName": account}, "credentials": [asked]}
    return {"kind": "AgentTask", "metadata": meta(name, version, namespace, **more), "spec": spec,
            "status": status or {}}  # fmt: skip


def a_class(name: str, version: int, **more: Any) -> Object:
    spec = {"provider": "Kubernetes", "actions": ["read"], "kubernetes": {}}
    return {"kind": "CredentialClass", "metadata": meta(name, version, "", **more), "spec": spec}


def a_policy(name: str, version: int, namespace: str = "support", **more: Any) -> Object:
    kind = "AgentPolicy" if namespace else "ClusterAgentPolicy"
    return {"kind": kind, "metadata": meta(name, version, namespace, **more),
            "spec": {"effect": "Allow"}}  # fmt: skip


def a_switch(name: str, version: int, **spec: Any) -> Object:
    whole = {"target": "All", "reason": "INC-42", **spec}
    return {"kind": "KillSwitch", "metadata": meta(name, version, ""), "spec": whole}


def an_approval(name: str, version: int, task: str = "ticket") -> Object:
    spec = {"taskRef": {"name": task, "uid": "u"}, "digest": "sha256:0", "decision": "Approved"}
    metadata = {**meta(name, version), "creationTimestamp": T0}
    return {"kind": "TaskApproval", "metadata": metadata, "spec": spec}


def a_template(name: str, version: int) -> Object:
    spec = {"agent": {"serviceAccountName": "triage-agent"}, "credentials": []}
    return {"kind": "AgentTaskTemplate", "metadata": meta(name, version), "spec": spec}


def a_pod(name: str, version: int, task: str, created: str = T0, **more: Any) -> Object:
    labels = {"taskpass.dev/task": task}
    metadata = {**meta(name, version, labels=labels), "creationTimestamp": created}
    return {"metadata": metadata, "spec": {"containers": []}, "status": more}


def an_account(name: str, version: int, uid: str = "sa-1", **more: Any) -> Object:
    return {"metadata": {**meta(name, version), "uid": uid}, **more}


def a_namespace(name: str, version: int, **labels: str) -> Object:
    return {"metadata": meta(name, version, "", labels=labels)}
