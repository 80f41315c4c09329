"""What the attacks on the admission policies stand on: the chart, users, and builders of objects.

They need the API server and the controller manager only (`--no-node`), with the chart installed and
no operator running: the tests speak as the operator, as tenants, and as the administrator.
"""

import json
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from e2e.impersonate import Api, Object, Refused, thing

ROOT = Path(__file__).parents[1]
SYSTEM = "taskpass-system"
GRANTS = "taskpass-grants"
TENANT = "support"
TARGET = "tickets"
ROLE = "tickets-reader"
RBAC = "rbac.authorization.k8s.io"
GROUP = "taskpass.dev/v1alpha1"
AUDIENCE = "tickets-api"
"""What tokens of grants may be for beside the API server, by the chart's values."""
PROVIDER = "system:serviceaccount:csi:provider"
"""Who may ask for tokens of pods beside the nodes, by the chart's values."""
LABEL = "taskpass.dev/task"
GATE = "taskpass.dev/credentials"


def prepare(
    admin: Api, helm: str, kubeconfig: str, *, targets: Mapping[str, Any] | None = None,
    tenants: Sequence[str] = (TENANT,),
) -> None:  # fmt: skip
    """Install the chart, and what the tests stand on; return once the policies hold.

    `targets` is the chart's value; by default one ClusterRole in one namespace.
    """
    for namespace in (SYSTEM, *tenants, TARGET):
        admin.apply(thing("v1", "Namespace", "", namespace))
    targets = targets or {TARGET: {"clusterRoles": [ROLE]}}
    values = {
        "tenants": {tenant: {} for tenant in tenants},
        "targets": targets,
        "tokenAudiences": [AUDIENCE],
        "podTokenRequesters": [PROVIDER],
    }
    subprocess.run(
        [
            helm,
            "upgrade",
            "--install",
            "taskpass",
            str(ROOT / "charts/taskpass"),
            "--namespace",
            SYSTEM,
            "--kubeconfig",
            kubeconfig,
            *(f"--set-json={k}={json.dumps(v)}" for k, v in values.items()),
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    admin.apply(thing("v1", "ServiceAccount", TENANT, "triage-agent"))
    admin.apply(
        cluster_role(ROLE, {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]})
    )
    use = {"apiGroups": ["taskpass.dev"], "resources": ["credentialclasses"], "verbs": ["use"]}
    admin.apply(cluster_role("use-tickets", use | {"resourceNames": ["tickets"]}))
    admin.apply(
        binding("ClusterRoleBinding", "", "use-tickets", "ClusterRole/use-tickets", "User/alice")
    )
    admin.apply(binding("RoleBinding", TENANT, "alice", "ClusterRole/admin", "User/alice"))
    kinds = ("TaskApproval", "AgentTaskTemplate", "AgentTask", "AgentPolicy", "CredentialClass")
    for kind in kinds:
        _wait_served(admin, kind)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            # Kubernetes adds our rights to its role `admin` some time after they were made.
            admin.as_user("alice", "team-a").create(task("may-i"), dryRun="All")
        except Refused as refused:
            if refused.message.startswith("agenttasks.taskpass.dev is forbidden"):
                time.sleep(0.2)
                continue
        try:
            operator(admin).create(secret("not-ours", type="Opaque"), dryRun="All")
        except Refused as refused:
            if "taskpass-operator-secrets" in refused.message:
                time.sleep(1)  # the other policies were made in the same second
                return
        time.sleep(0.2)
    raise AssertionError("the admission policies do not hold after 30 s")


def _wait_served(admin: Api, kind: str) -> None:
    """Return once admission knows a kind; for a moment after its CRD was made it answers 503."""
    deadline = time.monotonic() + 30
    while True:
        try:
            where = "" if kind == "CredentialClass" else TENANT
            admin.create(thing(GROUP, kind, where, "probe", spec={}), dryRun="All")
            return
        except Refused as refused:
            if refused.status not in (404, 503):
                return
            if time.monotonic() > deadline:
                raise
        time.sleep(0.2)


def operator(api: Api) -> Api:
    """Return the API server as the operator sees it."""
    return api.as_service_account(SYSTEM, "taskpass")


def collector(api: Api) -> Api:
    """Return the API server as the garbage collector sees it."""
    return api.as_service_account("kube-system", "generic-garbage-collector")


def remove(api: Api, each: Object) -> None:
    """Delete an object, finalizers or not."""
    try:
        api.merge(each, {"metadata": {"finalizers": None}})
        # Nobody but Kubernetes' own controllers deletes Secrets of tasks.
        who = collector(api) if each["kind"] == "Secret" else api
        who.delete(each, gracePeriodSeconds="0")
    except Refused as refused:
        if refused.status != 404:
            raise


def task(name: str, **spec: Any) -> Object:
    """Return an AgentTask of one credential."""
    asked = {
        "name": "tickets",
        "classRef": {"name": "tickets"},
        "actions": ["read"],
        "resources": [f"namespace/{TARGET}"],
    }
    whole = {"agent": {"serviceAccountName": "triage-agent"}, "credentials": [asked], **spec}
    whole = {k: v for k, v in whole.items() if v is not None}
    return thing(GROUP, "AgentTask", TENANT, name, spec=whole)


def pod(name: str, *, labelled: bool = True, **rest: Any) -> Object:
    """Return a pod of one container; `spec` and metadata are merged over it."""
    spec = {
        "serviceAccountName": "triage-agent",
        "containers": [container("agent")],
        **rest.pop("spec", {}),
    }
    labels = {LABEL: name} if labelled else {}
    return thing(
        "v1", "Pod", TENANT, name, labels={**labels, **rest.pop("labels", {})}, spec=spec, **rest
    )


def container(name: str, **rest: Any) -> Object:
    """Return a container."""
    return {"name": name, "image": "localhost/agent:1", **rest}


def volume(task_name: str, *, seconds: int = 600, audience: str = "taskpass") -> Object:
    """Return the volume as admission adds it."""
    sources = [
        {
            "serviceAccountToken": {
                "audience": audience,
                "expirationSeconds": seconds,
                "path": "identity/token",
            }
        },
        {"secret": {"name": f"taskpass-{task_name}", "optional": True}},
    ]
    return {"name": "taskpass", "projected": {"sources": sources}}


def secret(
    name: str, *, owner: Object | None = None, namespace: str = TENANT, **rest: Any
) -> Object:
    """Return a Secret; with an owner, as the operator writes it."""
    rest = {"type": "taskpass.dev/credentials", **rest}
    if owner is not None:
        reference = {
            "apiVersion": GROUP,
            "kind": "AgentTask",
            "controller": True,
            "blockOwnerDeletion": False,
        }
        rest["owners"] = [
            reference | {"name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"]}
        ]
    return thing("v1", "Secret", namespace, name, stringData={"tickets.token": "x"}, **rest)


def cluster_role(name: str, *rules: Object) -> Object:
    """Return a ClusterRole."""
    return thing(f"{RBAC}/v1", "ClusterRole", "", name, rules=list(rules))


def binding(kind: str, namespace: str, name: str, role: str, *subjects: str) -> Object:
    """Return a binding; subjects are `User/name`, `Group/name`, `ServiceAccount/namespace/name`."""
    role_kind, role_name = role.split("/")
    whole = []
    for subject in subjects:
        match subject.split("/"):
            case ["ServiceAccount", its_namespace, its_name]:
                whole.append(
                    {"kind": "ServiceAccount", "namespace": its_namespace, "name": its_name}
                )
            case [its_kind, its_name]:
                whole.append({"kind": its_kind, "apiGroup": RBAC, "name": its_name})
    reference = {"apiGroup": RBAC, "kind": role_kind, "name": role_name}
    return thing(f"{RBAC}/v1", kind, namespace, name, roleRef=reference, subjects=whole)


def stamped(made: Object) -> Object:
    """Return who a pod's stamp says created it."""
    value: Object = json.loads(made["metadata"]["annotations"]["taskpass.dev/created-by"])
    return value


def wait_for(what: Callable[[], Any], seconds: float = 180) -> Any:
    """Return the first true answer; the garbage collector looks for new kinds every 30 s."""
    deadline = time.monotonic() + seconds
    while not (answer := what()):
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.25)
    return answer
