"""Ask each provider whether it can issue each class now: a class is Ready only where it can.

Issuers are asked side by side, so that one that is away holds no other's classes up, and each about
one class after another: a check is a few reads, and nobody waits for it.
"""

import asyncio
import itertools
import logging
from collections.abc import Iterable, Sequence
from typing import Protocol

from taskpass.core.errors import MustEnd, ProviderUnavailable, TaskpassError
from taskpass.core.model.conditions import Finding, Reason, false, true
from taskpass.core.model.task import CredentialClass
from taskpass.flows.context import Ports

logger = logging.getLogger(__name__)
POLL_SECONDS = 0.5
CHECK_SECONDS = 60.0
"""How often a class that can be issued is asked about again."""
RETRY_SECONDS = 10.0
"""The same of one that cannot."""
PATIENCE_SECONDS = 15.0


class Classes(Protocol):
    """Where all classes are."""

    def all_classes(self) -> tuple[CredentialClass, ...]:
        """Return every class."""


class ClassChecks:
    """Writes into `ports.class_findings`, by UID, what was found of which generation."""

    def __init__(self, ports: Ports, classes: Classes) -> None:
        self._ports = ports
        self._classes = classes
        self._due: dict[str, tuple[int, float]] = {}
        """By UID: the generation that was asked about, and when it is to be again."""
        self._asking: dict[str, asyncio.Task[None]] = {}
        """By issuer: a provider, or one of its servers."""

    async def once(self) -> None:
        """Ask about every class that is new, was changed, or is due again."""
        classes, now = self._classes.all_classes(), self._ports.clock.monotonic()
        there = {each.uid for each in classes}
        for uid in self._due.keys() - there:
            del self._due[uid]
            self._ports.class_findings.pop(uid, None)
        due = [c for c in classes if not c.deleting and self._is_due(c, now)]
        issuer_of = self._ports.issuer_of
        due.sort(key=issuer_of)
        for issuer, some in itertools.groupby(due, issuer_of):
            if issuer not in self._asking:
                self._asking[issuer] = asyncio.create_task(self._ask_each(list(some)))
        try:
            await self._collect()
        except asyncio.CancelledError:
            for each in self._asking.values():
                each.cancel()
            raise

    async def _collect(self) -> None:
        """Wait for those that answer at once; the others are looked at the next time."""
        if not self._asking:
            return
        await asyncio.wait(self._asking.values(), timeout=POLL_SECONDS)
        for issuer, asking in tuple(self._asking.items()):
            if asking.done():
                del self._asking[issuer]
                asking.result()

    def _is_due(self, credential_class: CredentialClass, now: float) -> bool:
        generation, at = self._due.get(credential_class.uid, (0, now))
        return generation != credential_class.generation or at <= now

    async def _ask_each(self, classes: Iterable[CredentialClass]) -> None:
        for each in classes:
            finding = await self._finding(each)
            after = CHECK_SECONDS if finding.status == "True" else RETRY_SECONDS
            self._due[each.uid] = (each.generation, self._ports.clock.monotonic() + after)
            self._ports.class_findings[each.uid] = (each.generation, finding)

    async def _finding(self, credential_class: CredentialClass) -> Finding:
        name = credential_class.provider
        provider = self._ports.providers.get(name)
        if provider is None:
            return false(Reason.PROVIDER_REFUSED, f"Provider '{name}' is not configured")
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                obstacles = await provider.obstacles(credential_class)
        except MustEnd:
            raise
        except TimeoutError:
            said = f"{name} did not answer within {PATIENCE_SECONDS:.0f} s"
            return false(Reason.PROVIDER_UNAVAILABLE, said)
        except ProviderUnavailable as error:
            return false(Reason.PROVIDER_UNAVAILABLE, str(error))
        except TaskpassError as error:
            return false(Reason.PROVIDER_REFUSED, str(error))
        except Exception as error:
            # Of an unexpected class: its text may hold anything, so the class alone is told.
            logger.exception("Failed to check a class", extra={"class": credential_class.name})
            said = f"{name} could not be asked: {type(error).__name__}; the operator's log has more"
            return false(Reason.PROVIDER_UNAVAILABLE, said)
        return _finding_of(name, obstacles)


def _finding_of(provider: str, obstacles: Sequence[str]) -> Finding:
    if not obstacles:
        return true(Reason.READY, f"Provider {provider} can issue it")
    return false(Reason.PROVIDER_REFUSED, ". ".join(obstacles))
