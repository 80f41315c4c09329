"""Answers that many ask for at once: asked once, and again after two seconds."""

import asyncio
from collections.abc import Iterator

import pytest

from taskpass.core.errors import ApiUnavailable
from taskpass.providers.kubernetes.recent import RecentAnswers


class Server:
    """Gives its answers in order, and counts what it was asked."""

    def __init__(self, *answers: str | Exception) -> None:
        self._answers: Iterator[str | Exception] = iter(answers)
        self.asked = 0
        self.seconds = 0.0
        self.recent: RecentAnswers[str] = RecentAnswers(
            lambda: self.seconds, keep=lambda answer: answer != "yes"
        )

    async def _ask(self) -> str:
        self.asked += 1
        answer = next(self._answers)
        await asyncio.sleep(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def get(self, question: str = "q") -> str:
        return await self.recent.get("support", question, self._ask)


async def test_who_asks_at_the_same_moment_gets_one_answer() -> None:
    server = Server("no")

    assert await asyncio.gather(*(server.get() for _ in range(3))) == ["no", "no", "no"]
    assert server.asked == 1


async def test_it_is_asked_again_after_two_seconds() -> None:
    server = Server("no", "yes")

    said = []
    for server.seconds in (0.0, 1.9, 2.0):
        said.append(await server.get())

    assert said == ["no", "no", "yes"]


async def test_another_namespace_asks_for_itself() -> None:
    server = Server("a", "b")

    assert [
        await server.get(),
        await server.recent.get("sales", "q", server._ask),
    ] == ["a", "b"]


async def test_a_question_is_in_flight_once_however_long_it_takes() -> None:
    server = Server("no")
    first = asyncio.ensure_future(server.get())
    await asyncio.sleep(0)
    server.seconds = 60.0

    assert await asyncio.gather(first, server.get()) == ["no", "no"]
    assert server.asked == 1


async def test_what_nobody_waits_for_is_asked_no_longer() -> None:
    ended = asyncio.Event()

    async def ask() -> str:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return "never"

    server = Server()
    asking = asyncio.ensure_future(server.recent.get("support", "q", ask))
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    asking.cancel()

    async with asyncio.timeout(5):
        await ended.wait()


async def test_what_was_read_newer_has_everything_asked_anew() -> None:
    server = Server("a", "b")

    before = await server.get()
    server.recent.forget()

    assert (before, await server.get()) == ("a", "b")


async def test_another_question_is_asked() -> None:
    server = Server("a", "b")

    assert [await server.get("one"), await server.get("two")] == ["a", "b"]


async def test_an_answer_that_is_not_to_be_kept_is_told_to_nobody_else() -> None:
    server = Server("yes", "no")

    assert [await server.get(), await server.get()] == ["yes", "no"]


async def test_an_error_is_raised_to_who_asked_and_asked_again_by_the_next() -> None:
    server = Server(ApiUnavailable("no answer"), "no")

    with pytest.raises(ApiUnavailable, match="no answer"):
        await server.get()

    assert await server.get() == "no"


async def test_who_gives_up_waiting_takes_the_answer_from_nobody() -> None:
    server = Server("no")
    impatient = asyncio.ensure_future(server.get())
    patient = asyncio.ensure_future(server.get())
    await asyncio.sleep(0)

    impatient.cancel()

    assert await patient == "no"
