"""Whether a pod is gone is what the API server says of that very pod."""

from typing import Any

import pytest

from taskpass.core.errors import ApiError, ApiUnavailable, Forbidden, NotFound
from taskpass.kube.writers.pods import KubePods

PATH = "/api/v1/namespaces/support/pods/agent"


class Answering:
    """An API client with one answer."""

    def __init__(self, answer: dict[str, Any] | Exception) -> None:
        self.answer = answer
        self.asked: list[str] = []

    async def get(self, path: str) -> dict[str, Any]:
        self.asked.append(path)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def missing(*, named: bool) -> NotFound:
    error = NotFound("404")
    error.named = named
    return error


@pytest.mark.parametrize(
    ("answer", "gone"),
    [
        ({"metadata": {"uid": "uid-1"}}, False),
        ({"metadata": {"uid": "uid-2"}}, True),
        (missing(named=True), True),
    ],
)
async def test_a_pod_is_gone_where_there_is_none_or_another(answer: Any, gone: bool) -> None:
    client = Answering(answer)

    assert await KubePods(client).is_gone("support", "agent", "uid-1") is gone  # type: ignore[arg-type]
    assert client.asked == [PATH]


@pytest.mark.parametrize(
    "answer", [missing(named=False), Forbidden("403"), ApiUnavailable("no answer")]
)
async def test_an_answer_that_is_not_about_the_pod_says_nothing_of_it(answer: Exception) -> None:
    with pytest.raises(ApiError):
        await KubePods(Answering(answer)).is_gone("support", "agent", "uid-1")  # type: ignore[arg-type]
