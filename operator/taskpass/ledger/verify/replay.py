"""Go through a log's bundles in order, and compute from them all that the log should say."""

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from taskpass.core.audit.grant_history import GrantAltered, GrantHistory, Step
from taskpass.core.audit.key_history import GENESIS, ROTATE, BadChain, KeyChain
from taskpass.core.audit.task_history import TaskAltered, TaskHistory, follow
from taskpass.core.lifecycle.records import PodBinding
from taskpass.core.model.entry import PREFIX, EventType, Result
from taskpass.ledger.log.reader import LogReader, TamperEvidence
from taskpass.ledger.state.tables import TRAIL_LENGTH
from taskpass.ledger.verify.bundles import Bundle, altered_by
from taskpass.tlog.merkle import TILE_WIDTH, Tile, Tree, leaf_hashes, subtree_root
from taskpass.tlog.tiles import hashes_of

_PRUNE = PREFIX + EventType.LOG_PRUNE
_OPEN = PREFIX + EventType.LOG_OPEN
_ERASE = PREFIX + EventType.PRIVACY_ERASE
_FORGET_PODS = PREFIX + EventType.WORKLOAD_FORGET
_RETELL = PREFIX + EventType.LOG_RETELL
_ID_BYTES = 16


class Replay:
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
        self.untold = 0
        """Up to where what they said was not told again when they went (a version of before)."""
        self.held: dict[str, GrantHistory] = {}
        """By id, the grants whose intent is told, and not yet their end: also what failed to be
        issued is revoked."""
        self.declared: dict[str, Step] = {}
        """By id, the grants whose end nobody has proven, and the entry that says so."""
        self.tasks: dict[str, TaskHistory] = {}
        """By UID, those of which something is told that their record has to say, and that were not
        forgotten."""
        self.bindings: dict[str, PodBinding] = {}
        """By UID, of the pods that were attested, and that were not forgotten."""
        self.unplaced: set[str] = set()
        """Those of them that a version of before may have noted without where they were."""
        self.last_told: dict[str, int] = {}
        """By UID of a pod or reference of a person: an index at or before the last entry that tells
        of the binding or has the commitment."""
        self.unbound: set[str] = set()
        """UIDs of pods that were forgotten."""
        self.noticed: dict[str, deque[int]] = {}
        """By UID of the task: the entries that its trail has to be of."""
        self.first_notice = -1
        """Index of the first entry that has the digest of a notice; -1 where none has."""
        self.people: dict[str, set[str]] = {}
        """Commitments by reference."""
        self.erased: set[str] = set()
        """References of people of whom an entry says that they were erased."""
        self.counts: dict[tuple[str, str], int] = {}
        """How many entries there are of each type and day."""
        self.epoch = 0
        """How often the log was opened, as its entries say; 0 where none is there that does."""
        self._whole = True
        """Whether every entry so far was there."""
        self.records_told = True
        """Whether of every record that is there entries tell; a version of before pruned without
        telling again that a pod or a request was refused."""
        self._ids = [bytearray() for _ in range(256)]
        self._full: list[bytes] = []
        """The root over each full bundle."""

    @property
    def keys(self) -> KeyChain:
        """The keys that the entries name."""
        if self._keys is None:
            raise TamperEvidence("the first entry does not name the key that signed the log")
        return self._keys

    def want(self, sizes: Iterable[int]) -> None:
        """Take further sizes at which the root is wanted; none that was gone through already."""
        self._wanted |= frozenset(sizes)

    def take(self, bundle: Bundle) -> list[Tile]:
        """Take the next bundle; return the tiles above its own that it completes."""
        if bundle.first_time:
            if bundle.first_time < self.last_time:
                raise TamperEvidence(
                    f"the time of entry {bundle.start} is before that of the one before"
                )
            self.first_time = self.first_time or bundle.first_time
            self.last_time = bundle.last_time
        self._follow(bundle)
        for index, event in bundle.events:
            self._heed(event, index)
            if event["type"] == _ERASE:
                ref = str(event["data"].get("ref"))
                if (named := bundle.named.get(ref, -1)) > index:
                    raise _of_erased(ref, named)
        return self._grow(bundle)

    def is_bundle(self, number: int, entries: Iterable[bytes]) -> bool:
        """Tell whether what is read of a bundle once more is what was taken."""
        leaves = leaf_hashes(entries)
        if number < len(self._full):
            return len(leaves) == TILE_WIDTH and subtree_root(leaves) == self._full[number]
        return b"".join(leaves) == self.tree.partial_tiles().get(0, b"")

    def check_ids(self) -> None:
        """Find out that no two entries have one id; raise `TamperEvidence` where two have."""
        for some in self._ids:
            text, before = bytes(some), set()
            for at in range(0, len(text), _ID_BYTES):
                one = text[at : at + _ID_BYTES]
                if one in before:
                    raise TamperEvidence(f"two entries have the id {UUID(bytes=one)}")
                before.add(one)

    def _follow(self, bundle: Bundle) -> None:
        self._whole = self._whole and bool(bundle.first_time)
        for grant, steps in bundle.moved.items():
            self._advance(grant, steps)
        for grant in bundle.over:
            self.held.pop(grant, None)
        self.held |= bundle.begun
        self.declared |= bundle.declared
        if bundle.noticed and self.first_notice < 0:
            self.first_notice = bundle.noticed[0][1]
        for uid, index in bundle.noticed:
            self.noticed.setdefault(uid, deque(maxlen=TRAIL_LENGTH)).append(index)
        for moved in bundle.tasks:
            try:
                follow(self.tasks, moved, bundle.start)
            except TaskAltered as altered:
                raise TamperEvidence(
                    f"an entry from {bundle.start} on says otherwise than those before: {altered}"
                ) from None
            if moved.kind == EventType.TASK_FORGET:
                self.noticed.pop(moved.uid, None)
            pod = moved.data.get("pod")
            if pod and moved.data.get("outcome") != Result.DENIED:
                place = (moved.task.partition("/")[0], str(pod["name"]))
                self._bind(str(pod["uid"]), moved.uid, *place, bundle.start)
                if "starters" not in moved.data:
                    self.unplaced.add(str(pod["uid"]))
        for ref, commitments in bundle.people.items():
            if ref in self.erased:
                raise _of_erased(ref, bundle.named[ref])
            self._meet(ref, commitments, bundle.start)
        for day, count in bundle.counts.items():
            self.counts[day] = self.counts.get(day, 0) + count
        for at in range(0, len(bundle.ids), _ID_BYTES):
            self._ids[bundle.ids[at]] += bundle.ids[at : at + _ID_BYTES]

    def _advance(self, grant: str, steps: Iterable[Step]) -> None:
        """Take in what entries say of a grant that was begun before."""
        for step in steps:
            if grant not in self.held:
                if self._whole:
                    raise TamperEvidence(f"entry {step.index} is of a grant that was never begun")
                return  # begun in entries that are archived: it was over when they went
            try:
                self.held[grant] = self.held[grant].after(step)
            except GrantAltered as altered:
                raise altered_by(step.index, altered) from None

    def _bind(self, pod: str, task: str, namespace: str, name: str, at: int) -> None:
        before = self.bindings.get(pod)
        if before is not None and before.task_uid != task:
            raise TamperEvidence(f"pod {pod} is attested as of two tasks; its row was taken away")
        self.last_told[pod] = at
        self.bindings[pod] = PodBinding(
            pod_uid=pod, task_uid=task, namespace=namespace, name=name
        )  # fmt: skip

    def _meet(self, ref: str, commitments: Iterable[str], at: int) -> None:
        self.last_told[ref] = at
        self.people.setdefault(ref, set()).update(commitments)

    def _heed(self, event: dict[str, Any], index: int) -> None:
        """Take in what an entry says of the log itself."""
        try:
            if index == 0:
                self._keys = KeyChain.of_genesis(event)
            elif event["type"] == ROTATE:
                self._keys = self.keys.handed_over(event, index + 1)
            elif event["type"] == _PRUNE:
                self._absent(event["data"], index)
            elif event["type"] == _OPEN:
                self.epoch = event["data"].get("epoch", 0)
            elif event["type"] == _ERASE:
                self.erased.add(str(event["data"].get("ref")))
            elif event["type"] == _FORGET_PODS:
                for pod in event["data"].get("pods", ()):
                    self.bindings.pop(str(pod), None)
                    self.last_told.pop(str(pod), None)
                    self.unbound.add(str(pod))
            elif event["type"] == _RETELL:
                for each in event["data"].get("bound", ()):
                    place = (str(each["ns"]), str(each["name"]))
                    self._bind(str(each["pod"]), str(each["task"]), *place, index)
                    if each.get("unplaced"):
                        self.unplaced.add(str(each["pod"]))
                for who in event["data"].get("people", ()):
                    if str(who["ref"]) in self.erased:
                        raise _of_erased(str(who["ref"]), index)
                    self._meet(str(who["ref"]), [str(who["c"])], index)
            elif event["type"] == GENESIS:
                raise BadChain(f"entry {index} begins the log a second time")
        except BadChain as error:
            raise TamperEvidence(str(error)) from error
        except (ValueError, TypeError, KeyError, AttributeError):
            raise TamperEvidence(f"entry {index} is not an event of ours") from None

    def _absent(self, data: Mapping[str, Any], index: int) -> None:
        min_index = data.get("min_index")
        if type(min_index) is not int or not self.min_index <= min_index <= index:
            raise TamperEvidence(f"entry {index} does not say what is absent from where on")
        self.min_index = min_index
        self.records_told = self.records_told and data.get("records") is True
        if data.get("retold") is not True:
            self.untold = min_index

    def _grow(self, bundle: Bundle) -> list[Tile]:
        if not bundle.leaves:
            completed = self.tree.append_bundle(bundle.root)
            self._full.append(bundle.root)
            if self.tree.size in self._wanted:
                self.roots[self.tree.size] = self.tree.root()
            return completed
        completed = []
        for leaf in bundle.leaves:
            completed += self.tree.append(leaf)
            if self.tree.size in self._wanted:
                self.roots[self.tree.size] = self.tree.root()
        own = [tile for tile in completed if tile.level == 0]
        self._full += [subtree_root(hashes_of(tile.data)) for tile in own]
        return [tile for tile in completed if tile.level > 0]


def check_absent(log: LogReader, replay: Replay) -> None:
    """Raise `TamperEvidence` where other entries are absent of a file than its log says.

    What a replay comes to is the log's word only where this holds: of entries that somebody took
    away it has the hashes, and what they told is not in it.
    """
    if log.min_index != replay.min_index:
        raise TamperEvidence("entries are absent, and no entry says that they were pruned")


def _of_erased(ref: str, index: int) -> TamperEvidence:
    return TamperEvidence(
        f"entry {index} is about {ref}, of whom an entry before says that they were erased"
    )
