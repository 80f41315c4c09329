"""The part of verification that is about a ledger's file: rows, index, and state against the log.

The state tables are not signed. What they say of grants is held against the entries, so that
nobody can make the operator forget a credential by editing a row without that being found.
"""

import contextlib
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from taskpass.core import tiles
from taskpass.core.audit import PREFIX, EventType, Result, Stage
from taskpass.core.checkpoint import BadCheckpoint, PublicKey, parse_vkey
from taskpass.core.merkle import TILE_WIDTH, Tile
from taskpass.ledger import schema
from taskpass.ledger.log import index_row
from taskpass.ledger.reader import LogReader, TamperEvidence

Take = Callable[[bytes], tuple[dict[str, Any], list[Tile]]]


@dataclass(slots=True)
class Told:
    """What the entries tell of grants."""

    begun: set[str] = field(default_factory=set)
    """Ids of the grants whose intent is in the log."""
    over: set[str] = field(default_factory=set)
    """Ids of those that were revoked, or not issued, or whose issue nobody knows the end of."""


def declared_key(log: LogReader) -> PublicKey:
    """Return the key that the log's first entry names. It proves nothing about who wrote it."""
    with contextlib.suppress(BadCheckpoint, ValueError, KeyError, TypeError):
        return parse_vkey(orjson.loads(log.entry(0))["data"]["vkey"])
    raise TamperEvidence("the first entry does not name the key that signed the log")


def check_rows(log: LogReader, take: Take) -> Told:
    """Take every entry, and compare the other tables of the log with what follows from them."""
    db = log.db
    damage = schema.damage(db)
    if damage:
        raise TamperEvidence(f"the database is damaged: {damage}")
    full = log.size // TILE_WIDTH
    if _numbers(db, "SELECT n FROM bundle ORDER BY n") != list(range(full)):
        raise TamperEvidence("bundles of entries are missing, or too many")
    if db.execute("SELECT count(*) FROM entry WHERE seq < ?", (full * TILE_WIDTH,)).fetchone()[0]:
        raise TamperEvidence("entries lie outside of their bundle")
    index = db.execute("SELECT seq, id, type, time, subject, task, cred FROM idx ORDER BY seq")
    told = Told()
    count = tile_count = 0
    for number, width in tiles.widths(log.size, 0):
        entries = log.bundle(number)
        if len(entries) != width:
            raise TamperEvidence(f"bundle {number} has {len(entries)} entries, not {width}")
        for body in entries:
            event, done = take(body)
            if index.fetchone() != (count, *index_row(event)):
                raise TamperEvidence(f"the index does not say of entry {count} what it says")
            count += 1
            _note(event, told)
            for tile in done:
                tile_count += 1
                if log.tile(tile.level, tile.number) != tile.data:
                    raise TamperEvidence(
                        f"tile {tile.level}/{tile.number} is not what the entries hash to"
                    )
    if index.fetchone() is not None:
        raise TamperEvidence("the index has more rows than the log has entries")
    if db.execute("SELECT count(*) FROM tile").fetchone()[0] != tile_count:
        raise TamperEvidence("there are tiles that no entries hash to")
    return told


def check_state(db: sqlite3.Connection, told: Told) -> None:
    """Compare the table of grants with what the entries tell of them."""
    missing = set(told.begun)
    for grant, state in db.execute("SELECT id, state FROM grant_state"):
        if grant not in told.begun:
            raise TamperEvidence(f"there is a grant {grant} that no entry tells of")
        if state == "Revoked" and grant not in told.over:
            raise TamperEvidence(f"grant {grant} is noted as revoked, and no entry says so")
        missing.discard(grant)
    if missing:
        raise TamperEvidence(f"grant {min(missing)} is in the log, and nothing is noted of it")


def _note(event: dict[str, Any], told: Told) -> None:
    data = event["data"]
    grant = data.get("cred", {}).get("ref", "")
    match (event["type"].removeprefix(PREFIX), data.get("stage")):
        case (EventType.CREDENTIAL_ISSUE, Stage.INTENT):
            told.begun.add(grant)
        case (EventType.CREDENTIAL_ISSUE, Stage.RESULT) if data["outcome"] != Result.SUCCESS:
            told.over.add(grant)
        case (EventType.CREDENTIAL_REVOKE, Stage.RESULT):
            told.over.add(grant)


def _numbers(db: sqlite3.Connection, query: str) -> list[int]:
    return [row[0] for row in db.execute(query)]
