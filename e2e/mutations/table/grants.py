"""What the provider Kubernetes makes: tokens, bindings, ServiceAccounts."""
# fmt: off

from typing import Any

from e2e.admission import AUDIENCE, GRANTS, TARGET, TENANT, binding, pod, secret
from e2e.impersonate import Object, thing
from e2e.mutations.rows import Table, one
from e2e.mutations.stage import GRANT, grant_account, grant_binding
from e2e.mutations.table.parts import RESTRICTED, owner


def tokens(t: Table) -> None:
    """Add the rows on tokens."""
    account = thing("v1", "ServiceAccount", TENANT, "triage-agent")
    def request(*audiences: str, **more: Any) -> Object:
        return {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": list(audiences), "expirationSeconds": 600, **more}}
    def ask(who: str, what: str, body: Object, answer: str = "", of: Object = account) -> None:
        t.add(who, "create", "ServiceAccount", "token", what, one(of) + "/token", body, "application/json", answer)
    there = t.stage.live["pod on the node"]["metadata"]
    reference = {"apiVersion": "v1", "kind": "Pod", "name": there["name"], "uid": there["uid"]}
    to_pod = {"boundObjectRef": reference}
    ask("alice", "for our audience", request("taskpass"), "must be asked for by a node")
    ask("alice", "for ours among others", request("other", "taskpass"), "must be asked for by a node")
    ask("alice", "for the API server's", request())
    ask("node", "for our audience, bound to the pod", request("taskpass", **to_pod))
    ask("node", "for our audience, for more than an hour", request("taskpass", **{**to_pod, "expirationSeconds": 3601}), "at most 3600")
    ask("alice", "bound to the pod", request(**to_pod), "must be asked for by a node")
    ask("node", "bound to the pod", request(**to_pod))
    ask("node", "for our audience, for an hour", request("taskpass", **{**to_pod, "expirationSeconds": 3600}))
    ask("who is in the nodes' group", "for our audience, bound to nothing", request("taskpass"), "be bound to a pod")
    ask("csi provider", "bound to the pod", request(**to_pod))
    beyond = t.stage.live["pod elsewhere"]["metadata"]
    to_beyond = {"boundObjectRef": {**reference, "name": beyond["name"], "uid": beyond["uid"]}}
    ask("admin", "bound to a pod that is not enrolled", request(**to_beyond), "", thing("v1", "ServiceAccount", "elsewhere", "triage-agent"))
    served = t.stage.live["pod served"]["metadata"]
    to_served = {"boundObjectRef": {**reference, "name": served["name"], "uid": served["uid"]}}
    ask("admin", "bound to a pod that is served, and on no list", request(**to_served), "must be asked for by a node", thing("v1", "ServiceAccount", "served", "triage-agent"))
    to_account = {"boundObjectRef": {"apiVersion": "v1", "kind": "Secret", "name": "foreign"}}
    ask("alice", "bound to a Secret", request(**to_account))
    grant = t.stage.live["account"]
    ask("operator", "of a grant", request(), "", grant)
    ask("operator", "of a grant, that leaves audiences out", {**request(), "spec": {"expirationSeconds": 600}}, "", grant)
    ask("operator", "of a grant, for a listed audience", request(AUDIENCE), "", grant)
    ask("operator", "of a grant, for a listed audience and another", request(AUDIENCE, "other"), "for the API server", grant)
    ask("operator", "of a grant, for as long as may be", request(expirationSeconds=86400), "", grant)
    ask("operator", "of a grant, for another audience", request("other"), "for the API server", grant)
    ask("operator", "of a grant, for a year", request(expirationSeconds=31536000), "at most", grant)
    ask("admin", "of a grant", request(), "must be asked for by taskpass", grant)
    ask("operator", "of what is no grant", request(), "must", thing("v1", "ServiceAccount", GRANTS, "default"))


def grants(t: Table) -> None:
    """Add the rows on grants."""
    subject = f"ServiceAccount/{GRANTS}/{GRANT}"
    for kind, where, answer in (("RoleBinding", TARGET, "the operator must write RoleBindings"), ("ClusterRoleBinding", "", "the operator must create and delete RoleBindings")):
        for to in (subject, f"User/system:serviceaccount:{GRANTS}:{GRANT}", f"Group/system:serviceaccounts:{GRANTS}"):
            t.create("admin", f"for {to}", binding(kind, where, "more", "ClusterRole/view", to), "must be given by taskpass only")
        t.create("admin", "for somebody", binding(kind, where, "more", "ClusterRole/view", "User/ada"))
        t.create("admin", "for another namespace's account", binding(kind, where, "more", "ClusterRole/view", f"ServiceAccount/{TENANT}/triage-agent"))
        t.create("admin", "for other groups", binding(kind, where, "more", "ClusterRole/view", "Group/system:serviceaccounts:elsewhere", f"User/system:serviceaccount:{TENANT}:x"))
        t.create("operator", "for a grant, without a name of ours", binding(kind, where, "more", "ClusterRole/tickets-reader", subject), answer)
    t.create("admin", "for nobody", {**binding("RoleBinding", TARGET, "more", "ClusterRole/view"), "subjects": None})
    t.create("admin", "of our name, for nobody", {**binding("RoleBinding", TARGET, "taskpass-g-more", "ClusterRole/view"), "subjects": None}, "must not begin with")
    t.create("admin", "of our name", binding("RoleBinding", TARGET, "taskpass-g-more", "ClusterRole/view", "User/ada"), "must not begin with")
    t.create("admin", "of our name, of the cluster", binding("ClusterRoleBinding", "", "taskpass-g-more", "ClusterRole/view", "User/ada"))
    t.merge("admin", "one subject more", "foreign binding", {"subjects": [{"kind": "ServiceAccount", "namespace": GRANTS, "name": GRANT}]}, "must be given by taskpass only")
    t.merge("admin", "another subject", "foreign binding", {"subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "eve"}]})
    t.merge("garbage collector", "a finalizer of ours is gone", "binding", {"metadata": {"finalizers": None}})
    t.merge("admin", "a label of a grant's", "binding", {"metadata": {"labels": {"a": "b"}}}, "must")
    t.merge("admin", "another subject of a grant's", "binding", {"subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "eve"}]}, "must not begin with")
    t.merge("operator", "a label of a grant's", "binding", {"metadata": {"labels": {"a": "b"}}}, "change none")
    more = "taskpass-" + GRANT + "-1"
    t.create("operator", "of a grant", grant_binding(more))
    t.create("operator", "of a role that is not listed", grant_binding(more, role="ClusterRole/view"), "that the chart's value")
    t.create("operator", "of a role of another kind", grant_binding(more, role="Role/tickets-reader"), "that the chart's value")
    t.create("operator", "of another grant's name", grant_binding("taskpass-g-" + "1" * 32 + "-0"), "the operator must write RoleBindings")
    t.create("operator", "of a name without a number", grant_binding("taskpass-" + GRANT), "the operator must write RoleBindings")
    elsewhere = grant_binding(more)
    elsewhere["metadata"]["namespace"] = TENANT
    t.create("operator", "in another namespace", elsewhere, "that the chart's value")
    for what, subjects in (
        ("for everybody", ["Group/system:authenticated"]), ("for two", [subject, "User/eve"]),
        ("for another's account", [f"ServiceAccount/{TENANT}/{GRANT}"]), ("for a user of that name", [f"User/{GRANT}"]),
    ):  # fmt: skip
        t.create("operator", what, binding("RoleBinding", TARGET, more, "ClusterRole/tickets-reader", *subjects), "the operator must write RoleBindings")
    t.create("operator", "for nobody", {**grant_binding(more), "subjects": []}, "the operator must write RoleBindings")
    t.delete("operator", "of a grant", "binding")
    t.delete("operator", "of a grant, that a finalizer holds", "held binding")
    t.delete("operator", "of another", "foreign binding", "the operator must write RoleBindings")
    t.delete("admin", "of a grant", "binding")
    other = "g-" + "1" * 32
    t.create("operator", "of a grant", grant_account(other))
    marks: dict[str, Any] = {"without the mark": {"labels": {}}, "with another's mark": {"labels": {"taskpass.dev/grant": GRANT}}, "with a finalizer": {"finalizers": ["a.example/b"]}, "with an owner": {"owners": [owner("live")]}}
    for what, metadata in marks.items():
        t.create("operator", what, grant_account(other, **metadata), "must have the label")
    for mark in ({}, {"taskpass.dev/grant": other}):
        unmarked = grant_binding(more)
        unmarked["metadata"]["labels"] = mark
        t.create("operator", f"marked {mark}", unmarked, "must have the label")
    t.create("operator", "of a name that is none", grant_account("g-1"), "the operator must write ServiceAccounts")
    t.create("operator", "elsewhere", thing("v1", "ServiceAccount", TENANT, other), "the operator must write ServiceAccounts")
    t.merge("operator", "a label", "account", {"metadata": {"labels": {"a": "b"}}}, "change none")
    t.delete("operator", "of a grant", "account")
    t.delete("operator", "of no grant", "agent's account", "the operator must write ServiceAccounts")
    for each, what in ((pod("thief", labelled=False), "a pod"), (secret("mine", type="Opaque"), "a Secret")):
        there = {**each, "metadata": {"name": "thief", "namespace": GRANTS}}
        if each["kind"] == "Pod":
            there["spec"] = RESTRICTED
        t.create("admin", f"{what} among the grants", there, "must not be created")
        t.create("admin", f"{what} elsewhere", {**there, "metadata": {"name": "thief", "namespace": "elsewhere"}})
    t.merge("admin", "what is in a Secret among the grants", "late secret", {"data": {"a": "eA=="}}, "must not be created")
    t.create("admin", "an account among the grants", grant_account("mine"), "must be made and changed by taskpass only")
    t.create("admin", "the default account elsewhere", thing("v1", "ServiceAccount", "elsewhere", "mine"))
    t.merge("admin", "a Secret in it", "account", {"secrets": [{"name": "mine"}]}, "must be made and changed by taskpass only")
    t.merge("admin", "a pull Secret", "account", {"imagePullSecrets": [{"name": "mine"}]}, "must be made and changed by taskpass only")
    t.merge("admin", "a label", "account", {"metadata": {"labels": {"a": "b"}}}, "must be made and changed by taskpass only")
    t.merge("admin", "an annotation", "account", {"metadata": {"annotations": {"a": "b"}}}, "must be made and changed by taskpass only")
    t.merge("garbage collector", "a finalizer", "account", {"metadata": {"finalizers": ["a.example/b"]}})
    t.merge("admin", "the default account", "default account", {"metadata": {"labels": {"a": "b"}}})
