"""What keeps a class from being issued, as `taskpass doctor` asks the provider: nothing is made."""

from datetime import UTC, datetime
from typing import Any

import pytest

from taskpass.core.errors import ApiUnavailable, NotFound, ProviderUnavailable
from taskpass.core.model.task import CredentialClass
from taskpass.providers.kubernetes import KubernetesProvider

READS = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}]
LISTED = {"tickets": [("ClusterRole", "reader"), ("ClusterRole", "writer")]}


class Roles:
    """An API server that has roles, and takes no writes."""

    def __init__(self, **rules: Any) -> None:
        self._rules = rules

    async def get(self, path: str, **_: str) -> dict[str, Any]:
        found = self._rules.get(path.rpartition("/")[2])
        if isinstance(found, Exception):
            raise found
        if found is None:
            raise NotFound("not there")
        return {"rules": found}


class Clock:
    def now(self) -> datetime:
        return datetime(2027, 3, 1, tzinfo=UTC)

    def monotonic(self) -> float:
        return 0.0


def a_class(*roles: str) -> CredentialClass:
    config = {
        "roles": [{"action": r, "kind": "ClusterRole", "name": r} for r in roles],
        "namespaces": ["tickets"],
    }
    return CredentialClass(
        name="tickets", uid="c", generation=1, provider="Kubernetes", config=config, actions=roles
    )


async def obstacles(used: CredentialClass, **rules: Any) -> list[str]:
    client: Any = Roles(**rules)
    provider = KubernetesProvider(client, server="", ca="", clock=Clock(), targets=LISTED)
    return await provider.obstacles(used)


async def test_what_actions_give_is_said_by_role_and_namespace() -> None:
    client: Any = Roles(reader=READS, writer=[{**READS[0], "verbs": ["create"]}])
    provider = KubernetesProvider(client, server="", ca="", clock=Clock(), targets=LISTED)

    said = await provider.describe(a_class("reader", "writer"), ["reader"])

    assert said == "ClusterRole reader (get configmaps) in tickets"


async def test_a_class_whose_roles_are_there_has_none() -> None:
    assert await obstacles(a_class("reader", "writer"), reader=READS, writer=READS) == []


async def test_each_role_that_does_not_fit_is_named() -> None:
    watches = [{**READS[0], "verbs": ["watch"]}]

    found = await obstacles(a_class("reader", "writer"), reader=watches)

    assert len(found) == 2
    assert "ClusterRole 'reader' grants the verb 'watch'" in found[0]
    assert "ClusterRole 'writer' does not exist" in found[1]


async def test_a_role_that_is_not_listed_is_not_even_read() -> None:
    [found] = await obstacles(a_class("reader", "view"), reader=READS)

    assert "ClusterRole 'view' may not be bound in namespace 'tickets'" in found


async def test_what_is_not_answered_is_no_obstacle_and_no_clearance() -> None:
    with pytest.raises(ProviderUnavailable):
        await obstacles(a_class("reader"), reader=ApiUnavailable("away"))
