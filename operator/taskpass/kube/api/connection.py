"""Where the API server is, how its certificate is checked, and who we are to it."""

import os
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from taskpass.core.errors import UsageError

MOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
REREAD_SECONDS = 60.0
"""The kubelet replaces a projected token at 80 % of its life, an hour by default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """One API server and one identity."""

    server: str
    """`https://host:port`, without a slash at its end."""
    tls: ssl.SSLContext | None
    """None for an API server without TLS (tests)."""
    authorization: Callable[[], str] = lambda: ""
    """Returns the value of the header Authorization; '' where a certificate says who we are."""
    impersonate: tuple[tuple[str, str], ...] = ()
    """Headers `Impersonate-…`: the user that this one speaks as."""


class Kept:
    """A value of the header Authorization, from a reading that is at most 60 s old."""

    def __init__(
        self, read: Callable[[], str], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._read = read
        self._monotonic = monotonic
        self._value = ""
        self._read_at = float("-inf")

    def __call__(self) -> str:
        """Return the header's value."""
        now = self._monotonic()
        if now - self._read_at >= REREAD_SECONDS:
            self._value = self._read()
            self._read_at = now
        return self._value

    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"


class TokenFile(Kept):
    """`Bearer` and the token in a file that somebody else replaces now and then."""

    def __init__(self, path: Path, monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__(lambda: "Bearer " + path.read_text().strip(), monotonic)
        self._path = path

    def __repr__(self) -> str:
        return f"TokenFile({str(self._path)!r})"


def in_cluster(mount: Path = MOUNT) -> Connection:
    """Return the connection that every pod has."""
    host = os.environ["KUBERNETES_SERVICE_HOST"]
    port = os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    if ":" in host:
        host = f"[{host}]"
    return Connection(
        server=f"https://{host}:{port}",
        tls=ssl.create_default_context(cafile=str(mount / "ca.crt")),
        authorization=TokenFile(mount / "token"),
    )


def from_kubeconfig(path: str, context: str = "") -> Connection:
    """Return the connection that a kubeconfig describes; '' means its current context."""
    config = _loaded(path, context)
    tls = None
    if config.host.startswith("https://"):
        tls = ssl.create_default_context(cafile=config.ssl_ca_cert)
        if not config.verify_ssl:
            tls.check_hostname = False
            tls.verify_mode = ssl.CERT_NONE
        if config.cert_file:
            tls.load_cert_chain(config.cert_file, config.key_file)

    def authorization() -> str:
        # Refreshes tokens of exec plugins when they are about to expire, and takes 0.2 ms.
        return config.get_api_key_with_prefix("BearerToken") or ""

    return Connection(
        server=config.host.rstrip("/"), tls=tls, authorization=Kept(authorization),
        impersonate=_impersonated(path, context),
    )  # fmt: skip


def _impersonated(path: str, context: str) -> tuple[tuple[str, str], ...]:
    """Return the headers for `as`, `as-uid`, `as-groups` and `as-user-extra` of the user.

    The client library reads none of them: without this a word would be given in another's name.
    """
    from kubernetes.config.kube_config import KubeConfigMerger

    merged = KubeConfigMerger(path).config  # type: ignore[no-untyped-call]
    chosen = merged["contexts"].get_with_name(context or merged["current-context"])
    name = chosen["context"].value.get("user", "")
    user = merged["users"].get_with_name(name)["user"].value if name else {}
    headers = [("Impersonate-User", user["as"])] if user.get("as") else []
    if user.get("as-uid"):
        headers.append(("Impersonate-Uid", user["as-uid"]))
    headers += [("Impersonate-Group", group) for group in user.get("as-groups") or ()]
    for key, values in (user.get("as-user-extra") or {}).items():
        headers += [(f"Impersonate-Extra-{quote(key, safe='')}", value) for value in values]
    return tuple(headers)


def authority_of(path: str, context: str = "") -> str:
    """Return the PEM of the authority that a kubeconfig trusts; '' where it names none."""
    config = _loaded(path, context)
    return Path(config.ssl_ca_cert).read_text() if config.ssl_ca_cert else ""


def _loaded(path: str, context: str) -> Any:
    """Return the client configuration of a kubeconfig; `UsageError` where it cannot be used."""
    # It holds a model class for each kind of Kubernetes, so it costs memory that a pod never pays.
    import kubernetes
    import yaml

    config = kubernetes.client.Configuration()
    try:
        kubernetes.config.load_kube_config(  # type: ignore[no-untyped-call]
            path, context=context or None, client_configuration=config
        )
    except (
        kubernetes.config.ConfigException, yaml.YAMLError, OSError, TypeError, ValueError,
    ) as error:  # fmt: skip
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(f"The kubeconfig {path} cannot be used ({said})") from error
    return config
