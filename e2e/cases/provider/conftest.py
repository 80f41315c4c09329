"""The adapters on a real API server: the chart is installed, and no operator runs."""

from e2e.as_operator import api, client, kubeconfig

__all__ = ["api", "client", "kubeconfig"]
