"""The Kubernetes provider on a real API server, with the operator's rights: the suite, and more."""

import base64
import json
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from e2e.admission import (
    AUDIENCE,
    GRANTS,
    ROLE,
    TARGET,
    binding,
    cluster_role,
    operator,
    remove,
    wait_for,
)
from e2e.as_operator import OPERATOR, without
from e2e.impersonate import Api, Object, Refused, thing
from taskpass.core.errors import (
    ApiUnavailable,
    Forbidden,
    ProviderRefused,
    ProviderUnavailable,
    Unauthenticated,
)
from taskpass.core.model.grant import Grant, Issued
from taskpass.core.model.task import CredentialClass, CredentialRequest
from taskpass.kube.api.client import KubeClient
from taskpass.kube.api.connection import Connection
from taskpass.providers.kubernetes import KubernetesProvider
from tests.contract.provider_suite import (
    ProviderSuite,
    Subject,
    SystemClock,
    grant_for,
    issued_grant,
)

CONFIG = {
    "roles": [{"action": "read", "kind": "ClusterRole", "name": ROLE}],
    "namespaces": [TARGET],
    "streams": "Refused",
}
CLASS = CredentialClass(
    name="tickets",
    uid="c",
    generation=1,
    provider="Kubernetes",
    config=CONFIG,
    actions=("read",),
)
REQUEST = CredentialRequest(
    name="tickets",
    class_name="tickets",
    actions=("read",),
    resources=(f"namespace/{TARGET}",),
)
READS = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}
TARGETS = {TARGET: [("ClusterRole", ROLE)], "gone": [("Role", "reader")]}
READ_ME = f"/api/v1/namespaces/{TARGET}/configmaps/read-me"


@pytest.fixture
def ca(api: Api) -> str:
    return str(api.get("ConfigMap", "kube-system", "kube-root-ca.crt")["data"]["ca.crt"])


@pytest.fixture
def provider(client: KubeClient, api: Api, ca: str) -> KubernetesProvider:
    api.apply(thing("v1", "ConfigMap", TARGET, "read-me", data={"answer": "42"}))
    return KubernetesProvider(
        client,
        server=api.server,
        ca=ca,
        clock=SystemClock(),
        targets={TARGET: [("ClusterRole", ROLE)], "gone": []},
        audiences=(AUDIENCE,),
    )


@pytest.fixture
def subject(provider: KubernetesProvider) -> Subject:
    async def works(issued: Issued) -> bool:
        return await reads(issued)

    return Subject(
        provider=provider,
        credential_class=CLASS,
        request=REQUEST,
        refused=replace(REQUEST, resources=("namespace/kube-system",)),
        refused_field="resources must each be a namespace",
        works=works,
        now=SystemClock().now,
    )


@pytest.fixture
async def role(api: Api) -> AsyncIterator[Object]:
    """Return the listed role, put right again afterwards."""
    yield cluster_role(ROLE, READS)
    api.apply(cluster_role(ROLE, READS))


@pytest.fixture
def left(api: Api) -> Iterator[list[Object]]:
    """Return a list of objects to remove at the end."""
    objects: list[Object] = []
    yield objects
    for each in objects:
        remove(api, each)


class Flaky:
    """The client, failing one kind of create; `done` says whether it was carried out."""

    def __init__(self, client: KubeClient, at: str, done: bool) -> None:
        self._client, self._at, self._done = client, at, done

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def create(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = {}
        fails = path.endswith(self._at)
        if self._done or not fails:
            answer = await self._client.create(path, body)
        if fails:
            raise ApiUnavailable("no answer")
        return answer


def holder(issued: Issued) -> KubeClient:
    """Return a client that holds what was issued, and nothing else."""
    fields = {name: value.reveal().decode() for name, value in issued.fields.items()}
    return KubeClient(
        Connection(
            server=fields["server"],
            tls=ssl.create_default_context(cadata=fields["ca.crt"]),
            authorization=lambda: f"Bearer {fields['token']}",
        )
    )


async def reads(issued: Issued) -> bool:
    async with holder(issued) as agent:
        try:
            await agent.get(READ_ME)
        except (Forbidden, Unauthenticated):
            return False
        return True


def objects_of(api: Api, grant: Grant) -> list[Object]:
    state = grant.provider_state
    bindings = [
        thing("rbac.authorization.k8s.io/v1", "RoleBinding", each["namespace"], each["name"])
        for each in state["bindings"]
    ]
    return [*bindings, thing("v1", "ServiceAccount", GRANTS, state["service_account"])]


class TestKubernetesProvider(ProviderSuite):
    async def test_the_token_opens_what_was_asked_and_no_more(self, subject: Subject) -> None:
        grant = grant_for(subject)
        issued = await subject.provider.issue(grant, "taskpass")

        async with holder(issued) as agent:
            answer = await agent.get(READ_ME)
            with pytest.raises(Forbidden):
                await agent.get(f"/api/v1/namespaces/{TARGET}/secrets")
            with pytest.raises(Forbidden):
                await agent.get("/api/v1/namespaces/support/configmaps/kube-root-ca.crt")

        assert answer["data"] == {"answer": "42"}
        await subject.provider.revoke(issued_grant(grant, issued))

    async def test_the_kubeconfig_is_complete(self, subject: Subject, api: Api, ca: str) -> None:
        grant = grant_for(subject)

        issued = await subject.provider.issue(grant, "")

        config = json.loads(issued.fields["kubeconfig"].reveal())
        cluster = config["clusters"][0]["cluster"]
        assert cluster["server"] == api.server
        assert base64.b64decode(cluster["certificate-authority-data"]).decode() == ca
        assert config["contexts"][0]["context"]["namespace"] == TARGET
        assert config["users"][0]["user"]["token"] == issued.fields["token"].reveal().decode()
        await subject.provider.revoke(issued_grant(grant, issued))

    def test_a_class_that_needs_more_than_the_chart_lists_says_so(self, subject: Subject) -> None:
        wide = replace(CLASS, config={**CONFIG, "namespaces": [TARGET, "kube-system"]})

        said = subject.provider.problem(wide)

        assert f"'{ROLE}' may not be bound in namespace 'kube-system'" in said

    async def test_a_location_becomes_the_server(self, subject: Subject) -> None:
        request = replace(REQUEST, location="https://kubernetes.example:6443")

        state = subject.provider.prepare(request, CLASS, "g-" + 32 * "a")

        assert state["server"] == "https://kubernetes.example:6443"

    async def test_a_token_has_the_audience_of_the_class(self, subject: Subject) -> None:
        narrow = replace(CLASS, config={**CONFIG, "audience": AUDIENCE})
        grant = grant_for(replace(subject, credential_class=narrow))

        issued = await subject.provider.issue(grant, "")

        payload = issued.fields["token"].reveal().decode().split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
        assert claims["aud"] == [AUDIENCE]
        assert claims["jti"] == issued.credential_ref
        assert not await reads(issued)  # it is not for the API server
        await subject.provider.revoke(issued_grant(grant, issued))

    async def test_objects_go_and_their_uids_were_recorded(
        self, subject: Subject, api: Api
    ) -> None:
        grant = grant_for(subject)
        issued = await subject.provider.issue(grant, "")
        held = issued_grant(grant, issued)
        live = [api.get(o["kind"], o["metadata"]["namespace"], o["metadata"]["name"])
                for o in objects_of(api, held)]  # fmt: skip

        await subject.provider.revoke(held)

        recorded = [*(b["uid"] for b in held.provider_state["bindings"])]
        recorded.append(held.provider_state["service_account_uid"])
        assert [each["metadata"]["uid"] for each in live] == recorded
        assert all(b["rules_digest"].startswith("sha256:") for b in held.provider_state["bindings"])
        assert not any(api.exists(each) for each in objects_of(api, held))

    async def test_a_role_that_does_not_exist_is_refused(
        self, subject: Subject, api: Api, role: Object
    ) -> None:
        api.delete(role)
        grant = grant_for(subject)

        with pytest.raises(ProviderRefused, match=f"ClusterRole '{ROLE}' does not exist"):
            await subject.provider.issue(grant, "")

        assert not any(api.exists(each) for each in objects_of(api, grant))

    @pytest.mark.parametrize(
        "rule",
        [
            pytest.param({**READS, "verbs": ["get", "watch"]}, id="watch"),
            pytest.param({**READS, "verbs": ["*"]}, id="every verb"),
            pytest.param({**READS, "resources": ["*"]}, id="every resource"),
            pytest.param({**READS, "resources": ["pods/exec"], "verbs": ["create"]}, id="exec"),
            pytest.param({**READS, "resources": ["*/portforward"]}, id="portforward of anything"),
            pytest.param({**READS, "resources": ["services/proxy"]}, id="proxy"),
        ],
    )
    async def test_a_role_that_opens_streams_is_refused(
        self, subject: Subject, api: Api, role: Object, rule: Object
    ) -> None:
        api.apply(cluster_role(ROLE, READS, rule))

        with pytest.raises(ProviderRefused, match="a stream that is open goes on"):
            await subject.provider.issue(grant_for(subject), "")

    async def test_a_class_can_allow_streams(
        self, subject: Subject, api: Api, role: Object
    ) -> None:
        api.apply(cluster_role(ROLE, {**READS, "verbs": ["get", "watch"]}))
        allowing = replace(CLASS, config={**CONFIG, "streams": "Allowed"})
        grant = grant_for(replace(subject, credential_class=allowing))

        issued = await subject.provider.issue(grant, "")

        assert await reads(issued)
        await subject.provider.revoke(issued_grant(grant, issued))

    async def test_a_right_that_everybody_has_is_not_issued(
        self, subject: Subject, api: Api, left: list[Object]
    ) -> None:
        everybody = binding(
            "RoleBinding",
            TARGET,
            "everybody",
            f"ClusterRole/{ROLE}",
            "Group/system:serviceaccounts",
        )
        left.append(everybody)
        api.apply(everybody)
        grant = grant_for(subject)
        await _until_everybody_reads(api)

        with pytest.raises(ProviderRefused, match="granted to every ServiceAccount already"):
            await subject.provider.issue(grant, "")

        assert not any(api.exists(each) for each in objects_of(api, grant))
        api.delete(everybody)
        await _until_everybody_reads(api, yes=False)

    async def test_a_role_that_the_chart_does_not_list_is_refused(
        self, subject: Subject, api: Api, left: list[Object]
    ) -> None:
        api.apply(cluster_role("unlisted", READS))
        left.append(cluster_role("unlisted"))
        config = {
            **CONFIG,
            "roles": [{"action": "read", "kind": "ClusterRole", "name": "unlisted"}],
        }
        grant = grant_for(replace(subject, credential_class=replace(CLASS, config=config)))

        with pytest.raises(ProviderRefused, match="may not be bound"):
            await subject.provider.issue(grant, "")

        await subject.provider.revoke(grant)
        assert grant.id not in await subject.provider.inventory()

    async def test_bindings_go_before_the_service_account(
        self, subject: Subject, kubeconfig: str, ca: str, api: Api
    ) -> None:
        grant = grant_for(subject)
        issued = await subject.provider.issue(grant, "")
        calls: list[tuple[str, str]] = []

        async with KubeClient.from_kubeconfig(
            kubeconfig,
            impersonate=OPERATOR,
            on_call=lambda verb, what, *_: calls.append((verb, what)),
        ) as watched:
            provider = KubernetesProvider(watched, server=api.server, ca=ca, clock=SystemClock())
            await provider.revoke(issued_grant(grant, issued))

        assert calls == [("delete", "rolebindings"), ("delete", "serviceaccounts")]

    @pytest.mark.parametrize("done", [False, True], ids=["not carried out", "answer lost"])
    @pytest.mark.parametrize(
        "at", ["serviceaccounts", "rolebindings", "token", "subjectaccessreviews"]
    )
    async def test_whatever_fails_while_issuing_the_intent_suffices_to_clean_up(
        self, subject: Subject, client: KubeClient, api: Api, ca: str, at: str, done: bool
    ) -> None:
        grant = grant_for(subject)
        flaky = KubernetesProvider(
            Flaky(client, at, done), server=api.server, ca=ca, clock=SystemClock()
        )

        with pytest.raises(ProviderUnavailable):
            await flaky.issue(grant, "")
        await subject.provider.revoke(grant)

        assert not any(api.exists(each) for each in objects_of(api, grant))

    async def test_a_binding_that_a_finalizer_holds_is_owed_but_the_token_dies(
        self, subject: Subject, api: Api, left: list[Object]
    ) -> None:
        grant = grant_for(subject)
        issued = await subject.provider.issue(grant, "")
        held = issued_grant(grant, issued)
        its_binding, account = objects_of(api, held)
        left.append(its_binding)
        api.merge(its_binding, {"metadata": {"finalizers": ["example.com/keep"]}})

        with pytest.raises(ProviderUnavailable, match="remove its finalizers"):
            await subject.provider.revoke(held)

        assert not api.exists(account)
        api.merge(its_binding, {"metadata": {"finalizers": None}})
        await subject.provider.revoke(held)

    async def test_objects_of_others_are_left_alone(
        self, subject: Subject, api: Api, left: list[Object]
    ) -> None:
        labels = {"taskpass.dev/grant": "g-" + 32 * "b"}
        foreign = binding("RoleBinding", TARGET, "foreign", f"ClusterRole/{ROLE}", "User/bob")
        foreign["metadata"]["labels"] = labels
        left.append(foreign)
        api.apply(foreign)
        state = subject.provider.prepare(REQUEST, CLASS, "g-" + 32 * "b")
        forged = {**state, "bindings": [{**state["bindings"][0], "name": "foreign"}]}

        assert "g-" + 32 * "b" not in await subject.provider.inventory()
        with pytest.raises(ProviderUnavailable, match="taskpass-operator-grants"):
            await subject.provider.undo("g-" + 32 * "b", forged)

        assert api.exists(foreign)

    async def test_a_grant_without_its_label_is_found_by_its_name(
        self, subject: Subject, api: Api
    ) -> None:
        """As somebody with the operator's token left it, before admission demanded the label."""
        grant = f"g-{uuid4().hex}"
        account = thing("v1", "ServiceAccount", GRANTS, grant)
        subjects = f"ServiceAccount/{GRANTS}/{grant}"
        bound = binding(
            "RoleBinding", TARGET, f"taskpass-{grant}-0", f"ClusterRole/{ROLE}", subjects
        )
        thief = operator(api)
        policy = ("validatingadmissionpolicybindings", "taskpass-operator-grants")
        with without(api, *policy):
            wait_for(lambda: _made(thief, account), 20)
            thief.create(bound)
        wait_for(lambda: not _made(thief, account, dryRun="All"), 20)

        found = (await subject.provider.inventory())[grant]
        await subject.provider.undo(grant, found)

        assert not api.exists(account)
        assert not api.exists(bound)

    async def test_what_is_bound_beside_a_live_grant_is_found_and_the_grant_stays(
        self, subject: Subject, api: Api
    ) -> None:
        grant = grant_for(subject)
        issued = await subject.provider.issue(grant, "")
        held = issued_grant(grant, issued)
        more = binding(
            "RoleBinding", TARGET, f"taskpass-{grant.id}-7", f"ClusterRole/{ROLE}",
            f"ServiceAccount/{GRANTS}/{grant.id}",
        )  # fmt: skip
        more["metadata"]["labels"] = {"taskpass.dev/grant": grant.id}
        operator(api).create(more)

        found = (await subject.provider.inventory())[grant.id]
        surplus = subject.provider.surplus(held, found)
        await subject.provider.undo(grant.id, surplus or {})

        assert not api.exists(more)
        assert all(api.exists(each) for each in objects_of(api, held))
        assert await reads(issued)
        await subject.provider.revoke(held)

    async def test_an_audience_or_a_lifetime_beyond_the_values_is_refused_with_the_reason(
        self, subject: Subject
    ) -> None:
        foreign = replace(CLASS, config={**CONFIG, "audience": "vault"})
        other = grant_for(replace(subject, credential_class=foreign))
        long = replace(grant_for(subject), lifetime_seconds=86401)

        with pytest.raises(ProviderRefused, match="chart's value `tokenAudiences`"):
            await subject.provider.issue(other, "")
        with pytest.raises(ProviderRefused, match="at most 86400 seconds, the chart's value"):
            await subject.provider.issue(long, "")

        assert "value `tokenAudiences` of the chart" in subject.provider.problem(foreign)
        for each in (other, long):
            await subject.provider.revoke(each)

    async def test_a_lifetime_below_the_least_is_refused(self, subject: Subject) -> None:
        assert subject.provider.capabilities(subject.credential_class).minimum_seconds == 600
        grant = replace(grant_for(subject), lifetime_seconds=599)

        with pytest.raises(ProviderRefused, match="422"):
            await subject.provider.issue(grant, "")

        await subject.provider.revoke(grant)


def _made(who: Api, each: Object, **query: str) -> bool:
    try:
        who.create(each, **query)
    except Refused as refused:
        if "taskpass-operator-grants" not in refused.message:
            if refused.status != 409:
                raise
            return True  # it is there, and nothing refuses another
        return False  # a policy counts for a moment longer, or not yet
    return True


async def _until_everybody_reads(api: Api, *, yes: bool = True) -> None:
    somebody = api.as_service_account("support", "triage-agent")
    for _ in range(200):
        try:
            somebody.get("ConfigMap", TARGET, "read-me")
            if yes:
                return
        except Refused:
            if not yes:
                return
    raise AssertionError("the binding had no effect")
