"""The part of verification that is about a ledger's file: rows, index, and state against the log.

The state tables are not signed. What they say of grants, tasks, pods and people is held against the
entries, wherever those say it too: so nobody can make the operator forget a credential, take it for
another's, or have a reader shown another name, by editing a row without that being found.
"""

import sqlite3
from collections.abc import Mapping
from dataclasses import replace
from operator import itemgetter
from typing import Any

import orjson

from taskpass.core.audit.redaction import as_logged
from taskpass.core.audit.task_history import TaskHistory
from taskpass.core.audit.terms import is_time_of, moment, notice_digest
from taskpass.core.lifecycle.records import PodBinding, TrailItem
from taskpass.ledger.log import schema
from taskpass.ledger.log.index import index_row
from taskpass.ledger.log.reader import COSIGNED, HANDOVER, LogReader, TamperEvidence
from taskpass.ledger.state.noted import Noted
from taskpass.ledger.verify.names import known
from taskpass.ledger.verify.replay import Replay
from taskpass.tlog import tiles
from taskpass.tlog.checkpoint import Checkpoint, parse_body, parse_note
from taskpass.tlog.merkle import TILE_WIDTH

_KEPT = frozenset({"open", HANDOVER, COSIGNED})


class Rows:
    """Holds the tables of the log against what follows from its entries."""

    def __init__(self, log: LogReader) -> None:
        """Look at which bundles and entries there are; raise `TamperEvidence` where one lacks."""
        db = self._db = log.db
        self._first, size = log.min_index, log.size
        begins, full = log.min_index // TILE_WIDTH, size // TILE_WIDTH
        found = db.execute("SELECT count(*), min(n), max(n) FROM bundle").fetchone()
        if found != (full - begins, begins, full - 1) and (found[0] or full != begins):
            raise TamperEvidence("bundles of entries are missing, or too many")
        between = (log.min_index, full * TILE_WIDTH)
        stray = "SELECT count(*) FROM entry WHERE seq >= ? AND seq < ?"
        if db.execute(stray, between).fetchone()[0]:
            raise TamperEvidence("entries lie outside of their bundle")
        self._size = size

    def conclude(self, kept: Mapping[int, bytes]) -> None:
        """Compare what is left of the tables; `kept` are the entries before `min_index`."""
        rows = self._db.execute(
            "SELECT seq, id, type, time, subject, task, cred FROM idx WHERE seq < ? OR seq >= ?"
            " ORDER BY seq",
            (self._first, self._size),
        ).fetchall()
        if rows != [(seq, *index_row(orjson.loads(kept[seq]))) for seq in sorted(kept)]:
            raise TamperEvidence("the index has more or other rows than the log has entries")
        wanted = sum(self._size >> (8 * level) for level in range(1, tiles.levels(self._size)))
        if self._db.execute("SELECT count(*) FROM tile").fetchone()[0] != wanted:
            raise TamperEvidence("there are tiles that no entries hash to")


def check_structure(db: sqlite3.Connection) -> None:
    """Have SQLite look at every page and index; raise `TamperEvidence` where one is damaged."""
    if damage := schema.damage(db):
        raise TamperEvidence(f"the database is damaged: {damage}")


def check_head(log: LogReader, head: Checkpoint, replay: Replay) -> None:
    """Compare what the head says with what the checkpoint and the entries come to."""
    if (log.size, log.root, log.frontier) != (head.size, head.root, replay.tree.frontier()):
        raise TamperEvidence("the ledger's head does not say what its checkpoint says")
    # Between a handover and the entry that tells of the start, the key is another already.
    handed_over = log.size in replay.keys.handovers
    if replay.epoch and log.epoch not in (replay.epoch, replay.epoch + handed_over):
        raise TamperEvidence("the ledger's head does not say how often the log was opened")
    for size, note, kept in log.db.execute("SELECT size, note, kept FROM ckpt"):
        if kept not in _KEPT or parse_body(parse_note(note)[0]).size != size:
            raise TamperEvidence(f"a checkpoint of size {size} is kept as what it is not")


def check_noted(noted: Noted, log: LogReader, replay: Replay) -> None:
    """Compare what is held and remembered with what the entries say of it."""
    if noted.strange:
        raise TamperEvidence(noted.strange)
    _check_grants(noted, replay)
    refs = {person.name: ref for ref, person in known(noted.people, replay).items()}
    _check_records(noted, replay, refs)
    _check_bindings(noted, replay)
    _check_trails(noted, log, replay)
    for account, meter in noted.meters.items():
        if meter.used < 0:
            raise TamperEvidence(f"meter {account} is below zero")


def _check_grants(noted: Noted, replay: Replay) -> None:
    """Compare which grants are held, and each with what the log says of it."""
    for id_, grant in noted.grants.items():
        logged = replay.held.get(id_)
        if logged is None:
            raise TamperEvidence(
                f"grant {id_} is noted as held, and the log says that it is gone, or never was"
            )
        if different := sorted(logged.differences(grant)):
            raise TamperEvidence(
                f"what is noted of grant {id_} is not what the log says: {', '.join(different)}"
            )
    for id_ in sorted(replay.held.keys() - noted.grants.keys()):
        raise TamperEvidence(f"the log says that grant {id_} is held, and nothing is noted of it")


def _check_records(noted: Noted, replay: Replay, refs: Mapping[str, str]) -> None:
    for uid, record in noted.records.items():
        logged = replay.tasks.get(uid)
        if logged is None and replay.untold:
            continue
        if logged is None and replay.records_told:
            raise TamperEvidence(f"task {uid} is noted, and no entry tells of it")
        if logged is None:
            logged = TaskHistory(str(record.task), 0)
        logged.whole = not replay.untold
        if different := sorted(logged.differences(record, refs, replay.erased)):
            raise TamperEvidence(
                f"what is noted of task {uid} is not what the log says: {', '.join(different)}"
            )
    for uid in sorted(replay.tasks.keys() - noted.records.keys()):
        raise TamperEvidence(f"the log tells of task {uid}, and nothing is noted of it")


def _check_bindings(noted: Noted, replay: Replay) -> None:
    bound = {each.pod_uid: each for each in noted.bindings}
    for pod, logged in replay.bindings.items():
        found = bound.get(pod)
        of_before = replace(logged, namespace="", name="")
        if (found is None or _as_logged(found) != _as_logged(logged)) and (
            pod not in replay.unplaced or found != of_before
        ):
            raise TamperEvidence(f"pod {pod} is not noted as the one of task {logged.task_uid}")
    if back := sorted(bound.keys() & replay.unbound):
        raise TamperEvidence(f"pod {back[0]} is noted as a task's, and the log says it is gone")
    if not replay.untold and (more := sorted(bound.keys() - replay.bindings.keys())):
        raise TamperEvidence(f"pod {more[0]} is noted as a task's, and no entry tells of it")


def _as_logged(bound: PodBinding) -> PodBinding:
    return replace(bound, namespace=as_logged(bound.namespace), name=as_logged(bound.name))


def _check_trails(noted: Noted, log: LogReader, replay: Replay) -> None:
    """Compare each item with its entry: of which task it is, when, and what people were told."""
    items = sorted(
        (
            (item.audit_index, uid, item)
            for uid, some in noted.trails.items()
            for item in some
            if item.audit_index >= replay.untold
        ),
        key=itemgetter(0),
    )
    number, entries, there = -1, [], set()
    for index, uid, item in items:
        if not replay.min_index <= index < log.size:
            raise TamperEvidence(f"an item of the trail of task {uid} is of no entry")
        if index // TILE_WIDTH != number:
            number = index // TILE_WIDTH
            entries = log.bundle(number)
            if not replay.is_bundle(number, entries):
                raise TamperEvidence(f"bundle {number} is not any more what was verified")
        there.add((uid, index))
        event = orjson.loads(entries[index % TILE_WIDTH])
        # A version of before wrote no digests; since there are some, what has none told nobody.
        if "notice" not in event["data"] and 0 <= replay.first_notice < index:
            raise TamperEvidence(f"entry {index} has no words for the trail of task {uid}")
        _check_item(uid, item, event)
    for uid in noted.records:
        if lacking := [i for i in replay.noticed.get(uid, ()) if (uid, i) not in there]:
            raise TamperEvidence(f"entry {lacking[0]} is missing from the trail of task {uid}")


def _check_item(uid: str, item: TrailItem, event: dict[str, Any]) -> None:
    data = event["data"]
    if (
        data.get("task", {}).get("uid") != uid
        or not is_time_of(moment(item.time), event)
        or ("notice" in data and data["notice"] != notice_digest(item.notice))
    ):
        raise TamperEvidence(
            f"an item of the trail of task {uid} is not what entry {item.audit_index} tells"
        )
