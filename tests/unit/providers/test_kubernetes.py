"""The parts of the Kubernetes provider that need no API server."""

import json
import re

import pytest

from taskpass.core.errors import ProviderRefused
from taskpass.core.model.task import CredentialClass, CredentialRequest
from taskpass.providers.kubernetes.objects import (
    credential_ref,
    grant_of_binding,
    role_path,
    token_request,
)
from taskpass.providers.kubernetes.roles import (
    privilege_escalation,
    representative,
    rules_digest,
    streams,
)
from taskpass.providers.kubernetes.state import State, initial_state

GRANT = "g-" + 32 * "a"
CLASS = CredentialClass(
    name="tickets",
    uid="c",
    generation=1,
    provider="Kubernetes",
    config={
        "roles": [
            {"action": "read", "kind": "ClusterRole", "name": "reader"},
            {"action": "list", "kind": "ClusterRole", "name": "reader"},
            {"action": "write", "kind": "Role", "name": "writer"},
        ],
        "namespaces": ["tickets", "kb"],
    },
    actions=("read", "list", "write"),
)
READS = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]}


def request(
    actions: tuple[str, ...] = ("read",),
    resources: tuple[str, ...] = ("namespace/tickets",),
    location: str = "",
) -> CredentialRequest:
    return CredentialRequest(
        name="c", class_name="tickets", actions=actions, resources=resources, location=location
    )


def state(asked: CredentialRequest) -> dict[str, object]:
    return initial_state(asked, CLASS, GRANT, "taskpass-grants", "https://default.example")


def test_each_namespace_and_role_gets_one_binding_of_the_admitted_name() -> None:
    asked = request(("read", "list", "write"), ("namespace/kb", "namespace/tickets"))

    bindings = State(state(asked)).bindings

    assert [(b["namespace"], b["role_kind"], b["role_name"]) for b in bindings] == [
        ("kb", "ClusterRole", "reader"),
        ("kb", "Role", "writer"),
        ("tickets", "ClusterRole", "reader"),
        ("tickets", "Role", "writer"),
    ]
    names = [b["name"] for b in bindings]
    assert names == [f"taskpass-{GRANT}-{index}" for index in range(4)]
    assert all(re.fullmatch(r"taskpass-g-[0-9a-f]{32}-[0-9]{1,3}", name) for name in names)


def test_the_state_survives_json_and_holds_nothing_that_is_not_said() -> None:
    prepared = state(request(location="https://elsewhere.example"))

    assert State(json.loads(json.dumps(prepared))).as_json() == prepared
    assert prepared["server"] == "https://elsewhere.example"
    assert prepared["audience"] == ""
    assert prepared["streams"] == "Refused"
    assert prepared["escapes"] == "Refused"


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        pytest.param(request(resources=()), "resources must name", id="no namespace"),
        pytest.param(
            request(resources=("ticket/4711",)), "resources must each", id="another resource"
        ),
        pytest.param(
            request(resources=("namespace/kube-system",)), "resources must each", id="not listed"
        ),
        pytest.param(
            request(resources=("namespace/tickets", "namespace/")),
            "'namespace/' is none",
            id="none",
        ),
        pytest.param(
            request(resources=("namespace/*",)), "resources must each", id="a star is no pattern"
        ),
        pytest.param(request(actions=("delete",)), "actions must each", id="unknown action"),
        pytest.param(request(actions=()), "actions must name", id="no action"),
    ],
)
def test_what_the_class_does_not_give_is_refused(asked: CredentialRequest, field: str) -> None:
    with pytest.raises(ProviderRefused, match=re.escape(field)):
        state(asked)


def test_more_bindings_than_one_grant_may_need_are_refused() -> None:
    names = [f"n{i}" for i in range(51)]
    roles = [{"action": a, "kind": "Role", "name": a} for a in ("a", "b")]
    many = CredentialClass(
        name="many", uid="c", generation=1, provider="Kubernetes", actions=("a", "b"),
        config={"roles": roles, "namespaces": names},
    )  # fmt: skip
    asked = request(("a", "b"), tuple(f"namespace/{n}" for n in names))

    with pytest.raises(ProviderRefused, match="need 102 RoleBindings"):
        initial_state(asked, many, GRANT, "taskpass-grants", "")


@pytest.mark.parametrize(
    ("rule", "opened"),
    [
        pytest.param(READS, None, id="get and list"),
        pytest.param({**READS, "verbs": ["watch"]}, "the verb 'watch'", id="watch"),
        pytest.param({**READS, "verbs": ["*"]}, "the verb '*'", id="every verb"),
        pytest.param({**READS, "resources": ["*"]}, "the resource '*'", id="every resource"),
        pytest.param({**READS, "resources": ["pods/*"]}, "the resource 'pods/*'", id="pods/*"),
        pytest.param({**READS, "resources": ["*/exec"]}, "the resource '*/exec'", id="*/exec"),
        pytest.param(
            {**READS, "resources": ["pods", "pods/attach"]},
            "the resource 'pods/attach'",
            id="attach",
        ),
        pytest.param(
            {**READS, "resources": ["nodes/proxy"]}, "the resource 'nodes/proxy'", id="proxy"
        ),
        pytest.param(
            {**READS, "resources": ["pods/log"]}, "the resource 'pods/log'", id="a log, followed"
        ),
        pytest.param(
            {"nonResourceURLs": ["*"], "verbs": ["*"]}, None, id="paths count in no RoleBinding"
        ),
    ],
)
def test_roles_that_open_streams_are_told(rule: dict[str, list[str]], opened: str | None) -> None:
    assert streams([READS, rule]) == opened


RBAC = "rbac.authorization.k8s.io"


LEADS_NOWHERE = [
    ("", "configmaps", "create update patch delete deletecollection *"),
    ("", "events", "create patch"),
    ("events.k8s.io", "events", "create"),
    ("coordination.k8s.io", "leases", "create update"),
    ("", "pods", "get list delete deletecollection"),
    ("", "pods/eviction", "create"),
    ("apps", "deployments", "get list delete"),
    ("apps", "deployments/scale", "get update patch"),
    ("batch", "jobs", "delete"),
    (RBAC, "roles", "get list"),
    ("example.com", "*", "get list"),
    ("taskpass.dev", "agenttasks", "get"),
]
LEADS_SOMEWHERE = [
    ("", "secrets", "get list watch create update patch delete deletecollection *"),
    ("", "serviceaccounts/token", "create"),
    ("", "*/token", "create"),
    ("", "serviceaccounts", "impersonate create patch"),
    ("", "users", "impersonate impersonate:user-info"),
    (RBAC, "roles", "escalate bind update delete"),
    (RBAC, "clusterroles", "bind"),
    (RBAC, "rolebindings", "create patch delete"),
    ("", "pods", "create patch update *"),
    ("", "pods/ephemeralcontainers", "patch"),
    ("", "pods/status", "patch"),
    ("", "pods/exec", "create get"),
    ("", "pods/portforward", "create get"),
    ("", "*/attach", "get"),
    ("", "*", "get"),
    ("batch", "cronjobs", "create"),
    ("batch", "jobs", "* patch"),
    ("*", "deployments", "update delete"),
    ("apps", "*", "patch"),
    # Kinds that make pods, steer traffic, give rights, decide who gets what; and unknown ones.
    ("jobset.x-k8s.io", "jobsets", "create"),
    ("agents.x-k8s.io", "sandboxes", "create patch"),
    ("argoproj.io", "rollouts", "update"),
    ("", "services", "patch"),
    ("discovery.k8s.io", "endpointslices", "update"),
    ("networking.k8s.io", "networkpolicies", "delete"),
    ("gateway.networking.k8s.io", "httproutes", "create"),
    ("certificates.k8s.io", "podcertificaterequests", "create"),
    ("taskpass.dev", "agenttasks", "create patch delegate"),
    ("taskpass.dev", "agenttasktemplates", "create"),
    ("taskpass.dev", "agentpolicies", "create delete"),
    ("taskpass.dev", "taskapprovals", "create"),
    ("taskpass.dev", "credentialclasses", "use"),
    ("external-secrets.io", "externalsecrets", "create"),
    ("example.com", "jobs", "create"),
    ("example.com", "*", "*"),
    ("*", "*", "*"),
]


def single(cases: list[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """One case for each verb."""
    return [(group, resource, verb) for group, resource, verbs in cases for verb in verbs.split()]


@pytest.mark.parametrize(("group", "resource", "verb"), single(LEADS_SOMEWHERE))
def test_roles_that_lead_to_another_credential_are_told(
    group: str, resource: str, verb: str
) -> None:
    rule = {"apiGroups": [group], "resources": [resource], "verbs": [verb]}

    assert privilege_escalation([READS, rule]) == f"'{verb}' on '{resource}'"


@pytest.mark.parametrize(("group", "resource", "verb"), single(LEADS_NOWHERE))
def test_what_is_known_to_lead_nowhere_is_let_pass(group: str, resource: str, verb: str) -> None:
    rule = {"apiGroups": [group], "resources": [resource], "verbs": [verb]}

    assert privilege_escalation([READS, rule]) is None


def test_what_an_installation_calls_harmless_may_be_written_and_nothing_else() -> None:
    ours = {("example.com", "tickets")}
    written = {"apiGroups": ["example.com"], "resources": ["tickets"], "verbs": ["create", "*"]}
    used = {**written, "verbs": ["impersonate"]}
    near = [{**written, "resources": ["tickets/status"]}, {**written, "apiGroups": [""]}]

    assert privilege_escalation([READS, written], ours) is None
    assert privilege_escalation([used], ours) == "'impersonate' on 'tickets'"
    assert [privilege_escalation([each], ours) is not None for each in near] == [True, True]


def test_a_secret_is_read_by_nobody_though_an_installation_calls_it_harmless() -> None:
    rule = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}

    assert privilege_escalation([rule], {("", "secrets")}) == "'get' on 'secrets'"


def test_what_an_earlier_version_recorded_allows_no_escape() -> None:
    recorded = {k: v for k, v in state(request()).items() if k != "escapes"}

    assert State(recorded).as_json()["escapes"] == "Refused"


def test_a_binding_is_recognised_by_what_no_other_role_grants() -> None:
    writes = {**READS, "verbs": ["get", "update"]}

    assert representative([writes], [[READS]])["verb"] == "update"
    assert representative([READS], [[writes]])["verb"] == "list"
    assert representative([READS], [[READS]])["verb"] == "get"
    named = {**READS, "resourceNames": ["a"], "resources": ["pods/log"]}
    assert representative([named], ()) == {
        "verb": "get", "group": "", "resource": "pods", "subresource": "log", "name": "a",
    }  # fmt: skip


@pytest.mark.parametrize(
    "rules", [[], [{"nonResourceURLs": ["/healthz"], "verbs": ["get"]}], [{"verbs": ["get"]}]]
)
def test_rules_that_grant_nothing_have_no_representative(rules: list[dict[str, object]]) -> None:
    assert representative(rules, ()) == {}


def test_the_digest_of_rules_changes_when_they_widen() -> None:
    digests = {
        rules_digest(rules)
        for rules in ([READS], [READS, READS], [{**READS, "verbs": ["get"]}], [])
    }

    assert len(digests) == 4


def test_the_name_of_a_role_cannot_leave_its_path() -> None:
    each = {"role_kind": "ClusterRole", "role_name": "a/../b?x=1#y", "namespace": "n"}

    assert role_path(each).endswith("/clusterroles/a%2F..%2Fb%3Fx%3D1%23y")


@pytest.mark.parametrize(
    ("name", "grant"),
    [
        (f"taskpass-{GRANT}-0", GRANT),
        (f"taskpass-{GRANT}-0\n", ""),
        (f"taskpass-{GRANT}", ""),
        ("foreign", ""),
    ],
)
def test_only_our_names_are_taken_for_ours(name: str, grant: str) -> None:
    assert grant_of_binding(name) == grant


@pytest.mark.parametrize("token", ["", "a.b.c", "a.e30.c", "opaque"])
def test_a_token_without_a_readable_id_has_none(token: str) -> None:
    assert credential_ref(token) == ""


def test_an_audience_is_asked_for_only_where_the_class_names_one() -> None:
    assert token_request("", 600)["spec"] == {"expirationSeconds": 600}
    assert token_request("tickets-api", 600)["spec"]["audiences"] == ["tickets-api"]


def test_two_grants_share_no_name() -> None:
    one, two = (
        json.dumps(initial_state(request(), CLASS, grant, "taskpass-grants", ""))
        for grant in (GRANT, "g-" + 32 * "b")
    )

    assert GRANT not in two
    assert one.replace(GRANT, "") == two.replace("g-" + 32 * "b", "")
