"""Who may read the log: what is asked of the API server, and what its answers mean."""

from collections.abc import Callable
from typing import Any

import pytest

from taskpass.core.errors import ApiUnavailable, EvaluationFailed, Forbidden, Unauthenticated
from taskpass.server.access import AUDIENCE, KEEP_SECONDS, LOG, MOST, LogAccess


class FakeApi:
    """Answers reviews; `tokens` are those that it knows, `may` who has which right."""

    def __init__(self) -> None:
        self.tokens = {"t-jane": ("jane", ["auditors"])}
        self.may = {("jane", "log")}
        self.audiences = [AUDIENCE]
        self.sent: list[dict[str, Any]] = []
        self.fails: Exception | None = None
        self.unknown = ""
        self.extra: dict[str, list[str]] = {}
        self.answers_in: Callable[[], None] = lambda: None

    async def create(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        self.sent.append(body)
        self.answers_in()
        if self.fails is not None:
            raise self.fails
        spec = body["spec"]
        if body["kind"] == "TokenReview":
            name, groups = self.tokens.get(spec["token"], ("", []))
            user = {"username": name, "groups": groups, "extra": self.extra}
            known = bool(name) and set(spec["audiences"]) & set(self.audiences)
            found = {"authenticated": bool(known), "user": user, "audiences": self.audiences}
            return {"status": found if known else {"authenticated": False}}
        if self.unknown:
            return {"status": {"allowed": False, "evaluationError": self.unknown}}
        what = spec["resourceAttributes"]
        return {"status": {"allowed": (spec["user"], what["subresource"]) in self.may}}


class Clock:
    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def api() -> FakeApi:
    return FakeApi()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def access(api: FakeApi, clock: Clock) -> LogAccess:
    client: Any = api
    return LogAccess(client, clock)


async def test_who_has_the_right_may_read(access: LogAccess, api: FakeApi) -> None:
    await access.check("t-jane", LOG)

    token, right = (body["spec"] for body in api.sent)
    assert token["audiences"] == ["taskpass-audit"]
    assert right["user"] == "jane"
    assert right["groups"] == ["auditors"]
    assert right["resourceAttributes"] == {
        "group": "taskpass.dev", "resource": "auditanchors", "name": "taskpass", "verb": "get",
        "subresource": "log",
    }  # fmt: skip


async def test_a_token_of_nobody_is_refused_and_no_right_is_asked_for(
    access: LogAccess, api: FakeApi
) -> None:
    with pytest.raises(Unauthenticated, match="has run out, or is not for audience"):
        await access.check("forged", LOG)

    assert [body["kind"] for body in api.sent] == ["TokenReview"]


async def test_a_token_for_another_audience_is_refused(access: LogAccess, api: FakeApi) -> None:
    """Also where the API server does not heed audiences: it then answers with its own."""
    api.audiences = ["https://kubernetes.default.svc"]

    with pytest.raises(Unauthenticated):
        await access.check("t-jane", LOG)


async def test_a_user_without_the_right_is_told_which(access: LogAccess, api: FakeApi) -> None:
    api.may.clear()

    with pytest.raises(Forbidden, match="get auditanchors/log 'taskpass'"):
        await access.check("t-jane", LOG)
    with pytest.raises(Forbidden, match="get auditanchors 'taskpass'"):
        await access.check("t-jane", "")


async def test_an_answer_counts_for_ten_seconds_and_no_longer(
    access: LogAccess, api: FakeApi, clock: Clock
) -> None:
    await access.check("t-jane", LOG)
    api.tokens.clear()
    clock.at += KEEP_SECONDS - 0.1
    await access.check("t-jane", LOG)
    clock.at += 0.1

    with pytest.raises(Unauthenticated):
        await access.check("t-jane", LOG)
    assert len(api.sent) == 3


async def test_the_ten_seconds_are_from_when_it_was_asked(
    access: LogAccess, api: FakeApi, clock: Clock
) -> None:
    """An answer that was long on its way is of a right as it was then."""

    def slow() -> None:
        clock.at += KEEP_SECONDS / 2

    api.answers_in = slow
    await access.check("t-jane", LOG)
    api.tokens.clear()

    with pytest.raises(Unauthenticated):
        await access.check("t-jane", LOG)


async def test_what_else_a_token_is_known_by_is_asked_about_too(
    access: LogAccess, api: FakeApi
) -> None:
    """An authorizer may allow a token less than its user: one of certain scopes, say."""
    api.extra = {"scopes.authorization.openshift.io": ["user:info"]}
    await access.check("t-jane", LOG)

    assert api.sent[1]["spec"]["extra"] == api.extra


async def test_a_no_is_kept_as_long_and_one_right_is_not_another(
    access: LogAccess, api: FakeApi
) -> None:
    with pytest.raises(Forbidden):
        await access.check("t-jane", "")
    with pytest.raises(Forbidden):
        await access.check("t-jane", "")

    assert len(api.sent) == 2
    await access.check("t-jane", LOG)


async def test_an_api_server_that_is_away_is_neither_yes_nor_kept(
    access: LogAccess, api: FakeApi
) -> None:
    api.fails = ApiUnavailable("no answer")
    with pytest.raises(ApiUnavailable):
        await access.check("t-jane", LOG)
    api.fails = None

    await access.check("t-jane", LOG)


async def test_a_right_that_the_api_server_cannot_tell_is_neither_yes_nor_no_nor_kept(
    access: LogAccess, api: FakeApi
) -> None:
    api.unknown = "no RBAC policy matched"

    with pytest.raises(EvaluationFailed, match="could not tell whether the user may read"):
        await access.check("t-jane", LOG)
    api.unknown = ""
    await access.check("t-jane", LOG)


async def test_many_tokens_do_not_fill_the_memory_and_none_is_in_it(access: LogAccess) -> None:
    for number in range(MOST + 50):
        with pytest.raises(Unauthenticated):
            await access.check(f"forged-{number}", LOG)

    assert len(access._kept) == MOST
    assert "forged" not in repr(access._kept)
