"""The task's Secret: written whole, never read.

The operator has no `get` on Secrets, so it learns what is there by writing:

1. POST. 409, or an answer that was lost, means that something of that name may be there.
2. PUT without resourceVersion. Admission lets it only onto a Secret of our type that the same task
   owns; a foreign one answers 403, or 422 where its type differs. Ours answers with its UID.
3. DELETE with that UID.
"""

import base64
from collections.abc import Mapping
from typing import Any

import orjson

from taskpass.core.errors import (
    AdmissionDenied,
    ApiUnavailable,
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    SecretNameTaken,
)
from taskpass.core.model.grant import SecretValue
from taskpass.kube.api.errors import plain
from taskpass.kube.kinds import AGENT_TASK, API_VERSION
from taskpass.ports.cluster import ApiClient
from taskpass.ports.credentials import Delivery

TYPE = "taskpass.dev/credentials"
INDEX = "taskpass.json"
POLICY = "taskpass-operator-secrets"
TRIES = 3


class SecretSink:
    """`ports.CredentialSink`."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    async def deliver(self, delivery: Delivery) -> str:
        """Replace the task's Secret whole; return its UID.

        Raises:
            SecretNameTaken: A Secret of that name exists and is not this task's.

        """
        task = delivery.task
        content = {key: _encoded(value) for key, value in delivery.fields.items()}
        index = orjson.dumps(delivery.index, default=plain, option=orjson.OPT_INDENT_2)
        content[INDEX] = base64.b64encode(index).decode()
        secret = _secret(task.namespace, task.name, task.uid, content)
        for _ in range(TRIES):
            written = await self._create(task.namespace, secret)
            if written is None:
                written = await self._replace(task.namespace, secret)
            if written is None:
                continue  # it went between the two
            metadata = written["metadata"]
            if "deletionTimestamp" in metadata:
                raise ApiUnavailable(
                    f"Secret '{metadata['name']}' is being deleted by somebody; it is made anew "
                    "once it is gone"
                )
            return str(metadata["uid"])
        raise ApiUnavailable("The task's Secret came and went at every try; it is tried again")

    async def withdraw(self, namespace: str, name: str, task_uid: str, secret_uid: str) -> None:
        """Delete the task's Secret; `name` is the task's. What is gone, or not ours, is success.

        An empty `secret_uid` means that the answer to its creation was lost: an empty PUT, which
        only our own Secret takes, finds it out. Where that is refused, somebody may have taken the
        owner off ours: one of our type that nobody owns is nobody else's, and nothing would ever
        collect it.
        """
        path = f"{_list_path(namespace)}/taskpass-{name}"
        try:
            if not secret_uid:
                empty = _secret(namespace, name, task_uid, {})
                secret_uid = (await self._client.replace(path, empty))["metadata"]["uid"]
            await self._client.delete(path, uid=secret_uid)
        except (NotFound, Conflict):
            return
        except Invalid:
            return  # a Secret of another type: not ours
        except AdmissionDenied as refusal:
            if refusal.policy != POLICY:
                raise
            if not secret_uid:
                await self._delete_unowned(path)
        except Forbidden:
            if secret_uid:
                raise
            # A namespace that is no longer enrolled leaves us only `delete`. Nothing is delivered
            # there any more, and admission lets us delete Secrets of our type only.
            await self._delete_by_name(path)

    async def _create(self, namespace: str, secret: Mapping[str, Any]) -> dict[str, Any] | None:
        try:
            return await self._client.create(_list_path(namespace), secret)
        except (Conflict, ApiUnavailable):
            return None

    async def _replace(self, namespace: str, secret: Mapping[str, Any]) -> dict[str, Any] | None:
        name = secret["metadata"]["name"]
        try:
            return await self._client.replace(f"{_list_path(namespace)}/{name}", secret)
        except NotFound:
            return None
        except Invalid as error:
            raise _taken(namespace, name) from error
        except AdmissionDenied as error:
            if error.policy != POLICY:
                raise
            raise _taken(namespace, name) from error

    async def _delete_unowned(self, path: str) -> None:
        """Delete it where it is of our type and has no owner. A dry run shows what is there."""
        try:
            metadata = (await self._client.delete(path, dry_run=True))["metadata"]
            if "uid" in metadata and not metadata.get("ownerReferences"):
                await self._client.delete(path, uid=metadata["uid"])
        except (NotFound, Conflict):
            return
        except AdmissionDenied as refusal:
            if refusal.policy != POLICY:
                raise

    async def _delete_by_name(self, path: str) -> None:
        try:
            await self._client.delete(path)
        except NotFound:
            return
        except AdmissionDenied as refusal:
            if refusal.policy != POLICY:
                raise


def _taken(namespace: str, name: str) -> SecretNameTaken:
    return SecretNameTaken(
        f"Secret '{name}' in namespace '{namespace}' exists and is not this task's; delete it, or "
        "give the task another name"
    )


def _list_path(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/secrets"


def _encoded(value: SecretValue) -> str:
    return base64.b64encode(value.reveal()).decode()


def _secret(namespace: str, name: str, task_uid: str, content: Mapping[str, str]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": f"taskpass-{name}",
            "namespace": namespace,
            "labels": {
                "app.kubernetes.io/name": "taskpass",
                "app.kubernetes.io/part-of": "taskpass",
                "app.kubernetes.io/managed-by": "taskpass",
            },
            "ownerReferences": [
                {
                    "apiVersion": API_VERSION,
                    "kind": AGENT_TASK.name,
                    "name": name,
                    "uid": task_uid,
                    "controller": True,
                    "blockOwnerDeletion": False,
                }
            ],
        },
        "type": TYPE,
        "data": dict(content),
    }
