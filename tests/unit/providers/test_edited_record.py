"""What is recorded of a grant lies in a file: an edited record proves nothing to be gone."""

from dataclasses import replace
from typing import Any

import pytest

from taskpass.core.errors import Conflict, NotFound, ProviderUnavailable
from taskpass.core.model.grant import Grant, GrantState
from taskpass.providers.kubernetes import KubernetesProvider
from tests.contract.test_providers import StoppedClock
from tests.unit.ledger import objects

ID = "g-" + 32 * "a"
OTHER = "g-" + 32 * "b"
LABELS = {"taskpass.dev/grant": ID}
ACCOUNT = f"/api/v1/namespaces/taskpass-grants/serviceaccounts/{ID}"
BINDING = f"/apis/rbac.authorization.k8s.io/v1/namespaces/tickets/rolebindings/taskpass-{ID}-0"
BOUND = {
    "namespace": "tickets", "name": f"taskpass-{ID}-0", "role_kind": "ClusterRole",
    "role_name": "reader", "uid": "b-1", "rules_digest": "",
}  # fmt: skip
STATE = {
    "grants_namespace": "taskpass-grants", "service_account": ID, "service_account_uid": "a-1",
    "bindings": [BOUND], "audience": "", "server": "", "streams": "Refused", "escapes": "Refused",
}  # fmt: skip
GRANT = replace(
    objects.GRANT, id=ID, state=GrantState.DELIVERED, resources=("namespace/tickets",),
    provider_state=STATE,
)  # fmt: skip


class Server:
    """An API server: objects by path, UIDs as preconditions."""

    def __init__(self) -> None:
        self.objects: dict[str, Any] = {
            ACCOUNT: {"kind": "ServiceAccount", "metadata": {
                "name": ID, "namespace": "taskpass-grants", "uid": "a-1", "labels": LABELS}},
            BINDING: {"kind": "RoleBinding", "metadata": {
                "name": BOUND["name"], "namespace": "tickets", "uid": "b-1", "labels": LABELS},
                "roleRef": {"kind": "ClusterRole", "name": "reader"}},
            ACCOUNT.replace(ID, OTHER): {"kind": "ServiceAccount", "metadata": {
                "name": OTHER, "namespace": "taskpass-grants", "uid": "o-1", "labels": {}}},
        }  # fmt: skip

    async def get(self, path: str, **query: str) -> Any:
        if path.endswith(("serviceaccounts", "rolebindings")):
            items = [o for p, o in self.objects.items() if p.startswith(f"{path}/")]
            return {"items": items, "metadata": {}}
        if path not in self.objects:
            raise NotFound("none")
        return self.objects[path]

    async def delete(self, path: str, *, uid: str = "", dry_run: bool = False) -> Any:
        live = await self.get(path)
        if uid and live["metadata"]["uid"] != uid:
            raise Conflict("the UID is another")
        del self.objects[path]
        return {"kind": "Status", "status": "Success"}

    @property
    def left(self) -> set[str]:
        """What of the grant is there; the other's always is."""
        assert ACCOUNT.replace(ID, OTHER) in self.objects
        return self.objects.keys() - {ACCOUNT.replace(ID, OTHER)}


def provider(server: Any) -> KubernetesProvider:
    return KubernetesProvider(
        server, server="https://x", ca="", clock=StoppedClock(),
        targets={"tickets": [("ClusterRole", "reader")]},
    )  # fmt: skip


def edited(**changes: Any) -> Grant:
    return replace(GRANT, provider_state={**STATE, **changes})


@pytest.mark.parametrize(
    "changes",
    [{}, {"service_account_uid": "a-9"}, {"bindings": [{**BOUND, "uid": "b-9"}]},
     {"service_account_uid": "a-9", "bindings": [{**BOUND, "uid": "b-9"}]},
     {"service_account_uid": "", "bindings": [{**BOUND, "uid": ""}]}],
    ids=["not edited", "the account's UID", "the binding's", "both", "none"],
)  # fmt: skip
async def test_what_has_the_name_and_the_label_of_the_grant_goes_whatever_its_uid(
    changes: dict[str, Any],
) -> None:
    server = Server()

    await provider(server).revoke(edited(**changes))

    assert server.left == set()


@pytest.mark.parametrize(
    "changes",
    [{"bindings": []}, {"grants_namespace": "elsewhere"}, {"service_account": OTHER},
     {"bindings": [{**BOUND, "name": "x"}]}, {"bindings": [{**BOUND, "namespace": "nowhere"}]},
     {"bindings": [{**BOUND, "name": f"taskpass-{ID}-7"}]},
     {"bindings": [{**BOUND, "name": f"taskpass-{OTHER}-0"}]},
     {"bindings": [{**BOUND, "uid": 7}]}, {"bindings": [{"namespace": "tickets"}]},
     {"bindings": None}, {"bindings": ["x"]}, {"service_account_uid": None}],
    ids=str,
)  # fmt: skip
async def test_a_record_that_does_not_fit_the_grant_takes_its_own_back_and_proves_nothing(
    changes: dict[str, Any],
) -> None:
    server = Server()

    for _ in range(2):
        with pytest.raises(ProviderUnavailable, match="not its own"):
            await provider(server).revoke(edited(**changes))

    assert server.left == set()


@pytest.mark.parametrize("state", [{}, {**STATE, "bindings": []}], ids=["empty", "no bindings"])
async def test_a_record_that_does_not_fit_says_of_nothing_that_it_is_too_much(
    state: dict[str, Any],
) -> None:
    found = (await provider(Server()).inventory())[ID]
    grant = replace(GRANT, provider_state=state)

    assert provider(Server()).surplus(grant, found) is None
    assert provider(Server()).is_gone(grant, None)


async def test_what_is_made_anew_while_it_is_deleted_is_owed() -> None:
    class MadeAnew(Server):
        async def delete(self, path: str, *, uid: str = "", dry_run: bool = False) -> Any:
            live = await self.get(path)
            await super().delete(path, uid=uid)
            anew = {**live["metadata"], "uid": live["metadata"]["uid"] + "'"}
            self.objects[path] = {**live, "metadata": anew}
            return {}

    with pytest.raises(ProviderUnavailable, match="made anew"):
        await provider(MadeAnew()).revoke(edited(service_account_uid="a-9"))
