"""Every change that SQL can make to a ledger's file, one at a time, and who notices it.

`edits.py` makes them; what is not noticed must have its meaning here. `python -m
tests.unit.ledger.tampering` prints the tables of docs/tampering.md.
"""

import asyncio
import base64
import contextlib
import hashlib
import json
import shutil
import sqlite3
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from taskpass.core.audit import events as audit
from taskpass.core.errors import TaskpassError
from taskpass.core.model.grant import GrantState
from taskpass.core.rate_limit.budget import Meter
from taskpass.ledger.export.directory import export
from taskpass.ledger.log.entry_filter import Query
from taskpass.ledger.log.signing import SeedSigner
from taskpass.ledger.maintain.prune import Limit, prune
from taskpass.ledger.verify.log import verify_database
from taskpass.ledger.verify.proven import LogLocation, proven
from taskpass.ports.ledger import Batch
from tests.unit.ledger import objects
from tests.unit.ledger.edits import Change, changes, pairs
from tests.unit.ledger.objects import NOW, another

SIZE = 300
NEXT_SEED = bytes([8]) * 32


@dataclass(frozen=True, slots=True)
class Verdict:
    """Who notices a change; each is one of the words below."""

    verify: str
    """`refused`, or `accepted`."""
    start: str
    """`refused`: it does not start. `revokes only`: it issues nothing. `accepted`."""
    reader: str
    """`refused`; `same`: it prints what it printed before; `other`."""
    outside: str
    """Of an export that was made of it, by a program that shares no code: as `reader`."""


async def write(path: Path) -> None:
    """Write a ledger that has a row of every kind in every table."""
    ledger = objects.opened(path)
    await objects.story(ledger)
    delivered = await objects.issue(ledger, another(2))
    await objects.life_of_people(ledger)
    for number, name in ((3, "jane@example.org"), (4, "joe@example.org"), (5, "mallory")):
        grant = replace(another(number, task=objects.SECOND), pod_uid="pod-uid-2")
        intent = audit.issue_intent(grant, NOW, {"requester": name})
        await ledger.commit(Batch(entries=(intent,), grants=(grant,)))
    owed = replace(
        delivered, state=GrantState.REVOKING, revoke_reason="PodEnded", revoking_since=NOW
    )
    await ledger.commit(Batch(entries=(audit.revoke_intent(owed, NOW),), grants=(owed,)))
    await ledger.erase("mallory", NOW)
    meters = {"task:task-uid-2": Meter(used=7, at=NOW), "namespace:support": Meter(used=9, at=NOW)}
    await ledger.commit(Batch(meters=meters))
    await objects.filled(ledger, 200)
    await ledger.keep_cosigned(ledger.size, ledger.note())
    ledger.close()
    ledger = objects.opened(path, seed=NEXT_SEED, previous=SeedSigner(objects.SEED), reason="due")
    await objects.filled(ledger, SIZE)
    ledger.close()


async def write_legacy(path: Path) -> None:
    """Write one whose tasks a version attested that did not record who started their pods."""
    ledger = objects.opened(path)
    for number, ref in enumerate((objects.TASK, objects.SECOND), start=1):
        record = replace(objects.LEGACY, task=ref, pod_uid=f"pod-uid-{number}")
        attested = audit.attested(record, NOW, objects.notice("Attested"))
        await ledger.commit(Batch(entries=(attested,), tasks=(record,)))
        grant = replace(another(number, task=ref), pod_uid=record.pod_uid)
        await objects.issue(ledger, grant)
    await objects.filled(ledger, 200)
    ledger.close()
    ledger = objects.opened(path, seed=NEXT_SEED, previous=SeedSigner(objects.SEED), reason="due")
    await objects.filled(ledger, SIZE)
    ledger.close()


async def write_pruned(path: Path) -> None:
    """Write it, and drop the entries that tell of all but what is held.

    The grants are let go first, as nothing of what is held is ever dropped. Then a task whose pod
    the dropped entries told of gets another credential.
    """
    await write(path)
    ledger = objects.opened(path, seed=NEXT_SEED)
    for grant in list(ledger.held()):
        await objects.end(ledger, grant)
    await objects.filled(ledger, 3 * SIZE)
    await objects.issue(ledger, replace(another(9, task=objects.SECOND), pod_uid="pod-uid-2"))
    late = objects.entry("late", task=objects.SECOND, notice=objects.notice("Late"))
    await ledger.commit(Batch(entries=(late,)))
    ledger.close()
    archive = path.parent / "archive"
    done = prune(path, Limit(before=2 * 256), archive, SeedSigner(NEXT_SEED), NOW)
    assert done.min_index == 2 * 256


class Bench:
    """The untouched ledger, and what it tells."""

    def __init__(
        self, place: Path, written: Callable[[Path], Coroutine[Any, Any, None]] = write
    ) -> None:
        self.place = place
        place.mkdir(exist_ok=True)
        self.path = place / "ledger.db"
        asyncio.run(written(self.path))
        self.vkey = verify_database(self.path).vkey
        self.replay = self.read(self.path)
        self.shown = self.outside(self.path)

    def read(self, path: Path) -> object:
        """Return all that the reading commands print is made of.

        The witnesses' lines are not: only `audit verify` looks for them, for who demands them.
        """
        with proven(LogLocation(database=path), Query()) as log:
            people = sorted((ref, p.name, p.salt) for ref, p in log.people.items())
            report = replace(log.report, cosigned="")
            return report, log.entries, people, sorted(log.replay.held.items()), log.replay.counts

    def outside(self, path: Path) -> object:
        """Export it, and have it read by the code below alone; return its entries."""
        with tempfile.TemporaryDirectory(dir=self.place) as place:
            export(path, Path(place) / "export")
            return read_outside(Path(place) / "export", self.vkey)

    def judge(self, change: Change) -> Verdict | None:
        """Make a change to a copy, and ask everybody; None where SQLite refuses it itself."""
        with tempfile.TemporaryDirectory(dir=self.place) as place:
            path = Path(shutil.copy(self.path, place))
            with contextlib.closing(sqlite3.connect(path)) as db, db:
                db.execute("PRAGMA foreign_keys = OFF")
                try:
                    for statement, values in change.statements:
                        db.execute(statement, values)
                except sqlite3.IntegrityError:
                    return None
            return Verdict(
                verify=self._verified(path), reader=self._read(path, self.read, self.replay),
                outside=self._read(path, self.outside, self.shown), start=self._started(path),
            )  # fmt: skip

    def _verified(self, path: Path) -> str:
        try:
            verify_database(path)
        except TaskpassError:
            return "refused"
        return "accepted"

    def _read(self, path: Path, how: Any, before: object) -> str:
        try:
            return "same" if how(path) == before else "other"
        except (TaskpassError, Refused):
            return "refused"

    def _started(self, path: Path) -> str:
        try:
            ledger = objects.opened(path, seed=NEXT_SEED)
        except TaskpassError:
            return "refused"
        try:
            found = asyncio.run(ledger.compare()) or asyncio.run(ledger.examine())
        finally:
            ledger.close()
        return "revokes only" if found else "accepted"


class Refused(Exception):
    """The outside verifier does not accept it."""


def read_outside(directory: Path, vkey: str) -> list[bytes]:
    """Return the entries of an export, once they hash to what the key has signed.

    RFC 6962 and Ed25519 from the format's page, by nothing of taskpass. Where a bundle is absent
    its hashes are taken, and the last `log.prune` must say so.
    """
    try:
        text = (directory / "checkpoint").read_text()
        body, _, lines = text.partition("\n\n")
        origin, size, root = body.split("\n")
        name, _, rest = vkey.partition("+")
        raw = base64.b64decode(rest.partition("+")[2])
        key_id = hashlib.sha256(f"{name}\n".encode() + raw).digest()[:4]
        made = [base64.b64decode(line.rpartition(" ")[2]) for line in lines.splitlines()]
        (signature,) = [each[4:] for each in made if each[:4] == key_id]
        Ed25519PublicKey.from_public_bytes(raw[1:]).verify(signature, f"{body}\n".encode())
        entries: list[bytes] = []
        hashes: list[bytes] = []
        for number in range(-(-int(size) // 256)):
            width = min(256, int(size) - number * 256)
            file_name = f"{number:03d}{'' if width == 256 else f'.p/{width}'}"
            file = directory / f"tile/entries/{file_name}"
            if not entries and not file.exists():
                tile = (directory / f"tile/0/{file_name}").read_bytes()
                hashes += [tile[at : at + 32] for at in range(0, len(tile), 32)]
                continue
            packed = file.read_bytes()
            while packed:
                length = int.from_bytes(packed[:2])
                entries.append(packed[2 : 2 + length])
                packed = packed[2 + length :]
        absent = [0, *(d["min_index"] for d in map(_data, entries) if "archive_sha256" in d)][-1]
    except (OSError, ValueError, InvalidSignature) as error:
        raise Refused(str(error)) from error
    leaves = [*hashes, *(hashlib.sha256(b"\0" + each).digest() for each in entries)]
    if name != origin or len(leaves) != int(size) or _root(leaves) != base64.b64decode(root):
        raise Refused("the entries are not those that were signed")
    if len(hashes) != absent:
        raise Refused("entries are absent that no entry tells of, or there that are said to be")
    return entries


def _data(entry: bytes) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(entry)["data"]
    return data


def _root(leaves: list[bytes]) -> bytes:
    if len(leaves) == 1:
        return leaves[0]
    cut = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\1" + _root(leaves[:cut]) + _root(leaves[cut:])).digest()


TIMES = "when it was; nothing is valid for longer by it, as the end of validity is in the log"
OWN = "of the task's own work; found out anew at the next look at pod and object"
BUDGET = "a tenant may write more or less of the log than its budget is, until it is given back"
MEANING: dict[tuple[str, str], str] = {
    ("grant_state", "body.intent_at"): TIMES,
    ("grant_state", "body.issued_at"): TIMES,
    ("grant_state", "body.delivered_at"): TIMES,
    (
        "grant_state",
        "body.revoking_since",
    ): f"{TIMES}; the metric of the oldest pending revocation says it",
    (
        "task_record",
        "body.secret_uid",
    ): "the Secret is deleted by UID or stays until its owner goes; what was in it is revoked",
    ("task_record", "body.secret_written"): "a Secret without credentials may be left",
    ("task_record", "body.delivered"): "the Secret is written anew, or a credential replaced",
    (
        "task_record",
        "body.renewals.tickets",
    ): "the number of the next renewal: as many more as the policy allows, once",
    ("task_record", "body.asked"): "an approval that is asked for is asked for once more",
    ("task_record", "body.asked.nonce"): "the same",
    ("task_record", "body.asked.epoch"): "the same",
    ("task_record", "body.asked.noted"): "an approval is told once more: it is one entry",
    ("task_record", "body.asked_at"): "people may be asked once more",
    ("task_record", "body.saved.at"): TIMES,
    ("task_record", "body.activity"): OWN,
    ("task_record", "body.active_at"): "a task may be idle for longer",
    ("task_record", "body.denial"): "a refusal is told once more, or not again",
    ("pod_binding", "lifted"): "a pod whose gate was not lifted counts as one that runs, or the "
    "other way round: it is attested either way",
    (
        "ckpt",
        "",
    ): "a checkpoint less: of a start (nothing follows from it), or the witnesses' lines, "
    "which a reader who demands them misses (exit code 4)",
    ("meter", ""): BUDGET,
    ("meter", "account"): BUDGET,
    ("meter", "used"): BUDGET,
    ("meter", "at"): BUDGET,
}
"""Of what no verification finds: what it means."""
AT_START = {
    ("head", "epoch"): "the count goes on from where it was raised to, as the next `log.open` says",
    ("trail", ""): "an item of a task that is not remembered is dropped at the start",
    ("trail", "task_uid"): "an item of a task that is not remembered is dropped at the start",
}
"""Of what `audit verify` finds, and a start does not need to: what becomes of it."""


LEGACY: dict[tuple[str, str], str] = {
    ("task_record", "body.parent_uid"): "it ends as the parent of that UID does: what it holds is "
    "revoked where there is none, and, emptied, it ends with the parent that the task names",
    ("task_record", "body.started_at"): "its deadline counts from another time",
    ("task_record", "body.outcome"): "it ends, as its entries then say, or goes on where it was to "
    "end; the credential's own expiry is the end",
}
"""Of a task that an older version attested, which did not say who started the pod."""
NO_MORE: Mapping[tuple[str, str], str] = {}


def complaints(
    found: dict[tuple[str, str, str], set[Verdict]], more: Mapping[tuple[str, str], str] = NO_MORE
) -> list[str]:
    """Return what must not be: a change that is shown, or that nobody notices or explains.

    `more` is what is explained beside `MEANING`.
    """
    said, meaning = [], {**MEANING, **more}
    for (table, what, how), verdicts in found.items():
        name = f"{how} of {table}.{what or 'row'}"
        for verdict in verdicts:
            if "other" in (verdict.reader, verdict.outside):
                said.append(f"{name}: a reader is shown another thing")
            if verdict.verify == "accepted" and (table, what) not in meaning:
                said.append(f"{name}: audit verify accepts it")
            if verdict.start == "accepted" != verdict.verify and (table, what) not in AT_START:
                said.append(f"{name}: a start accepts it")
    return said


def hidden(bench: Bench) -> list[str]:
    """Return the pairs of fields that are accepted though one of them alone is not."""
    said = []
    for change in pairs(bench.path):
        verdict = bench.judge(change)
        explained = all(
            any(t == change.table and f"{w}.".startswith(f"body.{one}.") for t, w in MEANING)
            for one in change.what.split("+")
        )
        if verdict is not None and verdict.verify == "accepted" and not explained:
            said.append(f"{change.what} of {change.table}: audit verify accepts it")
    return said


def judged(bench: Bench, *, every_row: bool) -> dict[tuple[str, str, str], set[Verdict]]:
    """Return the verdicts on every kind of change."""
    found: dict[tuple[str, str, str], set[Verdict]] = defaultdict(set)
    for change in changes(bench.path, every_row=every_row):
        verdict = bench.judge(change)
        if verdict is not None:
            found[change.table, change.what, change.how].add(verdict)
    return found


def page(found: dict[tuple[str, str, str], set[Verdict]]) -> str:
    """Return the tables of docs/tampering.md."""
    lines = [
        "| table | change | `audit verify` | a start | what is printed | an outside verifier |"
    ]
    lines.append("|---|---|---|---|---|---|")
    for table in dict.fromkeys(table for table, _, _ in found):
        groups: dict[Verdict, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        for (of, what, how), verdicts in found.items():
            for verdict in verdicts if of == table else ():
                groups[verdict][how].append(f"`{what}`" if what else "a row")
        for verdict, by in groups.items():
            change = "; ".join(f"{how} {', '.join(what)}" for how, what in by.items())
            told = (verdict.verify, verdict.start, verdict.reader, verdict.outside)
            lines.append(f"| `{table}` | {change} | {' | '.join(told)} |")
    lines += ["", "| what `audit verify` accepts | what it means |", "|---|---|"]
    accepted = {(t, w) for (t, w, _), some in found.items() for v in some if v.verify == "accepted"}
    for (table, what), means in MEANING.items():
        if (table, what) in accepted:
            lines.append(f"| `{table}`: {f'`{what}`' if what else 'a row less'} | {means} |")
    lines += ["", "| what a start accepts | what becomes of it |", "|---|---|"]
    for (table, what), means in AT_START.items():
        lines.append(f"| `{table}`: {f'`{what}`' if what else 'a row more'} | {means} |")
    lines += ["", "| of a task of an older version | what it means |", "|---|---|"]
    lines += [f"| `{table}`: `{what}` | {means} |" for (table, what), means in LEGACY.items()]
    return "\n".join(lines) + "\n"


def main(arguments: list[str]) -> int:
    """Try every change (`--all`: to every row), and print the page; 1 where one must not be."""
    every_row = "--all" in arguments
    with tempfile.TemporaryDirectory() as here:
        found = judged(Bench(Path(here) / "whole"), every_row=every_row)
        pruned = judged(Bench(Path(here) / "pruned", write_pruned), every_row=every_row)
        legacy = judged(Bench(Path(here) / "legacy", write_legacy), every_row=every_row)
        paired = hidden(Bench(Path(here) / "pairs")) if every_row else []
    print(page(found))
    wrong = [*complaints(found), *(f"pruned: {each}" for each in complaints(pruned)), *paired]
    wrong += [f"of an older version: {each}" for each in complaints(legacy, LEGACY)]
    for each in wrong:
        print(each, file=sys.stderr)
    print(f"{len(found)} kinds of changes, {len(wrong)} complaints", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
