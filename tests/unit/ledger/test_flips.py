"""One bit flipped in bytes of an export of 600 entries: ours refuses each, as Go's does.

(`e2e/cases/audit/test_outside_verifier.py` has the program that is not ours do the same.)
"""

import asyncio
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from taskpass.ledger.export.directory import export
from taskpass.ledger.export.files import Absent, FileReader
from taskpass.ledger.log.reader import Incomplete, TamperEvidence
from taskpass.ledger.verify.bundles import Bundle, Bundles
from taskpass.ledger.verify.log import Verification, concluded
from taskpass.tlog.checkpoint import parse_body, parse_note
from tests.unit.ledger import objects

SIZE = 600
PROCESSES = 2
STRIDE = int(os.environ.get("TASKPASS_STRIDE", "8"))
"""Of a large file one byte in so many; `make soak PART=ledger` takes every byte."""
SMALL = 2048
"""Bytes of a file of which every byte is taken: checkpoints, keys, tiles at the edge."""
NOT_SIGNED = ("VERIFY.md", "policy")
"""For people; a reader brings a policy of their own."""


def reader(files: Mapping[str, bytes]) -> FileReader:
    """Return a log in memory."""

    def read(path: str) -> bytes:
        if path not in files:
            raise Absent(path)
        return files[path]

    return FileReader(read)


class Reused(Bundles):
    """Reads a bundle once for all verifications in which its files are as they were."""

    def __init__(self, whole: Mapping[int, Bundle], touched: str, *rest: object) -> None:
        super().__init__(*rest)  # type: ignore[arg-type]
        self._whole = whole
        self._touched = touched

    def one(self, number: int) -> Bundle:
        """Read it anew where one of its own files was touched."""
        name = f"{number:03d}"
        if self._touched.split("/")[-1] in (name, "88") and f"/{name}" in self._touched:
            return super().one(number)
        return self._whole[number]


def accepts(files: Mapping[str, bytes], whole: Mapping[int, Bundle], touched: str) -> bool:
    """Verify an export as `verify_files` does."""
    try:
        source = reader(files)
        verified = Verification(source, "", (), ())
        origin = parse_body(parse_note(source.note)[0]).origin
        pieces = Reused(whole, touched, source, origin, verified.sizes)
        verified.walk(pieces.all(), lambda done, size: None)
        concluded(source, verified)
    except (TamperEvidence, Incomplete):
        return False
    return True


def flipped(files: dict[str, bytes], share: int) -> tuple[int, list[tuple[str, int]]]:
    """Flip a bit in each byte that is the share's; return how many, and which were accepted."""
    source = reader(files)
    origin = parse_body(parse_note(source.note)[0]).origin
    read = Bundles(source, origin, frozenset())
    whole = {number: read.one(number) for number in range(read.count)}
    assert accepts(files, whole, "")
    count, accepted = 0, []
    for path, raw in sorted(files.items()):
        for at in taken(raw, share):
            bit = 1 << (at * 7 + len(raw)) % 8
            damaged = raw[:at] + bytes([raw[at] ^ bit]) + raw[at + 1 :]
            count += 1
            if accepts({**files, path: damaged}, whole, path):
                accepted.append((path, at))
    return count, accepted


def taken(raw: bytes, share: int) -> Iterator[int]:
    """Yield the places of the bytes that a process flips."""
    stride = 1 if len(raw) <= SMALL else STRIDE
    return iter(range(share * stride, len(raw), PROCESSES * stride))


async def written(path: Path) -> None:
    ledger = objects.opened(path)
    await objects.story(ledger)
    await objects.filled(ledger, SIZE)
    ledger.close()


@pytest.mark.slow
def test_a_flipped_bit_of_an_export_is_found_whichever_it_is(tmp_path: Path) -> None:
    asyncio.run(written(tmp_path / "ledger.db"))
    export(tmp_path / "ledger.db", tmp_path / "export")
    paths = (
        p for p in (tmp_path / "export").rglob("*") if p.is_file() and p.name not in NOT_SIGNED
    )
    files = {str(p.relative_to(tmp_path / "export")): p.read_bytes() for p in paths}

    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool:
        results = list(pool.map(flipped, [files] * PROCESSES, range(PROCESSES)))

    assert sum(map(len, files.values())) > 200_000
    assert sum(count for count, _ in results) > 200_000 // STRIDE
    assert [each for _, accepted in results for each in accepted] == []
