"""Whom to believe about a log: its keys, witnesses, and how many of them (C2SP tlog-policy).

    log <vkey> [<url>]
    witness <name> <vkey> [<url>]
    group <name> <k|any|all> <name>...
    quorum <name|none>

A line an item; `#` begins a comment line. A name must be defined on a line before. The operator
reads from it which witnesses to ask, a verifier what to demand.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from taskpass.tlog.checkpoint import BadCheckpoint, PublicKey, parse_vkey
from taskpass.tlog.cosignature import WitnessKey, parse_witness_vkey

K = TypeVar("K", PublicKey, WitnessKey)
NONE = "none"
MAX_TEXT = 65_536
_ITEM = re.compile(r"[^ \t]+")


class BadPolicy(ValueError):
    """The text is not such a policy. One line, which names the line."""


@dataclass(frozen=True, slots=True)
class PolicyWitness:
    """A witness, and where it takes checkpoints."""

    name: str
    """In the policy; the key has a name of its own."""
    key: WitnessKey
    url: str
    """Submission prefix (C2SP tlog-witness); '' where nobody is to ask it."""


@dataclass(frozen=True, slots=True)
class Group:
    """Has seen a checkpoint where `least` of its members have."""

    least: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TrustPolicy:
    """A whole policy."""

    logs: tuple[PublicKey, ...]
    witnesses: Mapping[str, PolicyWitness]
    groups: Mapping[str, Group]
    quorum: str
    """A witness, a group, or `none`."""

    def met(self, seen: Collection[WitnessKey]) -> bool:
        """Tell whether the witnesses that have cosigned a checkpoint are enough."""
        return self.quorum == NONE or self._seen(self.quorum, seen)

    def _seen(self, name: str, seen: Collection[WitnessKey]) -> bool:
        if name in self.witnesses:
            return self.witnesses[name].key in seen
        group = self.groups[name]
        return sum(self._seen(member, seen) for member in group.members) >= group.least


def parse_policy(text: str) -> TrustPolicy:
    """Return the policy of a text; raise `BadPolicy` where it is none."""
    if len(text) > MAX_TEXT or any((c < " " and c not in "\t\n") or c == "\x7f" for c in text):
        raise BadPolicy("the policy is too long, or has control characters")
    reading = _Reading()
    for number, line in enumerate(text.split("\n"), 1):
        items = _ITEM.findall(line)
        if not items or items[0].startswith("#"):
            continue
        try:
            reading.take(items[0], items[1:])
        except (BadPolicy, BadCheckpoint) as error:
            raise BadPolicy(f"line {number}: {error}") from None
    return reading.policy()


class _Reading:
    def __init__(self) -> None:
        self._logs: list[PublicKey] = []
        self._witnesses: dict[str, PolicyWitness] = {}
        self._groups: dict[str, Group] = {}
        self._in_group: set[str] = set()
        self._quorum: str | None = None

    def take(self, word: str, items: list[str]) -> None:
        match word, items:
            case "log", [vkey, *url] if len(url) <= 1:
                self._logs.append(self._new(parse_vkey(vkey), self._logs))
            case "witness", [name, vkey, *url] if len(url) <= 1:
                known = [each.key for each in self._witnesses.values()]
                key = self._new(parse_witness_vkey(vkey), known)
                self._witnesses[self._free(name)] = PolicyWitness(name, key, "".join(url))
            case "group", [name, least, *members] if members:
                self._groups[self._free(name)] = self._group(least, members)
            case "quorum", [name]:
                if self._quorum is not None:
                    raise BadPolicy("there is a quorum already")
                self._quorum = name if name == NONE else self._defined(name)
            case _:
                raise BadPolicy(
                    "must be 'log VKEY [URL]', 'witness NAME VKEY [URL]', 'group NAME K|any|all "
                    "NAME…' or 'quorum NAME|none'"
                )

    def policy(self) -> TrustPolicy:
        if self._quorum is None:
            raise BadPolicy("there is no quorum; 'quorum none' demands no witness")
        return TrustPolicy(tuple(self._logs), self._witnesses, self._groups, self._quorum)

    def _new(self, key: K, known: Collection[K]) -> K:
        if any(each.raw == key.raw for each in known):
            raise BadPolicy("the key is there already")
        return key

    def _free(self, name: str) -> str:
        if name == NONE or name in self._witnesses or name in self._groups:
            raise BadPolicy(f"the name '{name}' is taken")
        return name

    def _defined(self, name: str) -> str:
        if name not in self._witnesses and name not in self._groups:
            raise BadPolicy(f"'{name}' is not a witness or group of a line before")
        return name

    def _group(self, least: str, members: list[str]) -> Group:
        for member in members:
            if self._defined(member) in self._in_group:
                raise BadPolicy(f"'{member}' is a member already, and counts once")
            self._in_group.add(member)
        count = {"any": 1, "all": len(members)}.get(least)
        if count is None:
            if not re.fullmatch(r"[1-9][0-9]{0,4}", least) or int(least) > len(members):
                raise BadPolicy(f"'{least}' must be any, all, or a number up to {len(members)}")
            count = int(least)
        return Group(count, tuple(members))


def asked(policy: TrustPolicy) -> Iterator[PolicyWitness]:
    """Return the witnesses that have an address."""
    return (each for each in policy.witnesses.values() if each.url)
