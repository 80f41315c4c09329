"""Hold the mutants that survived against the list of those that are explained."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from hack.mutants.changes import Change

ENDS = {
    "killed": "killed",
    "survived": "survived",
    "no tests": "survived",
    "timeout": "timed out",
    "not checked": "not tried",
}
"""What mutmut says, and what is counted; whatever else it says is `odd`."""


def explained_in(text: str) -> dict[Change, str]:
    """Return the sentence for each change of the list; raise ValueError where one is missing.

    A block is of the file and the function, the lines that are removed and added, and the sentence.
    """
    found: dict[Change, str] = {}
    for block in text.split("\n\n"):
        lines = [line for line in block.splitlines() if line and not line.startswith("#")]
        if not lines:
            continue
        file, _, function = lines[0].partition(" ")
        change = Change(
            file=file,
            function=function,
            removed=tuple(line[2:] for line in lines if line.startswith("- ")),
            added=tuple(line[2:] for line in lines if line.startswith("+ ")),
        )
        said = " ".join(line.strip() for line in lines if line.startswith("  "))
        if not said or change in found:
            raise ValueError(f"{'twice' if said else 'not explained'}: {change}")
        found[change] = said
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a run has shown."""

    counts: Counter[str] = field(default_factory=Counter)
    unexplained: tuple[tuple[str, Change], ...] = ()
    """Mutants that survived, by mutmut's name, and are not on the list."""
    stale: tuple[Change, ...] = ()
    """Changes on the list that no mutant that survived has."""

    @property
    def passed(self) -> bool:
        """Whether every mutant was tried, and is killed or explained, and the list is of these."""
        left = self.counts["not tried"] + self.counts["odd"]
        return not (left or self.unexplained or self.stale) and bool(self.counts["mutants"])


def judge(
    fates: Mapping[str, str], survivors: Mapping[str, Change], explained: Collection[Change]
) -> Verdict:
    """Count what became of the mutants; `survivors` says what each has otherwise that survived."""
    counts = Counter(ENDS.get(fate, "odd") for fate in fates.values())
    known = {name for name, change in survivors.items() if change in explained}
    return Verdict(
        counts=counts + Counter(mutants=len(fates), explained=len(known)),
        unexplained=tuple((name, c) for name, c in survivors.items() if name not in known),
        # Of a run that had no time for all it is not known.
        stale=tuple(
            each for each in explained if each not in survivors.values() and not counts["not tried"]
        ),
    )
