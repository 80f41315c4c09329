"""What the provider promises of its tokens."""

from taskpass.core.model.capabilities import Capabilities, Revocation
from taskpass.core.model.task import CredentialClass

MINIMUM_SECONDS = 600
"""The API server issues no shorter token (`TokenRequestSpec.expirationSeconds`)."""
FIELDS = frozenset({"token", "kubeconfig", "ca.crt", "server", "namespace"})


def capabilities_of(credential_class: CredentialClass) -> Capabilities:
    """Return them: the bindings that a token acts by are gone before its revocation is confirmed.

    A watch, and what a role lets somebody open in a pod, goes on until it closes; only a class that
    allows streams gives roles that can.
    """
    return Capabilities(
        revocation=Revocation.IMMEDIATE, minimum_seconds=MINIMUM_SECONDS, listable=True,
        ends_sessions=credential_class.config.get("streams") != "Allowed", fields=FIELDS,
    )  # fmt: skip
