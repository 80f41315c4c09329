"""Whose token is this? Its fingerprint is computed again and looked for in the log.

The log keeps no secret, only keyed fingerprints: whoever has the log alone can confirm no guess.
"""

from dataclasses import dataclass
from typing import Any

import orjson

from taskpass.core.audit import EventType
from taskpass.core.credential import SecretValue
from taskpass.ledger.keys import fingerprint_key
from taskpass.ledger.reader import LogReader
from taskpass.ledger.search import Query, search


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


def whois(log: LogReader, token: bytes, seeds: list[bytes]) -> Owner | None:
    """Return whose the token is, by the seeds that the log was signed with; None for nobody's."""
    wanted = {SecretValue(token).fingerprint(fingerprint_key(seed)) for seed in seeds}
    for index, body in search(log, Query(type=EventType.CREDENTIAL_ISSUE, outcome="success")):
        if not any(each.encode() in body for each in wanted):
            continue
        event = orjson.loads(body)
        if event["data"]["cred"].get("fp") in wanted:
            return _owner(log, index, event)
    return None


def _owner(log: LogReader, index: int, event: dict[str, Any]) -> Owner:
    cred, task = event["data"]["cred"], event["data"]["task"]
    gone = Query(type=EventType.CREDENTIAL_REVOKE, cred=cred["ref"], outcome="success")
    ends = [orjson.loads(body)["time"] for _, body in search(log, gone)]
    return Owner(
        grant=cred["ref"], task=event["subject"], name=cred["name"], agent=task["agent"],
        issued=event["time"], expires=cred["exp"], revoked=ends[-1] if ends else "", index=index,
    )  # fmt: skip
