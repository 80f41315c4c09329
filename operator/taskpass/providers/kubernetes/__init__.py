"""The provider Kubernetes: a ServiceAccount, RoleBindings and a token for each grant."""

from taskpass.providers.kubernetes.provider import KubernetesProvider

__all__ = ["KubernetesProvider"]
