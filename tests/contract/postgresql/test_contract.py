"""The provider PostgreSQL keeps what every provider promises, on a real server."""

from tests.contract.provider_suite import ProviderSuite


class TestPostgresProvider(ProviderSuite):
    """With the operator's rights, and none of the superuser's."""
