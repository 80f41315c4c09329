"""A few places at a time, for which tenants take turns."""

import asyncio

from taskpass.providers.postgresql.places import Places


async def order(places: Places, *tenants: str) -> list[str]:
    """Have each come for a place in this order; return in which order they had one."""
    had: list[str] = []

    async def come(tenant: str) -> None:
        async with places.taken(tenant):
            had.append(tenant)
            await asyncio.sleep(0)

    await asyncio.gather(*(come(tenant) for tenant in tenants))
    return had


async def test_however_many_of_one_tenant_wait_another_ones_first_is_next() -> None:
    assert await order(Places(1), *"aaaaaab") == [*"aabaaaa"]


async def test_who_gives_up_waiting_loses_nobodys_place() -> None:
    places = Places(1)
    async with places.taken("a"):
        waiting = [asyncio.ensure_future(order(places, tenant)) for tenant in "bcd"]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        waiting[0].cancel()
    waiting[1].cancel()  # in the moment in which the place is handed to it
    await asyncio.wait(waiting)

    assert [each.cancelled() for each in waiting] == [True, True, False]
    assert await asyncio.wait_for(order(places, *"aab"), 5) == [*"aab"]


async def test_no_more_have_a_place_than_there_are() -> None:
    places, inside, most = Places(3), 0, 0

    async def come(tenant: str) -> None:
        nonlocal inside, most
        async with places.taken(tenant):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(come(f"t-{number % 5}") for number in range(100)))

    assert (inside, most) == (0, 3)
