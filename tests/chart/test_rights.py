"""The operator's rights, pinned: a change here is a change of what a stolen operator can do."""

import re

import pytest
from rendering import ENROLLED, NAMESPACE, Object, of_kind, one, render

OPERATOR = {"kind": "ServiceAccount", "name": "taskpass", "namespace": NAMESPACE}
READ = {"get", "list", "watch"}


def rights(objects: list[Object], kind: str, name: str, namespace: str | None = None) -> list[str]:
    """One line for each resource: `verbs resource.group [names]`."""
    lines = []
    for rule in one(objects, kind, name, namespace)["rules"]:
        names = f" {rule['resourceNames']}" if "resourceNames" in rule else ""
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                lines.append(
                    f"{' '.join(rule['verbs'])} {resource}{'.' if group else ''}{group}{names}"
                )
    return lines


def test_rights_in_a_tenants_namespace() -> None:
    assert rights(render(), "ClusterRole", "taskpass-tenant") == [
        "get list watch patch pods",
        "create update delete secrets",
        "list watch serviceaccounts",
        "get jobs.batch",
        "get cronjobs.batch",
        "get deployments.apps",
        "get replicasets.apps",
        "get statefulsets.apps",
        "get jobsets.jobset.x-k8s.io",
        "get sandboxes.agents.x-k8s.io",
        "get rollouts.argoproj.io",
        "create events.events.k8s.io",
    ]


def test_rights_in_the_whole_cluster() -> None:
    policies = render()
    mutating = [o["metadata"]["name"] for o in of_kind(policies, "MutatingAdmissionPolicy")]
    # What only warns is no limit on the operator, and it does not look whether it is there.
    validating = [
        name
        for o in of_kind(policies, "ValidatingAdmissionPolicy")
        if (name := o["metadata"]["name"]) != "taskpass-replicas"
    ]
    kinds = ["agenttasks", "credentialclasses", "agentpolicies", "clusteragentpolicies"]
    names = [f"{kind}.taskpass.dev" for kind in (*kinds, "auditanchors", "killswitches")]
    names += ["taskapprovals.taskpass.dev", "agenttasktemplates.taskpass.dev"]
    kinds += ["killswitches", "taskapprovals", "agenttasktemplates"]

    assert rights(policies, "ClusterRole", "taskpass-operator") == [
        "get list watch create patch delete agenttasks.taskpass.dev",
        "get list watch patch credentialclasses.taskpass.dev",
        "get list watch agentpolicies.taskpass.dev",
        "get list watch clusteragentpolicies.taskpass.dev",
        "get list watch killswitches.taskpass.dev",
        "get list watch taskapprovals.taskpass.dev",
        "get list watch agenttasktemplates.taskpass.dev",
        *(f"patch {kind}/status.taskpass.dev" for kind in kinds),
        "get auditanchors.taskpass.dev ['taskpass']",
        "patch auditanchors/status.taskpass.dev ['taskpass']",
        "get list watch namespaces",
        "create subjectaccessreviews.authorization.k8s.io",
        f"get customresourcedefinitions.apiextensions.k8s.io {names}",
        f"get mutatingadmissionpolicies.admissionregistration.k8s.io {sorted(mutating)}",
        f"get mutatingadmissionpolicybindings.admissionregistration.k8s.io {sorted(mutating)}",
        f"get validatingadmissionpolicies.admissionregistration.k8s.io {sorted(validating)}",
        f"get validatingadmissionpolicybindings.admissionregistration.k8s.io {sorted(validating)}",
    ]


def test_the_roles_that_may_be_bound_may_be_read() -> None:
    assert rights(render(ENROLLED), "ClusterRole", "taskpass-operator")[-1] == (
        "get clusterroles.rbac.authorization.k8s.io ['kb-reader', 'tickets-reader']"
    )


def test_rights_in_a_target_namespace() -> None:
    assert rights(render(ENROLLED), "Role", "taskpass-target", "tickets") == [
        "get list create delete rolebindings.rbac.authorization.k8s.io",
        "bind clusterroles.rbac.authorization.k8s.io ['tickets-reader']",
        "bind get roles.rbac.authorization.k8s.io ['tickets-writer']",
    ]
    assert rights(render(ENROLLED), "Role", "taskpass-target", "kb") == [
        "get list create delete rolebindings.rbac.authorization.k8s.io",
        "bind clusterroles.rbac.authorization.k8s.io ['kb-reader']",
    ]


def test_rights_that_stay_where_a_namespace_was_taken_off_the_list() -> None:
    objects = render({"formerTenants": {"support": {}}, "formerTargets": {"tickets": {}}})

    assert rights(objects, "Role", "taskpass-former-tenant", "support") == ["delete secrets"]
    assert rights(objects, "Role", "taskpass-former-target", "tickets") == [
        "get list delete rolebindings.rbac.authorization.k8s.io"
    ]
    assert one(objects, "RoleBinding", "taskpass-former-tenant", "support")["subjects"] == [
        OPERATOR
    ]
    assert one(objects, "RoleBinding", "taskpass-former-target", "tickets")["subjects"] == [
        OPERATOR
    ]


def test_rights_where_grants_live() -> None:
    assert rights(render(), "Role", "taskpass-grants", "taskpass-grants") == [
        "get list create delete serviceaccounts",
        "create serviceaccounts/token",
        "create leases.coordination.k8s.io",
        "get update leases.coordination.k8s.io ['taskpass-operator']",
    ]


def test_rights_at_home() -> None:
    assert rights(render(), "Role", "taskpass-operator", NAMESPACE) == [
        "create secrets",
        "get secrets ['taskpass-signing-key']",
        "get patch configmaps ['taskpass-release']",
    ]


def test_a_new_generation_of_the_signing_key_is_read_beside_the_one_before() -> None:
    said = rights(render({"signingKeyGeneration": 3}), "Role", "taskpass-operator", NAMESPACE)

    assert "get secrets ['taskpass-signing-key-3', 'taskpass-signing-key-2']" in said


@pytest.mark.parametrize(
    ("generation", "name"), [(1, "taskpass-signing-key"), (12, "taskpass-signing-key-12")]
)
def test_the_signing_key_of_this_generation_is_the_only_one_that_may_be_made(
    generation: int, name: str
) -> None:
    objects = render({"signingKeyGeneration": generation})
    rules = one(objects, "ValidatingAdmissionPolicy", "taskpass-operator-secrets")["spec"]

    named = re.findall(r"object\.metadata\.name == '([^']+)'", str(rules["validations"]))
    assert named == [name]


def test_events_about_objects_of_the_cluster() -> None:
    assert rights(render(), "Role", "taskpass-operator-events", "default") == [
        "create events.events.k8s.io"
    ]


def test_the_release_job_may_ask_and_read_the_answer() -> None:
    assert rights(render(), "Role", "taskpass-release", NAMESPACE) == [
        "create configmaps",
        "get delete configmaps ['taskpass-release']",
    ]


def test_rights_in_tenants_come_from_bindings_there() -> None:
    bindings = [
        o
        for o in of_kind(render(ENROLLED), "RoleBinding", "ClusterRoleBinding")
        if o["roleRef"]["name"] == "taskpass-tenant"
    ]

    assert [(o["kind"], o["metadata"]["namespace"]) for o in bindings] == [
        ("RoleBinding", "sales"),
        ("RoleBinding", "support"),
    ]


def test_every_binding_is_for_one_service_account_of_ours() -> None:
    for o in of_kind(render(ENROLLED), "RoleBinding", "ClusterRoleBinding"):
        wanted = (
            OPERATOR
            if o["roleRef"]["name"] != "taskpass-release"
            else {**OPERATOR, "name": "taskpass-release"}
        )

        assert o["subjects"] == [wanted], o["metadata"]["name"]


def test_there_are_no_wildcards() -> None:
    for o in of_kind(render(ENROLLED), "Role", "ClusterRole"):
        for rule in o["rules"]:
            assert not any(
                "*" in part for key in ("apiGroups", "resources", "verbs") for part in rule[key]
            ), o["metadata"]["name"]
            assert "nonResourceURLs" not in rule


def test_secrets_are_read_nowhere_but_the_signing_key() -> None:
    for o in of_kind(render(ENROLLED), "Role", "ClusterRole"):
        for rule in o["rules"]:
            if "secrets" in rule["resources"] and (READ | {"patch"}) & set(rule["verbs"]):
                assert rule == {
                    "apiGroups": [""],
                    "resources": ["secrets"],
                    "resourceNames": ["taskpass-signing-key"],
                    "verbs": ["get"],
                }


def test_nobody_is_given_use_escalate_or_impersonate() -> None:
    verbs = {
        v
        for o in of_kind(render(ENROLLED), "Role", "ClusterRole")
        for rule in o["rules"]
        for v in rule["verbs"]
    }

    assert verbs & {"use", "escalate", "impersonate", "approve", "sign", "deletecollection"} <= {
        "deletecollection"
    }


def test_what_view_edit_and_admin_mean() -> None:
    objects = render()

    assert rights(objects, "ClusterRole", "taskpass-edit") == [
        "create update patch delete deletecollection agenttasks.taskpass.dev",
        "create update patch delete deletecollection agenttasktemplates.taskpass.dev",
    ]
    assert rights(objects, "ClusterRole", "taskpass-admin") == [
        "create update patch delete deletecollection agentpolicies.taskpass.dev"
    ]
    assert all(
        line.startswith("get list watch ")
        for line in rights(objects, "ClusterRole", "taskpass-view")
    )
    for role in ("view", "edit", "admin"):
        labels = one(objects, "ClusterRole", f"taskpass-{role}")["metadata"]["labels"]
        assert [k for k in labels if "aggregate" in k] == [
            f"rbac.authorization.k8s.io/aggregate-to-{role}"
        ]


def test_kill_switches_are_no_part_of_the_clusters_own_roles() -> None:
    objects = render()

    assert rights(objects, "ClusterRole", "taskpass-responder") == [
        "get list watch create delete killswitches.taskpass.dev"
    ]
    labels = one(objects, "ClusterRole", "taskpass-responder")["metadata"]["labels"]
    assert not [k for k in labels if "aggregate" in k]


def test_approvals_are_no_part_of_the_clusters_own_roles() -> None:
    objects = render()

    assert rights(objects, "ClusterRole", "taskpass-approver") == [
        "get list watch create delete taskapprovals.taskpass.dev",
        "get list watch agenttasks.taskpass.dev",
    ]
    labels = one(objects, "ClusterRole", "taskpass-approver")["metadata"]["labels"]
    assert not [k for k in labels if "aggregate" in k]


def test_the_chart_makes_no_secret_and_of_our_kinds_the_anchor_alone() -> None:
    for o in render(ENROLLED):
        assert o["kind"] != "Secret"
        assert o["kind"] == "AuditAnchor" or not o["apiVersion"].startswith("taskpass.dev/")


def test_the_operator_may_neither_make_nor_delete_the_logs_memory() -> None:
    granted = rights(render(ENROLLED), "ClusterRole", "taskpass-operator")

    assert [right for right in granted if "auditanchors" in right and "resource" not in right] == [
        "get auditanchors.taskpass.dev ['taskpass']",
        "patch auditanchors/status.taskpass.dev ['taskpass']",
    ]


def test_the_read_api_is_off_by_default_and_takes_one_right_more() -> None:
    off, on = render(), render({"readApi": {"tlsSecretName": "log-tls"}})

    more = [
        right
        for right in rights(on, "ClusterRole", "taskpass-operator")
        if right not in rights(off, "ClusterRole", "taskpass-operator")
    ]
    assert more == ["create tokenreviews.authentication.k8s.io"]
    assert "taskpass-audit-reader" not in [o["metadata"]["name"] for o in off]
    assert rights(on, "ClusterRole", "taskpass-audit-reader") == [
        "get auditanchors.taskpass.dev ['taskpass']",
        "get auditanchors/log.taskpass.dev ['taskpass']",
    ]
    ports = [one(each, "Service", "taskpass", NAMESPACE)["spec"]["ports"] for each in (off, on)]
    assert [[port["port"] for port in each] for each in ports] == [[9090], [9090, 9443]]
