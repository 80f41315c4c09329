"""What a function returns that has found something wrong, where a program asks what.

A check returns None where all is well, and what is wrong otherwise:

1. A `Problem` where a program tells one reason from another, or the reason is said to users as a
   word of its own.
2. A sentence alone (`str | None`) where it is only shown: all of its reasons are one to programs.

So `''` is never an answer, and no sentence is taken apart to find out what it says.
"""

import enum
from dataclasses import dataclass
from typing import Generic, TypeVar

R_co = TypeVar("R_co", bound=enum.StrEnum, covariant=True)


# Without slots: Python 3.11 cannot call an alias (`IntegrityAlert`) of a generic class with them.
@dataclass(frozen=True)
class Problem(Generic[R_co]):
    """Why something is not as it must be."""

    reason: R_co
    """For programs."""
    message: str
    """For people."""
