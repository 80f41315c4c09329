"""Give up everything: what `helm uninstall` asks for before it removes the operator."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from taskpass.core.model.grant import Grant
from taskpass.core.model.key import Key
from taskpass.core.model.task import CredentialClass
from taskpass.flows.context import Ports


@dataclass(frozen=True, slots=True, kw_only=True)
class Uninstall:
    """Every task is released, everything held is revoked, and nothing is issued any more."""

    ports: Ports
    task_keys: Callable[[], Iterable[Key]]
    classes: Callable[[], Iterable[CredentialClass]]
    enqueue: Callable[[Key], None]

    def begin(self) -> None:
        """Have every task looked at, in the mode that gives up; it lets classes go as well."""
        self.ports.modes.uninstalling = True
        for key in {*self.task_keys(), *(g.task.key for g in self.ports.ledger.held())}:
            self.enqueue(key)

    def end(self) -> None:
        """Serve every task again: what it asks for is decided anew. Finalizers stay off."""
        self.ports.modes.uninstalling = False
        for key in self.task_keys():
            self.enqueue(key)

    def left(self) -> tuple[list[Key], list[str], list[Grant]]:
        """Return the tasks and the classes that still have our finalizer, and what is held."""
        tasks = (self.ports.world.task(key) for key in self.task_keys())
        return (
            [t.key for t in tasks if t and t.has_finalizer],
            [c.name for c in self.classes() if c.has_finalizer],
            list(self.ports.ledger.held()),
        )
