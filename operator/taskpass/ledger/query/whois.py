"""Whose token is this? Its fingerprint is computed again and looked for in the log.

A provider may give one value for several grants, so there may be several who had it.

The log keeps no secret, only keyed fingerprints: whoever has the log alone can confirm no guess.
"""

from dataclasses import dataclass
from typing import Any

import orjson

from taskpass.core.errors import UsageError
from taskpass.core.model.entry import PREFIX, EventType, Result
from taskpass.core.model.grant import SecretValue
from taskpass.ledger.log.entry_filter import Query
from taskpass.ledger.log.signing import SeedSigner, fingerprint_key
from taskpass.ledger.verify.log import Key, Report
from taskpass.ledger.verify.proven import VerifiedLog
from taskpass.tlog.checkpoint import PublicKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """What the log tells of one credential."""

    grant: str
    task: str
    name: str
    agent: str
    issued: str
    expires: str
    revoked: str
    """When the provider had proven that it is gone; '' where it is not known to be."""
    index: int
    """Of the entry that tells of its issue."""


def asked_for(token: bytes, seeds: list[bytes]) -> Query:
    """Return the question for a token, by the seeds that the log was signed with."""
    wanted = frozenset(SecretValue(token).fingerprint(fingerprint_key(seed)) for seed in seeds)
    return Query(type="credential.", fingerprints=wanted)


def keys_missing(report: Report, seeds: list[bytes]) -> list[Key]:
    """Return the log's keys of which no seed was given: what was issued under them is not found.

    Raises:
        UsageError: A seed is of a key that the log never had.

    """
    signers = [SeedSigner(seed) for seed in seeds]
    given = {PublicKey(report.origin, signer.public_key).vkey() for signer in signers}
    if strange := given - {key.vkey for key in report.keys}:
        raise UsageError(
            f"The log was never signed with the key {min(strange)}; name one of its own"
        )
    return [key for key in report.keys if key.vkey not in given]


def whois(log: VerifiedLog) -> list[Owner]:
    """Return whose the token is or was, by what `asked_for` found: who still holds it first."""
    events = [(index, orjson.loads(body)) for index, body in log.entries]
    gone = {
        event["data"]["cred"]["ref"]: event["time"]
        for _, event in events
        if _is(event, EventType.CREDENTIAL_REVOKE)
    }
    found = [
        _owner(index, event, gone)
        for index, event in events
        if _is(event, EventType.CREDENTIAL_ISSUE)
    ]
    return sorted(found, key=lambda owner: (owner.revoked != "", owner.index))


def _owner(index: int, event: dict[str, Any], gone: dict[str, str]) -> Owner:
    cred = event["data"]["cred"]
    return Owner(
        grant=cred["ref"], task=event["subject"], name=cred["name"],
        agent=event["data"]["task"]["agent"], issued=event["time"], expires=cred["exp"],
        revoked=gone.get(cred["ref"], ""), index=index,
    )  # fmt: skip


def _is(event: dict[str, Any], kind: EventType) -> bool:
    """Tell whether it is the success of that."""
    outcome: object = event["data"].get("outcome")
    return bool(event["type"] == PREFIX + kind and outcome == Result.SUCCESS)
