"""Which namespaces are served, and which of them can be seen now.

1. Enrolled is what the settings list, while the namespace is there. That it is gone is believed of
   a whole list of namespaces, and of nothing else.
2. A refusal (403) stops issuing there at once, and takes nothing back: an API server that has just
   started refuses whatever its caches do not know yet. Where every answer has been one for
   `patience` seconds, the rights are gone, and what is held there is taken back.
3. What was never listed is unknown: no pod is missing, and no ServiceAccount is gone.
"""

from collections.abc import Mapping
from typing import Any

from taskpass.core.lifecycle.snapshot import Sight
from taskpass.kube.cache.reflector import Reflector

Watches = Mapping[str, Reflector[Any]]


class Enrolment:
    """Decides on what the reflectors know; holds nothing itself."""

    def __init__(
        self, namespaces: Reflector[Any], pods: Watches, accounts: Watches, patience: float
    ) -> None:
        """`pods` and `accounts` are those of each namespace that the settings list."""
        self._namespaces = namespaces
        self._pods = pods
        self._accounts = accounts
        self._patience = patience

    def enrolled(self, namespace: str) -> bool:
        """Tell whether the operator serves the namespace."""
        if namespace not in self._pods:
            return False
        if self._namespaces.synced.is_set() and not self._namespaces.has(("", namespace)):
            return False
        return all(each.refused_seconds < self._patience for each in self._of(namespace))

    def sight(self, namespace: str) -> Sight:
        """Return what can be seen of an enrolled namespace now."""
        if namespace not in self._pods:
            return Sight(pods=False, accounts=False)
        pods, accounts = self._of(namespace)
        where = f"Nothing is issued in namespace '{namespace}'"
        blocked: str | None = None
        for what, each in (("pods", pods), ("ServiceAccounts", accounts)):
            if each.refused or each.refused_seconds >= self._patience:
                blocked = blocked or f"{where} while its {what} may not be read: {each.last_error}"
            elif not each.synced.is_set():
                blocked = blocked or f"{where} before its {what} are listed"
            elif each.unreadable:
                key, why = next(iter(each.unreadable.items()))
                blocked = blocked or (
                    f"{where} while one of its {what}, '{key[1]}', cannot be read: {why}"
                )
        return Sight(
            pods=pods.synced.is_set() and not pods.unreadable,
            accounts=accounts.synced.is_set() and not accounts.unreadable,
            issuance_blocked_reason=blocked,
        )

    def _of(self, namespace: str) -> tuple[Reflector[Any], Reflector[Any]]:
        return self._pods[namespace], self._accounts[namespace]
