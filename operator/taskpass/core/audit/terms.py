"""What entries say alike of a thing: of a grant, an approval, a savepoint, a time, and of words.

What lies beside the log is held against it in just these terms.
"""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import orjson

from taskpass.core.lifecycle.approval import ApprovalRequest
from taskpass.core.lifecycle.progress import Savepoint
from taskpass.core.model.grant import Grant
from taskpass.core.model.notice import Notice


def moment(time: datetime) -> str:
    """Return a time as the log writes it: RFC 3339, UTC, microseconds, `Z`."""
    return time.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def is_time_of(said: str, event: Mapping[str, Any]) -> bool:
    """Tell whether a time, as `moment` says it, is that of an entry.

    Where the clock had gone back the entry's is later than what is remembered, and it says which
    that was; a version of before said only that it is no later.
    """
    data = event["data"]
    if "clk" not in data:
        return bool(said == event["time"])
    return bool(said == data["at"]) if "at" in data else bool(said <= event["time"])


def of_grant(grant: Grant) -> dict[str, Any]:
    """Return what every entry about a grant says of it, as the grant is then."""
    cred: dict[str, Any] = {
        "ref": grant.id, "provider": grant.provider, "class": grant.class_name,
        "name": grant.name, "actions": list(grant.actions), "resources": list(grant.resources),
        "ttl": grant.lifetime_seconds, "record": _digest(_rest(grant)),
    }  # fmt: skip
    if grant.location:
        cred["location"] = grant.location
    if grant.approval is not None:
        cred["approval"] = grant.approval.digest
    if grant.renews:
        cred |= {"renews": grant.renews, "renewal_n": grant.renewals}
    if grant.expires_at is not None:
        cred |= {"exp": moment(grant.expires_at), "id": grant.credential_ref}
        cred["fp"] = grant.fingerprint
    task: dict[str, Any] = {
        "uid": grant.task.uid, "generation": grant.generation, "phase": grant.phase,
        "agent": grant.service_account, "pod_uid": grant.pod_uid, "attempt": grant.attempt,
    }  # fmt: skip
    if grant.chain:
        cred["within"] = grant.within
        task["chain"] = list(grant.chain)
    return {
        "cred": cred,
        "task": task,
        "policy": {"name": grant.policy, "digest": grant.policy_digest},
        "digests": {
            "intent": grant.intent_digest, "request": grant.request_digest,
            "class": grant.class_digest,
        },
    }  # fmt: skip


def _rest(grant: Grant) -> dict[str, Any]:
    """Return what is remembered of a grant and not told in its entries: revocation needs it.

    What has its default is left out, so that a later version may add to it. Times are left out: an
    entry that is told again would say another thing.
    """
    approval = grant.approval
    rest = {
        "pod": grant.pod_name, "service_account_uid": grant.service_account_uid,
        "provider_state": grant.provider_state, "depth": grant.max_depth,
        "children": grant.max_children, "renewals": grant.renewals, "within": grant.within,
        "ref": grant.credential_ref, "fp": grant.fingerprint,
    }  # fmt: skip
    if approval is not None:
        rest["approval"] = [approval.nonce, moment(approval.until), *approval.given_by]
    return {name: value for name, value in rest.items() if value}


def _digest(value: object) -> str:
    """Return the first 16 bytes of the SHA-256 of a value's JSON, in hex."""
    text = orjson.dumps(value, default=dict, option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(text).hexdigest()[:32]


def digest_of_text(text: str) -> str:
    """Return what an entry keeps of a sentence of ours that may name somebody."""
    return _digest(text)


def notice_digest(notice: Notice) -> str:
    """Return what an entry keeps of the words that people are told with it."""
    words = [notice.reason, notice.message, notice.severity.value, notice.on_pod]
    return _digest(words)


def of_asked(asked: ApprovalRequest) -> dict[str, str]:
    """Return what every entry about an approval says of what was asked."""
    what = {"credential": asked.name, "branch": asked.branch}
    return {"digest": asked.digest} | {key: value for key, value in what.items() if value}


def of_saved(savepoint: Savepoint | None) -> dict[str, str] | None:
    """Return what an entry says of a savepoint, but for its time."""
    if savepoint is None:
        return None
    return {
        "step": savepoint.step, "sha256": savepoint.sha256,
        "intent": savepoint.intent_digest, "policies": savepoint.policies_digest,
    }  # fmt: skip
