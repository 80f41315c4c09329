"""The audit log as others remember it: the cluster's anchor, and witnesses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from taskpass.core.audit.anchor import AnchorReason, AnchorReset, Head
from taskpass.core.model.conditions import Finding
from taskpass.tlog.witness_protocol import Answer


@dataclass(frozen=True, slots=True, kw_only=True)
class AnchorState:
    """What the cluster remembers of the log."""

    uid: str
    """Of the object that remembers."""
    generation: int
    head: Head | None
    """None: nothing yet."""
    status: Mapping[str, Any]
    """As the API has it."""
    forgotten: AnchorReset | None = None
    """What a person had it forget before."""


class LogAnchor(Protocol):
    """The log's memory outside of the log: it only grows."""

    async def read(self) -> AnchorState:
        """Return what is remembered; `NotFound` where nothing there could remember."""

    async def write(
        self, anchored: AnchorState, head: Head | None, finding: Finding,
        figures: Mapping[str, int], now: datetime,
    ) -> None:  # fmt: skip
        """Say what was found, and remember the head where one is given.

        Raises:
            Invalid: What is remembered is more, or another log.

        """


class LogHistory(Protocol):
    """The log, as it is stored.

    What is stored is held against the log's own head first. Every method raises `NotTheLog` where
    it is another, or where what is to be told of it does not follow from that head.
    """

    def compared(self, remembered: Head | None) -> tuple[Head, AnchorReason, str]:
        """Return its head, what is true of it, and a sentence. Blocks."""

    def head(self) -> Head:
        """Return its head. Blocks."""

    def consistency(self, old: int, size: int) -> list[bytes]:
        """Return the proof that its first `size` entries begin with the first `old`. Blocks."""

    def judged(self, note: str) -> tuple[AnchorReason, str]:
        """Return what a checkpoint that others have shows of it, and a sentence. Blocks.

        Raises:
            BadCheckpoint: It is none, or none of the log's keys has signed it: it shows nothing.

        """

    def cosigned(self) -> str:
        """Return the last checkpoint with lines of witnesses; '' for none. Blocks."""


class WitnessAsker(Protocol):
    """Witnesses, over the network (C2SP tlog-witness)."""

    async def add(self, url: str, old: int, proof: Sequence[bytes], note: str) -> Answer:
        """Have a checkpoint cosigned.

        Raises:
            WitnessUnavailable: It did not answer, or with something that the protocol has not.

        """

    async def remembered(self, url: str, origin: str) -> str:
        """Return the checkpoint that it last cosigned of a log; raises as `add` does."""
