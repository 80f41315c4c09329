"""Paths and bundles as C2SP tlog-tiles has them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskpass.tlog.tiles import BadBundle, entries_path, levels, pack, tile_path, unpack, widths


@pytest.mark.parametrize(
    ("number", "path"),
    [(0, "000"), (67, "067"), (999, "999"), (1000, "x001/000"), (1234067, "x001/x234/067")],
)
def test_numbers_are_written_in_groups_of_three_digits(number: int, path: str) -> None:
    assert tile_path(1, number) == f"tile/1/{path}"
    assert entries_path(number, 112) == f"tile/entries/{path}.p/112"


def test_the_published_layout_of_seventy_thousand_entries_holds() -> None:
    assert levels(70_000) == 3
    assert len([w for _, w in widths(70_000, 0) if w == 256]) == 273
    assert list(widths(70_000, 0))[-1] == (273, 112)
    assert list(widths(70_000, 1)) == [(0, 256), (1, 17)]
    assert list(widths(70_000, 2)) == [(0, 1)]


@pytest.mark.parametrize("size", [0, 256, 65_536])
def test_no_tile_is_empty(size: int) -> None:
    assert all(width for level in range(levels(size)) for _, width in widths(size, level))


def test_the_published_bundle_is_packed_byte_for_byte() -> None:
    assert pack(b'{"i":%d}' % i for i in range(5)).hex() == (
        "00077b2269223a307d00077b2269223a317d00077b2269223a327d00077b2269223a337d00077b2269223a347d"
    )


@given(st.lists(st.binary(max_size=40), max_size=20))
def test_what_is_packed_is_unpacked(entries: list[bytes]) -> None:
    assert unpack(pack(entries)) == entries


@given(st.binary(max_size=60))
def test_whatever_is_unpacked_is_packed_to_the_same_bytes(data: bytes) -> None:
    try:
        entries = unpack(data)
    except BadBundle:
        return

    assert pack(entries) == data
