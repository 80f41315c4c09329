"""What cases of the whole operator play on: tasks, pods, and what becomes of them.

There is no node: the test plays the kubelet, and patches what a pod came to. The tenant is alice.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import urllib3

from e2e.admission import GATE, GRANTS, GROUP, LABEL, ROLE, TARGET, TENANT, pod, remove, task
from e2e.impersonate import MERGE_PATCH, Api, Object, Refused, path_of, thing
from e2e.operator_process import OperatorProcess, decoded

T = TypeVar("T")
PATIENCE = 15.0
READ_ME = f"/api/v1/namespaces/{TARGET}/configmaps/read-me"


def until(what: Callable[[], T], seconds: float = PATIENCE, said: Callable[[], object] = str) -> T:
    """Return the first true answer; an object that is not there yet is no answer."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if answer := what():
                return answer
        except Refused as refused:
            if refused.status != 404:
                raise
        assert time.monotonic() < deadline, f"not within {seconds} s: {said()}"
        time.sleep(0.02)


def request(name: str = "tickets", class_name: str = "tickets", **rest: Any) -> Object:
    """Return what a task asks for."""
    asked = {
        "name": name,
        "classRef": {"name": class_name},
        "actions": ["read"],
        "resources": [f"namespace/{TARGET}"],
    }
    return {**asked, **rest}


def credential_class(name: str, role: str = ROLE, kind: str = "ClusterRole", **spec: Any) -> Object:
    """Return a class of provider Kubernetes that any namespace may use."""
    section = {
        "roles": [{"action": "read", "kind": kind, "name": role}],
        "namespaces": [TARGET],
        **spec.pop("kubernetes", {}),
    }
    whole = {
        "provider": "Kubernetes",
        "kubernetes": section,
        "actions": ["read"],
        "namespaceSelector": {},
        **spec,
    }
    return thing(GROUP, "CredentialClass", "", name, spec=whole)


def policy(name: str, *classes: str, namespace: str = TENANT, **spec: Any) -> Object:
    """Return an AgentPolicy that allows reading of the classes."""
    allow = {"effect": "Allow", "classes": list(classes), "actions": ["read"]}
    whole = {**allow, "resources": ["namespace/*"], **spec}
    return thing(GROUP, "AgentPolicy", namespace, name, spec=whole)


def deny(name: str, *classes: str, **spec: Any) -> Object:
    """Return an AgentPolicy that denies the classes."""
    whole = {"effect": "Deny", "classes": list(classes), **spec}
    return thing(GROUP, "AgentPolicy", TENANT, name, spec=whole)


def job(name: str, *, task_name: str = "", **spec: Any) -> Object:
    """Return a Job whose pods carry the task's label."""
    template = pod(task_name or name)
    template["spec"]["restartPolicy"] = "Never"
    metadata = {"labels": template["metadata"]["labels"]}
    whole = {"template": {"metadata": metadata, "spec": template["spec"]}, **spec}
    return thing("batch/v1", "Job", TENANT, name, spec=whole)


@dataclass
class Stage:
    """One API server, one operator, and the tokens that were seen."""

    api: Api
    operator: OperatorProcess
    tokens: set[str] = field(default_factory=set)
    """Every token that the cases have read; none of them may be found anywhere at the end."""

    @property
    def alice(self) -> Api:
        """The tenant's administrator."""
        return self.api.as_user("alice", "team-a")

    def begin(self, name: str, **spec: Any) -> Object:
        """Make a task and its pod; return the pod."""
        self.alice.create(task(name, **spec))
        return self.alice.create(pod(name))

    def begin_ready(self, name: str, **spec: Any) -> Object:
        """Make a task and its pod; return the pod once it holds its credentials."""
        made = self.begin(name, **spec)
        self.wait_ready(name)
        return made

    def wait_ready(self, name: str, seconds: float = PATIENCE) -> Object:
        """Return the status once the task is ready for what it asks for now."""
        return self.wait_condition(name, "Ready", "True", seconds=seconds)

    def wait_condition(
        self, name: str, kind: str, status: str, reason: str = "", *, saying: str = "",
        seconds: float = PATIENCE,
    ) -> Object:  # fmt: skip
        """Return the status once a condition is as said, for the task's current generation.

        A reason that covers several causes tells them apart by its message: `saying` is a part
        of it.
        """

        def seen() -> Object | None:
            live = self.task(name)
            found = condition(live.get("status", {}), kind)
            current = found.get("observedGeneration") == live["metadata"]["generation"]
            as_said = found.get("status") == status and (not reason or found["reason"] == reason)
            told = saying in found.get("message", "")
            return dict(live["status"]) if current and as_said and told else None

        answer = until(seen, seconds, said=lambda: self.told(name))
        assert answer is not None
        return answer

    def wait_finished(self, name: str, outcome: str) -> Object:
        """Return the status once the task is over."""
        return self.wait_condition(name, "Finished", "True", outcome)

    def wait_gone(self, each: Object) -> None:
        """Return once an object is not there any more."""
        until(lambda: not self.api.exists(each), said=lambda: each["metadata"]["name"])

    def told(self, name: str) -> str:
        """Return what a failing test wants to know of a task."""
        try:
            status = self.task(name).get("status", {})
        except Refused as refused:
            return f"{refused}\n{self.operator.tail()}"
        lines = [
            f"{c['type']}={c['status']} {c['reason']}: {c['message']}"
            for c in status.get("conditions", [])
        ]
        return "\n".join([*lines, self.operator.tail(1500)])

    def task(self, name: str) -> Object:
        """Return a task as it is now."""
        return self.api.get("AgentTask", TENANT, name)

    def secret(self, name: str) -> dict[str, str] | None:
        """Return the content of a task's Secret, or None; its tokens are remembered."""
        try:
            content = decoded(self.api.get("Secret", TENANT, f"taskpass-{name}"))
        except Refused as refused:
            if refused.status != 404:
                raise
            return None
        self.tokens |= {v for k, v in content.items() if k.endswith(".token")}
        return content

    def token(self, name: str, credential: str = "tickets") -> str:
        """Return a credential's token from the task's Secret."""
        content = self.secret(name)
        assert content is not None, self.told(name)
        return content[f"{credential}.token"]

    def gated(self, name: str) -> bool:
        """Tell whether a pod waits behind our gate."""
        gates = self.api.get("Pod", TENANT, name)["spec"].get("schedulingGates", [])
        return {"name": GATE} in gates

    def end(self, name: str, phase: str = "Succeeded") -> None:
        """Play the kubelet: the pod came to its end."""
        path = f"{path_of('Pod', TENANT)}/{name}/status"
        self.api.call("PATCH", path, {"status": {"phase": phase}}, content=MERGE_PATCH)

    def pods_of(self, task_name: str) -> list[Object]:
        """Return the pods that carry a task's label, oldest first."""
        path = path_of("Pod", TENANT)
        found = self.api.call("GET", path, labelSelector=f"{LABEL}%3D{task_name}")["items"]
        return sorted(found, key=lambda each: str(each["metadata"]["creationTimestamp"]))

    def change(self, name: str, spec: Object) -> None:
        """Merge something into a task's spec, as alice."""
        self.alice.merge(task(name), {"spec": spec})

    def events(self, name: str, namespace: str = TENANT) -> list[Object]:
        """Return our Events about what bears a name, in the order of their time."""
        path = f"/apis/events.k8s.io/v1/namespaces/{namespace}/events"
        ours = (
            e
            for e in self.api.call("GET", path)["items"]
            if e.get("reportingController") == "taskpass.dev/operator"
        )
        found = [e for e in ours if e["regarding"]["name"] == name]
        return sorted(found, key=lambda each: str(each["eventTime"]))

    def wait_event(self, name: str, reason: str, namespace: str = TENANT, kind: str = "") -> Object:
        """Return the first Event of a reason."""

        def seen() -> Object | None:
            every = self.events(name, namespace)
            fits = (e for e in every if e["reason"] == reason)
            return next((e for e in fits if kind in ("", e["regarding"]["kind"])), None)

        found = until(seen, said=lambda: [e["reason"] for e in self.events(name, namespace)])
        assert found is not None
        return found

    def reads(self, token: str, path: str = READ_ME) -> int:
        """Return the status of a GET by the bearer of a token."""
        # A pool without the administrator's certificate, which would win over the token.
        pool = urllib3.PoolManager(ca_certs=self.api.pool.connection_pool_kw["ca_certs"])
        headers = {"Authorization": f"Bearer {token}"}
        answer = pool.request("GET", self.api.server + path, headers=headers)
        return int(answer.status)

    def known_to_token_review(self, token: str) -> bool:
        """Tell whether the API server still takes a token for somebody's."""
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview"}
        path = "/apis/authentication.k8s.io/v1/tokenreviews"
        answer = self.api.call("POST", path, {**review, "spec": {"token": token}})
        return bool(answer["status"].get("authenticated"))

    def accounts(self) -> set[str]:
        """Return the names of the grants' ServiceAccounts."""
        items = self.api.call("GET", path_of("ServiceAccount", GRANTS))["items"]
        return {n for i in items if (n := str(i["metadata"]["name"])).startswith("g-")}

    def bindings(self) -> set[str]:
        """Return the names of the grants' RoleBindings in the target namespace."""
        items = self.api.call("GET", path_of("RoleBinding", TARGET))["items"]
        return {n for i in items if (n := str(i["metadata"]["name"])).startswith("taskpass-g-")}

    def secrets(self) -> set[str]:
        """Return the names of the tasks' Secrets."""
        items = self.api.call("GET", path_of("Secret", TENANT))["items"]
        ours = (i for i in items if i["type"] == "taskpass.dev/credentials")
        return {str(i["metadata"]["name"]) for i in ours}

    def assert_holds(self, **tasks: int) -> None:
        """Assert that these tasks hold so many credentials each, and nobody else any.

        Keys are the names of tasks with '_' for '-'.
        """
        wanted = {name.replace("_", "-"): count for name, count in tasks.items()}
        grants = {n: [g["id"] for g in self.task(n)["status"]["grants"]] for n in wanted}
        held = {grant for ids in grants.values() for grant in ids}
        assert {n: len(ids) for n, ids in grants.items()} == wanted
        assert self.accounts() == held
        assert {name[9:43] for name in self.bindings()} == held
        assert self.secrets() == {f"taskpass-{n}" for n, count in wanted.items() if count}

    def clear(self, prefix: str) -> None:
        """Delete tasks, pods and Jobs by the beginning of their names; wait until all are gone.

        As a person would: what a task holds is revoked before its finalizer goes.
        """
        left = list(self._left(prefix))
        for each in left:
            with contextlib.suppress(Refused):  # some go with their owner
                self.api.delete(each, propagationPolicy="Background", gracePeriodSeconds="0")
        try:
            until(
                lambda: not list(self._left(prefix)),
                said=lambda: f"left: {list(self._left(prefix))}\n{self.operator.tail()}",
            )
        finally:
            for each in self._left(prefix):
                remove(self.api, each)

    def _left(self, prefix: str) -> Iterator[Object]:
        kinds = (("batch/v1", "Job"), ("v1", "Pod"), (GROUP, "AgentTask"))
        for version, kind in kinds:
            for each in self.api.call("GET", path_of(kind, TENANT))["items"]:
                if each["metadata"]["name"].startswith(prefix):
                    yield thing(version, kind, TENANT, each["metadata"]["name"])


def condition(status: Object, kind: str) -> Object:
    """Return a condition, or an empty one."""
    found = (c for c in status.get("conditions", []) if c["type"] == kind)
    return next(found, {})
