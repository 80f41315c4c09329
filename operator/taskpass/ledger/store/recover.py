"""Begin a log in a new file, or go on with the one that is there, under this process's key."""

import base64
import logging
import secrets
import sqlite3
from collections.abc import Callable
from datetime import datetime

from taskpass.core.audit import log_events as audit_log
from taskpass.core.errors import EntryRefused, LedgerError, LedgerUnwritable
from taskpass.core.model.entry import Entry
from taskpass.ledger.log import schema
from taskpass.ledger.log.key_history import declared_chain, signer_of
from taskpass.ledger.log.reader import LogReader
from taskpass.ledger.log.signing import Signer
from taskpass.ledger.log.writer import Log
from taskpass.ledger.state import tables as state
from taskpass.tlog.checkpoint import BadCheckpoint, PublicKey, parse_body, parse_note

logger = logging.getLogger(__name__)
MOST_OPENINGS = 2**31
"""More than any operator starts: an epoch beyond it was written by somebody else."""


def open_or_recover(
    db: sqlite3.Connection, *, signer: Signer, previous: Signer | None, reason: str, domain: str,
    cluster_id: str, instance: str, now: datetime, fail_point: Callable[[str], None],
) -> Log:  # fmt: skip
    """Return the log, durably this process's; see `Store.open`.

    Raises:
        LedgerError: It is of another cluster or key, or does not hold together.
        TamperEvidence, sqlite3.Error, OSError: It cannot be read, or not written.

    """
    _check_version(db)
    db.execute("BEGIN IMMEDIATE")
    entries: list[Entry] = []
    if schema.version(db) == 0:
        log, entries = _made(db, signer, domain, cluster_id, now)
    else:
        log = _resumed(db, signer, previous, cluster_id)
        if log.public_key != signer.public_key:
            _hand_over(db, log, signer, reason, now, fail_point)
            db.execute("BEGIN IMMEDIATE")
    root = base64.b64encode(log.root).decode()
    entries.append(audit_log.opened(log.origin, log.epoch, instance, log.size, root, now))
    try:
        admitted = log.admit(entries)
    except EntryRefused:
        admitted = []
    if not admitted or any(one.index >= 0 for one in admitted):
        raise LedgerError(
            f"The ledger's head says that it was opened {log.epoch - 1} times, and its log tells "
            f"of opening {log.epoch} already: somebody has set the count back. Nothing was "
            "written; restore a copy that `taskpass audit verify` accepts"
        )
    for one in admitted:
        log.append(one)
    state.drop_stray_trails(db)
    log.sign_checkpoint()
    db.execute("COMMIT")
    return log


def _check_version(db: sqlite3.Connection) -> None:
    found = schema.version(db)
    if found not in (0, schema.VERSION):
        raise LedgerError(
            f"The ledger is of version {found}, this program knows {schema.VERSION}; run the "
            "version of taskpass that wrote it, or a later one"
        )
    if found == schema.VERSION and (strange := schema.foreign(db)):
        # Read-only still works: what is held can be revoked, and no trigger has a say in it.
        raise LedgerUnwritable(
            f"The ledger is not written, as {strange}; find out who changed it, and put its tables "
            "back as they were (`sqlite3 LEDGER .schema` shows them), or restore a copy that holds"
        )
    if found == 0 and db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
        raise LedgerError("The file is a database, but no ledger; name another file")


def _made(
    db: sqlite3.Connection, signer: Signer, domain: str, cluster_id: str, now: datetime
) -> tuple[Log, list[Entry]]:
    for statement in schema.TABLES:
        db.execute(statement)
    origin = f"{domain}/c-{cluster_id}/log-{secrets.token_hex(8)}"
    key = PublicKey(origin, signer.public_key)
    log = Log(db, key, signer, 1)
    log.create()
    return log, [audit_log.created(origin, key.vkey(), cluster_id, now)]


def _resumed(
    db: sqlite3.Connection, signer: Signer, previous: Signer | None, cluster_id: str
) -> Log:
    schema.complete(db)
    stored = LogReader(db)
    origin = origin_of(stored, cluster_id)
    signs = signer_of(stored, signer, previous)
    log = Log(db, PublicKey(origin, signs.public_key), signs, _next_epoch(db))
    log.resume(stored)
    db.execute(
        "INSERT INTO ckpt (size, note, kept) VALUES (?, ?, 'open') ON CONFLICT DO NOTHING",
        (log.size, log.note),
    )
    return log


def _hand_over(
    db: sqlite3.Connection, log: Log, signer: Signer, reason: str, now: datetime,
    fail_point: Callable[[str], None],
) -> None:  # fmt: skip
    """Let the new key take over, durably, before anything else is written with it."""
    if any(span.key.raw == signer.public_key for span in declared_chain(LogReader(db)).spans):
        raise LedgerError(
            "The log had this key before, and each signs for one time only; make a new one"
        )
    before = PublicKey(log.origin, log.public_key).vkey()
    after = PublicKey(log.origin, signer.public_key).vkey()
    log.hand_over(signer, audit_log.key_rotated(log.origin, before, after, reason, now))
    fail_point("upkeep.before-handover")
    db.execute("COMMIT")
    fail_point("upkeep.after-handover")
    logger.warning(
        "The log went over to another key; the one before it is needed no more: delete it and its "
        "backups",
        extra={"before": before, "after": after, "size": log.size},
    )


def origin_of(stored: LogReader, cluster_id: str) -> str:
    """Return the name of a log; `LedgerError` where it is of another cluster."""
    try:
        origin = parse_body(parse_note(stored.note)[0]).origin
    except BadCheckpoint as error:
        raise LedgerError(
            f"The ledger's checkpoint cannot be read: {error}; restore a copy that verifies"
        ) from error
    if f"/c-{cluster_id}/" not in origin:
        raise LedgerError(
            f"The ledger '{origin}' is of another cluster than this ({cluster_id}); give this "
            "operator a volume of its own"
        )
    return origin


def _next_epoch(db: sqlite3.Connection) -> int:
    (before,) = db.execute("SELECT epoch FROM head WHERE k = 1").fetchone()
    if not 0 <= before < MOST_OPENINGS:
        raise LedgerError(
            f"The ledger's head says that it was opened {before} times; restore a copy that "
            "verifies"
        )
    db.execute("UPDATE head SET epoch = epoch + 1 WHERE k = 1")
    return int(before) + 1
