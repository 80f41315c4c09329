"""What a grant is of never changes: an entry that says otherwise makes the log one of no reader."""

from dataclasses import replace
from typing import Any

import pytest

from taskpass.core.audit import events as audit
from taskpass.core.audit.grant_history import GrantAltered, GrantHistory, Step, step_of
from taskpass.core.model.entry import PREFIX, Entry
from taskpass.core.model.grant import Grant, GrantState
from tests.unit.ledger.objects import GRANT, NOW, notice

CHILD = replace(GRANT, location="eu", renews="g-1", renewals=1, chain=("root",), within="g-9")


def step(told: Entry) -> Step:
    event = {"type": PREFIX + told.type, "time": "", "subject": str(told.task), "data": told.data}
    found = step_of(1, event)
    assert found is not None
    return found


def begun(grant: Grant) -> GrantHistory:
    first = step(audit.issue_intent(grant, NOW))
    return GrantHistory(first.index, first.state, first.time, first.task, first.data)


def issued(grant: Grant) -> Grant:
    return replace(
        grant, state=GrantState.ISSUED, expires_at=NOW, credential_ref="jti-1", fingerprint="fp",
        provider_state={**grant.provider_state, "uid": "found out meanwhile"},
    )  # fmt: skip


def revoking(grant: Grant, reason: str = "PodEnded") -> Grant:
    return replace(grant, state=GrantState.REVOKING, revoke_reason=reason)


@pytest.mark.parametrize("grant", [GRANT, CHILD], ids=["of a root", "of a child"])
def test_what_the_issue_finds_out_is_told_with_its_result_and_stays(grant: Grant) -> None:
    after = begun(grant).after(step(audit.issue_result(issued(grant), NOW, notice())))
    after = after.after(step(audit.delivered(issued(grant), NOW, "secret-uid")))
    after = after.after(step(audit.revoke_intent(revoking(issued(grant)), NOW)))

    ended = after.after(step(audit.revoke_result(revoking(issued(grant)), NOW, None)))

    assert ended.state is GrantState.REVOKED


@pytest.mark.parametrize("grant", [GRANT, CHILD], ids=["of a root", "of a child"])
def test_what_failed_to_be_issued_is_revoked_as_it_was_begun(grant: Grant) -> None:
    owed = begun(grant).after(step(audit.revoke_intent(revoking(grant), NOW)))

    assert owed.state is GrantState.REVOKING


@pytest.mark.parametrize(
    ("edit", "told"),
    [({"expires_at": None}, "cred.exp, cred.fp, cred.id"), ({"location": ""}, "cred.location"),
     ({"renews": ""}, "cred.renewal_n, cred.renews"), ({"chain": ()}, "cred.within, task.chain"),
     ({"task": replace(GRANT.task, name="other")}, "subject"),
     ({"task": replace(GRANT.task, uid="other")}, "task.uid"),
     ({"provider_state": {}}, "cred.record"), ({"actions": ("evil",)}, "cred.actions")],
    ids=str,
)  # fmt: skip
def test_what_a_later_entry_leaves_out_or_says_otherwise_is_altered(
    edit: dict[str, Any], told: str
) -> None:
    history = begun(CHILD).after(step(audit.issue_result(issued(CHILD), NOW, notice())))
    edited = replace(revoking(issued(CHILD)), **edit)

    with pytest.raises(GrantAltered, match=told):
        history.after(step(audit.revoke_intent(edited, NOW)))


@pytest.mark.parametrize(
    ("edit", "told"),
    [({"location": "evil"}, "cred.location"), ({"chain": ("somebody",)}, "task.chain"),
     ({"renews": "g-1"}, "cred.renews"), ({"expires_at": NOW}, "cred.exp"),
     ({"provider_state": {"service_account": "somebody's"}}, "cred.record")],
    ids=str,
)  # fmt: skip
def test_what_appears_where_nothing_was_found_out_is_altered(
    edit: dict[str, Any], told: str
) -> None:
    edited = replace(revoking(GRANT), **edit)

    with pytest.raises(GrantAltered, match=told):
        begun(GRANT).after(step(audit.revoke_intent(edited, NOW)))


def test_what_an_earlier_version_did_not_write_may_be_written_by_a_later_one() -> None:
    first = begun(GRANT)
    cred = {key: value for key, value in first.data["cred"].items() if key != "record"}
    before = replace(first, data={**first.data, "cred": cred})

    assert before.after(step(audit.revoke_intent(revoking(GRANT), NOW)))


def test_why_it_was_revoked_is_told_alike_with_its_end() -> None:
    owed = begun(GRANT).after(step(audit.revoke_intent(revoking(GRANT), NOW)))

    with pytest.raises(GrantAltered, match="reason"):
        owed.after(step(audit.revoke_result(revoking(GRANT, "KillSwitch"), NOW, None)))
