"""Who else remembers a log that was verified, and whether that is enough.

Level 0: nobody that the reader asked. 1: the cluster it ran in. 2: a second party, which is
witnesses whose keys the reader names, and that are enough. A checkpoint that the reader gives is
compared as well, and raises no level: nobody but the reader knows where it was kept.
"""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace

from taskpass.core.errors import UsageError
from taskpass.ledger.log.reader import TamperEvidence
from taskpass.ledger.verify.cosignatures import Cosigner, cosigners
from taskpass.ledger.verify.log import Report
from taskpass.tlog.checkpoint import parse_vkey
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
    seen: int
    """Up to which size enough of them have: none has seen more than it cosigned. 0 for none."""
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
        UsageError: Two of the witnesses have one key, or one has the log's own.

    """
    policy = demand.policy
    if policy.logs:
        known = {key.vkey for key in report.keys}
        if not any(log.vkey() in known for log in policy.logs):
            raise TamperEvidence(f"none of the keys of '{report.origin}' is one the policy names")
        report = replace(report, pinned=True)
    notes = [note for note in (*kept, report.cosigned) if note]
    keys = [each.key for each in policy.witnesses.values()]
    _check_apart(keys, report)
    seen = cosigners(notes, keys)
    sizes = {c.key: c.size for c in seen if _is_fresh(c, demand.max_age, now)}
    missing = "; ".join(_missing(demand, sizes.keys())) or None
    level = 2 if sizes and missing is None else 1 if anchored else 0
    return report, Trust(
        level=level, cosigners=seen, seen=_size_seen(demand, sizes), missing=missing
    )


def _check_apart(keys: Sequence[WitnessKey], report: Report) -> None:
    """Find out that whoever counts as another is another: by the key, whatever it is called."""
    own = {parse_vkey(key.vkey).raw for key in report.keys}
    met: dict[bytes, WitnessKey] = {}
    for key in keys:
        if key.raw in own:
            raise UsageError(f"The witness '{key.name}' has the log's own key: it is nobody else")
        if met.setdefault(key.raw, key) != key:
            raise UsageError(
                f"The witnesses '{met[key.raw].name}' and '{key.name}' have one key: they are one"
            )


def _size_seen(demand: Demand, sizes: Mapping[WitnessKey, int]) -> int:
    """Return the largest size that enough have seen: what was cosigned later has it as well."""
    for size in sorted(sizes.values(), reverse=True):
        if not any(_missing(demand, {key for key, there in sizes.items() if there >= size})):
            return size
    return 0


def _is_fresh(seen: Cosigner, max_age: int | None, now: int) -> bool:
    return max_age is None or -SKEW_SECONDS <= now - seen.time <= max_age


def _missing(demand: Demand, fresh: Set[WitnessKey]) -> Iterator[str]:
    young = "" if demand.max_age is None else f" within {demand.max_age} s"
    if not demand.policy.met(fresh):
        yield f"the policy's quorum '{demand.policy.quorum}' has not cosigned it{young}"
    if len(fresh) < demand.least:
        yield f"{len(fresh)} of {demand.least} witnesses have cosigned it{young}"
