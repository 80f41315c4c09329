"""Who makes credentials, and where they are delivered."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from taskpass.core.model.capabilities import Capabilities
from taskpass.core.model.grant import Grant, Issued, SecretValue
from taskpass.core.model.task import CredentialClass, CredentialRequest, Task


class CredentialProvider(Protocol):
    """One issuer of credentials."""

    def prepare(
        self, request: CredentialRequest, credential_class: CredentialClass, grant_id: str
    ) -> Mapping[str, Any]:
        """Return the state to record before the first call: names of all that will be made.

        Pure. Equal inputs give equal state, whatever the grant id, except for names.

        Raises:
            ProviderRefused: The class cannot give what is asked; says which field and why.

        """

    def capabilities(self, credential_class: CredentialClass) -> Capabilities:
        """Return what it promises of what it issues of the class.

        Pure, and for every class whose `spec.provider` it is, one that has a problem as well.
        """

    def problem(self, credential_class: CredentialClass) -> str | None:
        """Return what keeps the class from ever being issued, in a sentence; None for nothing.

        To programs all of it is one reason of the class's condition: `ProviderRefused`.

        Pure: what only the issuer can tell shows when it is asked.
        """

    async def obstacles(self, credential_class: CredentialClass) -> Sequence[str]:
        """Return what keeps the class from being issued now, each in a sentence; makes nothing.

        Raises:
            ProviderUnavailable: It could not be found out, so it cannot be issued now either.

        """

    async def permissions_digest(self, credential_class: CredentialClass) -> str:
        """Return a digest of what credentials of the class lead to now, beyond what it says itself.

        People approve what they were shown; where a role widens, they are asked again.

        Raises:
            ProviderUnavailable: It could not be found out.
            ProviderRefused: The class can never be issued.

        """

    async def describe(self, credential_class: CredentialClass, actions: Sequence[str]) -> str:
        """Return what the actions give now, in the provider's own words, for people.

        Asked after `permissions_digest`: what widens in between changes the digest of the next
        look, and people are asked again.

        Raises:
            ProviderUnavailable, ProviderRefused: As `permissions_digest`.

        """

    async def issue(self, grant: Grant, audience: str) -> Issued:
        """Issue what `grant.provider_state` says, no wider and no longer. Usable on return.

        Raises:
            ProviderUnavailable: It may or may not exist; the caller revokes, then tries anew.
            ProviderRefused: The issuer said no; the caller revokes and reports.

        """

    async def revoke(self, grant: Grant) -> None:
        """End what the grant may have made, from recorded state alone; return once proven gone.

        Whatever is gone already is success. A grant in state Intent may have made nothing. A record
        that is not what was made for the grant was edited: what bears the grant's id is ended, what
        is another's is not, and nothing counts as gone.

        Raises:
            ProviderUnavailable: The caller retries, with back-off, for ever.
            DeclaredGone: The settings say that what issued it will never come back.

        """

    async def inventory(self) -> Mapping[str, Mapping[str, Any]]:
        """Return what exists at the provider by grant id, each with state that `undo` takes."""

    def is_gone(self, grant: Grant, found: Mapping[str, Any] | None) -> bool:
        """Tell whether the grant's credential works no more, by what `inventory` found of it.

        Pure. None: it found nothing of that grant.
        """

    def surplus(self, grant: Grant, found: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Return what `inventory` found under the grant's name and it does not answer for.

        Pure. As state that `undo` takes; None where there is none.
        """

    async def undo(self, grant_id: str, state: Mapping[str, Any]) -> None:
        """Remove what `inventory` found and no live grant answers for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What is put in front of a task's pod: the whole content of its Secret."""

    task: Task
    fields: Mapping[str, SecretValue]
    """Keys of the Secret (`<credential>.<field>`, or as `outputs` say) and their values."""
    index: Mapping[str, Any]
    """Content of `taskpass.json`: what is there and until when. No secret."""


class CredentialSink(Protocol):
    """Where credentials are put in front of a pod."""

    async def deliver(self, delivery: Delivery) -> str:
        """Replace the task's Secret whole; return its UID.

        Raises:
            SecretNameTaken: A Secret of that name exists and is not this task's.

        """

    async def withdraw(self, namespace: str, name: str, task_uid: str, secret_uid: str) -> None:
        """Delete the task's Secret. One that is gone, or is not ours, is success.

        An empty `secret_uid` means that the answer to its creation was lost: it is found out first.
        """
