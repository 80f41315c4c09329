"""The signing key, one Secret for each generation."""

import base64
import json

import pytest

from taskpass.core.errors import Forbidden, UsageError
from taskpass.kube.writers.signing_key import load_or_create_seed, names_of, read_previous_seed
from tests.unit.kube.scripted_server import Answer, Script, status_body

SECRETS = "/api/v1/namespaces/home/secrets"
ABSENT = Answer(status_body(404, "not found"), 404)


def holding(seed: bytes) -> Answer:
    data = {"seed": base64.b64encode(seed).decode()}
    return Answer({"type": "taskpass.dev/signing-key", "data": data})


def test_a_start_reads_its_own_generation_and_the_one_before() -> None:
    assert names_of(1) == ("taskpass-signing-key",)
    assert names_of(2) == ("taskpass-signing-key-2", "taskpass-signing-key")
    assert names_of(10) == ("taskpass-signing-key-10", "taskpass-signing-key-9")


async def test_a_new_generation_is_a_secret_of_its_own_and_the_old_one_is_left(
    script: Script,
) -> None:
    script.on(f"GET {SECRETS}/taskpass-signing-key-2", ABSENT)
    script.on(f"POST {SECRETS}", Answer({}))

    async with script.client() as client:
        seed = await load_or_create_seed(client, "home", 2)

    made = json.loads(script.bodies[1])
    assert made["metadata"]["name"] == "taskpass-signing-key-2"
    assert made["immutable"] is True
    assert base64.b64decode(made["data"]["seed"]) == seed


async def test_the_key_before_is_read_from_its_secret(script: Script) -> None:
    script.on(f"GET {SECRETS}/taskpass-signing-key", holding(bytes([5]) * 32))

    async with script.client() as client:
        assert await read_previous_seed(client, "home", 2) == bytes([5]) * 32


async def test_a_key_before_that_was_deleted_is_none(script: Script) -> None:
    script.on(f"GET {SECRETS}/taskpass-signing-key-2", ABSENT)

    async with script.client() as client:
        assert await read_previous_seed(client, "home", 3) is None


async def test_the_first_generation_has_none_before_it(script: Script) -> None:
    async with script.client() as client:
        assert await read_previous_seed(client, "home", 1) is None

    assert script.bodies == []


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        pytest.param(Answer(status_body(403, "no"), 403), Forbidden, id="may not be read"),
        pytest.param(holding(b"short"), UsageError, id="holds something else"),
    ],
)
async def test_a_key_before_that_cannot_be_read_is_an_error_and_not_none(
    script: Script, answer: Answer, error: type[Exception]
) -> None:
    script.on(f"GET {SECRETS}/taskpass-signing-key-2", answer)

    async with script.client() as client:
        with pytest.raises(error):
            await read_previous_seed(client, "home", 3)
