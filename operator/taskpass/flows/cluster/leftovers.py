"""Drop what binds a pod to its task, once both are gone.

A binding keeps a pod from being bound to another task, so it stays for as long as the pod might be
seen. That a cache does not show it proves nothing. It goes where

1. its task is forgotten;
2. the pods of its namespace are known, and this one is not among them, before it is asked for and
   after; nor is it seen anywhere else then, whatever the binding says of where it is;
3. the API server itself said that there is no such pod, or another of its name, in two sweeps.

What a UID meant once it never means again, and caches go forward only: a pod that was bound was
seen, so one that is not seen any more, and is gone, is not seen again.
"""

import logging

from taskpass.core.audit import events as audit
from taskpass.core.errors import ApiError
from taskpass.core.lifecycle.records import PodBinding
from taskpass.flows.context import Ports
from taskpass.ports.ledger import Batch

MOST = 64
"""How many are asked for anew in a sweep; each is asked for twice."""
logger = logging.getLogger(__name__)


class Leftovers:
    """Remembers what was found to be gone once."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._after = ""
        """Where the next sweep goes on: what stays must not keep the others waiting."""
        self._gone_once: dict[str, PodBinding] = {}

    async def once(self) -> None:
        """See `sweep`."""
        await self.sweep()

    async def sweep(self) -> int:
        """Drop what was found to be gone twice; return how many that were."""
        ports = self._ports
        if ports.modes.revoke_only or ports.modes.unproven:
            return 0
        found = ports.ledger.leftover_bindings(self._after, MOST)
        self._after = found[-1].pod_uid if len(found) == MOST else ""
        before = self._gone_once
        asked = before | {each.pod_uid: each for each in found}
        gone = {uid: each for uid, each in asked.items() if await self._is_gone(each)}
        # Nothing is awaited from here on: what the caches show now is what is decided on.
        seen = ports.world.pod_uids()
        due = tuple(
            uid
            for uid in gone
            if uid in before and uid not in seen and not self._may_be_seen(gone[uid])
        )
        if ports.modes.unproven:
            return 0
        self._gone_once = {uid: each for uid, each in gone.items() if uid not in due}
        if due:
            entry = audit.pods_forgotten(due, ports.now())
            await ports.ledger.commit(Batch(entries=(entry,), unbinds=due))
        return len(due)

    async def _is_gone(self, binding: PodBinding) -> bool:
        if self._may_be_seen(binding):
            return False
        try:
            return await self._ports.pods.is_gone(binding.namespace, binding.name, binding.pod_uid)
        except ApiError as error:
            logger.debug(
                "Failed to ask for a pod, will retry",
                extra={"pod": f"{binding.namespace}/{binding.name}", "error": str(error)},
            )
            return False

    def _may_be_seen(self, binding: PodBinding) -> bool:
        """Whether a cache shows the pod, or may show it any time; or its task is there again."""
        ports = self._ports
        sight = ports.world.sight(binding.namespace)
        return (
            not sight.pods
            or bool(sight.issuance_blocked_reason)
            or ports.world.pod_uid(binding.namespace, binding.name) == binding.pod_uid
            or ports.ledger.record(binding.task_uid) is not None
        )
