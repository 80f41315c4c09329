"""Just enough of a client to see whether a local cluster is there."""

import json
import ssl
import urllib.error
import urllib.request

from e2e.cluster.layout import Layout
from e2e.cluster.versions import NODE_NAME


class Api:
    """Asks as the administrator."""

    def __init__(self, cluster: Layout) -> None:
        self._server = cluster.server
        pki = cluster.pki
        self._trust = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        self._trust.load_cert_chain(str(pki / "admin.crt"), str(pki / "admin.key"))

    def ready(self) -> bool:
        """Whether the API server says that it is."""
        return self._get("/readyz") is not None

    def node_ready(self) -> bool:
        """Whether the node is, and may be given pods."""
        text = self._get(f"/api/v1/nodes/{NODE_NAME}")
        if text is None:
            return False
        node = json.loads(text)
        conditions = {each["type"]: each["status"] for each in node["status"]["conditions"]}
        return conditions.get("Ready") == "True" and not node["spec"].get("taints")

    def _get(self, path: str) -> bytes | None:
        try:
            with urllib.request.urlopen(
                self._server + path, context=self._trust, timeout=5
            ) as answer:
                return bytes(answer.read())
        except (OSError, urllib.error.URLError):
            return None
