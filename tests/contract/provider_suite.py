"""What every provider promises (`ports.CredentialProvider`), as tests.

A test module subclasses `ProviderSuite` and gives a fixture `subject`. Nothing here knows what is
issued; `Subject` says how to tell whether it works.
"""

import json
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from taskpass.core.errors import ProviderRefused, ProviderUnavailable
from taskpass.core.model.grant import Grant, GrantState, Issued, SecretValue, TaskRef
from taskpass.core.model.task import CredentialClass, CredentialRequest
from taskpass.ports.credentials import CredentialProvider

T0 = datetime(2027, 3, 1, 12, 0, tzinfo=UTC)


class SystemClock:
    """The real time, for issuers that have their own."""

    def now(self) -> datetime:
        return datetime.now(UTC)  # noqa: TID251

    def monotonic(self) -> float:
        import time

        return time.monotonic()


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One provider, and how to look at its issuer from outside."""

    provider: CredentialProvider
    credential_class: CredentialClass
    request: CredentialRequest
    refused: CredentialRequest
    """Asks for what the class does not give."""
    refused_field: str
    works: Callable[[Issued], Awaitable[bool]]
    """Whether what was issued opens anything, asked of the issuer."""
    now: Callable[[], datetime]


def new_grant_id() -> str:
    """Return a grant id as the flows draw them."""
    return f"g-{uuid.uuid4().hex}"


def grant_for(subject: Subject, request: CredentialRequest | None = None) -> Grant:
    """Return a grant in state Intent, as it is in the ledger before the provider is called."""
    request = request or subject.request
    grant_id = new_grant_id()
    state = subject.provider.prepare(request, subject.credential_class, grant_id)
    return Grant(
        id=grant_id,
        task=TaskRef(namespace="support", name="ticket-4711", uid=str(uuid.uuid4())),
        generation=1,
        attempt=1,
        phase="",
        name=request.name,
        class_name=subject.credential_class.name,
        provider=subject.credential_class.provider,
        actions=request.actions,
        resources=request.resources,
        location=request.location,
        request_digest="sha256:0",
        intent_digest="sha256:0",
        class_digest="sha256:0",
        policy="AgentPolicy/support/triage",
        policy_digest="sha256:0",
        pod_name="ticket-4711-x7k2p",
        pod_uid=str(uuid.uuid4()),
        service_account="triage-agent",
        service_account_uid=str(uuid.uuid4()),
        lifetime_seconds=900,
        state=GrantState.INTENT,
        provider_state=recorded(state),
        intent_at=T0,
    )


def recorded(state: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a state as the ledger gives it back: through JSON, with sorted keys."""
    back: Mapping[str, Any] = json.loads(json.dumps(_plain(state), sort_keys=True))
    return back


def issued_grant(grant: Grant, issued: Issued) -> Grant:
    """Return the grant as the ledger holds it after the issue."""
    return replace(
        grant,
        state=GrantState.DELIVERED,
        provider_state=recorded(issued.provider_state),
        expires_at=issued.expires_at,
    )


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value


class ProviderSuite:
    """The promises. Each test leaves nothing behind at the issuer."""

    def test_what_is_prepared_differs_by_names_only(self, subject: Subject) -> None:
        first, second = new_grant_id(), new_grant_id()

        one = subject.provider.prepare(subject.request, subject.credential_class, first)
        again = subject.provider.prepare(subject.request, subject.credential_class, first)
        other = subject.provider.prepare(subject.request, subject.credential_class, second)

        assert one == again
        assert json.dumps(_plain(one)).replace(first, second) == json.dumps(_plain(other))

    def test_what_the_class_does_not_give_is_refused_by_field(self, subject: Subject) -> None:
        with pytest.raises(ProviderRefused, match=subject.refused_field):
            subject.provider.prepare(subject.refused, subject.credential_class, new_grant_id())

    def test_a_class_that_can_be_issued_has_no_problem(self, subject: Subject) -> None:
        assert subject.provider.problem(subject.credential_class) is None

    async def test_a_class_that_can_be_issued_now_has_no_obstacles(self, subject: Subject) -> None:
        assert list(await subject.provider.obstacles(subject.credential_class)) == []

    async def test_a_record_that_names_what_is_anothers_takes_its_own_back_and_is_owed(
        self, subject: Subject
    ) -> None:
        mine, anothers = grant_for(subject), grant_for(subject)
        held = [(g, await subject.provider.issue(g, "")) for g in (mine, anothers)]
        (_, first), (_, second) = held
        edited = replace(issued_grant(mine, first), provider_state=recorded(second.provider_state))

        with pytest.raises(ProviderUnavailable, match="not its own"):
            await subject.provider.revoke(edited)

        assert (await subject.works(first), await subject.works(second)) == (False, True)
        for grant, issued in held:
            await subject.provider.revoke(issued_grant(grant, issued))

    async def test_a_record_that_was_emptied_keeps_nothing_from_being_taken_back(
        self, subject: Subject
    ) -> None:
        grant = grant_for(subject)
        issued = await subject.provider.issue(grant, "")

        with pytest.raises(ProviderUnavailable, match="not its own"):
            await subject.provider.revoke(replace(issued_grant(grant, issued), provider_state={}))

        assert not await subject.works(issued)

    async def test_a_credential_has_the_fields_that_were_named(self, subject: Subject) -> None:
        grant = grant_for(subject)

        issued = await subject.provider.issue(grant, "")

        promised = subject.provider.capabilities(subject.credential_class)
        assert set(issued.fields) == promised.fields
        await subject.provider.revoke(issued_grant(grant, issued))

    async def test_what_it_leads_to_is_the_same_while_nothing_changes(
        self, subject: Subject
    ) -> None:
        first = await subject.provider.permissions_digest(subject.credential_class)

        assert first
        assert await subject.provider.permissions_digest(subject.credential_class) == first

    async def test_an_issued_credential_works_on_return(self, subject: Subject) -> None:
        grant = grant_for(subject)

        issued = await subject.provider.issue(grant, "")

        assert await subject.works(issued)
        await subject.provider.revoke(issued_grant(grant, issued))

    async def test_it_lives_no_longer_than_asked(self, subject: Subject) -> None:
        grant = grant_for(subject)

        issued = await subject.provider.issue(grant, "")

        left = issued.expires_at - subject.now()
        assert issued.expires_at.tzinfo is UTC
        assert timedelta(seconds=840) < left <= timedelta(seconds=901)
        await subject.provider.revoke(issued_grant(grant, issued))

    async def test_what_is_remembered_holds_no_secret(self, subject: Subject) -> None:
        grant = grant_for(subject)

        issued = await subject.provider.issue(grant, "")

        secret = issued.fields[issued.primary]
        assert isinstance(secret, SecretValue)
        raw = secret.reveal().decode()
        assert raw not in json.dumps(_plain(issued.provider_state))
        assert raw not in issued.credential_ref
        assert raw not in repr(issued)
        assert issued.credential_ref
        await subject.provider.revoke(issued_grant(grant, issued))

    async def test_a_revoked_credential_does_not_work(self, subject: Subject) -> None:
        grant = grant_for(subject)
        issued = await subject.provider.issue(grant, "")

        await subject.provider.revoke(issued_grant(grant, issued))

        assert not await subject.works(issued)
        assert grant.id not in await subject.provider.inventory()

    async def test_revoking_twice_is_success(self, subject: Subject) -> None:
        grant = grant_for(subject)
        issued = await subject.provider.issue(grant, "")
        await subject.provider.revoke(issued_grant(grant, issued))

        await subject.provider.revoke(issued_grant(grant, issued))

        assert not await subject.works(issued)

    async def test_revoking_an_intent_that_made_nothing_is_success(self, subject: Subject) -> None:
        grant = grant_for(subject)

        await subject.provider.revoke(grant)

        assert grant.id not in await subject.provider.inventory()

    async def test_the_intent_alone_suffices_to_revoke_what_was_issued(
        self, subject: Subject
    ) -> None:
        grant = grant_for(subject)
        issued = await subject.provider.issue(grant, "")

        await subject.provider.revoke(grant)  # the result was never recorded

        assert not await subject.works(issued)
        assert grant.id not in await subject.provider.inventory()

    async def test_a_second_issue_of_a_grant_leaves_one_revocation(self, subject: Subject) -> None:
        grant = grant_for(subject)
        first = await subject.provider.issue(grant, "")
        second = await subject.provider.issue(grant, "")

        await subject.provider.revoke(issued_grant(grant, second))

        assert not await subject.works(first)
        assert not await subject.works(second)

    async def test_revoking_one_leaves_the_other(self, subject: Subject) -> None:
        grant, other = grant_for(subject), grant_for(subject)
        issued = await subject.provider.issue(grant, "")
        kept = await subject.provider.issue(other, "")

        await subject.provider.revoke(issued_grant(grant, issued))

        assert await subject.works(kept)
        await subject.provider.revoke(issued_grant(other, kept))

    async def test_what_is_held_is_not_gone_and_what_somebody_removed_is(
        self, subject: Subject
    ) -> None:
        grant = grant_for(subject)
        issued = issued_grant(grant, await subject.provider.issue(grant, ""))

        there = (await subject.provider.inventory()).get(grant.id)
        await subject.provider.undo(grant.id, recorded(there or {}))
        after = (await subject.provider.inventory()).get(grant.id)

        assert not subject.provider.is_gone(issued, there)
        assert subject.provider.is_gone(issued, after)

    async def test_a_grant_answers_for_all_that_was_made_of_it(self, subject: Subject) -> None:
        grant = grant_for(subject)
        issued = issued_grant(grant, await subject.provider.issue(grant, ""))

        found = (await subject.provider.inventory())[grant.id]

        assert subject.provider.surplus(grant, found) is None
        assert subject.provider.surplus(issued, found) is None
        await subject.provider.revoke(issued)

    async def test_what_nobody_remembers_is_found_and_undone(self, subject: Subject) -> None:
        grant = grant_for(subject)
        issued = await subject.provider.issue(grant, "")

        found = await subject.provider.inventory()
        await subject.provider.undo(grant.id, recorded(found[grant.id]))

        assert not await subject.works(issued)
        assert grant.id not in await subject.provider.inventory()
        await subject.provider.undo(grant.id, recorded(found[grant.id]))
