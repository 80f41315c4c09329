"""Mutants that no row can notice, each with the reason, so that a person can check it.

A reason is for all mutants of a policy whose change begins as it says. It is told where one of them
is noticed by a row after all, or where there is no such mutant any more.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from e2e.mutations.mutants import Mutant


@dataclass(frozen=True)
class Reason:
    """Why some mutants of a policy make no difference to anybody."""

    policy: str
    changes: tuple[str, ...]
    """What their changes begin with."""
    why: str

    def covers(self, mutant: Mutant) -> bool:
        """Tell whether it is said of this mutant."""
        return mutant.policy == self.policy and mutant.change.startswith(self.changes)


REASONS: tuple[Reason, ...] = ()


def explained(mutant: Mutant, reasons: Sequence[Reason] = REASONS) -> bool:
    """Tell whether there is a reason for a mutant to survive."""
    return any(reason.covers(mutant) for reason in reasons)


def stale(fates: Mapping[Mutant, str], reasons: Sequence[Reason] = REASONS) -> list[str]:
    """Return which reasons do not hold, of policies of which all mutants were tried."""
    tried = {mutant.policy for mutant in fates}
    untried = {mutant.policy for mutant, fate in fates.items() if fate == "not tried"}
    found = []
    for reason in reasons:
        if reason.policy not in tried - untried:
            continue
        for change in reason.changes:
            its = {
                fate
                for mutant, fate in fates.items()
                if mutant.policy == reason.policy and mutant.change.startswith(change)
            }
            if its != {"survived"}:
                what = " and ".join(sorted(its)) or "not there"
                found.append(f"{reason.policy}: {change}: {what}")
    return found
