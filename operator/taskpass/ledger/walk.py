"""Go through a log's bundles in order, and compute from them all that the log should say."""

from collections import deque
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from taskpass.core.audit import PREFIX, EventType
from taskpass.core.keychain import GENESIS, ROTATE, BadChain, KeyChain
from taskpass.core.logged_grant import LoggedGrant
from taskpass.core.logged_task import LoggedTask, follow
from taskpass.core.merkle import Tile, Tree
from taskpass.core.records import PodBinding
from taskpass.ledger.pieces import Piece
from taskpass.ledger.reader import TamperEvidence
from taskpass.ledger.state import TRAIL_LENGTH

_PRUNE = PREFIX + EventType.LOG_PRUNE
_OPEN = PREFIX + EventType.LOG_OPEN
_ERASE = PREFIX + EventType.PRIVACY_ERASE
_FORGET_PODS = PREFIX + EventType.WORKLOAD_FORGET
_ID_BYTES = 16


class Walk:
    """What the bundles that were taken so far come to."""

    def __init__(self, sizes: Iterable[int]) -> None:
        """Take the sizes at which the root is wanted."""
        self._wanted = frozenset(sizes)
        self._keys: KeyChain | None = None
        self.tree = Tree()
        self.roots: dict[int, bytes] = {0: self.tree.root()}
        self.first_time = self.last_time = ""
        self.min_index = 0
        """Up to where entries are absent by policy, as the last `log.prune` says."""
        self.held: dict[str, LoggedGrant] = {}
        """By id, the grants whose intent is told, and not yet their end: also what failed to be
        issued is revoked."""
        self.tasks: dict[str, LoggedTask] = {}
        """By UID, the tasks that a pod was attested for, and that were not forgotten."""
        self.bindings: dict[str, PodBinding] = {}
        """By UID, of the pods that were attested, and that were not forgotten."""
        self.unbound: set[str] = set()
        """UIDs of pods that were forgotten."""
        self.noticed: dict[str, deque[int]] = {}
        """By UID of the task: the entries that its trail has to be of."""
        self.people: dict[str, set[str]] = {}
        """Commitments by reference."""
        self.erased: set[str] = set()
        """References of people of whom an entry says that they were erased."""
        self.counts: dict[tuple[str, str], int] = {}
        """How many entries there are of each type and day."""
        self.epoch = 0
        """How often the log was opened, as its entries say; 0 where none is there that does."""
        self._ids = [bytearray() for _ in range(256)]

    @property
    def keys(self) -> KeyChain:
        """The keys that the entries name."""
        if self._keys is None:
            raise TamperEvidence("the first entry does not name the key that signed the log")
        return self._keys

    def take(self, piece: Piece) -> list[Tile]:
        """Take the next bundle; return the tiles above its own that it completes."""
        if piece.first_time:
            if piece.first_time < self.last_time:
                raise TamperEvidence(
                    f"the time of entry {piece.start} is before that of the one before"
                )
            self.first_time = self.first_time or piece.first_time
            self.last_time = piece.last_time
        self._follow(piece)
        for index, event in piece.events:
            self._heed(event, index)
        return self._grow(piece)

    def check_ids(self) -> None:
        """Find out that no two entries have one id; raise `TamperEvidence` where two have."""
        for some in self._ids:
            text, seen = bytes(some), set()
            for at in range(0, len(text), _ID_BYTES):
                one = text[at : at + _ID_BYTES]
                if one in seen:
                    raise TamperEvidence(f"two entries have the id {UUID(bytes=one)}")
                seen.add(one)

    def _follow(self, piece: Piece) -> None:
        for grant, steps in piece.moved.items():
            if grant in self.held:
                for step in steps:
                    self.held[grant] = self.held[grant].after(step)
        for grant in piece.over:
            self.held.pop(grant, None)
        self.held |= piece.begun
        for uid, index in piece.noticed:
            self.noticed.setdefault(uid, deque(maxlen=TRAIL_LENGTH)).append(index)
        for moved in piece.tasks:
            follow(self.tasks, moved)
            if moved.uid not in self.tasks:
                self.noticed.pop(moved.uid, None)
            pod = moved.data.get("pod")
            if pod:
                self.bindings[str(pod["uid"])] = PodBinding(
                    pod_uid=str(pod["uid"]), task_uid=moved.uid,
                    namespace=moved.task.partition("/")[0], name=str(pod["name"]),
                )  # fmt: skip
        for ref, commitments in piece.people.items():
            self.people.setdefault(ref, set()).update(commitments)
        for day, count in piece.counts.items():
            self.counts[day] = self.counts.get(day, 0) + count
        for at in range(0, len(piece.ids), _ID_BYTES):
            self._ids[piece.ids[at]] += piece.ids[at : at + _ID_BYTES]

    def _heed(self, event: dict[str, Any], index: int) -> None:
        """Take in what an entry says of the log itself."""
        try:
            if index == 0:
                self._keys = KeyChain.of_genesis(event)
            elif event["type"] == ROTATE:
                self._keys = self.keys.handed_over(event, index + 1)
            elif event["type"] == _PRUNE:
                self._absent(event["data"].get("min_index"), index)
            elif event["type"] == _OPEN:
                self.epoch = event["data"].get("epoch", 0)
            elif event["type"] == _ERASE:
                self.erased.add(str(event["data"].get("ref")))
            elif event["type"] == _FORGET_PODS:
                for pod in event["data"].get("pods", ()):
                    self.bindings.pop(str(pod), None)
                    self.unbound.add(str(pod))
            elif event["type"] == GENESIS:
                raise BadChain(f"entry {index} begins the log a second time")
        except BadChain as error:
            raise TamperEvidence(str(error)) from error

    def _absent(self, min_index: object, index: int) -> None:
        if type(min_index) is not int or not self.min_index <= min_index <= index:
            raise TamperEvidence(f"entry {index} does not say what is absent from where on")
        self.min_index = min_index

    def _grow(self, piece: Piece) -> list[Tile]:
        if not piece.leaves:
            completed = self.tree.append_bundle(piece.root)
            if self.tree.size in self._wanted:
                self.roots[self.tree.size] = self.tree.root()
            return completed
        completed = []
        for leaf in piece.leaves:
            completed += self.tree.append(leaf)
            if self.tree.size in self._wanted:
                self.roots[self.tree.size] = self.tree.root()
        return [tile for tile in completed if tile.level > 0]
