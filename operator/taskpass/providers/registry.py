"""Which providers there are: the one list of what `spec.provider` of a class can be."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from taskpass.core.model.capabilities import Capabilities
from taskpass.core.model.task import CredentialClass
from taskpass.providers.kubernetes.capabilities import capabilities_of as of_kubernetes
from taskpass.providers.postgresql.capabilities import capabilities_of as of_postgresql

CAPABILITIES: Mapping[str, Callable[[CredentialClass], Capabilities]] = MappingProxyType(
    {"Kubernetes": of_kubernetes, "PostgreSQL": of_postgresql}
)


ISSUERS: Mapping[str, Callable[[CredentialClass], str]] = MappingProxyType(
    {"PostgreSQL": lambda each: str(each.config.get("server", ""))}
)
"""Of those providers that have more than one: which of them a class is of."""


def issuer_of(credential_class: CredentialClass) -> str:
    """Name what issues a class's credentials: its provider, and which of that one's servers."""
    provider = credential_class.provider
    of_class = ISSUERS.get(provider)
    return provider if of_class is None else f"{provider}/{of_class(credential_class)}"


def capabilities_of(credential_class: CredentialClass | None) -> Capabilities | None:
    """Return what the provider of a class promises; None where there is no such class or provider.

    Pure, and without the provider's settings or client library: for commands that read files.
    """
    if credential_class is None or credential_class.provider not in CAPABILITIES:
        return None
    return CAPABILITIES[credential_class.provider](credential_class)
