"""Let a CredentialClass that is deleted go once nothing of it is held: revoked first, then gone."""

import logging
from collections.abc import Sequence
from typing import Protocol

from taskpass.core.errors import TaskpassError
from taskpass.core.lifecycle.next_step import DELETION_PATIENCE
from taskpass.core.model.conditions import Reason
from taskpass.core.model.notice import Severity
from taskpass.core.model.task import CredentialClass
from taskpass.flows.context import Ports

logger = logging.getLogger(__name__)
POLL_SECONDS = 0.25


class Classes(Protocol):
    """Where all classes are."""

    def all_classes(self) -> tuple[CredentialClass, ...]:
        """Return every class."""


class ClassDeletions:
    """Takes our finalizer off, as `lifecycle` does of tasks.

    Nothing depends on it (docs/adr/0009-the-finalizer-is-the-tenants.md): what was issued of a
    class that is gone is revoked all the same.
    """

    def __init__(self, ports: Ports, classes: Classes) -> None:
        self._ports = ports
        self._classes = classes
        self._since: dict[str, float] = {}
        """When each class that is deleted was first seen so, by UID, of the monotonic clock."""
        self._released: set[str] = set()

    async def release_unused(self) -> None:
        """Release every class that may go: four times a second, and no call where none is."""
        found = [c for c in self._classes.all_classes() if c.has_finalizer and self._ends(c)]
        # What was being issued when it was deleted is in the ledger by the next look.
        ready = [c for c in found if c.uid in self._since and c.uid not in self._released]
        now = self._ports.clock.monotonic()
        self._since = {c.uid: self._since.get(c.uid, now) for c in found}
        for each in ready:
            if not self._may_go(each, now):
                continue
            try:
                await self._ports.ready_conditions.release_class(each)
            except TaskpassError as error:
                logger.warning(
                    "Failed to release a class, will retry",
                    extra={"class": each.name, "error": str(error)},
                )
            else:
                self._released.add(each.uid)
                await self._tell(each)
        self._released &= self._since.keys()

    def _ends(self, credential_class: CredentialClass) -> bool:
        return credential_class.deleting or self._ports.modes.uninstalling

    def _may_go(self, credential_class: CredentialClass, now: float) -> bool:
        if self._ports.modes.uninstalling or not self._held(credential_class):
            return True
        return now - self._since[credential_class.uid] >= DELETION_PATIENCE.total_seconds()

    def _held(self, credential_class: CredentialClass) -> Sequence[str]:
        return [g.id for g in self._ports.ledger.held() if g.class_name == credential_class.name]

    async def _tell(self, credential_class: CredentialClass) -> None:
        """Say what of it is still to be taken back, where patience was over."""
        held = self._held(credential_class)
        if not held or not credential_class.deleting:
            return
        await self._ports.events.post(
            kind="CredentialClass", namespace="", name=credential_class.name,
            uid=credential_class.uid,
            unique=f"owed-{credential_class.uid}", reason=Reason.REVOCATION_PENDING,
            message=f"Deleted while {len(held)} of it are not confirmed to be revoked; that is "
            "tried again until it is: taskpass pending lists them",
            severity=Severity.WARNING, at=self._ports.now(),
        )  # fmt: skip
