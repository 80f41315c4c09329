"""The names that files of a log have. Every one has one form, so no two can become one file."""

import re

from taskpass.ledger.export.formats import FORMATS
from taskpass.tlog import tiles
from taskpass.tlog.merkle import TILE_WIDTH

_TILE = re.compile(
    r"tile/(?P<level>entries|[0-9]|[1-5][0-9]|6[0-3])/(?P<groups>(x[0-9]{3}/)*[0-9]{3})"
    r"(\.p/(?P<width>[1-9][0-9]{0,2}))?",
    re.ASCII,
)
_NUMBERED = re.compile(r"(handover|kept)/(0|[1-9][0-9]{0,14})", re.ASCII)
_FOLDER = re.compile(
    r"(handover|kept|tile(/(entries|[0-9]{1,2})(/x[0-9]{3})*(/[0-9]{3}\.p)?)?)/", re.ASCII
)
_ALONE = frozenset(
    {
        "checkpoint", "keys", "vkey", "range", "cosigned", "policy", "VERIFY.md", "SHA256SUMS",
        *(form.file for form in FORMATS.values()),
    }
)  # fmt: skip
MOST_GROUPS = 7
"""Of three digits: more than any log can have."""


def tile_of(name: str) -> tuple[str, int, int] | None:
    """Return level (or `entries`), number and width of a tile or bundle; None for another name."""
    found = _TILE.fullmatch(name)
    if found is None:
        return None
    groups = found["groups"].split("/")
    number = int("".join(group.removeprefix("x") for group in groups))
    width = int(found["width"] or TILE_WIDTH)
    if len(groups) > MOST_GROUPS or name != _canonical(found["level"], number, width):
        return None
    return found["level"], number, width


def is_of_export(name: str) -> bool:
    """Tell whether a file of an export, or a folder in it, can have that name."""
    return (
        name in _ALONE
        or _NUMBERED.fullmatch(name) is not None
        or _FOLDER.fullmatch(name) is not None
        or tile_of(name) is not None
    )


def _canonical(level: str, number: int, width: int) -> str:
    if level == "entries":
        return tiles.entries_path(number, width)
    return tiles.tile_path(int(level), number, width)
