"""An entry as the row of a table, for spreadsheets: what people sort and filter by.

The last cell is the entry itself. No cell can become a formula there.
"""

from collections.abc import Mapping
from typing import Any

from taskpass.ledger.export.formats import fields

COLUMNS = (
    "index", "leaf_sha256", "time", "type", "stage", "outcome", "task", "task_uid", "agent",
    "credential", "name", "class", "provider", "actions", "resources", "reason", "id", "entry",
)  # fmt: skip
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a spreadsheet takes for the beginning of one (CWE-1236); the last four are those of a wide
font, which some take for the same. Blanks before it make no difference to some."""


def row(event: Mapping[str, Any], index: int, body: bytes) -> tuple[str, ...]:
    """Return the cells of an entry, in the order of `COLUMNS`."""
    cred, task = fields.part(event, "cred"), fields.part(event, "task")
    cells = (
        str(index), fields.leaf(body), event["time"], fields.kind(event),
        fields.text(event, "stage"),
        fields.text(event, "outcome"), event.get("subject", ""), task.get("uid", ""),
        task.get("agent", ""), cred.get("ref", ""),
        cred.get("name", "") or fields.text(event, "request"), cred.get("class", ""),
        cred.get("provider", ""), " ".join(map(str, cred.get("actions", ()))),
        " ".join(map(str, cred.get("resources", ()))),
        fields.text(event, "reason") or fields.part(event, "decision").get("reason_code", ""),
        event["id"], body.decode(),
    )  # fmt: skip
    return tuple(_harmless(str(cell)) for cell in cells)


def _harmless(cell: str) -> str:
    clean = cell.replace("\n", " ").replace("\r", " ").replace("\x00", " ")
    return f"'{clean}" if clean.startswith(FORMULA) or clean.lstrip().startswith(FORMULA) else clean
