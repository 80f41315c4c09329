"""What the audit log says of itself: how it began, who writes it, with which key, what is gone."""

from collections.abc import Mapping, Sequence, Set
from datetime import datetime
from typing import Any

from taskpass.core.audit.anchor import Head
from taskpass.core.lifecycle.records import PodBinding
from taskpass.core.model.entry import Entry, EventType, Result, Stage, entry, operation


def created(origin: str, vkey: str, cluster_id: str, now: datetime) -> Entry:
    """Say that a log begins: its first entry names the key that signs it."""
    data = {"origin": origin, "vkey": vkey, "cluster": cluster_id}
    return entry(
        operation(origin, "genesis"), EventType.LOG_GENESIS, Stage.POINT, Result.SUCCESS, now,
        None, data,
    )  # fmt: skip


def opened(origin: str, epoch: int, instance: str, size: int, root: str, now: datetime) -> Entry:
    """Say that a process took the log over, and found it with this size and root."""
    data = {"epoch": epoch, "instance": instance, "previous": {"size": size, "root": root}}
    return entry(
        operation(origin, "open", str(epoch)), EventType.LOG_OPEN, Stage.POINT, Result.SUCCESS,
        now, None, data,
    )  # fmt: skip


def key_rotated(origin: str, before: str, after: str, reason: str, now: datetime) -> Entry:
    """Say that the log's key is another from here on; both are vkeys, `reason` is the operator's.

    The checkpoint that ends with this entry is signed by both.
    """
    data = {"prev_vkey": before, "vkey": after, "reason": reason}
    return entry(
        operation(origin, "key", after), EventType.LOG_KEY_ROTATE, Stage.POINT, Result.SUCCESS,
        now, None, data,
    )  # fmt: skip


def pruned(
    origin: str, min_index: int, archive_sha256: str, policy: Mapping[str, Any], now: datetime,
    *, retold: bool = True,
) -> Entry:  # fmt: skip
    """Say that the entries before `min_index` are absent by policy from now on.

    Their hashes stay. `archive_sha256` is the digest of the list of checksums of the archive that
    has them, `policy` what was asked for. `retold` says that all that state rests on was told
    again before, of these entries and of those that went earlier; `records` that so was every
    record, also of a task of which nothing but refusals was told.
    """
    data = {
        "min_index": min_index, "archive_sha256": archive_sha256, "policy": dict(policy),
        "retold": retold, "records": True,
    }  # fmt: skip
    return entry(
        operation(origin, "prune", str(min_index)), EventType.LOG_PRUNE, Stage.POINT,
        Result.SUCCESS, now, None, data,
    )  # fmt: skip


def retold(
    origin: str, min_index: int, number: int, bound: Sequence[PodBinding],
    people: Sequence[tuple[str, str]], now: datetime, unplaced: Set[str] = frozenset(),
) -> Entry:  # fmt: skip
    """Say again of which task pods are, and the references and commitments of people.

    It is the `number`-th such entry of what is told before `min_index` only, and dropped.
    `unplaced` are UIDs of pods that a version of before may have noted without where they were.
    """
    data: dict[str, Any] = {}
    if bound:
        data["bound"] = [
            {
                "pod": each.pod_uid,
                "task": each.task_uid,
                "ns": each.namespace,
                "name": each.name,
                "unplaced": each.pod_uid in unplaced,
            }
            for each in bound
        ]
    if people:
        data["people"] = [{"ref": ref, "c": commitment} for ref, commitment in people]
    return entry(
        operation(origin, "retell", str(min_index), str(number)), EventType.LOG_RETELL,
        Stage.POINT, Result.SUCCESS, now, None, data,
    )  # fmt: skip


def re_origin(anchor_uid: str, forgotten: Head, reason: str, now: datetime) -> Entry:
    """Say that a person had the cluster forget what it remembered of the log, and why.

    `anchor_uid` is the UID of the object that remembers from now on.
    """
    data = {
        "reason": reason,
        "forgot": {
            "origin": forgotten.origin, "size": forgotten.size, "root": forgotten.root.hex(),
        },
    }  # fmt: skip
    return entry(
        operation(anchor_uid, "re_origin"), EventType.LOG_RE_ORIGIN, Stage.POINT, Result.SUCCESS,
        now, None, data,
    )  # fmt: skip


def erased(origin: str, ref: str, now: datetime) -> Entry:
    """Say that what was known of the person behind a reference is erased."""
    return entry(
        operation(origin, "erase", ref), EventType.PRIVACY_ERASE, Stage.POINT, Result.SUCCESS, now,
        None, {"ref": ref},
    )  # fmt: skip
