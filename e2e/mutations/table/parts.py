"""Parts of objects that rows have in common."""
# fmt: off

from e2e.admission import GATE, container, volume
from e2e.impersonate import Object

OURS = "taskpass.dev/credentials"
RESTRICTED: Object = {
    "serviceAccountName": "default",
    "securityContext": {"runAsNonRoot": True, "runAsUser": 1, "seccompProfile": {"type": "RuntimeDefault"}},
    "containers": [
        container("thief", securityContext={"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}})
    ],
}
FORGED = {"username": "root", "uid": "0", "groups": ["system:masters"]}
STAMP = {"taskpass.dev/created-by": '{"username":"root"}'}


def containers() -> Object:
    return {"containers": [container("agent"), container("proxy")], "initContainers": [container("first")]}


def own() -> Object:
    mount = {"name": "data", "mountPath": "/data"}
    elsewhere = {"name": "taskpass", "mountPath": "/credentials", "readOnly": True}
    return {
        "containers": [container("agent", volumeMounts=[mount]), container("proxy", volumeMounts=[elsewhere])],
        "initContainers": [container("first", volumeMounts=[mount]), container("second", volumeMounts=[elsewhere])],
        "volumes": [{"name": "data", "emptyDir": {}}],
        "schedulingGates": [{"name": "example.com/other"}],
    }  # fmt: skip


def gated(*volumes: Object) -> Object:
    return {"schedulingGates": [{"name": GATE}], "volumes": list(volumes)}


def sources(name: str, *, token: bool = True, secret: bool = True, optional: bool = True) -> Object:
    whole = volume(name)
    first, second = whole["projected"]["sources"]
    second = {"secret": {**second["secret"], "optional": optional}}
    chosen = [*([first] if token else []), *([second] if secret else [])]
    return {"name": "taskpass", "projected": {"sources": chosen}}


def renamed(each: Object) -> Object:
    return {"name": "second", "projected": {"sources": each["projected"]["sources"][:1]}}


def env(name: str) -> Object:
    return {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": name, "key": "a"}}}]}


def image(where: str) -> Object:
    return {"op": "replace", "path": f"/spec/{where}/0/image", "value": "localhost/other:1"}


def owner(name: str, of: Object | None = None) -> Object:
    uid = of["metadata"]["uid"] if of else "00000000-0000-0000-0000-000000000001"
    return {"apiVersion": "taskpass.dev/v1alpha1", "kind": "AgentTask", "name": name, "uid": uid}


def marked(each: Object, annotations: dict[str, str]) -> Object:
    return {**each, "metadata": {**each["metadata"], "annotations": annotations}}
