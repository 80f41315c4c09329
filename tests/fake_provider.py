"""A provider in memory that keeps the port's promises, and fails when it is told to.

For tests of the flows, and the measure of the contract suite itself. What it issues begins with
`CANARY`: whatever else a test looks through, that word must not be in it.
"""

import asyncio
import enum
import itertools
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from taskpass.core.errors import ProviderRefused, ProviderUnavailable
from taskpass.core.model.capabilities import Capabilities, Revocation
from taskpass.core.model.grant import Grant, Issued, SecretValue
from taskpass.core.model.task import CredentialClass, CredentialRequest
from taskpass.ports.clock import Clock

CANARY = "taskpass-canary-"


class Failure(enum.Enum):
    """How one call goes wrong."""

    UNAVAILABLE = "no answer, and nothing was done"
    ANSWER_LOST = "no answer, and it was done"
    REFUSED = "the issuer says no"
    HANG = "no answer until `release` is set; then it is done"


class FakeProvider:
    """`ports.CredentialProvider` in memory. Resources of a request must each begin with `fake/`."""

    def __init__(self, clock: Clock, *, minimum_seconds: int = 60) -> None:
        self.clock = clock
        """The issuer's own."""
        self.issue_failures: list[Failure] = []
        """Consumed from the front, one for each call."""
        self.revoke_failures: list[Failure] = []
        self.release = asyncio.Event()
        self.obstructed: dict[str, Sequence[str]] = {}
        """What keeps a class from being issued now, by its name."""
        self.unavailable = False
        """Whether that cannot be found out."""
        self.reaches: dict[str, str] = {}
        """What credentials lead to, by class; a test widens it here."""
        self.live: dict[str, bytes] = {}
        """What works now: the secret by grant id."""
        self.calls: list[tuple[str, str]] = []
        """(`issue`, `revoke` or `undo`; grant id), in order."""
        self.more: dict[str, bytes] = {}
        """What somebody else made under a grant's name: another secret, by grant id."""
        self._minimum = minimum_seconds
        self._count = itertools.count(1)

    def works(self, secret: bytes) -> bool:
        """Tell whether a secret opens anything now."""
        return secret in (*self.live.values(), *self.more.values())

    def capabilities(self, credential_class: CredentialClass) -> Capabilities:
        """Return what it promises: the same of every class."""
        return Capabilities(
            revocation=Revocation.IMMEDIATE, minimum_seconds=self._minimum, listable=True,
            ends_sessions=True, fields=frozenset({"token", "server"}),
        )  # fmt: skip

    def problem(self, credential_class: CredentialClass) -> None:
        """Return nothing: every class can be issued."""

    async def obstacles(self, credential_class: CredentialClass) -> Sequence[str]:
        """Return what a test says, by class."""
        if self.unavailable:
            raise ProviderUnavailable("The fake provider did not answer; it is tried again")
        return self.obstructed.get(credential_class.name, ())

    def prepare(
        self, request: CredentialRequest, credential_class: CredentialClass, grant_id: str
    ) -> Mapping[str, Any]:
        """Return the state to record before the first call."""
        for resource in request.resources:
            if not resource.startswith("fake/"):
                raise ProviderRefused(f"resources must each begin with 'fake/': '{resource}'")
        return {"name": grant_id, "actions": list(request.actions), "uid": ""}

    async def permissions_digest(self, credential_class: CredentialClass) -> str:
        """Return what a test says."""
        return self.reaches.get(credential_class.name, "sha256:fake")

    async def describe(self, credential_class: CredentialClass, actions: Sequence[str]) -> str:
        """Return the actions, and what a test made of them."""
        reach = self.reaches.get(credential_class.name, "")
        return f"{', '.join(actions)} at fake.example{reach and f' ({reach})'}"

    async def issue(self, grant: Grant, audience: str) -> Issued:
        """Issue a canary. A second issue of one grant replaces the first."""
        self.calls.append(("issue", grant.id))
        failure = self.issue_failures.pop(0) if self.issue_failures else None
        await self._before(failure)
        number = next(self._count)
        secret = f"{CANARY}{grant.id}-{number}".encode()
        self.live[grant.id] = secret
        self._after(failure)
        return Issued(
            provider_state={**grant.provider_state, "uid": str(number)},
            expires_at=self.clock.now() + timedelta(seconds=grant.lifetime_seconds),
            credential_ref=f"fake-{number}",
            fields={"token": SecretValue(secret), "server": SecretValue(b"https://fake.example")},
            primary="token",
            gives=f"{', '.join(grant.actions)} at fake.example",
        )

    async def revoke(self, grant: Grant) -> None:
        """End what the grant may have made."""
        self.calls.append(("revoke", grant.id))
        failure = self.revoke_failures.pop(0) if self.revoke_failures else None
        if failure is Failure.REFUSED:
            failure = Failure.UNAVAILABLE  # a revocation is never refused for good
        await self._before(failure)
        self.live.pop(grant.id, None)
        if grant.provider_state.get("name") != grant.id:
            raise ProviderUnavailable("What is recorded of the grant names what is not its own")
        self._after(failure)

    async def inventory(self) -> Mapping[str, Mapping[str, Any]]:
        """Return what works by grant id."""
        return {
            grant_id: {"name": grant_id, "actions": [], "uid": "", "more": grant_id in self.more}
            for grant_id in self.live
        }

    def is_gone(self, grant: Grant, found: Mapping[str, Any] | None) -> bool:
        """Tell whether the grant's credential works no more."""
        return found is None

    def surplus(self, grant: Grant, found: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Return what says which of `more` to remove."""
        return {"name": "", "more": True} if found["more"] else None

    async def undo(self, grant_id: str, state: Mapping[str, Any]) -> None:
        """Remove what `inventory` found."""
        self.calls.append(("undo", grant_id))
        self.live.pop(state["name"], None)
        if state["more"]:
            self.more.pop(grant_id, None)

    async def _before(self, failure: Failure | None) -> None:
        if failure is Failure.HANG:
            await self.release.wait()
        elif failure is Failure.UNAVAILABLE:
            raise ProviderUnavailable("The fake provider did not answer; it is tried again")
        elif failure is Failure.REFUSED:
            raise ProviderRefused("The fake provider said no; ask for something else")

    def _after(self, failure: Failure | None) -> None:
        if failure is Failure.ANSWER_LOST:
            raise ProviderUnavailable("The fake provider's answer was lost; it is tried again")
