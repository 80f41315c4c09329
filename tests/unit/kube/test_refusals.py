"""What adapters make of refusals that a real API server gives only after odd histories."""

import base64
import json

import pytest

from taskpass.core.errors import AdmissionDenied, ApiUnavailable, Forbidden, UsageError
from taskpass.kube.api.list_patch import remove_entry
from taskpass.kube.writers.secrets import SecretSink
from taskpass.kube.writers.signing_key import load_or_create_seed
from tests.unit.kube.objects import meta
from tests.unit.kube.scripted_server import Answer, Script, status_body

SECRET = "/api/v1/namespaces/support/secrets/taskpass-ticket"
KEY = "/api/v1/namespaces/taskpass-system/secrets/taskpass-signing-key"
POD = "/api/v1/namespaces/support/pods/p"
NO_RIGHT = Answer(status_body(403, "secrets is forbidden: User cannot update"), 403)


def denied_by(policy: str) -> Answer:
    message = f"ValidatingAdmissionPolicy '{policy}' with binding '{policy}' denied request: no"
    return Answer(status_body(403, message), 403)


async def test_where_only_delete_is_left_a_secret_of_unknown_uid_is_deleted_by_name(
    script: Script,
) -> None:
    script.on(f"PUT {SECRET}", NO_RIGHT)
    script.on(f"DELETE {SECRET}", Answer({}))

    async with script.client() as client:
        await SecretSink(client).withdraw("support", "ticket", "u-1", "")

    assert "preconditions" not in json.loads(script.bodies[1])


async def test_a_deletion_that_is_not_allowed_is_an_error_and_not_success(script: Script) -> None:
    script.on(f"DELETE {SECRET}", NO_RIGHT)

    async with script.client() as client:
        with pytest.raises(Forbidden):
            await SecretSink(client).withdraw("support", "ticket", "u-1", "s-1")


async def test_a_refusal_by_a_policy_of_somebody_else_is_an_error(script: Script) -> None:
    script.on(f"PUT {SECRET}", denied_by("company-rules"))

    async with script.client() as client:
        with pytest.raises(AdmissionDenied):
            await SecretSink(client).withdraw("support", "ticket", "u-1", "")


@pytest.mark.parametrize(
    "data",
    [
        pytest.param({}, id="empty"),
        pytest.param({"seed": base64.b64encode(b"short").decode()}, id="too short"),
        pytest.param({"seed": "!!"}, id="not base64"),
    ],
)
async def test_a_signing_key_that_is_none_is_for_a_person_to_mend(
    script: Script, data: dict[str, str]
) -> None:
    script.on(f"GET {KEY}", Answer({"type": "taskpass.dev/signing-key", "data": data}))

    async with script.client() as client:
        with pytest.raises(UsageError, match="restore it from a backup"):
            await load_or_create_seed(client, "taskpass-system")


async def test_a_key_whose_answer_was_lost_is_read_and_not_invented(script: Script) -> None:
    seed = bytes(range(32))
    stored = {"seed": base64.b64encode(seed).decode()}
    script.on(
        f"GET {KEY}",
        Answer(status_body(404, "not found"), 404),
        Answer({"type": "taskpass.dev/signing-key", "data": stored}),
    )
    script.on(f"POST {KEY.rpartition('/')[0]}", Answer(status_body(500, "lost"), 500))

    async with script.client() as client:
        assert await load_or_create_seed(client, "taskpass-system") == seed


async def test_a_list_that_changes_at_every_try_is_tried_again_later(script: Script) -> None:
    script.on(f"PATCH {POD}", Answer(status_body(422, "test failed"), 422))
    script.on(f"GET {POD}", Answer({"metadata": meta("p", 1), "spec": {"gates": ["ours"]}}))

    async with script.client() as client:
        with pytest.raises(ApiUnavailable):
            await remove_entry(
                client, POD, uid="uid-support-p", field=("spec", "gates"), entry="ours"
            )
