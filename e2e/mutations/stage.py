"""What the rows stand on: real objects on one API server, and everybody who speaks in them."""

from dataclasses import dataclass, field
from pathlib import Path

from e2e.admission import (
    GATE,
    GRANTS,
    GROUP,
    LABEL,
    PROVIDER,
    SYSTEM,
    TARGET,
    TENANT,
    binding,
    cluster_role,
    container,
    operator,
    pod,
    secret,
    task,
    volume,
    wait_for,
)
from e2e.foreign_kinds import KINDS
from e2e.impersonate import Api, Object, Refused, path_of, thing
from e2e.mutations.forger import install
from e2e.mutations.workloads import before_the_chart, set_workloads

OF_A_GRANT = "taskpass.dev/grant"
GRANT = "g-" + "0" * 32
FREE = [{"name": "free", "classRef": {"name": "free"}, "actions": ["read"],
         "resources": [f"namespace/{TARGET}"]}]  # fmt: skip
"""What everybody may ask for."""
IDENTITY = {"serviceAccountToken": {"audience": "taskpass", "path": "token"}}
ON_THE_NODE: Object = {
    "nodeName": "n1", "volumes": [{"name": "v", "projected": {"sources": [IDENTITY]}}],
    "tolerations": [{"operator": "Exists"}],
}  # fmt: skip
OF_OTHERS: Object = {
    "schedulingGates": [{"name": "example.com/other"}],
    "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
        {"weight": 1, "preference": {"matchFields": [
            {"key": "metadata.name", "operator": "In", "values": ["n1"]}]}}]}},
}  # fmt: skip
"""What Kubernetes lets one take out of the spec of a pod that is gated."""
INTENT = {"goal": "sort the tickets"}
KEPT = ["a.example/b"]
MANY_CLASSES = [f"may-{i}" for i in range(17)]
"""What modest may ask for."""
OVER = {"type": "Finished", "status": "True", "reason": "Succeeded", "message": "over",
        "lastTransitionTime": "2027-03-01T12:00:00Z"}  # fmt: skip
ALL_BUT_USE = ["get", "list", "watch", "create", "update", "patch", "delete", "bind", "escalate"]
CONTROLLERS = (
    "job-controller", "deployment-controller", "cronjob-controller", "statefulset-controller",
    "generic-garbage-collector",
)  # fmt: skip
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


def set_stage(admin: Api, directory: Path) -> Stage:
    """Make everything that rows speak of; the chart is installed already."""
    stage = Stage(admin)
    _people(stage)
    install(admin, directory)
    for set_part in (_tasks, _pods, _secrets, _grants, _kinds, _of_kubernetes):
        set_part(stage)
    return stage


def _unstamped(who: Api, each: Object) -> Object:
    """Make a task without stamps; refuse where it would get some."""
    if "changers" in who.create(each, dryRun="All")["spec"]:
        raise Refused(403, "tasks are stamped still")
    return who.create(each)


def _people(stage: Stage) -> None:
    admin = stage.admin
    stage.users = {
        "admin": admin,
        "alice": admin.as_user("alice", "team-a"),
        "mallory": admin.as_user("mallory"),
        "modest": admin.as_user("modest"),
        "operator": operator(admin),
        "node": admin.as_user("system:node:n1", "system:nodes"),
        "who is in the nodes' group": admin.as_user("imposter", "system:nodes"),
        "csi provider": admin.as_service_account("csi", "provider"),
        **{
            who.replace("generic-", "").replace("-", " "): _account(admin, who)
            for who in CONTROLLERS
        },
        "agent": admin.as_service_account(TENANT, "triage-agent"),
    }
    # RBAC has nothing against anybody here, but where rights themselves are the question: what is
    # refused is refused by a policy.
    admin.apply(
        binding(
            "ClusterRoleBinding", "", "mutations", "ClusterRole/cluster-admin",
            "User/system:node:n1", "User/imposter", f"User/{PROVIDER}",
            *(f"ServiceAccount/kube-system/{name}" for name in CONTROLLERS),
        )
    )  # fmt: skip
    admin.apply(binding("RoleBinding", TENANT, "mallory", "ClusterRole/admin", "User/mallory"))
    admin.apply(binding("RoleBinding", TENANT, "modest", "ClusterRole/admin", "User/modest"))
    may = {"apiGroups": ["taskpass.dev"], "resources": ["credentialclasses"], "verbs": ["use"]}
    admin.apply(cluster_role("use-many", may | {"resourceNames": MANY_CLASSES}))
    admin.apply(
        binding("ClusterRoleBinding", "", "use-many", "ClusterRole/use-many", "User/modest")
    )
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
    groups = ["apps", "batch", *(group for group, _, _ in KINDS.values())]
    everything = {"apiGroups": groups, "resources": ["*"], "verbs": ["*"]}
    admin.apply(cluster_role("workloads", everything))
    admin.apply(
        binding("RoleBinding", TENANT, "workloads", "ClusterRole/workloads", "User/alice",
                "User/mallory")
    )  # fmt: skip
    for namespace in ("elsewhere", "served"):
        admin.apply(thing("v1", "Namespace", "", namespace))
        admin.apply(thing("v1", "ServiceAccount", namespace, "triage-agent"))
    _let_operator(admin)
    admin.apply(credential_class("tickets"))


def _tasks(stage: Stage) -> None:
    admin, live = stage.admin, stage.live
    alice, taskpass = stage.users["alice"], stage.users["operator"]
    live["task"] = alice.create(task("live"))
    live["whole child"] = admin.create(
        task("whole-child", credentials=FREE, parentRef={"name": "live"}, intent=INTENT)
    )
    live["free"] = alice.create(task("free", credentials=FREE, intent=INTENT))
    for count in (31, 32):
        crowd = live[f"task of {count} changers"] = admin.create(
            task(f"crowd-{count}", credentials=FREE)
        )
        for at in range(1, count):
            changer = admin.as_user(f"one-{at}", "system:masters")
            changer.merge(crowd, {"spec": {"intent": {"goal": f"{at}"}}})
    kept = task("kept")
    kept["metadata"]["finalizers"] = ["a.example/b"]
    live["kept"] = alice.create(kept)
    live["ready"] = alice.create(task("ready"))
    taskpass.merge(live["ready"], {"status": {"conditions": [
        {**OVER, "type": "Ready"}, {**OVER, "status": "False"}]}}, "/status")  # fmt: skip
    live["other task"] = alice.create(task("other"))
    live["template"] = alice.create(template("live"))
    live["job"] = alice.create(job("live"))
    phases = [{"name": "one", "next": ["two"]}, {"name": "two"}]
    live["phased"] = admin.create(task("phased", credentials=FREE, phases=phases, phase="one"))
    taskpass.merge(live["phased"], {"status": {"phaseName": "one"}}, "/status")
    live["child"] = admin.create(task("child", credentials=FREE, parentRef={"name": "live"}))
    live["finished"] = alice.create(task("finished"))
    taskpass.merge(live["finished"], {"status": {"conditions": [OVER]}}, "/status")


def _pods(stage: Stage) -> None:
    admin, live = stage.admin, stage.live
    alice, taskpass = stage.users["alice"], stage.users["operator"]
    live["pod"] = alice.create(pod("live"))
    live["pod without label"] = alice.create(pod("plain", labelled=False))
    # Pods of a node that is not there would be deleted in the midst of it all.
    admin.apply(thing("v1", "Node", "", "n1"))
    others = {"app": "placed"}
    live["pod on the node"] = admin.create(
        pod("placed", labelled=False, labels=others, spec=ON_THE_NODE)
    )
    live["running pod"] = alice.create(pod("running"))
    taskpass.patch(live["running pod"], [{"op": "remove", "path": "/spec/schedulingGates"}])
    for namespace in ("elsewhere", "served"):
        there = pod(f"placed-{namespace}", labelled=False, spec={**ON_THE_NODE})
        there["metadata"]["namespace"] = namespace
        live[f"pod {namespace}"] = admin.create(there)
    first = {"initContainers": [container("first")]}
    live["pod with a first container"] = alice.create(pod("two", spec=first))
    live["pod with things of others"] = alice.create(
        pod("rich", annotations={"a.example/b": "c"}, spec=OF_OTHERS)
    )
    # A parent that runs: who bears its token is its pod.
    admin.apply(thing("v1", "ServiceAccount", TENANT, "parent"))
    admin.apply(binding("RoleBinding", TENANT, "parent", "ClusterRole/admin",
                        f"ServiceAccount/{TENANT}/parent"))  # fmt: skip
    running = admin.create(pod("parent", labelled=False, spec={
        **ON_THE_NODE, "serviceAccountName": "parent"}))  # fmt: skip
    stage.users["parent's pod"] = admin.bearing(token_of(stage, running, "parent"))


def _secrets(stage: Stage) -> None:
    admin, live = stage.admin, stage.live
    alice, taskpass = stage.users["alice"], stage.users["operator"]
    live["secret"] = taskpass.create(secret("taskpass-live", owner=live["task"]))
    live["foreign secret"] = admin.create(secret("foreign", type="Opaque"))
    owning = alice.create(task("orphan"))
    live["orphan"] = taskpass.create(secret("taskpass-orphan", owner=owning))
    stage.users["garbage collector"].merge(live["orphan"], {"metadata": {"ownerReferences": None}})
    # The operator has no rights in that namespace, so it is somebody with its name and all rights.
    almighty = admin.as_user(taskpass.user, "system:masters")
    owning = task("live")
    owning["metadata"]["namespace"] = "elsewhere"
    live["secret elsewhere"] = almighty.create(
        secret("taskpass-live", owner=admin.create(owning), namespace="elsewhere")
    )


def _grants(stage: Stage) -> None:
    admin, live, taskpass = stage.admin, stage.live, stage.users["operator"]
    live["account"] = taskpass.create(grant_account(GRANT))
    live["binding"] = taskpass.create(grant_binding())
    live["held binding"] = taskpass.create(grant_binding(f"taskpass-{GRANT}-9"))
    admin.merge(live["held binding"], {"metadata": {"finalizers": ["a.example/b"]}})
    live["foreign binding"] = admin.create(
        binding("RoleBinding", TARGET, "foreign", "ClusterRole/view", "User/ada")
    )


def _kinds(stage: Stage) -> None:
    admin, live = stage.admin, stage.live
    live["class"] = admin.get("CredentialClass", "", "tickets")
    admin.apply(credential_class("bare"))
    live["bare class"] = admin.get("CredentialClass", "", "bare")
    admin.merge(live["bare class"], {"metadata": {"finalizers": None}})
    admin.apply({**credential_class("kept"), "metadata": {"name": "kept", "finalizers": KEPT}})
    live["kept class"] = admin.get("CredentialClass", "", "kept")
    admin.apply({**credential_class("going"), "metadata": {"name": "going", "finalizers": KEPT}})
    live["going class"] = admin.get("CredentialClass", "", "going")
    admin.merge(live["going class"], {"metadata": {"finalizers": KEPT}})
    admin.delete(live["going class"])
    live["switch"] = admin.create(switch("live"))
    live["approval"] = admin.create(approval("live"))
    live["policy"] = admin.create(thing(GROUP, "AgentPolicy", TENANT, "live", spec=ALLOW))
    live["cluster policy"] = admin.create(
        thing(GROUP, "ClusterAgentPolicy", "", "live", spec={**ALLOW, "effect": "Deny"})
    )
    live["anchor"] = admin.call("GET", path_of("AuditAnchor", ""))["items"][0]
    live["anchor"] |= {"kind": "AuditAnchor"}


def _of_kubernetes(stage: Stage) -> None:
    admin, live = stage.admin, stage.live
    live["agent's account"] = admin.get("ServiceAccount", TENANT, "triage-agent")
    set_workloads(admin, stage.users, live)
    # A label that is no name, and a list of what is no container: neither can be made any more.
    early = pod(
        "early", labels={LABEL: "No_Name"}, annotations={"taskpass.dev/containers": "gone"},
        spec=gated_by_hand("No_Name"),
    )  # fmt: skip
    live["early pod"] = before_the_chart(
        admin, ("taskpass-pods", "taskpass-inject", "taskpass-stamp-pods"),
        lambda: admin.create(early),
    )  # fmt: skip
    bare = task("early", credentials=FREE)
    bare["metadata"]["finalizers"] = ["taskpass.dev/revoke"]
    live["early task"] = before_the_chart(
        admin, ("taskpass-stamps", "taskpass-stamp-tasks"), lambda: _unstamped(admin, bare)
    )
    live["secret of our type alone"] = before_the_chart(
        admin, ("taskpass-credentials",), lambda: admin.create(secret("mislaid"))
    )
    live["late secret"] = before_the_chart(
        admin, ("taskpass-grants-namespace",),
        lambda: admin.create(secret("late", type="Opaque", namespace=GRANTS)),
    )  # fmt: skip
    live["default account"] = wait_for(lambda: _default(admin))


def _let_operator(admin: Api) -> None:
    """Let it do all but `use` classes. Where it may make Secrets is what it serves."""
    pods = ["pods", "pods/status", "serviceaccounts", "serviceaccounts/token", "configmaps"]
    groups = ["rbac.authorization.k8s.io", "taskpass.dev", "apps", "batch"]
    rules = [
        {"apiGroups": [""], "resources": pods, "verbs": ALL_BUT_USE},
        {"apiGroups": groups, "resources": ["*"], "verbs": ALL_BUT_USE},
    ]
    account = f"ServiceAccount/{SYSTEM}/taskpass"
    admin.apply(cluster_role("all-but-use", *rules))
    admin.apply(binding("ClusterRoleBinding", "", "operator", "ClusterRole/all-but-use", account))
    # After the namespace was made, which no list has and the operator serves all the same.
    for namespace in (TENANT, SYSTEM, "served"):
        admin.apply(binding("RoleBinding", namespace, "operator", "ClusterRole/admin", account))


def token_of(stage: Stage, running: Object, account: str) -> str:
    """Return a token by which one is a pod, as who puts it there gets it."""
    meta = running["metadata"]
    bound = {"apiVersion": "v1", "kind": "Pod", "name": meta["name"], "uid": meta["uid"]}
    spec = {"audiences": [], "expirationSeconds": 7200, "boundObjectRef": bound}
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
    path = f"{path_of('ServiceAccount', TENANT)}/{account}/token"
    return str(stage.users["csi provider"].call("POST", path, body)["status"]["token"])


def _default(admin: Api) -> Object | None:
    try:
        return admin.get("ServiceAccount", GRANTS, "default")
    except Refused:
        return None


def _account(admin: Api, name: str) -> Api:
    return admin.as_service_account("kube-system", name)


def gated_by_hand(name: str) -> Object:
    """Return the spec of a pod as no policy of ours lets it be made: its token lives too long."""
    return {"schedulingGates": [{"name": GATE}], "volumes": [volume(name, seconds=7200)]}


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
