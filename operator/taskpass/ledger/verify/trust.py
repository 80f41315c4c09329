"""Who else remembers a log that was verified, and whether that is enough.

Level 0: nobody that the reader asked. 1: the cluster it ran in. 2: a second party, which is
witnesses whose keys the reader names, and that are enough. A checkpoint that the reader gives is
compared as well, and raises no level: nobody but the reader knows where it was kept.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from taskpass.ledger.log.reader import TamperEvidence
from taskpass.ledger.verify.cosignatures import Cosigner, cosigners
from taskpass.ledger.verify.log import Report
from taskpass.tlog.cosignature import WitnessKey
from taskpass.tlog.trust_policy import TrustPolicy

SKEW_SECONDS = 300
"""How far a witness's clock may be ahead of ours before its cosignature counts as not fresh."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What the reader asks for beyond a log that holds together."""

    policy: TrustPolicy
    """Whose keys count; its quorum is demanded."""
    least: int = 0
    """How many witnesses are demanded, whatever the quorum."""
    max_age: int | None = None
    """In seconds; older cosignatures do not count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """What was found."""

    level: int
    cosigners: tuple[Cosigner, ...]
    """Witnesses that the reader names, each with the newest that it has cosigned."""
    missing: str | None
    """Why it is not enough; None where it is."""


def checked(
    report: Report, demand: Demand, *, kept: Sequence[str], anchored: bool, now: int
) -> tuple[Report, Trust]:
    """Hold a verified log against what is demanded; `kept` are the reader's own checkpoints.

    `anchored` says that a checkpoint of the cluster's memory was among what it was held against.
    The report that is returned says that the key is known where the policy names it.

    Raises:
        TamperEvidence: No key of the log is one that the policy names, or a cosignature is wrong.

    """
    policy = demand.policy
    if policy.logs:
        known = {key.vkey for key in report.keys}
        if not any(log.vkey() in known for log in policy.logs):
            raise TamperEvidence(f"none of the keys of '{report.origin}' is one the policy names")
        report = replace(report, pinned=True)
    notes = [note for note in (*kept, report.cosigned) if note]
    keys = [each.key for each in policy.witnesses.values()]
    seen = cosigners(notes, keys)
    fresh = {key for key in keys if _is_fresh(key, seen, demand.max_age, now)}
    missing = "; ".join(_missing(demand, fresh)) or None
    level = 2 if fresh and missing is None else 1 if anchored else 0
    return report, Trust(level=level, cosigners=seen, missing=missing)


def _is_fresh(key: WitnessKey, seen: Sequence[Cosigner], max_age: int | None, now: int) -> bool:
    times = [each.time for each in seen if each.key == key]
    return any(max_age is None or -SKEW_SECONDS <= now - time <= max_age for time in times)


def _missing(demand: Demand, fresh: set[WitnessKey]) -> Iterator[str]:
    young = "" if demand.max_age is None else f" within {demand.max_age} s"
    if not demand.policy.met(fresh):
        yield f"the policy's quorum '{demand.policy.quorum}' has not cosigned it{young}"
    if len(fresh) < demand.least:
        yield f"{len(fresh)} of {demand.least} witnesses have cosigned it{young}"
