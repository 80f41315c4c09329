"""What the code says that it needs is what the chart grants, in both directions.

That the code needs no more and no less is shown by its calls (`e2e/cases/operator`); `taskpass
doctor` compares the same list with a cluster.
"""

from rendering import ENROLLED, NAMESPACE, Object, of_kind, render

from taskpass.cli.doctor.rights import Right, needed

TENANTS = ["support", "sales"]
TARGETS = {
    "tickets": [("ClusterRole", "tickets-reader"), ("Role", "tickets-writer")],
    "kb": [("ClusterRole", "kb-reader")],
}
OPERATOR = {"kind": "ServiceAccount", "name": "taskpass", "namespace": NAMESPACE}


def granted(objects: list[Object]) -> set[Right]:
    """Return what bindings to the operator grant, and where."""
    roles = {
        (o["kind"], o["metadata"].get("namespace", ""), o["metadata"]["name"]): o["rules"]
        for o in of_kind(objects, "Role", "ClusterRole")
    }
    found = set()
    for each in of_kind(objects, "RoleBinding", "ClusterRoleBinding"):
        if OPERATOR not in each["subjects"]:
            continue
        where = each["metadata"].get("namespace", "")
        ref = each["roleRef"]
        home = where if ref["kind"] == "Role" else ""
        for rule in roles[ref["kind"], home, ref["name"]]:
            found |= {
                Right(verb, resource, group, name, where)
                for group in rule["apiGroups"]
                for resource in rule["resources"]
                for verb in rule["verbs"]
                for name in rule.get("resourceNames", [""])
            }
    return found


def test_what_the_code_needs_is_what_the_chart_grants() -> None:
    wanted = needed(NAMESPACE, TENANTS, TARGETS)

    there = granted(render(ENROLLED))

    assert sorted(wanted - there) == []
    assert sorted(there - wanted) == []


def test_a_new_signing_key_needs_the_one_before_it() -> None:
    wanted = needed(NAMESPACE, [], {}, key_generation=2)

    assert granted(render({"signingKeyGeneration": 2})) == wanted


def test_without_tenants_and_targets_both_are_less() -> None:
    wanted = needed(NAMESPACE, [], {})

    assert granted(render()) == wanted
    assert {right.namespace for right in wanted} == {"", NAMESPACE, "taskpass-grants", "default"}


def test_who_serves_the_log_needs_to_look_at_tokens() -> None:
    wanted = needed(NAMESPACE, [], {}, read_api=True)

    assert granted(render({"readApi": {"tlsSecretName": "log-tls"}})) == wanted
