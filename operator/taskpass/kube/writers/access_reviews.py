"""Questions to the API server about rights."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from taskpass.core.errors import EvaluationFailed
from taskpass.core.model.api import GROUP
from taskpass.core.model.task import User
from taskpass.ports.cluster import ApiClient

PATH = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
NOTHING: Mapping[str, Any] = MappingProxyType({})


class KubeReviews:
    """`ports.AccessReviewer`."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    async def may_use(self, user: User, class_name: str) -> bool:
        """Tell whether the user has the verb `use` on the class (SubjectAccessReview).

        Raises:
            EvaluationFailed: The API server could not tell; that is neither a yes nor a no.

        """
        what = {
            "group": GROUP, "resource": "credentialclasses", "name": class_name, "verb": "use",
        }  # fmt: skip
        return await is_allowed(self._client, user, what, f"use CredentialClass '{class_name}'")

    async def may_delegate(self, user: User, namespace: str, name: str) -> bool:
        """Tell whether the user has the verb `delegate` on the task (SubjectAccessReview).

        Raises:
            EvaluationFailed: The API server could not tell; that is neither a yes nor a no.

        """
        what = {
            "group": GROUP, "resource": "agenttasks", "namespace": namespace, "name": name,
            "verb": "delegate",
        }  # fmt: skip
        action = f"delegate the work of AgentTask '{name}'"
        return await is_allowed(self._client, user, what, action)


async def is_allowed(
    client: ApiClient, user: User, attributes: Mapping[str, str], action: str,
    extra: Mapping[str, Any] = NOTHING,
) -> bool:  # fmt: skip
    """Tell whether a user has a right, which `resourceAttributes` of a SubjectAccessReview name.

    `action` is what the user would do, as the end of "may ...". `extra` is what the API server said
    of the user's token beside the name, by which an authorizer may allow less (scopes, say).

    Raises:
        EvaluationFailed: The API server could not tell; that is neither a yes nor a no.

    """
    if not user.username:
        return False  # a task without a stamp; asking for nobody would be refused as invalid
    spec = {
        "user": user.username, "uid": user.uid, "groups": list(user.groups),
        "resourceAttributes": dict(attributes), **({"extra": dict(extra)} if extra else {}),
    }  # fmt: skip
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview"}
    status = (await client.create(PATH, {**review, "spec": spec})).get("status", {})
    if status.get("allowed") is True:
        return True
    if status.get("evaluationError") and not status.get("denied"):
        raise EvaluationFailed(
            f"The API server could not tell whether the user may {action}; it is asked again"
        )
    return False
