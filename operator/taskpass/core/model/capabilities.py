"""What a provider promises of the credentials of a class, before anything is asked of it.

Shown in the class's status and by `taskpass policy explain`, and asked for by policies
(`class.revocation == 'Immediate'`). Nothing here claims more than a provider's contract tests show.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


class Revocation(enum.StrEnum):
    """How soon a credential that is revoked opens nothing any more."""

    IMMEDIATE = "Immediate"
    """Nothing that is begun once its revocation is on record is let in."""
    BOUNDED = "Bounded"
    """The same, after as many seconds as the provider says."""
    EXPIRY = "Expiry"
    """It works until its own end."""


class DeliveryMethod(enum.StrEnum):
    """How a task comes to use a credential."""

    SECRET = "Secret"  # noqa: S105 - a kind of object
    """Its fields are in the task's Secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """Of one class; pure, and the same for as long as the class and the settings are."""

    revocation: Revocation
    revocation_seconds: int = 0
    """The most that `Bounded` takes; 0 for the others."""
    minimum_seconds: int
    """The shortest lifetime that can be issued."""
    listable: bool
    """Whether the issuer tells what exists, so that what nobody remembers is found."""
    ends_sessions: bool
    """Whether what was begun with a credential ends with it: a connection, a stream, a watch."""
    fields: frozenset[str]
    """What a credential consists of, and `outputs` can name."""
    deliveries: frozenset[DeliveryMethod] = frozenset({DeliveryMethod.SECRET})

    def __str__(self) -> str:
        """Return it in words: `revoked at once, for 600 s or longer, sessions end with it`."""
        within = f"revoked within {self.revocation_seconds} s"
        ends = {
            Revocation.IMMEDIATE: "revoked at once",
            Revocation.BOUNDED: within,
            Revocation.EXPIRY: "not revoked before it expires",
        }[self.revocation]
        sessions = "end with it" if self.ends_sessions else "outlive it"
        return f"{ends}, for {self.minimum_seconds} s or longer, sessions {sessions}"


def shown(promised: Capabilities) -> Mapping[str, Any]:
    """Return `status.capabilities` of a class."""
    return {
        "revocation": promised.revocation.value,
        "revocationSeconds": promised.revocation_seconds,
        "minimumSeconds": promised.minimum_seconds,
        "listable": promised.listable,
        "endsSessions": promised.ends_sessions,
        "fields": sorted(promised.fields),
        "deliveries": sorted(each.value for each in promised.deliveries),
    }
