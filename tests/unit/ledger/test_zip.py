"""What a zip that was verified is unpacked to is what was verified, by whichever program."""

import asyncio
import shutil
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path
from typing import IO

import pytest
from click.testing import CliRunner, Result

from taskpass.cli.audit import audit
from taskpass.ledger.export.names import is_of_export, tile_of
from tests.unit.ledger import objects

STRANGE = [
    "./entries.csv", "a/../entries.csv", "tile//0/000", "tile/./0/000", "/entries.csv", "../keys",
    "entries.csv/", "Entries.csv", "KEYS", "entries.csv.", "entries.csv ", "tile\\0\\000",
    "C:entries.csv", "entries.csv:x", "keys\u200b", "ke\u0443s", "notes.txt", "__MACOSX/._keys",
    "tile/00/000", "tile/0/000.p/256", "tile/0/0000", "tile/0/x000/000", "tile/64/000", "kept/01",
    "kept/\u0661", "handover/-1", "", "tile/entries/000.p/",
]  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with a ledger and its export as lines, in a zip."""
    place = tmp_path_factory.mktemp("zip")

    async def write() -> None:
        ledger = objects.opened(place / "ledger.db")
        await objects.story(ledger)
        await objects.filled(ledger, 300)
        ledger.close()

    asyncio.run(write())
    assert run("export", place / "log.zip", "--db", place / "ledger.db", "--format", "csv")
    return place


class Pipe:
    """A file that nobody can go back in."""

    def __init__(self, file: IO[bytes]) -> None:
        self.write = file.write
        self.flush = file.flush


def run(*arguments: object) -> Result:
    return CliRunner().invoke(audit, [str(each) for each in arguments])


def edited(
    place: Path, made: Path, *more: zipfile.ZipInfo | str, packed: int = zipfile.ZIP_DEFLATED
) -> Path:
    """Make a zip with the export's files, and further ones in which no revocation is."""
    with zipfile.ZipFile(place / "log.zip") as file, zipfile.ZipFile(made, "w", packed) as new:
        for name in file.namelist():
            new.writestr(name, file.read(name))
        lines = file.read("entries.csv").decode().splitlines(keepends=True)
        for each in more:
            new.writestr(each, "".join(x for x in lines if ",credential.revoke," not in x))
    return made


def test_a_zip_is_unpacked_to_what_was_verified(place: Path, tmp_path: Path) -> None:
    """With `python3 -m zipfile -e`, as the auditor's page has it; `unzip` does the same."""
    made = edited(place, tmp_path / "edited.zip", "./entries.csv")
    subprocess.run(
        [sys.executable, "-m", "zipfile", "-e", str(made), str(tmp_path / "out")], check=True
    )

    verified = run("verify", "--dir", made)

    assert ",credential.revoke," not in (tmp_path / "out/entries.csv").read_text()
    assert verified.exit_code == 1
    assert "has a file that no export has, './entries.csv'" in verified.stderr


@pytest.mark.parametrize("command", [["verify"], ["timeline", "ticket-4711"], ["search"]])
@pytest.mark.parametrize("name", [name for name in STRANGE if name])
def test_a_name_that_no_export_has_is_refused(
    place: Path, tmp_path: Path, name: str, command: list[str]
) -> None:
    made = edited(place, tmp_path / "edited.zip", name)

    assert run(*command, "--dir", made).exit_code == 1


@pytest.mark.parametrize("name", STRANGE)
def test_no_name_has_a_second_form(name: str) -> None:
    assert name == "tile/entries/000.p/" or not is_of_export(name)


@pytest.mark.parametrize("how", ["a zero byte", "a Unicode path", "its own header", "a link"])
def test_a_second_name_beside_the_first_is_refused(place: Path, tmp_path: Path, how: str) -> None:
    """Some programs end a name at a zero byte, or take it from one of these places."""
    info = zipfile.ZipInfo("kept/7")
    if how == "a Unicode path":
        path = b"\x01" + bytes(4) + b"entries.csv"
        info.extra = struct.pack("<HH", 0x7075, len(path)) + path
    if how == "a link":
        info.external_attr = 0o120777 << 16
    made = edited(place, tmp_path / "edited.zip", info)
    raw = made.read_bytes()
    if how == "a zero byte":
        raw = raw.replace(b"kept/7", b"keys\x007")
    if how == "its own header":
        at = raw.index(b"kept/7")
        raw = raw[:at] + b"kept/8" + raw[at + 6 :]
    made.write_bytes(raw)

    assert run("verify", "--dir", made).exit_code == 1


@pytest.mark.parametrize("where", ["before all", "between two"])
def test_a_file_that_only_who_unpacks_a_stream_sees_is_refused(
    place: Path, tmp_path: Path, where: str
) -> None:
    made = tmp_path / "edited.zip"
    with zipfile.ZipFile(place / "log.zip") as file, zipfile.ZipFile(made, "w") as new:
        for name in ["keys", *(each for each in file.namelist() if each != "keys")]:
            new.writestr(name, file.read(name))
            if name == "keys" and where == "between two":
                new.writestr("entries.csv", "others")
                hidden = new.filelist.pop()
                del new.NameToInfo[hidden.filename]
    if where == "before all":
        with zipfile.ZipFile(tmp_path / "other.zip", "w") as other:
            other.writestr("entries.csv", "others")
        made.write_bytes((tmp_path / "other.zip").read_bytes() + made.read_bytes())

    done = run("verify", "--dir", made)

    assert (done.exit_code, "between its files" in done.stderr) == (1, True), done.output


@pytest.mark.parametrize("command", [["verify"], ["search"]])
@pytest.mark.parametrize("where", ["behind sizes that follow", "behind the end", "in its sizes"])
def test_nothing_is_hidden_within_a_file_from_who_unpacks_a_stream(
    place: Path, tmp_path: Path, where: str, command: list[str]
) -> None:
    """Who reads on from where a packed file ends finds another `entries.csv` there."""
    with zipfile.ZipFile(place / "log.zip") as file:
        files = {name: file.read(name) for name in file.namelist()}
    forged = b"entries in which no revocation is\n"
    made = tmp_path / "made.zip"
    made.write_bytes(streamed(files, "vkey", forged, where))
    with zipfile.ZipFile(made) as file:
        assert {name: file.read(name) for name in file.namelist()} == files

    done = run(*command, "--dir", made)

    if where != "in its sizes":
        assert forged in read_as_stream(made.read_bytes())
    assert (done.exit_code, "without its directory" in done.stderr) == (1, True), done.output


def streamed(files: dict[str, bytes], host: str, hidden: bytes, where: str) -> bytes:
    """Return a zip with a file that is hidden within another one's packed bytes."""
    raw, directory = b"", b""
    for name, body in files.items():
        packed, at = deflated(body), len(raw)
        size, crc, flags, sizes = len(packed), zlib.crc32(body), 0, (len(packed), len(body))
        if name == host and where == "in its sizes":
            sizes = (len(packed) - 1, len(body))
        elif name == host:
            if where == "behind sizes that follow":
                flags = 8
                packed += struct.pack("<4sLLL", b"PK\x07\x08", crc, *sizes)
            inner = deflated(hidden)
            packed += header("entries.csv", 0, zlib.crc32(hidden), len(inner), len(hidden)) + inner
            size = len(packed)
        raw += header(name, flags, *((0, 0, 0) if flags else (crc, *sizes))) + packed
        directory += struct.pack(
            "<4s4H2H3L5H2L", b"PK\x01\x02", 20, 20, flags, 8, 0, 33, crc, size, len(body),
            len(name), 0, 0, 0, 0, 0, at,
        ) + name.encode()  # fmt: skip
    count = len(files)
    end = (b"PK\x05\x06", 0, 0, count, count, len(directory), len(raw), 0)
    return raw + directory + struct.pack("<4s4H2LH", *end)


def deflated(body: bytes) -> bytes:
    pack = zlib.compressobj(9, zlib.DEFLATED, -15)
    return pack.compress(body) + pack.flush()


def header(name: str, flags: int, *crc_and_sizes: int) -> bytes:
    fields = (b"PK\x03\x04", 20, flags, 8, 0, 33, *crc_and_sizes, len(name), 0)
    return struct.pack("<4s5H3L2H", *fields) + name.encode()


def read_as_stream(raw: bytes) -> list[bytes]:
    """Return what a program unpacks that goes from file to file, by each one's own header."""
    found, at = [], 0
    while raw[at : at + 4] == b"PK\x03\x04":
        flags, name, extra = (
            *struct.unpack("<H", raw[at + 6 : at + 8]),
            *struct.unpack("<2H", raw[at + 26 : at + 30]),
        )
        unpack = zlib.decompressobj(-15)
        found.append(unpack.decompress(raw[at + 30 + name + extra :]))
        at = len(raw) - len(unpack.unused_data) + (16 if flags & 8 else 0)
    return found


MORE = ["tile/entries/000.p/200", "tile/0/007", "kept/0", "kept/5", "handover/77", "entries.jsonl"]


@pytest.mark.parametrize("name", MORE)
def test_a_zip_has_no_file_that_nothing_was_held_against(
    place: Path, tmp_path: Path, name: str
) -> None:
    """Its name is one that files of logs have, and this log has no such file."""
    export = tmp_path / "export.zip"
    assert run("export", export, "--db", place / "ledger.db").exit_code == 0
    assert run("verify", "--dir", export).exit_code == 0
    with zipfile.ZipFile(export, "a") as file:
        file.writestr(name, b'{"forged":1}\n')

    assert run("verify", "--dir", export).exit_code == 1


def test_sizes_that_follow_a_file_are_nothing_between(place: Path, tmp_path: Path) -> None:
    """A zip that was written to a pipe has them there."""
    made = tmp_path / "piped.zip"
    with zipfile.ZipFile(place / "log.zip") as file, made.open("wb") as raw:
        with zipfile.ZipFile(Pipe(raw), "w") as new:  # type: ignore[call-overload]
            for name in file.namelist():
                new.writestr(name, file.read(name))

    assert run("verify", "--dir", made).exit_code == 0


def test_a_zip_that_another_program_made_of_an_export_is_read(place: Path, tmp_path: Path) -> None:
    """With entries for folders, and times beside the names."""
    export = tmp_path / "export"
    assert run("export", export, "--db", place / "ledger.db").exit_code == 0
    shutil.make_archive(str(tmp_path / "made"), "zip", export)

    with zipfile.ZipFile(tmp_path / "made.zip") as file:
        assert "tile/" in file.namelist()
    assert run("verify", "--dir", tmp_path / "made.zip").exit_code == 0


@pytest.mark.parametrize("packed", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_damaged_zip_cannot_be_read_however_it_is_packed(
    place: Path, tmp_path: Path, packed: int
) -> None:
    made = edited(place, tmp_path / "packed.zip", packed=packed)
    with zipfile.ZipFile(made) as file:
        start = file.getinfo("checkpoint").header_offset + 40
    good, said = made.read_bytes(), []
    for at in range(start, start + 80, 4):
        raw = bytearray(good)
        raw[at] ^= 0xFF
        made.write_bytes(bytes(raw))

        done = run("verify", "--dir", made)

        said.append(done.exit_code)  # some bits of a packed file are of no matter
        assert done.exception is None or isinstance(done.exception, SystemExit), f"{at}: {done}"

    assert set(said) <= {0, 1, 3}
    assert said.count(0) < 3


def test_a_path_names_one_tile_and_a_tile_has_one_path() -> None:
    assert tile_of("tile/0/x001/234.p/7") == ("0", 1234, 7)
    assert tile_of("tile/entries/000") == ("entries", 0, 256)
    assert tile_of("tile/entries/" + 7 * "x999/" + "999") is None
    assert tile_of("checkpoint") is None
