"""The limits on the operator, tried by itself on a real API server; and the key it makes once."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from e2e.admission import ROLE, SYSTEM, TARGET, TENANT, remove
from e2e.as_operator import ADMISSION, without
from e2e.impersonate import Api, Object, thing
from taskpass.kube.api.client import KubeClient
from taskpass.kube.guardrails import verify_guardrails
from taskpass.kube.writers.signing_key import load_or_create_seed

ASKED: dict[str, Any] = {
    "home": SYSTEM,
    "tenants": [TENANT],
    "targets": {TARGET: [("ClusterRole", ROLE)]},
}


class TestGuard:
    async def test_with_the_chart_installed_the_limits_hold(self, client: KubeClient) -> None:
        assert await verify_guardrails(client, **ASKED) is None

    @pytest.mark.parametrize(
        ("plural", "name"),
        [
            ("validatingadmissionpolicybindings", "taskpass-operator-secrets"),
            ("validatingadmissionpolicybindings", "taskpass-operator-grants"),
            ("mutatingadmissionpolicybindings", "taskpass-inject"),
        ],
    )
    async def test_a_binding_that_is_missing_is_named(
        self, client: KubeClient, api: Api, plural: str, name: str
    ) -> None:
        with without(api, plural, name):
            said = await verify_guardrails(client, **ASKED)
        await _until_not(lambda: verify_guardrails(client, **ASKED))

        assert f"'{name}' is missing; install or upgrade the chart" in said

    async def test_a_binding_that_leaves_namespaces_out_is_named(
        self, client: KubeClient, api: Api
    ) -> None:
        path = f"{ADMISSION}/validatingadmissionpolicybindings/taskpass-pods"
        only = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "elsewhere"}}}
        _merge(api, path, {"spec": {"matchResources": only}})
        try:
            said = await verify_guardrails(client, **ASKED)
        finally:
            _merge(api, path, {"spec": {"matchResources": None}})

        assert "'taskpass-pods' does not count everywhere any more" in said

    async def test_writes_that_go_through_are_seen(self, client: KubeClient, api: Api) -> None:
        for name, expected in (
            ("taskpass-operator-secrets", "could make a Secret of type"),
            ("taskpass-operator-grants", "could bind ClusterRole 'tickets-reader' to everybody"),
        ):
            path = f"{ADMISSION}/validatingadmissionpolicies/{name}"
            rules = api.call("GET", path)["spec"]["matchConstraints"]["resourceRules"]
            nothing = [{"apiGroups": ["x"], "apiVersions": ["v1"], "resources": ["x"],
                        "operations": ["CREATE"]}]  # fmt: skip
            _merge(api, path, {"spec": {"matchConstraints": {"resourceRules": nothing}}})
            try:
                said = await _until(lambda: verify_guardrails(client, **ASKED))
            finally:
                _merge(api, path, {"spec": {"matchConstraints": {"resourceRules": rules}}})
            assert expected in said
            await _until_not(lambda: verify_guardrails(client, **ASKED))

    async def test_a_tenant_that_is_gone_does_not_stop_the_others(self, client: KubeClient) -> None:
        asked = {**ASKED, "tenants": [TENANT, "gone"], "targets": {"gone": [("Role", "r")]}}

        assert await verify_guardrails(client, **asked) is None


class TestSigningKey:
    async def test_it_is_made_once_and_read_afterwards(self, client: KubeClient, api: Api) -> None:
        remove(api, thing("v1", "Secret", SYSTEM, "taskpass-signing-key"))

        seed = await load_or_create_seed(client, SYSTEM)
        again = await load_or_create_seed(client, SYSTEM)

        assert len(seed) == 32
        assert again == seed

    async def test_when_another_replica_is_first_its_key_counts(
        self, client: KubeClient, api: Api
    ) -> None:
        remove(api, thing("v1", "Secret", SYSTEM, "taskpass-signing-key"))

        seeds = await asyncio.gather(*(load_or_create_seed(client, SYSTEM) for _ in range(8)))

        assert len(set(seeds)) == 1


async def _until(ask: Callable[[], Awaitable[str | None]]) -> str:
    async with asyncio.timeout(20):
        while not (said := await ask()):
            await asyncio.sleep(0.05)
        return said


async def _until_not(ask: Callable[[], Awaitable[str | None]]) -> None:
    async with asyncio.timeout(20):
        while await ask():
            await asyncio.sleep(0.05)


def _merge(api: Api, path: str, patch: Object) -> None:
    api.call("PATCH", path, patch, content="application/merge-patch+json")
