"""Wait for providers in such a way that a slow one keeps nothing else waiting.

A provider may take half a minute for an answer. Meanwhile other tasks have their turn, and what
this task holds of other providers is taken back when that is due: a revocation that takes long goes
on beside the look that began it, and an issue is given up where nothing is to be issued any more.
So many wait at a time and no more (`Ports.room`): beyond that nothing is begun that could have to.
Revocations have no such limit, as there are no more of them than what was issued.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from taskpass.core.errors import GivenUp
from taskpass.core.model.grant import Grant, Issued
from taskpass.core.model.key import Key
from taskpass.flows.context import Ports

IN_PLACE_SECONDS = 0.5
"""How long a look at a task waits for an answer before a revocation goes on beside it, or an issue
leaves its place in the queue to another task. A provider that is well answers sooner."""
READ_SECONDS = 10.0
"""How long what only reads may take."""
TIME_SECONDS = 1.0
"""How soon it is seen that a time has come, such as a deadline, which wakes nobody."""
FULL = "Too many tasks wait for providers that do not answer; it is tried again"
LOOK_SECONDS = 0.2
"""The least time between two looks at a task that changes while it waits."""


async def revoked(
    ports: Ports,
    key: Key,
    grants: Sequence[Grant],
    call: Callable[[Grant], Coroutine[Any, Any, None]],
) -> dict[str, BaseException | None]:
    """Revoke each; return what came of those that were answered, by id: None where it is gone.

    The others are not begun anew by a later call: it gets their answers, and the task is looked at
    when there is one.
    """
    begun = {g.id for g in grants} - ports.revoking.keys()
    for grant in grants:
        if grant.id in begun:
            ports.revoking[grant.id] = asyncio.create_task(call(grant))
    calls = {g.id: ports.revoking[g.id] for g in grants}
    try:
        if begun:
            await asyncio.wait(calls.values(), timeout=IN_PLACE_SECONDS)
    except asyncio.CancelledError:
        for grant_id in begun:
            ports.revoking.pop(grant_id).cancel()
        raise
    for grant_id in begun:
        if not calls[grant_id].done():
            calls[grant_id].add_done_callback(lambda _: ports.enqueue(key))
    done = {grant_id: each for grant_id, each in calls.items() if each.done()}
    for grant_id in done:
        del ports.revoking[grant_id]
    return {grant_id: _raised(each) for grant_id, each in done.items()}


async def issued(
    ports: Ports, key: Key, calls: Sequence[Coroutine[Any, Any, Issued]],
    is_wanted: Callable[[], bool],
) -> list[Issued | BaseException]:  # fmt: skip
    """Return the answers, in order; of what was given up, that it was not answered.

    That is once another one has failed, as all or nothing is issued, and once `is_wanted` says no:
    it is asked when something changes.
    """
    begun = [asyncio.create_task(each) for each in calls]
    try:
        _, pending = await asyncio.wait(begun, timeout=IN_PLACE_SECONDS)
        if pending:
            with ports.room.taken(key[0]), ports.aside(key):
                await _while_wanted(ports, key, begun, is_wanted)
    finally:
        for each in begun:
            each.cancel()
    answers = await asyncio.gather(*begun, return_exceptions=True)
    return [
        GivenUp("It was given up before there was an answer")
        if isinstance(each, asyncio.CancelledError)
        else each
        for each in answers
    ]


async def asked(
    ports: Ports, key: Key, call: Coroutine[Any, Any, None], is_wanted: Callable[[], bool]
) -> None:
    """Wait for what only reads; return before it has where it is not wanted any more.

    Raises:
        ProviderUnavailable: It took too long, or too many wait already.

    """
    if not ports.room.has_room(key[0]):
        call.close()
        raise GivenUp(FULL)
    begun = asyncio.create_task(call)
    try:
        _, pending = await asyncio.wait({begun}, timeout=IN_PLACE_SECONDS)
        if pending:
            with ports.room.taken(key[0]), ports.aside(key):
                async with asyncio.timeout(READ_SECONDS):
                    await _while_wanted(ports, key, [begun], is_wanted)
    except TimeoutError:
        raise GivenUp(f"There was no answer within {READ_SECONDS:.0f} s") from None
    finally:
        begun.cancel()
        await asyncio.wait({begun})
    if not begun.cancelled() and (error := begun.exception()) is not None:
        raise error


async def finished(ports: Ports) -> None:
    """Return once no revocation is under way any more; what began them is over."""
    if beside := ports.revoking.values():
        await asyncio.wait(beside)


async def _while_wanted(
    ports: Ports, key: Key, calls: Sequence[asyncio.Task[Any]], is_wanted: Callable[[], bool]
) -> None:
    """Return once all are answered, one has failed, or none is wanted any more."""
    while not all(each.done() for each in calls):
        if any(each.done() and _raised(each) for each in calls) or not is_wanted():
            return
        await _until_changed(ports, key, calls)


async def _until_changed(ports: Ports, key: Key, calls: Sequence[asyncio.Task[Any]]) -> None:
    """Return once a call is answered, or something may have changed; not more often than rarely."""
    pending = {each for each in calls if not each.done()}
    changed = asyncio.ensure_future(ports.changed(key))
    try:
        done, _ = await asyncio.wait(
            {*pending, changed}, timeout=TIME_SECONDS, return_when=asyncio.FIRST_COMPLETED
        )
    finally:
        changed.cancel()
    if done == {changed}:
        await asyncio.wait(pending, timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)


def _raised(call: asyncio.Task[Any]) -> BaseException | None:
    if call.cancelled():
        return GivenUp("It was given up before there was an answer")
    return call.exception()
