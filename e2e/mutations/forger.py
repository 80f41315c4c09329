"""A mutating webhook that runs after our policies, and changes what they stamped.

Our policies stamp what is created and changed, and others check the stamps once more, because such
a webhook could have changed them. Without one no row could tell whether they check. An object asks
for it by its annotations: `forge.example/created-by: x` puts x into taskpass.dev/created-by,
`forge.spec.example/requester: ''` somebody else's name into spec.requester, and
`forge.example.finalizers: ''` takes all finalizers off.
"""

import base64
import http.server
import json
import socket
import ssl
import threading
from pathlib import Path
from urllib.parse import urlsplit

from e2e.cluster.pki import Authority
from e2e.impersonate import Api, Object, thing

NAME = "forger.mutations.example"
ANNOTATION, FIELD, FINALIZERS = "forge.example/", "forge.spec.example/", "forge.example.finalizers"
SOMEBODY_ELSE = {"username": "root", "uid": "0", "groups": ["system:masters"]}
ASKED = """
object != null && has(object.metadata.annotations) &&
object.metadata.annotations.exists(k, k.startsWith('forge.'))"""


def forged(**annotations: str) -> dict[str, str]:
    """Return annotations by which the stamps are other ones afterwards."""
    return {ANNOTATION + name.replace("_", "-"): value for name, value in annotations.items()}


def forged_spec(*fields: str) -> dict[str, str]:
    """Return annotations by which fields of the spec are other ones afterwards."""
    return {FIELD + field: "" for field in fields}


def steps_for(each: Object) -> list[Object]:
    """Return the JSON patch for what an object asks for."""
    steps: list[Object] = []
    for key, value in each["metadata"].get("annotations", {}).items():
        if key.startswith(ANNOTATION):
            path = f"/metadata/annotations/taskpass.dev~1{key.removeprefix(ANNOTATION)}"
            steps.append({"op": "add", "path": path, "value": value})
        elif key.startswith(FIELD):
            field = key.removeprefix(FIELD)
            other = ["root"] if field == "changers" else SOMEBODY_ELSE
            steps.append({"op": "add", "path": f"/spec/{field}", "value": other})
        elif key == FINALIZERS and each["metadata"].get("finalizers"):
            steps.append({"op": "remove", "path": "/metadata/finalizers"})
    return steps


def install(admin: Api, directory: Path) -> None:
    """Serve it for as long as this process lives, and tell the API server of it."""
    server = urlsplit(admin.server)
    with socket.create_connection((server.hostname, server.port)) as to_api_server:
        address = to_api_server.getsockname()[0]  # where the API server finds us
    directory.mkdir(parents=True, exist_ok=True)
    Authority(directory).issue("forger", NAME, addresses=[address])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "forger.crt", directory / "forger.key")
    listening = http.server.ThreadingHTTPServer((address, 0), _Handler)
    listening.socket = context.wrap_socket(listening.socket, server_side=True)
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    bundle = base64.b64encode((directory / "ca.crt").read_bytes()).decode()
    rule = {
        "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"],
        "operations": ["CREATE", "UPDATE"],
    }  # fmt: skip
    webhook = {
        "name": NAME, "admissionReviewVersions": ["v1"], "sideEffects": "None", "rules": [rule],
        # When our policies put the stamps right after it, it is asked again.
        "reinvocationPolicy": "IfNeeded",
        "matchConditions": [{"name": "asked", "expression": ASKED}],
        "clientConfig": {
            "url": f"https://{address}:{listening.server_address[1]}/", "caBundle": bundle,
        },
    }  # fmt: skip
    kind = "MutatingWebhookConfiguration"
    admin.apply(thing("admissionregistration.k8s.io/v1", kind, "", "forger", webhooks=[webhook]))


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        request = json.loads(self.rfile.read(length))["request"]
        patch = json.dumps(steps_for(request["object"])).encode()
        response = {
            "uid": request["uid"], "allowed": True, "patchType": "JSONPatch",
            "patch": base64.b64encode(patch).decode(),
        }  # fmt: skip
        review = {
            "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response,
        }  # fmt: skip
        body = json.dumps(review).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing of each call."""
