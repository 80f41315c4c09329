"""What an agent keeps when its role led to another credential: why such roles are refused.

Each role is issued by the provider itself with `privilegeEscalation: Allowed`, used as an agent
would use it, and revoked. What was got so is still good: revocation reaches what was granted, and
nothing else.
"""

import base64
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace

import pytest

from e2e.admission import RBAC, ROLE, TARGET, binding, cluster_role, remove, wait_for
from e2e.impersonate import Api, Object, Refused, thing
from taskpass.core.errors import ProviderRefused
from taskpass.core.model.task import CredentialClass, CredentialRequest
from taskpass.kube.api.client import KubeClient
from taskpass.providers.kubernetes import KubernetesProvider
from tests.contract.provider_suite import Subject, SystemClock, grant_for, issued_grant

READS = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}
CONFIG = {
    "roles": [{"action": "read", "kind": "ClusterRole", "name": ROLE}],
    "namespaces": [TARGET],
}
CLASS = CredentialClass(
    name="tickets", uid="c", generation=1, provider="Kubernetes", config=CONFIG, actions=("read",)
)
REQUEST = CredentialRequest(
    name="tickets", class_name="tickets", actions=("read",), resources=(f"namespace/{TARGET}",)
)
ROBOT = "ticket-robot"
ACCOUNT = thing("v1", "ServiceAccount", TARGET, ROBOT)
ITS_TOKEN = thing(
    "v1",
    "Secret",
    TARGET,
    ROBOT,
    type="kubernetes.io/service-account-token",
    annotations={"kubernetes.io/service-account.name": ROBOT},
)
ITS_RIGHTS = binding(
    "RoleBinding", TARGET, ROBOT, "ClusterRole/robot", f"ServiceAccount/{TARGET}/{ROBOT}"
)
POD = thing(
    "v1",
    "Pod",
    TARGET,
    "left-behind",
    spec={
        "serviceAccountName": ROBOT,
        "containers": [{"name": "c", "image": "localhost/agent:1"}],
    },
)
MADE = thing("v1", "ConfigMap", TARGET, "in-its-name")
EMPTY = thing(f"{RBAC}/v1", "Role", TARGET, "mallorys", rules=[])
EMPTY_BINDING = binding("RoleBinding", TARGET, "mallorys", "Role/mallorys", "User/mallory")
OWN_BINDING = binding("RoleBinding", TARGET, "shared", f"ClusterRole/{ROLE}", "User/mallory")


def rule(group: str, resources: str, *verbs: str) -> Object:
    return {"apiGroups": [group], "resources": resources.split(), "verbs": list(verbs)}


def _has_token(api: Api) -> bool:
    """Tell whether the token is there; make its Secret anew where the last case's end took it."""
    return "token" in api.apply(ITS_TOKEN).get("data", {})


@pytest.fixture
def scene(api: Api) -> Iterator[Api]:
    """Return the API server with somebody else's ServiceAccount in the target namespace."""
    api.apply(thing("v1", "ConfigMap", TARGET, "read-me", data={"answer": "42"}))
    may = rule("", "configmaps", "get", "create")
    api.apply(cluster_role("robot", may))
    for each in (ACCOUNT, ITS_TOKEN, ITS_RIGHTS):
        api.apply(each)
    wait_for(lambda: _has_token(api), 20)
    yield api
    api.apply(cluster_role(ROLE, READS))
    for each in (MADE, POD, OWN_BINDING, EMPTY_BINDING, EMPTY, ITS_RIGHTS, ITS_TOKEN, ACCOUNT):
        remove(api, each)


Begin = Callable[..., Awaitable[tuple[Api, Callable[[], Awaitable[None]]]]]


@pytest.fixture
def begin(scene: Api, client: KubeClient) -> Begin:
    """Return what issues a credential of a role; it gives the agent, and what revokes it."""
    provider = KubernetesProvider(
        client,
        server=scene.server,
        ca="",
        clock=SystemClock(),
        targets={TARGET: [("ClusterRole", ROLE)]},
    )

    async def issued(
        *rules: Object, privilege_escalation: str = "Allowed"
    ) -> tuple[Api, Callable[[], Awaitable[None]]]:
        scene.apply(cluster_role(ROLE, READS, *rules))
        subject = Subject(
            provider=provider,
            credential_class=replace(
                CLASS, config={**CONFIG, "privilegeEscalation": privilege_escalation}
            ),
            request=REQUEST,
            refused=REQUEST,
            refused_field="",
            works=lambda _: _never(),
            now=SystemClock().now,
        )
        grant = grant_for(subject)
        made = await provider.issue(grant, "")
        agent = scene.bearing(made.fields["token"].reveal().decode())

        async def revoke() -> None:
            await provider.revoke(issued_grant(grant, made))
            with pytest.raises(Refused):
                reads(agent)

        assert reads(agent) == "42"
        return agent, revoke

    return issued


async def _never() -> bool:
    raise AssertionError("nobody asks whether it works")


def reads(who: Api) -> str:
    answer: str = who.get("ConfigMap", TARGET, "read-me")["data"]["answer"]
    return answer


async def test_a_token_in_a_secret_stays_good(begin: Begin, scene: Api) -> None:
    agent, revoke = await begin(rule("", "secrets", "get"))
    found = base64.b64decode(agent.get("Secret", TARGET, ROBOT)["data"]["token"]).decode()

    await revoke()

    assert reads(scene.bearing(found)) == "42"


async def test_a_dry_run_of_a_deletion_reads_it_as_well(begin: Begin, scene: Api) -> None:
    agent, revoke = await begin(rule("", "secrets", "delete"))
    shown = agent.delete(ITS_TOKEN, dryRun="All", propagationPolicy="Foreground")
    found = base64.b64decode(shown["data"]["token"]).decode()

    await revoke()

    assert reads(scene.bearing(found)) == "42"


async def test_a_token_that_was_asked_for_stays_good(begin: Begin, scene: Api) -> None:
    agent, revoke = await begin(rule("", "serviceaccounts/token", "create"))
    body = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": 86400},
    }
    path = f"/api/v1/namespaces/{TARGET}/serviceaccounts/{ROBOT}/token"
    got = agent.call("POST", path, body)["status"]["token"]

    await revoke()

    assert reads(scene.bearing(got)) == "42"


async def test_a_right_that_was_shared_stays(begin: Begin, scene: Api) -> None:
    agent, revoke = await begin(rule(RBAC, "rolebindings", "create"))
    agent.create(OWN_BINDING)

    await revoke()

    wait_for(lambda: _can_read(scene.as_user("mallory")), 5)


async def test_a_role_that_was_widened_stays_wide(begin: Begin, scene: Api) -> None:
    scene.apply(EMPTY)
    scene.apply(EMPTY_BINDING)
    agent, revoke = await begin(rule(RBAC, "roles", "patch"))
    agent.merge(EMPTY, {"rules": [READS]})

    await revoke()

    wait_for(lambda: _can_read(scene.as_user("mallory")), 5)


async def test_what_was_made_in_anothers_name_stays(begin: Begin, scene: Api) -> None:
    agent, revoke = await begin(rule("", "serviceaccounts", "impersonate"))
    # By its name alone: its groups come by themselves, and others must not be claimed.
    robot = f"system:serviceaccount:{TARGET}:{ROBOT}"
    Api(agent.server, agent.pool, agent.token, robot).create(MADE)

    await revoke()

    assert scene.exists(MADE)


async def test_a_pod_that_runs_as_another_stays(begin: Begin, scene: Api) -> None:
    agent, revoke = await begin(rule("", "pods", "create"))
    agent.create(POD)

    await revoke()

    assert scene.get("Pod", TARGET, "left-behind")["spec"]["serviceAccountName"] == ROBOT


def _can_read(who: Api) -> bool:
    try:
        return reads(who) == "42"
    except Refused:
        return False


@pytest.mark.parametrize(
    ("group", "resource", "verb"),
    [
        ("", "secrets", "get"),
        ("", "secrets", "delete"),
        ("", "serviceaccounts/token", "create"),
        ("", "serviceaccounts", "impersonate"),
        (RBAC, "rolebindings", "create"),
        (RBAC, "roles", "escalate"),
        (RBAC, "clusterroles", "bind"),
        ("", "pods", "create"),
        ("batch", "cronjobs", "patch"),
    ],
)
async def test_a_role_that_leads_to_another_credential_is_refused(
    begin: Begin, group: str, resource: str, verb: str
) -> None:
    with pytest.raises(ProviderRefused, match=f"grants '{verb}' on '{resource}': its holder could"):
        await begin(rule(group, resource, verb), privilege_escalation="Refused")
