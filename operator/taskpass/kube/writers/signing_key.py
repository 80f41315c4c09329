"""The seed of the log's signing key: a Secret that the operator makes once and never replaces.

A key made by the chart would change with every rendering (GitOps), and with it the log's signer.
A new generation is a Secret of its own; the log goes over to it while the one before is still
there, and a person may delete that afterwards.
"""

import base64
import binascii
import secrets

from taskpass.core.errors import ApiUnavailable, Conflict, NotFound, SigningKeyUnusable
from taskpass.ports.cluster import ApiClient

NAME = "taskpass-signing-key"
TYPE = "taskpass.dev/signing-key"
FIELD = "seed"
SEED_BYTES = 32


def name_of(generation: int) -> str:
    """Return the name of a generation's Secret."""
    return NAME if generation == 1 else f"{NAME}-{generation}"


def names_of(generation: int) -> tuple[str, ...]:
    """Return the Secrets that a start with this generation reads: its own, and the one before."""
    return tuple(name_of(each) for each in (generation, generation - 1) if each >= 1)


async def read_previous_seed(client: ApiClient, namespace: str, generation: int) -> bytes | None:
    """Return the seed before this generation's; None where there was none, or it is deleted.

    Raises:
        SigningKeyUnusable: As `load_or_create_seed`.

    """
    if generation == 1:
        return None
    try:
        return await read_seed(client, namespace, generation - 1)
    except NotFound:
        return None


async def load_or_create_seed(client: ApiClient, namespace: str, generation: int = 1) -> bytes:
    """Return the 32 bytes, made now if they are not there; durable before they are returned.

    Raises:
        SigningKeyUnusable: The Secret is there and holds something else; a person must look.

    """
    try:
        return await read_seed(client, namespace, generation)
    except NotFound:
        pass
    seed = secrets.token_bytes(SEED_BYTES)
    body = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": name_of(generation),
            "namespace": namespace,
            "labels": {
                "app.kubernetes.io/name": "taskpass",
                "app.kubernetes.io/part-of": "taskpass",
                "app.kubernetes.io/managed-by": "taskpass",
            },
        },
        "type": TYPE,
        "immutable": True,
        "data": {FIELD: base64.b64encode(seed).decode()},
    }
    try:
        await client.create(f"/api/v1/namespaces/{namespace}/secrets", body)
    except (Conflict, ApiUnavailable):
        # Another replica was first, or the answer was lost: what is there counts, not what we drew.
        return await read_seed(client, namespace, generation)
    return seed


async def read_seed(client: ApiClient, namespace: str, generation: int = 1) -> bytes:
    """Return the 32 bytes. `NotFound` where there is no key; otherwise as `load_or_create_seed`."""
    name = name_of(generation)
    secret = await client.get(f"/api/v1/namespaces/{namespace}/secrets/{name}")
    try:
        seed = base64.b64decode(secret.get("data", {})[FIELD], validate=True)
    except (KeyError, binascii.Error):
        seed = b""
    if secret.get("type") != TYPE or len(seed) != SEED_BYTES:
        raise SigningKeyUnusable(
            f"Secret '{name}' in namespace '{namespace}' must be of type {TYPE} and hold "
            f"{SEED_BYTES} bytes under '{FIELD}'",
            "restore it from a backup, as the log is signed with it",
        )
    return seed
