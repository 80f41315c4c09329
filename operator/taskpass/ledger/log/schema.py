"""The ledger's tables, and how its file is opened.

`head` says what the log is; `entry` holds the entries of the last, unfinished bundle, and `bundle`
all before; `tile` holds the finished tiles of hashes; `idx` finds entries. `grant_state`,
`task_record`, `pod_binding` and `trail` are the state that the entries tell of, written in the same
transactions. `grant_state` has what is held; what is over is in the log alone. Bindings of pods
stay until pod and task are gone. `meter` has how much of the ledger each account has used.
`person` has the names that entries refer to, and that can be erased.
"""

import contextlib
import functools
import os
import sqlite3
from pathlib import Path

VERSION = 3
LIFTED = "lifted INTEGER NOT NULL DEFAULT 1"
"""Whether a pod's gate was lifted. Files of before have no such column: what was bound then, and
what a version of before binds, counts as lifted."""
PLACE = ("namespace TEXT NOT NULL DEFAULT ''", "name TEXT NOT NULL DEFAULT ''")
"""Where a bound pod was, to ask for it; files of before have no such columns."""
_ADDED = ", ".join((LIFTED, *PLACE))
METER = (
    "CREATE TABLE meter (account TEXT PRIMARY KEY, used INTEGER NOT NULL,"
    " at TEXT NOT NULL) STRICT, WITHOUT ROWID"
)
"""Files of before have none."""
TABLES = (
    "CREATE TABLE head (k INTEGER PRIMARY KEY CHECK (k = 1), size INTEGER NOT NULL,"
    " root BLOB NOT NULL, frontier BLOB NOT NULL, note TEXT NOT NULL,"
    " min_index INTEGER NOT NULL, epoch INTEGER NOT NULL) STRICT",
    "CREATE TABLE entry (seq INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT",
    "CREATE TABLE bundle (n INTEGER PRIMARY KEY, z BLOB NOT NULL) STRICT",
    "CREATE TABLE tile (l INTEGER NOT NULL, n INTEGER NOT NULL, b BLOB NOT NULL,"
    " PRIMARY KEY (l, n)) STRICT, WITHOUT ROWID",
    "CREATE TABLE idx (seq INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, type TEXT NOT NULL,"
    " time TEXT NOT NULL, subject TEXT, task TEXT, cred TEXT) STRICT",
    "CREATE INDEX idx_subject ON idx (subject) WHERE subject IS NOT NULL",
    "CREATE INDEX idx_cred ON idx (cred) WHERE cred IS NOT NULL",
    "CREATE TABLE grant_state (id TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT",
    "CREATE TABLE task_record (uid TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT",
    f"CREATE TABLE pod_binding (pod_uid TEXT PRIMARY KEY, task_uid TEXT NOT NULL, {_ADDED}) STRICT,"
    " WITHOUT ROWID",
    "CREATE TABLE trail (task_uid TEXT NOT NULL, seq INTEGER NOT NULL, time TEXT NOT NULL,"
    " reason TEXT NOT NULL, message TEXT NOT NULL, severity TEXT NOT NULL,"
    " on_pod INTEGER NOT NULL, audit_index INTEGER NOT NULL,"
    " PRIMARY KEY (task_uid, seq)) STRICT, WITHOUT ROWID",
    "CREATE TABLE person (ref TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, salt BLOB NOT NULL)"
    " STRICT, WITHOUT ROWID",
    "CREATE TABLE ckpt (size INTEGER NOT NULL, note TEXT NOT NULL, kept TEXT NOT NULL,"
    " PRIMARY KEY (size, kept)) STRICT",
    METER,
    f"PRAGMA user_version = {VERSION}",
)


def connect(path: Path) -> sqlite3.Connection:
    """Open the file for writing, and make it if it is not there.

    Transactions are explicit, and so is what folds the write-ahead log in
    (`ledger/store/write_ahead.py`).
    """
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5)
    try:
        for pragma in (
            "synchronous = FULL", "foreign_keys = ON", "trusted_schema = OFF",
            "wal_autocheckpoint = 0",
        ):  # fmt: skip
            db.execute(f"PRAGMA {pragma}")
        mode = db.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode != "wal":
            raise sqlite3.OperationalError(f"the journal mode is {mode}, not wal")
    except BaseException:
        db.close()
        raise
    return db


def complete(db: sqlite3.Connection) -> None:
    """Add what a file of an earlier version lacks; one that is whole stays as it is."""
    columns = {row[1] for row in db.execute("PRAGMA table_info(pod_binding)")}
    for column in (LIFTED, *PLACE):
        if column.split()[0] not in columns:
            db.execute(f"ALTER TABLE pod_binding ADD COLUMN {column}")
    if not db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'meter'").fetchone():
        db.execute(METER)


def connect_reader(uri: str) -> sqlite3.Connection:
    """Open a file that is there for reading only."""
    db = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=5)
    db.execute("PRAGMA trusted_schema = OFF")
    return db


def version(db: sqlite3.Connection) -> int:
    """Return the version of the tables; 0 where there are none."""
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def damage(db: sqlite3.Connection, *, quick: bool = False) -> str | None:
    """Return what SQLite finds wrong with the file's structure, in one line; None if nothing.

    Every index is compared with its table as well, unless it is to be `quick`: a row that is hidden
    in one is found.
    """
    check = "quick_check" if quick else "integrity_check"
    found = str(db.execute(f"PRAGMA {check}(1)").fetchone()[0])
    return None if found == "ok" else found.splitlines()[0]


def foreign(db: sqlite3.Connection) -> str | None:
    """Return which object in the file is not of our making, or lacks, in a few words; None if none.

    A trigger, or a view in the place of a table, would have every reader see another thing, and the
    writer write one. A file that no operator of this version has opened yet is whole as it is.
    """
    found = _objects(db)
    if found in _before():
        return None
    if strange := sorted(found - _ours()):
        kind, name, _, _ = strange[0]
        return f"the {kind} '{name}' is not one that taskpass makes"
    lacking = sorted(_ours() - found)
    return f"the {lacking[0][0]} '{lacking[0][1]}' is missing, or another" if lacking else None


def strange_value(db: sqlite3.Connection) -> str | None:
    """Return the `table.column` that has a value of another kind than is written; None if none.

    The tables are STRICT, but whoever takes that word away for a moment can put anything in.
    """
    for table, columns in _kinds().items():
        there = {row[1] for row in db.execute(f"PRAGMA table_info({table})")}
        for column, kinds in columns.items():
            marks = ", ".join("?" * len(kinds))
            sql = f"SELECT 1 FROM {table} WHERE typeof({column}) NOT IN ({marks}) LIMIT 1"  # noqa: S608 (ours)
            if column in there and db.execute(sql, kinds).fetchone():
                return f"{table}.{column}"
    return None


@functools.cache
def _kinds() -> dict[str, dict[str, tuple[str, ...]]]:
    """Return which kinds of values each column of each table may have."""
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    with contextlib.closing(sqlite3.connect(":memory:")) as db:
        for statement in TABLES:
            db.execute(statement)
        for (table,) in db.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table'"
        ).fetchall():
            for _, column, kind, not_null, _, key in db.execute(f"PRAGMA table_info({table})"):
                nullable = () if not_null or key else ("null",)
                found.setdefault(table, {})[column] = (str(kind).lower(), *nullable)
    return found


def _objects(db: sqlite3.Connection) -> frozenset[tuple[str, str, str, str]]:
    rows = db.execute("SELECT type, name, tbl_name, coalesce(sql, '') FROM sqlite_schema")
    return frozenset((str(a), str(b), str(c), str(d)) for a, b, c, d in rows)


@functools.cache
def _ours() -> frozenset[tuple[str, str, str, str]]:
    return _made(TABLES)


@functools.cache
def _before() -> tuple[frozenset[tuple[str, str, str, str]], ...]:
    """Return the tables of each earlier state of this version: without what `complete` adds."""
    place = "".join(f", {each}" for each in PLACE)
    no_place = tuple(each.replace(place, "") for each in TABLES)
    no_meter = tuple(each for each in no_place if each != METER)
    no_gates = tuple(each.replace(f", {LIFTED}", "") for each in no_meter)
    return tuple(_made(each) for each in (no_place, no_meter, no_gates))


def _made(statements: tuple[str, ...]) -> frozenset[tuple[str, str, str, str]]:
    with contextlib.closing(sqlite3.connect(":memory:")) as db:
        for statement in statements:
            db.execute(statement)
        return _objects(db)
