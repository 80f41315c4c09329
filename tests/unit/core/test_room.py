"""How many may wait for something slow at a time."""

import contextlib

from taskpass.core.rate_limit.room import Room


def fill(stack: contextlib.ExitStack, room: Room, tenant: str) -> int:
    """Let as many of a tenant wait as there is room for; return how many those were."""
    count = 0
    while room.has_room(tenant):
        stack.enter_context(room.taken(tenant))
        count += 1
    return count


def test_one_tenant_waits_no_more_than_its_share_and_another_has_room() -> None:
    room = Room(of_one=10, in_all=100)
    with contextlib.ExitStack() as stack:
        assert fill(stack, room, "a") == 10
        assert room.has_room("b")

    assert room.has_room("a")
    assert len(room) == 0


def test_of_many_tenants_each_has_room_and_all_together_not_much_more_than_there_is() -> None:
    room = Room(of_one=10, in_all=20)
    with contextlib.ExitStack() as stack:
        counts = [fill(stack, room, f"t-{number}") for number in range(50)]

        assert min(counts) == 1
        assert len(room) <= 20 + 50
        assert room.has_room("one more")
        assert not room.has_room("t-0")
