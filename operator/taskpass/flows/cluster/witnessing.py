"""Have witnesses cosign the log, so that somebody else has seen it grow (C2SP tlog-witness).

No task waits for a witness. One that does not answer is asked again in the next round; one that
shows a checkpoint which the log's own key has signed, and which the log is not grown from, proves
a rollback or a fork, and issuing stops. What it only claims is told, and stops nothing: a witness
must not be able to stop the work by a word.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from taskpass.core.audit.anchor import PROVEN, Head, IntegrityAlert
from taskpass.core.errors import MustEnd, NotTheLog, WitnessUnavailable
from taskpass.ports.audit_log import LogHistory, WitnessAsker
from taskpass.ports.clock import Clock
from taskpass.tlog.checkpoint import BadCheckpoint, Verify, parse_note, signed_note
from taskpass.tlog.cosignature import WitnessKey, cosigned_at
from taskpass.tlog.trust_policy import PolicyWitness, TrustPolicy, asked
from taskpass.tlog.witness_protocol import Answer, Verdict

logger = logging.getLogger(__name__)
ROUND_SECONDS = 60.0
FRESH_SECONDS = 600
"""A cosignature that is older is asked for again, also where the log has not grown."""


@dataclass(slots=True)
class WitnessState:
    """How one witness and the log stand."""

    size: int = 0
    """What it is known to remember."""
    cosigned: int = 0
    """The last size that it cosigned for us."""
    unhealthy_reason: str | None = None
    """Why the last round brought nothing; None where it did."""
    failures: int = 0
    """Rounds that brought nothing, since the start."""


class Witnessing:
    """Asks in rounds."""

    def __init__(
        self, policy: TrustPolicy, asker: WitnessAsker, history: LogHistory,
        keep: Callable[[int, str], Awaitable[None]], clock: Clock, verify: Verify,
    ) -> None:  # fmt: skip
        """`keep` makes a cosigned checkpoint durable."""
        self._policy = policy
        self._asker = asker
        self._history = history
        self._keep = keep
        self._clock = clock
        self._verify = verify
        self._kept: frozenset[WitnessKey] = frozenset()
        """Who has cosigned what is kept."""
        self._recalled = False
        self._size = -1
        self._at: datetime | None = None
        self.stands = {each.name: WitnessState() for each in asked(policy)}
        self.proven: IntegrityAlert | None = None
        """The rollback or fork that a witness has proven."""

    async def round(self) -> None:
        """Have the log as it is now cosigned, where it has grown or the last time is long ago.

        Once a minute.
        """
        if not self._recalled:
            await self._recall()
        now = self._clock.now()
        head = await asyncio.to_thread(self._history.head)
        young = self._at is not None and (now - self._at).total_seconds() < FRESH_SECONDS
        if head.size == self._size and young and self._policy.met(self._kept):
            return
        witnesses = tuple(asked(self._policy))
        lines = await asyncio.gather(*(self._ask(each, head) for each in witnesses))
        seen = frozenset(w.key for w, line in zip(witnesses, lines, strict=True) if line)
        if not seen or (self._policy.met(self._kept) and not self._policy.met(seen)):
            return
        await self._keep(head.size, head.note + "".join(lines))
        self._kept, self._size, self._at = seen, head.size, now

    @property
    def figures(self) -> Mapping[str, int]:
        """What the AuditAnchor shows: the level, and what a quorum has cosigned."""
        if self._policy.met(self._kept) and self._kept:
            return {"level": 2, "cosignedSize": self._size}
        return {"level": 1}

    async def _recall(self) -> None:
        """Begin with what was kept before the start."""
        note = await asyncio.to_thread(self._history.cosigned)
        for each in self._policy.witnesses.values():
            if note and (at := cosigned_at(note, each.key, self._verify)) is not None:
                self._kept |= {each.key}
                self._at = datetime.fromtimestamp(at, self._clock.now().tzinfo)
        if self._kept:
            self._size = int(parse_note(note)[0].split("\n")[1])
        self._recalled = True

    async def _ask(self, witness: PolicyWitness, head: Head) -> str:
        """Return the line of its cosignature; '' where there is none."""
        stand = self.stands[witness.name]
        said: str | None = None
        try:
            line = await self._line(witness, stand, head)
        except (WitnessUnavailable, BadCheckpoint, NotTheLog) as error:
            line, said = "", str(error)
        except MustEnd:
            raise
        except Exception as error:  # one that answers nonsense keeps no other from being asked
            line, said = "", f"it could not be asked ({type(error).__name__})"
            logger.exception("A witness could not be asked", extra={"witness": witness.name})
        if said:
            stand.failures += 1
            if said != stand.unhealthy_reason:
                what = {"witness": witness.name, "found": said}
                logger.warning("A witness did not cosign the log, will ask again", extra=what)
        elif stand.unhealthy_reason:
            logger.info("A witness cosigns the log again", extra={"witness": witness.name})
        stand.unhealthy_reason = said
        return line

    async def _line(self, witness: PolicyWitness, stand: WitnessState, head: Head) -> str:
        for _ in range(2):  # the second time from where it says that it left off
            if stand.size > head.size:
                break
            proof = await asyncio.to_thread(self._history.consistency, stand.size, head.size)
            answer = await self._asker.add(witness.url, stand.size, proof, head.note)
            if answer.verdict is Verdict.COSIGNED:
                line = _own(head.note + answer.text, witness, self._verify)
                stand.size = stand.cosigned = head.size
                return line
            if answer.verdict is not Verdict.STALE or not answer.text:
                break
            stand.size = int(answer.text)
        else:
            raise WitnessUnavailable("it is asked by somebody else as well, at the same time")
        return await self._doubted(
            witness, stand, answer if stand.size <= head.size else None, head
        )

    async def _doubted(
        self, witness: PolicyWitness, stand: WitnessState, answer: Answer | None, head: Head
    ) -> str:
        """Find out whether what it remembers proves anything; always raises."""
        if answer is not None and answer.verdict in (Verdict.UNKNOWN_LOG, Verdict.NOT_SIGNED):
            raise WitnessUnavailable("it does not know this log or its key; give it the log's vkey")
        if answer is not None and answer.verdict is Verdict.MALFORMED:
            raise WitnessUnavailable("it takes the checkpoint for malformed")
        note = await self._asker.remembered(witness.url, head.origin)
        reason, said = await asyncio.to_thread(self._history.judged, note)
        if reason not in PROVEN:
            stand.size = 0
            raise WitnessUnavailable("it refuses a checkpoint that has grown from what it shows")
        by = f"Witness '{witness.name}' has a checkpoint of it that its own key signed"
        self.proven = IntegrityAlert(reason, f"{by}. {said}")
        raise WitnessUnavailable(said)


def _own(note: str, witness: PolicyWitness, verify: Verify) -> str:
    """Return the line of the witness's key; raise `BadCheckpoint` where there is no right one."""
    if cosigned_at(note, witness.key, verify) is None:
        raise BadCheckpoint("it answered with the cosignature of another key than its own")
    _, signatures = parse_note(note)
    mine = [s for s in signatures if (s.name, s.key_id) == (witness.key.name, witness.key.id)]
    return signed_note("", *mine).removeprefix("\n")
