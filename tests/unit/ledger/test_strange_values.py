"""A value of another kind than any that is written, in each column: said in a line, never a trace.

The tables are STRICT, but whoever can write the file can take that word away for a moment.
"""

import asyncio
import contextlib
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from taskpass.cli.audit import audit
from taskpass.core.errors import TaskpassError
from taskpass.ledger.log import schema
from tests.unit.ledger import objects, tampering


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("original") / "ledger.db"
    asyncio.run(tampering.write(path))
    return path


def columns() -> Iterator[tuple[str, str, str]]:
    with contextlib.closing(sqlite3.connect(":memory:")) as db:
        for statement in schema.TABLES:
            db.execute(statement)
        names = db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
        for (table,) in names:
            info = db.execute(f"PRAGMA table_info({table})").fetchall()
            keys = [column for _, column, *_, key in info if key]
            for _, column, kind, *_ in info:
                if (keys, kind) != ([column], "INTEGER"):  # a row's own number can be nothing else
                    yield table, column, kind


def put(path: Path, table: str, column: str, value: object) -> None:
    """Put a value into every row of a column, and leave the schema as it was."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA writable_schema = ON")
        (sql,) = db.execute("SELECT sql FROM sqlite_schema WHERE name = ?", (table,)).fetchone()
        loose = sql.replace(" STRICT, WITHOUT ROWID", " WITHOUT ROWID").replace(" STRICT", "")
        for kind in ("INTEGER NOT NULL", "TEXT NOT NULL", "BLOB NOT NULL", "TEXT"):
            loose = loose.replace(f"{column} {kind}", column, 1)
        db.execute("UPDATE sqlite_schema SET sql = ? WHERE name = ?", (loose, table))
        db.execute("PRAGMA writable_schema = RESET")
        db.execute(f"UPDATE OR IGNORE {table} SET {column} = ?", (value,))
        db.execute("PRAGMA writable_schema = ON")
        db.execute("UPDATE sqlite_schema SET sql = ? WHERE name = ?", (sql, table))
        db.execute("PRAGMA writable_schema = RESET")


@pytest.mark.parametrize(("table", "column", "kind"), [*columns()])
def test_a_value_of_another_kind_is_told_in_one_line(
    original: Path, tmp_path: Path, table: str, column: str, kind: str
) -> None:
    strange = {"INTEGER": b"\xff\xfe", "TEXT": b"\xff\xfe", "BLOB": "text"}[kind]
    path = Path(shutil.copy(original, tmp_path))
    put(path, table, column, strange)

    for command in (["verify"], ["who"], ["timeline", "ticket-4711"], ["stats"], ["search"]):
        done = CliRunner().invoke(audit, [*command, "--db", str(path)])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
        assert done.exit_code in (0, 1, 3), done.output
        if command == ["verify"]:
            assert done.exit_code == 1, done.output
    assert "\n" not in start(path)
    assert start(path)


def start(path: Path) -> str | None:
    """Return why an operator does not start on it, or does not issue; None where it does."""
    try:
        ledger = objects.opened(path, seed=tampering.NEXT_SEED)
    except TaskpassError as error:
        return str(error)
    try:
        return asyncio.run(ledger.compare()) or asyncio.run(ledger.examine())
    finally:
        ledger.close()
