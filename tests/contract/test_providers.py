"""The fake provider keeps the promises that the flows' tests rely on."""

import asyncio
from datetime import datetime

import pytest

from taskpass.core.errors import ProviderRefused, ProviderUnavailable
from taskpass.core.model.grant import Issued
from taskpass.core.model.task import CredentialClass, CredentialRequest
from tests.contract.provider_suite import T0, ProviderSuite, Subject, grant_for, issued_grant
from tests.fake_provider import CANARY, Failure, FakeProvider


class StoppedClock:
    def now(self) -> datetime:
        return T0

    def monotonic(self) -> float:
        return 0.0


@pytest.fixture
def provider() -> FakeProvider:
    return FakeProvider(StoppedClock())


@pytest.fixture
def subject(provider: FakeProvider) -> Subject:
    async def works(issued: Issued) -> bool:
        return provider.works(issued.fields["token"].reveal())

    request = CredentialRequest(
        name="tickets", class_name="tickets", actions=("read",), resources=("fake/1",)
    )
    return Subject(
        provider=provider,
        credential_class=CredentialClass(
            name="tickets", uid="c", generation=1, provider="Fake", config={}, actions=("read",)
        ),
        request=request,
        refused=CredentialRequest(
            name="tickets", class_name="tickets", actions=("read",), resources=("real/1",)
        ),
        refused_field="resources",
        works=works,
        now=lambda: T0,
    )


class TestFakeProvider(ProviderSuite):
    async def test_every_secret_is_a_canary(self, subject: Subject) -> None:
        issued = await subject.provider.issue(grant_for(subject), "")

        assert issued.fields["token"].reveal().startswith(CANARY.encode())

    async def test_unavailable_does_nothing(self, subject: Subject, provider: FakeProvider) -> None:
        provider.issue_failures = [Failure.UNAVAILABLE]

        with pytest.raises(ProviderUnavailable):
            await provider.issue(grant_for(subject), "")

        assert not provider.live

    async def test_a_lost_answer_leaves_something(
        self, subject: Subject, provider: FakeProvider
    ) -> None:
        grant = grant_for(subject)
        provider.issue_failures = [Failure.ANSWER_LOST]

        with pytest.raises(ProviderUnavailable):
            await provider.issue(grant, "")

        assert list(provider.live) == [grant.id]

    async def test_a_refusal_makes_nothing(self, subject: Subject, provider: FakeProvider) -> None:
        provider.issue_failures = [Failure.REFUSED]

        with pytest.raises(ProviderRefused):
            await provider.issue(grant_for(subject), "")

        assert not provider.live

    async def test_a_hanging_issue_ends_when_released(
        self, subject: Subject, provider: FakeProvider
    ) -> None:
        grant = grant_for(subject)
        provider.issue_failures = [Failure.HANG]
        call = asyncio.create_task(provider.issue(grant, ""))
        while provider.calls != [("issue", grant.id)]:
            await asyncio.sleep(0)
        assert not provider.live

        provider.release.set()
        await call

        assert list(provider.live) == [grant.id]

    async def test_a_failed_revocation_can_be_repeated(
        self, subject: Subject, provider: FakeProvider
    ) -> None:
        grant = grant_for(subject)
        issued = await provider.issue(grant, "")
        provider.revoke_failures = [Failure.UNAVAILABLE, Failure.ANSWER_LOST]

        for _ in range(2):
            with pytest.raises(ProviderUnavailable):
                await provider.revoke(issued_grant(grant, issued))
        await provider.revoke(issued_grant(grant, issued))

        assert not provider.live
