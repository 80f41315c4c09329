"""Whoever is above or below a task, when something of it changes."""

from collections.abc import Iterable

from taskpass.core.lifecycle.delegation import everyone_below
from taskpass.core.model.grant import Grant
from taskpass.core.model.key import Key
from taskpass.flows.context import Ports


def enqueue_descendants(ports: Ports, key: Key) -> None:
    """Have everything below a task looked at: it may hold less from now on."""
    for each in everyone_below(key, lambda of: (child.key for child in ports.world.children(of))):
        ports.enqueue(each)


def enqueue_ancestors(ports: Ports, gone: Iterable[Grant]) -> None:
    """Have those looked at that may wait until these grants of tasks below are gone."""
    for uid in {uid for grant in gone for uid in grant.chain}:
        record = ports.ledger.record(uid)
        if record is not None:
            ports.enqueue(record.task.key)
