"""How the log speaks of people, so that it can forget them and still verify.

An entry has, for each person, a reference that was drawn at random, and a commitment to what is
known of them: SHA-256(salt || canonical JSON of {"name": …}). Name and salt lie beside the log. To
erase somebody is to delete that row: what is left in the log confirms no guess, since the salt is
gone with it. Whoever is shown name and salt can check that the log always meant this one.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from taskpass.core.audit.canonical import canonical

SALT_BYTES = 32
SYSTEM = "system:"
"""Users of the cluster's own (ServiceAccounts, components) are no people; their names are written
as they are."""


@dataclass(frozen=True, slots=True)
class Person:
    """What lies beside the log of somebody."""

    ref: str
    """`p-` and 16 hex digits, drawn at random."""
    name: str
    salt: bytes

    def fields(self) -> Mapping[str, str]:
        """Return what an entry has of them."""
        return {"ref": self.ref, "c": commitment(self.name, self.salt)}


def commitment(name: str, salt: bytes) -> str:
    """Return what the log keeps of a name, in hex."""
    return hashlib.sha256(salt + canonical({"name": name})).hexdigest()


def is_person(name: str) -> bool:
    """Tell whether a user's name may be that of a person."""
    return not name.startswith(SYSTEM)
