"""What the rows stand on: real objects on one API server, and everybody who speaks in them."""

from dataclasses import dataclass, field

from e2e.admission import (
    GRANTS,
    GROUP,
    SYSTEM,
    TARGET,
    TENANT,
    binding,
    cluster_role,
    operator,
    pod,
    secret,
    task,
    wait_for,
)
from e2e.impersonate import Api, Object, Refused, path_of, thing

OF_A_GRANT = "taskpass.dev/grant"
GRANT = "g-" + "0" * 32
FREE = [{"name": "free", "classRef": {"name": "free"}, "actions": ["read"],
         "resources": [f"namespace/{TARGET}"]}]  # fmt: skip
"""What everybody may ask for."""
IDENTITY = {"serviceAccountToken": {"audience": "taskpass", "path": "token"}}
ON_THE_NODE = {"nodeName": "n1", "volumes": [{"name": "v", "projected": {"sources": [IDENTITY]}}]}
ALLOW = {"effect": "Allow", "agents": {"serviceAccountNames": ["nobody"]}, "classes": ["none"],
         "actions": ["none"], "resources": ["none"]}  # fmt: skip


@dataclass
class Stage:
    """Users by name, and live objects by name."""

    admin: Api
    users: dict[str, Api] = field(default_factory=dict)
    live: dict[str, Object] = field(default_factory=dict)

    def as_(self, who: str) -> Api:
        """Return the API server as one of them sees it."""
        return self.users[who]


def set_stage(admin: Api) -> Stage:
    """Make everything that rows speak of; the chart is installed already."""
    stage = Stage(admin)
    stage.users = {
        "admin": admin,
        "alice": admin.as_user("alice", "team-a"),
        "mallory": admin.as_user("mallory"),
        "operator": operator(admin),
        "node": admin.as_user("system:node:n1", "system:nodes"),
        "job controller": _account(admin, "job-controller"),
        "garbage collector": _account(admin, "generic-garbage-collector"),
        "agent": admin.as_service_account(TENANT, "triage-agent"),
    }
    # RBAC has nothing against anybody here, but where rights themselves are the question: what is
    # refused is refused by a policy.
    admin.apply(
        binding(
            "ClusterRoleBinding", "", "mutations", "ClusterRole/cluster-admin",
            f"ServiceAccount/{SYSTEM}/taskpass", "ServiceAccount/kube-system/job-controller",
            "ServiceAccount/kube-system/generic-garbage-collector", "User/system:node:n1",
        )
    )  # fmt: skip
    admin.apply(binding("RoleBinding", TENANT, "mallory", "ClusterRole/admin", "User/mallory"))
    use = {"apiGroups": ["taskpass.dev"], "resources": ["credentialclasses"], "verbs": ["use"]}
    admin.apply(cluster_role("use-free", use | {"resourceNames": ["free"]}))
    admin.apply(
        binding(
            "ClusterRoleBinding",
            "",
            "use-free",
            "ClusterRole/use-free",
            "Group/system:authenticated",
        )
    )
    admin.apply(thing("v1", "Namespace", "", "elsewhere"))
    admin.apply(thing("v1", "ServiceAccount", "elsewhere", "triage-agent"))
    admin.apply(credential_class("tickets"))
    alice, taskpass = stage.users["alice"], stage.users["operator"]
    live = stage.live
    live["task"] = alice.create(task("live"))
    live["other task"] = alice.create(task("other"))
    live["pod"] = alice.create(pod("live"))
    live["pod without label"] = alice.create(pod("plain", labelled=False))
    live["pod on the node"] = admin.create(pod("placed", labelled=False, spec=ON_THE_NODE))
    live["secret"] = taskpass.create(secret("taskpass-live", owner=live["task"]))
    live["foreign secret"] = admin.create(secret("foreign", type="Opaque"))
    live["account"] = taskpass.create(grant_account(GRANT))
    live["binding"] = taskpass.create(grant_binding())
    live["foreign binding"] = admin.create(
        binding("RoleBinding", TARGET, "foreign", "ClusterRole/view", "User/ada")
    )
    live["class"] = admin.get("CredentialClass", "", "tickets")
    live["switch"] = admin.create(switch("live"))
    live["template"] = alice.create(template("live"))
    live["job"] = alice.create(job("live"))
    phases = [{"name": "one", "next": ["two"]}, {"name": "two"}]
    live["phased"] = admin.create(task("phased", credentials=FREE, phases=phases, phase="one"))
    taskpass.merge(live["phased"], {"status": {"phaseName": "one"}}, "/status")
    live["child"] = admin.create(task("child", credentials=FREE, parentRef={"name": "live"}))
    live["finished"] = alice.create(task("finished"))
    over = {"type": "Finished", "status": "True", "reason": "Succeeded", "message": "over",
            "lastTransitionTime": "2027-03-01T12:00:00Z"}  # fmt: skip
    taskpass.merge(live["finished"], {"status": {"conditions": [over]}}, "/status")
    live["approval"] = admin.create(approval("live"))
    live["policy"] = admin.create(thing(GROUP, "AgentPolicy", TENANT, "live", spec=ALLOW))
    live["cluster policy"] = admin.create(
        thing(GROUP, "ClusterAgentPolicy", "", "live", spec={**ALLOW, "effect": "Deny"})
    )
    live["anchor"] = admin.call("GET", path_of("AuditAnchor", ""))["items"][0]
    live["anchor"] |= {"kind": "AuditAnchor"}
    live["agent's account"] = admin.get("ServiceAccount", TENANT, "triage-agent")
    live["default account"] = wait_for(lambda: _default(admin))
    return stage


def _default(admin: Api) -> Object | None:
    try:
        return admin.get("ServiceAccount", GRANTS, "default")
    except Refused:
        return None


def _account(admin: Api, name: str) -> Api:
    return admin.as_service_account("kube-system", name)


def credential_class(name: str, **spec: object) -> Object:
    """Return a class that gives the one role that is listed."""
    roles = [{"action": "read", "kind": "ClusterRole", "name": "tickets-reader"}]
    whole = {
        "provider": "Kubernetes",
        "kubernetes": {"roles": roles, "namespaces": [TARGET]},
        "actions": ["read"],
        "namespaceSelector": {},
        **spec,
    }
    return thing(GROUP, "CredentialClass", "", name, spec=whole)


def grant_account(name: str, **rest: object) -> Object:
    """Return the ServiceAccount of a grant."""
    return thing("v1", "ServiceAccount", GRANTS, name, **{"labels": {OF_A_GRANT: name}, **rest})


def grant_binding(name: str = f"taskpass-{GRANT}-0", *, of: str = GRANT, role: str = "") -> Object:
    """Return the RoleBinding of a grant in the target namespace."""
    made = binding(
        "RoleBinding", TARGET, name, role or "ClusterRole/tickets-reader",
        f"ServiceAccount/{GRANTS}/{of}",
    )  # fmt: skip
    made["metadata"]["labels"] = {OF_A_GRANT: of}
    return made


def switch(name: str) -> Object:
    """Return a KillSwitch for a task that nobody has."""
    spec = {"target": "Task", "namespace": TENANT, "of": "nobody", "reason": "INC-1"}
    return thing(GROUP, "KillSwitch", "", name, spec=spec)


def approval(name: str) -> Object:
    """Return a TaskApproval."""
    spec = {
        "taskRef": {"name": "live", "uid": "1"},
        "digest": "sha256:" + "0" * 64,
        "decision": "Approved",
    }
    return thing(GROUP, "TaskApproval", TENANT, name, spec=spec)


def template(name: str) -> Object:
    """Return an AgentTaskTemplate of one credential."""
    return {**task(name), "kind": "AgentTaskTemplate"}


def job(name: str) -> Object:
    """Return a Job that never makes a pod."""
    spec = {"template": {"spec": {"restartPolicy": "Never", "containers": [
        {"name": "agent", "image": "localhost/agent:1"}]}}, "suspend": True}  # fmt: skip
    return thing("batch/v1", "Job", TENANT, name, spec=spec)
