"""Speak to the API server as anybody: tests of rights and of admission policies.

One client with the administrator's certificate, which may impersonate. What is refused is raised as
`Refused` with the API server's own words, so that a test can say which rule it expects.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import kubernetes
import urllib3

PATHS = {
    "Pod": "/api/v1/namespaces/{namespace}/pods",
    "Secret": "/api/v1/namespaces/{namespace}/secrets",
    "ConfigMap": "/api/v1/namespaces/{namespace}/configmaps",
    "ServiceAccount": "/api/v1/namespaces/{namespace}/serviceaccounts",
    "Namespace": "/api/v1/namespaces",
    "Node": "/api/v1/nodes",
    "Job": "/apis/batch/v1/namespaces/{namespace}/jobs",
    "Deployment": "/apis/apps/v1/namespaces/{namespace}/deployments",
    "ReplicaSet": "/apis/apps/v1/namespaces/{namespace}/replicasets",
    "StatefulSet": "/apis/apps/v1/namespaces/{namespace}/statefulsets",
    "Role": "/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/roles",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings",
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "AgentTask": "/apis/taskpass.dev/v1alpha1/namespaces/{namespace}/agenttasks",
    "AgentTaskTemplate": "/apis/taskpass.dev/v1alpha1/namespaces/{namespace}/agenttasktemplates",
    "CronJob": "/apis/batch/v1/namespaces/{namespace}/cronjobs",
    "AgentPolicy": "/apis/taskpass.dev/v1alpha1/namespaces/{namespace}/agentpolicies",
    "CredentialClass": "/apis/taskpass.dev/v1alpha1/credentialclasses",
    "ClusterAgentPolicy": "/apis/taskpass.dev/v1alpha1/clusteragentpolicies",
    "TaskApproval": "/apis/taskpass.dev/v1alpha1/namespaces/{namespace}/taskapprovals",
    "KillSwitch": "/apis/taskpass.dev/v1alpha1/killswitches",
    "AuditAnchor": "/apis/taskpass.dev/v1alpha1/auditanchors",
    "JobSet": "/apis/jobset.x-k8s.io/v1alpha2/namespaces/{namespace}/jobsets",
    "Sandbox": "/apis/agents.x-k8s.io/v1alpha1/namespaces/{namespace}/sandboxes",
    "Rollout": "/apis/argoproj.io/v1alpha1/namespaces/{namespace}/rollouts",
    "ControllerRevision": "/apis/apps/v1/namespaces/{namespace}/controllerrevisions",
    "CustomResourceDefinition": "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
    "MutatingWebhookConfiguration": (
        "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
    ),
}
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
Object = dict[str, Any]


class Refused(Exception):
    """The API server said no; `status` and `message` are its own."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        self.message = message


@dataclass(frozen=True)
class Api:
    """The API server, as one user. `as_user` gives the same as another."""

    server: str
    pool: urllib3.PoolManager = field(repr=False)
    token: str = field(default="", repr=False)
    user: str = ""
    groups: tuple[str, ...] = ()

    @classmethod
    def from_kubeconfig(cls, path: str) -> "Api":
        """Return the administrator that a kubeconfig speaks for."""
        config = kubernetes.client.Configuration()
        kubernetes.config.load_kube_config(path, client_configuration=config)  # type: ignore[no-untyped-call]
        pool = urllib3.PoolManager(
            ca_certs=config.ssl_ca_cert, cert_file=config.cert_file, key_file=config.key_file,
            maxsize=16,
        )  # fmt: skip
        return cls(config.host, pool)

    def as_user(self, user: str, *groups: str) -> "Api":
        """Return the same API server as seen by another user."""
        return Api(self.server, self.pool, self.token, user, (*groups, "system:authenticated"))

    def bearing(self, token: str) -> "Api":
        """Return the API server as the bearer of a token sees it, and nobody else."""
        # A pool without the administrator's certificate, which would win over the token.
        pool = urllib3.PoolManager(ca_certs=self.pool.connection_pool_kw["ca_certs"])
        return Api(self.server, pool, token)

    def as_service_account(self, namespace: str, name: str) -> "Api":
        """Return the API server as seen by a ServiceAccount."""
        return self.as_user(
            f"system:serviceaccount:{namespace}:{name}",
            "system:serviceaccounts",
            f"system:serviceaccounts:{namespace}",
        )

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content: str = "application/json",
        **query: str,
    ) -> Object:
        """Make one call; return the JSON answer."""
        return self.answer(method, path, body, content=content, **query)[0]

    def answer(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content: str = "application/json",
        **query: str,
    ) -> tuple[Object, list[str]]:
        """Make one call; return the JSON answer, and what the API server warns of."""
        headers = urllib3.HTTPHeaderDict({"Content-Type": content, "Accept": "application/json"})
        if self.token:
            headers.add("Authorization", f"Bearer {self.token}")
        if self.user:
            headers.add("Impersonate-User", self.user)
        for group in self.groups:
            headers.add("Impersonate-Group", group)
        url = (
            self.server
            + path
            + ("?" + "&".join(f"{k}={v}" for k, v in query.items()) if query else "")
        )
        answer = self.pool.request(
            method,
            url,
            body=None if body is None else json.dumps(body),
            headers=headers,
            timeout=30,
        )
        try:
            value: Object = json.loads(answer.data)
        except ValueError:  # a path that is not served, say
            value = {"message": answer.data.decode(errors="replace")}
        if answer.status >= 400:
            raise Refused(answer.status, value.get("message", ""))
        return value, answer.headers.getlist("Warning")

    def text(self, path: str) -> str:
        """GET what is no JSON, such as a pod's log; '' where it is not there yet."""
        answer = self.pool.request("GET", self.server + path, timeout=30)
        return answer.data.decode() if answer.status == 200 else ""

    def create(self, thing: Mapping[str, Any], **query: str) -> Object:
        """POST an object."""
        return self.call("POST", self._list(thing), thing, **query)

    def get(self, kind: str, namespace: str, name: str) -> Object:
        """Read one object."""
        return self.call("GET", f"{path_of(kind, namespace)}/{name}")

    def replace(self, thing: Mapping[str, Any], sub: str = "", **query: str) -> Object:
        """PUT an object, or a subresource of it such as '/status'."""
        return self.call("PUT", f"{self._one(thing)}{sub}", thing, **query)

    def apply(self, thing: Mapping[str, Any], **query: str) -> Object:
        """Apply an object on the server's side, by force."""
        query = {"fieldManager": "test", "force": "true", **query}
        return self.call("PATCH", self._one(thing), thing, content=APPLY_PATCH, **query)

    def merge(
        self, thing: Mapping[str, Any], patch: Mapping[str, Any], sub: str = "", **query: str
    ) -> Object:
        """PATCH an object with a merge patch."""
        return self.call("PATCH", f"{self._one(thing)}{sub}", patch, content=MERGE_PATCH, **query)

    def patch(
        self, thing: Mapping[str, Any], steps: Iterable[Mapping[str, Any]], sub: str = ""
    ) -> Object:
        """PATCH an object with a JSON patch."""
        return self.call("PATCH", f"{self._one(thing)}{sub}", list(steps), content=JSON_PATCH)

    def delete(self, thing: Mapping[str, Any], **query: str) -> Object:
        """DELETE an object."""
        return self.call("DELETE", self._one(thing), **query)

    def exists(self, thing: Mapping[str, Any]) -> bool:
        """Tell whether an object of that kind and name is there."""
        try:
            self.call("GET", self._one(thing))
        except Refused as refused:
            if refused.status == 404:
                return False
            raise
        return True

    def _list(self, thing: Mapping[str, Any]) -> str:
        return path_of(thing["kind"], thing["metadata"].get("namespace", ""))

    def _one(self, thing: Mapping[str, Any]) -> str:
        return f"{self._list(thing)}/{thing['metadata']['name']}"


def path_of(kind: str, namespace: str) -> str:
    """Return the path of a kind's list."""
    return PATHS[kind].format(namespace=namespace)


def thing(api_version: str, kind: str, namespace: str, name: str, **rest: Any) -> Object:
    """Return an object; `labels`, `annotations`, `owners` and `finalizers` go into its metadata."""
    metadata: Object = {"name": name}
    if namespace:
        metadata["namespace"] = namespace
    keys: Sequence[tuple[str, str]] = (
        ("labels", "labels"),
        ("annotations", "annotations"),
        ("owners", "ownerReferences"),
        ("finalizers", "finalizers"),
    )
    for key, target in keys:
        if key in rest:
            metadata[target] = rest.pop(key)
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **rest}
