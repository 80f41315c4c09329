"""What the provider promises of its roles."""

from taskpass.core.model.capabilities import Capabilities, Revocation
from taskpass.core.model.task import CredentialClass

MINIMUM_SECONDS = 60
"""PostgreSQL itself would take a second; less than a minute is no time to start a pod in."""
PUBLIC_FIELDS = frozenset({"username", "host", "port", "database", "sslrootcert"})
"""Those of a credential's fields that are no secrets."""
FIELDS = PUBLIC_FIELDS | {"password", "uri", "pg_service.conf"}
_OF_ALL = Capabilities(
    revocation=Revocation.IMMEDIATE, minimum_seconds=MINIMUM_SECONDS, listable=True,
    ends_sessions=True, fields=FIELDS,
)  # fmt: skip


def capabilities_of(credential_class: CredentialClass) -> Capabilities:
    """Return them, the same of every class: no session is left once a revocation is confirmed."""
    return _OF_ALL
