"""What proves that an object is gone: the answer to its deletion, or a look if that is no proof."""

from typing import Any

import pytest

from taskpass.core.errors import Conflict, Forbidden, NotFound, ProviderUnavailable
from taskpass.providers.kubernetes.removal import remove, says_gone
from taskpass.providers.kubernetes.state import State

GRANT = "g-" + 32 * "a"
BINDING = f"/apis/rbac.authorization.k8s.io/v1/namespaces/tickets/rolebindings/taskpass-{GRANT}-0"
ACCOUNT = f"/api/v1/namespaces/taskpass-grants/serviceaccounts/{GRANT}"
GONE = {"kind": "Status", "apiVersion": "v1", "status": "Success", "details": {"uid": "b-1"}}
LAST_STATE = {"kind": "ServiceAccount", "metadata": {"name": GRANT, "uid": "a-1"}}
HELD = {
    "kind": "RoleBinding",
    "metadata": {
        "name": f"taskpass-{GRANT}-0",
        "uid": "b-1",
        "deletionTimestamp": "2027-03-01T12:00:00Z",
        "finalizers": ["example.com/keep"],
    },
}


class Answering:
    """An API server that answers as told; what is not told is not there."""

    def __init__(self, deletions: dict[str, Any], objects: dict[str, Any]) -> None:
        self._deletions, self._objects = deletions, objects
        self.calls: list[str] = []

    async def delete(self, path: str, *, uid: str = "", dry_run: bool = False) -> dict[str, Any]:
        self.calls.append(f"delete {path.rpartition('/')[2]} {uid}")
        return self._answer(self._deletions, path)

    async def get(self, path: str, **query: str) -> dict[str, Any]:
        self.calls.append(f"get {path.rpartition('/')[2]}")
        return self._answer(self._objects, path)

    @staticmethod
    def _answer(answers: dict[str, Any], path: str) -> dict[str, Any]:
        answer = answers.get(path, NotFound("gone"))
        if isinstance(answer, Exception):
            raise answer
        return dict(answer)


def state() -> State:
    found = State.found(GRANT, "taskpass-grants")
    found.service_account_uid = "a-1"
    found.add_found_binding(
        {
            "metadata": {"namespace": "tickets", "name": f"taskpass-{GRANT}-0", "uid": "b-1"},
            "roleRef": {"kind": "ClusterRole", "name": "reader"},
        }
    )
    return found


async def test_answers_that_say_gone_need_no_look() -> None:
    server = Answering({BINDING: GONE, ACCOUNT: LAST_STATE}, {})

    await remove(server, state())  # type: ignore[arg-type]

    assert server.calls == [f"delete taskpass-{GRANT}-0 b-1", f"delete {GRANT} a-1"]


async def test_what_is_not_there_needs_no_look() -> None:
    server = Answering({}, {})

    await remove(server, state())  # type: ignore[arg-type]

    assert server.calls == [f"delete taskpass-{GRANT}-0 b-1", f"delete {GRANT} a-1"]


async def test_an_object_that_a_finalizer_holds_is_looked_at_and_owed() -> None:
    server = Answering({BINDING: HELD, ACCOUNT: LAST_STATE}, {BINDING: HELD})

    with pytest.raises(ProviderUnavailable, match="remove its finalizers"):
        await remove(server, state())  # type: ignore[arg-type]

    assert f"get taskpass-{GRANT}-0" in server.calls
    assert f"delete {GRANT} a-1" in server.calls


async def test_an_object_of_the_name_with_another_uid_is_none_of_the_grants() -> None:
    other = {"kind": "RoleBinding", "metadata": {"name": "x", "uid": "b-2"}}
    server = Answering({BINDING: Conflict("uid"), ACCOUNT: LAST_STATE}, {BINDING: other})

    await remove(server, state())  # type: ignore[arg-type]

    assert f"get taskpass-{GRANT}-0" in server.calls


async def test_a_conflict_over_the_recorded_object_is_no_proof() -> None:
    same = {"kind": "RoleBinding", "metadata": {"name": "x", "uid": "b-1"}}
    server = Answering({BINDING: Conflict("busy"), ACCOUNT: LAST_STATE}, {BINDING: same})

    with pytest.raises(ProviderUnavailable):
        await remove(server, state())  # type: ignore[arg-type]


async def test_what_was_in_a_namespace_that_is_gone_is_gone() -> None:
    server = Answering({BINDING: Forbidden("rights went with it"), ACCOUNT: LAST_STATE}, {})

    await remove(server, state())  # type: ignore[arg-type]

    assert server.calls == [f"delete taskpass-{GRANT}-0 b-1", "get tickets", f"delete {GRANT} a-1"]


async def test_a_refusal_in_a_namespace_that_is_there_is_owed() -> None:
    there = {"kind": "Namespace", "metadata": {"name": "tickets", "uid": "n-1"}}
    refused = Forbidden("not yours")
    server = Answering(
        {BINDING: refused, ACCOUNT: LAST_STATE}, {"/api/v1/namespaces/tickets": there}
    )

    with pytest.raises(ProviderUnavailable, match="not yours"):
        await remove(server, state())  # type: ignore[arg-type]

    assert f"delete {GRANT} a-1" in server.calls


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"kind": "Status", "status": "Failure"}, id="a failure"),
        pytest.param({"kind": "ServiceAccount", "metadata": {}}, id="an object without UID"),
        pytest.param(HELD, id="an object that is being deleted"),
        pytest.param(
            {"kind": "X", "metadata": {"uid": "u", "finalizers": ["example.com/keep"]}},
            id="an object with finalizers",
        ),
    ],
)
def test_an_answer_that_does_not_say_gone_is_no_proof(answer: dict[str, Any]) -> None:
    assert not says_gone(answer)
