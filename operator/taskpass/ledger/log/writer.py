"""Append to the log within a transaction, and find its right edge again after a restart.

Order within one transaction: entries and their index rows; with each 256th entry its bundle, which
is read back and hashed before the rows that it replaces go; finished tiles; then the head, with a
checkpoint signed over all of it. The head is written only if it is as this process left it.
"""

import sqlite3
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import orjson

from taskpass.core.audit.anchor import Head
from taskpass.core.audit.canonical import MAX_BYTES, entry_bytes
from taskpass.core.audit.log_events import erased
from taskpass.core.audit.pseudonyms import Person
from taskpass.core.audit.redaction import forms
from taskpass.core.audit.terms import moment, notice_digest
from taskpass.core.errors import EntryRefused, LedgerError
from taskpass.core.model.entry import Entry, EventType, Stage
from taskpass.core.model.grant import SecretValue
from taskpass.ledger.log.frontier import partial_tiles
from taskpass.ledger.log.index import IndexRow, Rows, identity_of
from taskpass.ledger.log.proven_reads import entry_under
from taskpass.ledger.log.pseudonyms import People, drawn
from taskpass.ledger.log.reader import HANDOVER, LogReader, TamperEvidence, unzipped
from taskpass.ledger.log.signing import Signer, verify_signature
from taskpass.tlog import tiles
from taskpass.tlog.checkpoint import (
    BadCheckpoint,
    Checkpoint,
    PublicKey,
    Signature,
    open_checkpoint,
    signed_note,
)
from taskpass.tlog.merkle import TILE_WIDTH, Tree, leaf_hash

MAX_FIRST_BYTES = 16_384
"""What the first entry of an issue may have. What closes it may be longer (up to `MAX_BYTES`), so
that whatever was let in can be told to its end: a request that just fits must not lead to a
revocation that does not."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """How an entry is to be written."""

    index: int
    """Where it is already; -1 where it is not."""
    body: bytes = b""
    time: str = ""
    """As the log tells it."""
    row: IndexRow = (b"", "", "", None, None, None)


class Log:
    """The log's right edge. One thread has it; an error in any method leaves it unusable."""

    def __init__(self, db: sqlite3.Connection, key: PublicKey, signer: Signer, epoch: int) -> None:
        """Start an empty log; `resume` continues one."""
        self._db = db
        self._key = key
        self._signers: tuple[tuple[PublicKey, Signer], ...] = ((key, signer),)
        self.epoch = epoch
        """Of this process; see `sign_checkpoint`."""
        self._tree = Tree()
        self._people = People(db)
        self._rows = Rows(db)
        self._last_time = ""
        self._stored_size = 0
        self.note = ""
        self.min_index = 0
        """Entries before it were absent by policy when it was opened, or were pruned since."""

    @property
    def head(self) -> Head:
        """What it is, the open transaction included but for its signature."""
        return Head(origin=self.origin, size=self.size, root=self.root, note=self.note)

    @property
    def people(self) -> tuple[Person, ...]:
        """What is known of people."""
        return self._people.everybody()

    @property
    def origin(self) -> str:
        """The log's name."""
        return self._key.name

    @property
    def public_key(self) -> bytes:
        """The key that signs it now."""
        return self._key.raw

    @property
    def size(self) -> int:
        """How many entries there are, those of the open transaction included."""
        return self._tree.size

    @property
    def root(self) -> bytes:
        """The hash over them."""
        return self._tree.root()

    def create(self) -> None:
        """Write the head of an empty log."""
        self.note = self._signed()
        self._db.execute(
            "INSERT INTO head (k, size, root, frontier, note, min_index, epoch)"
            " VALUES (1, 0, ?, ?, ?, 0, ?)",
            (self.root, self._tree.frontier(), self.note, self.epoch),
        )

    def resume(self, stored: LogReader) -> None:
        """Continue what is stored, once it is found to be what the head says.

        Raises:
            LedgerError: The checkpoint is not this key's, or what is stored is not under it.

        """
        try:
            checkpoint = open_checkpoint(stored.note, self._key, verify_signature)
            if (checkpoint.size, checkpoint.root) != (stored.size, stored.root):
                raise TamperEvidence("the head does not say what its checkpoint says")
            self._tree = Tree(partial_tiles(stored))
        except (BadCheckpoint, TamperEvidence) as error:
            raise LedgerError(f"The ledger does not hold together: {error}; {_REMEDY}") from error
        if self._tree.root() != stored.root or self._tree.frontier() != stored.frontier:
            raise LedgerError(f"The ledger's entries are not under its checkpoint; {_REMEDY}")
        self._people.read()
        self.note, self.min_index = stored.note, stored.min_index
        self._stored_size = stored.size
        if stored.size:
            self._last_time = orjson.loads(stored.entry(stored.size - 1))["time"]

    def expect(self, ids: Sequence[str]) -> None:
        """See `Rows.expect`."""
        self._rows.expect(ids)

    def admit(self, entries: Sequence[Entry], hide: Sequence[SecretValue] = ()) -> list[Admitted]:
        """Return how each of a batch's entries is to be written; nothing is written yet.

        `hide` are values that must not be in them, in whatever form.

        Raises:
            EntryRefused: One of them can never be written, so none is.

        """
        self._people.begin()
        last = self._last_time
        admitted: list[Admitted] = []
        ids: set[str] = set()
        live = tuple(form for each in hide for form in forms(each.reveal()))
        for entry in entries:
            if entry.id in ids:
                raise EntryRefused(f"An entry of type {entry.type} is told twice in one batch")
            ids.add(entry.id)
            try:
                one, last = self._admit(entry, last, live)
            except ValueError as error:
                raise EntryRefused(
                    f"An entry of type {entry.type} cannot be written: {error}"
                ) from error
            admitted.append(one)
        return admitted

    def append(self, admitted: Admitted) -> int:
        """Write an admitted entry, if it is not there already; return its index."""
        if admitted.index >= 0:
            return admitted.index
        index, body = self.size, admitted.body
        self._people.write()
        self._last_time = admitted.time
        self._rows.add(index, body, admitted.row)
        for tile in self._tree.append(leaf_hash(body)):
            if tile.level == 0:
                self._bundle(tile.number, tile.data)
            self._db.execute(
                "INSERT INTO tile (l, n, b) VALUES (?, ?, ?)", (tile.level, tile.number, tile.data)
            )
        return index

    def erase(self, name: str, now: datetime, *, known: bool = False) -> int:
        """Delete what is known of a person, and write the entry that says so.

        Return its index; -1 where nothing was known. `known` says that something was, beside the
        entries: then there is an entry though none was about them.
        """
        ref = self._people.reference(name) or (drawn() if known else "")
        if not ref:
            return -1
        (admitted,) = self.admit((erased(self.origin, ref, now),))
        self._people.erase(name)
        return self.append(admitted)

    def hand_over(self, signer: Signer, entry: Entry) -> None:
        """Write the entry that names another key, and a checkpoint that both keys sign.

        That checkpoint is kept for ever; from the next one on, the new key signs alone.
        """
        key = PublicKey(self.origin, signer.public_key)
        for admitted in self.admit((entry,)):
            self.append(admitted)
        self._signers = (*self._signers, (key, signer))
        self.sign_checkpoint()
        self._db.execute(
            "INSERT INTO ckpt (size, note, kept) VALUES (?, ?, ?)", (self.size, self.note, HANDOVER)
        )
        self._key, self._signers = key, ((key, signer),)

    def sign_checkpoint(self) -> None:
        """Write the head, with a signed checkpoint over every entry.

        Raises:
            LedgerError: Another process has written it, in spite of the lock.

        """
        self._rows.conclude()
        if self.size != self._stored_size:
            self.note = self._signed()
        done = self._db.execute(
            "UPDATE head SET size = ?, root = ?, frontier = ?, note = ?"
            " WHERE k = 1 AND size = ? AND epoch = ?",
            (
                self.size, self.root, self._tree.frontier(), self.note,
                self._stored_size, self.epoch,
            ),
        )  # fmt: skip
        if done.rowcount != 1:
            raise LedgerError("Another process has written the ledger; this one must end")
        self._stored_size = self.size

    def _admit(self, entry: Entry, last: str, live: Sequence[str]) -> tuple[Admitted, str]:
        identity = identity_of(entry.id)
        found = self._rows.find(identity)
        if found >= 0:
            self._compare(entry, found, live)
            return Admitted(found), last
        own = moment(entry.time)
        time = max(own, last)
        adjusted = time != own
        body = entry_bytes(
            entry, source=self.origin, time=time, adjusted=adjusted, live=live,
            by=self._people.fields(entry.people),
            notice="" if entry.notice is None else notice_digest(entry.notice),
        )  # fmt: skip
        opens = entry.type is EventType.CREDENTIAL_ISSUE and entry.data.get("stage") == Stage.INTENT
        limit = MAX_FIRST_BYTES if opens else MAX_BYTES
        if len(body) > limit:
            raise ValueError(
                f"it has {len(body)} bytes and at most {limit} are possible; ask for fewer or "
                "shorter actions and resources"
            )
        ref, data = entry.task, entry.data
        row = (
            identity, entry.type.value, time, str(ref) if ref else None,
            data.get("task", {}).get("uid", ref.uid if ref else None),
            data.get("cred", {}).get("ref"),
        )  # fmt: skip
        return Admitted(-1, body, time, row), time

    def _compare(self, entry: Entry, index: int, live: Sequence[str]) -> None:
        self._rows.write()
        stored = LogReader(self._db)
        stored.size = self.size  # the head is behind within a transaction
        try:
            told = entry_under(stored, index, self.size, self.root)
        except TamperEvidence as error:
            raise EntryRefused(
                f"The index has the id of an entry of type {entry.type}, and {error}; nothing was "
                "written"
            ) from error
        event = orjson.loads(told)
        same = entry_bytes(
            entry,
            source=self.origin,
            time=event["time"],
            adjusted="clk" in event["data"],
            live=live,
            by=event["data"].get("by"),  # who was erased since is somebody else by now
            notice=event["data"].get("notice", ""),  # people are told once, whatever is told again
        )
        if same != told:
            raise EntryRefused(
                f"An entry of type {entry.type} has the id of entry {index}, which says another "
                "thing; nothing was written"
            )

    def _bundle(self, number: int, hashes: bytes) -> None:
        self._rows.write()
        start = number * TILE_WIDTH
        rows = self._db.execute(
            "SELECT body FROM entry WHERE seq >= ? ORDER BY seq", (start,)
        ).fetchall()
        self._db.execute(
            "INSERT INTO bundle (n, z) VALUES (?, ?)",
            (number, zlib.compress(tiles.pack(row[0] for row in rows), 6)),
        )
        # One flipped bit in memory would make a log that nobody can ever verify again: what was
        # stored is read back and hashed before the rows that it replaces go.
        stored = self._db.execute("SELECT z FROM bundle WHERE n = ?", (number,)).fetchone()[0]
        if b"".join(leaf_hash(entry) for entry in unzipped(stored, number)) != hashes:
            raise LedgerError("A bundle of entries did not come back as it was written")
        # What lies before was kept when the log was pruned.
        self._db.execute("DELETE FROM entry WHERE seq >= ?", (start,))

    def _signed(self) -> str:
        body = Checkpoint(self.origin, self.size, self.root).body()
        return signed_note(
            body, *(Signature(k.name, k.id, s.sign(body.encode())) for k, s in self._signers)
        )


_REMEDY = "run `taskpass audit verify` on it, and restore a copy that verifies"
