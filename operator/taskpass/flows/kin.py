"""Whoever is above or below a task, when something of it changes."""

from collections.abc import Iterable, Iterator

from taskpass.core.credential import Grant
from taskpass.core.delegation import DEEPEST
from taskpass.flows.context import Ports
from taskpass.ports import Key, World


def descendants(world: World, key: Key) -> Iterator[Key]:
    """Yield the keys of all tasks below one, level by level."""
    level, depth = [key], 0
    while level and depth < DEEPEST:
        level = [child.key for each in level for child in world.children(each)]
        depth += 1
        yield from level


def look_below(ports: Ports, key: Key) -> None:
    """Have everything below a task looked at: it may hold less from now on."""
    for each in descendants(ports.world, key):
        ports.look(each)


def look_above(ports: Ports, gone: Iterable[Grant]) -> None:
    """Have those looked at that may wait until these grants of tasks below are gone."""
    for uid in {uid for grant in gone for uid in grant.chain}:
        record = ports.ledger.record(uid)
        if record is not None:
            ports.look(record.task.key)
