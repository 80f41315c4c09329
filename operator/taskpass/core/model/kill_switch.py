"""A KillSwitch: what it matches is taken back at once, and stays so until it is deleted.

Converted from the API's objects by `kube/cache/convert.py`; a test compares these fields with the
schemas in `crds/` in both directions.
"""

import enum
from dataclasses import dataclass, field

from taskpass.core.model.grant import Grant
from taskpass.core.model.task import Task, User
from taskpass.core.model.text import quoted


class Target(enum.StrEnum):
    """What is stopped."""

    TASK = "Task"
    AGENT = "Agent"
    """Every task of a ServiceAccount."""
    CLASS = "Class"
    """Every credential of a CredentialClass; other credentials of its tasks stay."""
    NAMESPACE = "Namespace"
    ALL = "All"


@dataclass(frozen=True, slots=True, kw_only=True)
class KillSwitch:
    """One KillSwitch as the API server holds it."""

    name: str
    uid: str
    generation: int
    target: Target
    namespace: str = ""
    of: str = ""
    """The name of the task, the ServiceAccount or the class."""
    reason: str = ""
    requester: User = field(default_factory=User)

    def stops(self, task: Task) -> bool:
        """Tell whether the task is to hold nothing at all."""
        return self._matches(task.namespace, task.name, task.service_account)

    def blocks(self, class_name: str) -> bool:
        """Tell whether no credential of the class is to be held."""
        return self.target is Target.CLASS and self.of == class_name

    def takes(self, grant: Grant) -> bool:
        """Tell whether it takes the grant back."""
        task = grant.task
        whole = self._matches(task.namespace, task.name, grant.service_account)
        return whole or self.blocks(grant.class_name)

    @property
    def message(self) -> str:
        """Say in a sentence that it holds something back, and how that ends."""
        return (
            f"KillSwitch '{self.name}' holds it back ({quoted(self.reason)}); whoever may delete "
            "the KillSwitch lifts it"
        )

    def _matches(self, namespace: str, name: str, account: str) -> bool:
        match self.target:
            case Target.TASK:
                return (namespace, name) == (self.namespace, self.of)
            case Target.AGENT:
                return (namespace, account) == (self.namespace, self.of)
            case Target.NAMESPACE:
                return namespace == self.namespace
            case Target.ALL:
                return True
            case Target.CLASS:
                return False
