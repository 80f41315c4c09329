"""Whose token is this? Its fingerprint is computed again and looked for in the log.

The log keeps no secret, only keyed fingerprints: whoever has the log alone can confirm no guess.
"""

from dataclasses import dataclass
from typing import Any

import orjson

from taskpass.core.model.entry import PREFIX, EventType, Result
from taskpass.core.model.grant import SecretValue
from taskpass.ledger.log.entry_filter import Query
from taskpass.ledger.log.signing import fingerprint_key
from taskpass.ledger.verify.proven import VerifiedLog


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


def whois(log: VerifiedLog) -> Owner | None:
    """Return whose the token is, by what `asked_for` found; None for nobody's."""
    events = [(index, orjson.loads(body)) for index, body in log.entries]
    issued = [(i, e) for i, e in events if _is(e, EventType.CREDENTIAL_ISSUE)]
    if not issued:
        return None
    index, event = issued[0]
    cred, task = event["data"]["cred"], event["data"]["task"]
    gone = [
        e["time"]
        for _, e in events
        if _is(e, EventType.CREDENTIAL_REVOKE) and e["data"]["cred"]["ref"] == cred["ref"]
    ]
    return Owner(
        grant=cred["ref"], task=event["subject"], name=cred["name"], agent=task["agent"],
        issued=event["time"], expires=cred["exp"], revoked=gone[-1] if gone else "", index=index,
    )  # fmt: skip


def _is(event: dict[str, Any], kind: EventType) -> bool:
    """Tell whether it is the success of that."""
    outcome: object = event["data"].get("outcome")
    return bool(event["type"] == PREFIX + kind and outcome == Result.SUCCESS)
