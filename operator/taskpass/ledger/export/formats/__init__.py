"""Entries as lines for other programs, each of which holds the entry's own bytes.

A line can therefore be checked against the log: the bytes hash to the leaf at its index, and the
line is what this version makes of them (`ledger/verify/`).
"""

import csv
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from taskpass.ledger.export.formats import csv_table, ecs, ocsf


@dataclass(frozen=True, slots=True)
class LineFormat:
    """One way to write an entry as a line."""

    file: str
    """Name of the file within an export."""
    line: Callable[[bytes, int], str]
    """Returns the line of an entry and its index, without its end."""
    raw: Callable[[str], str]
    """Returns the entry's own text from a line; `ValueError` where it has none."""
    head: str = ""
    """The file's first line."""


def _json(mapping: Callable[[Mapping[str, Any], int, bytes], dict[str, Any]]) -> Callable[..., str]:
    def line(body: bytes, index: int) -> str:
        return orjson.dumps(mapping(orjson.loads(body), index, body)).decode()

    return line


def _inner(*path: str) -> Callable[[str], str]:
    def raw(line: str) -> str:
        value = orjson.loads(line)
        for name in path:
            value = value[name] if isinstance(value, dict) and name in value else None
        if not isinstance(value, str):
            raise ValueError("it does not hold the entry's own bytes")
        return value

    return raw


def _row(body: bytes, index: int) -> str:
    return _written(csv_table.row(orjson.loads(body), index, body))


def _cell(line: str) -> str:
    rows = list(csv.reader([line]))
    if len(rows) != 1 or len(rows[0]) != len(csv_table.COLUMNS):
        raise ValueError("it does not have the columns of the first line")
    return rows[0][-1]


def _written(cells: tuple[str, ...]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(cells)
    return text.getvalue()


FORMATS: Mapping[str, LineFormat] = {
    "jsonl": LineFormat("entries.jsonl", lambda body, _: body.decode(), str),
    "ocsf": LineFormat("entries.ocsf.jsonl", _json(ocsf.event), _inner("raw_data")),
    "ecs": LineFormat("entries.ecs.jsonl", _json(ecs.document), _inner("event", "original")),
    "csv": LineFormat("entries.csv", _row, _cell, _written(csv_table.COLUMNS)),
}
"""By the name that `taskpass audit export --format` takes."""
