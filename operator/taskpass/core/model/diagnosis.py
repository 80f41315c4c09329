"""What `taskpass doctor` says of one thing: how it is, and what to do where it is not well."""

import enum
from dataclasses import dataclass


class Level(enum.StrEnum):
    """How something is."""

    OK = "ok"
    WARNING = "warning"
    """It works, and a person should look."""
    FAILED = "failed"
    """Something that taskpass needs is not so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """One line for people."""

    level: Level
    about: str
    """One word or two: what was looked at."""
    what: str
    """What was found, in a sentence without a full stop."""
    remedy: str = ""
    """What to do; empty where all is well."""


def well(about: str, what: str) -> Diagnosis:
    """Say that something is as it should be."""
    return Diagnosis(level=Level.OK, about=about, what=what)


def doubtful(about: str, what: str, remedy: str) -> Diagnosis:
    """Say that a person should look at something."""
    return Diagnosis(level=Level.WARNING, about=about, what=what, remedy=remedy)


def failed(about: str, what: str, remedy: str) -> Diagnosis:
    """Say that something is not as it must be."""
    return Diagnosis(level=Level.FAILED, about=about, what=what, remedy=remedy)
