"""The log over HTTPS: the files of an export, for who may read it, and nothing for anybody else."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import aiohttp
import pytest
from click.testing import CliRunner, Result

from taskpass.cli.audit import audit
from taskpass.core.errors import ApiUnavailable, Forbidden, Unauthenticated, UsageError
from taskpass.ledger.export.directory import export
from taskpass.ledger.export.served import is_whole, served
from taskpass.server.audit_log import AT_ONCE, WAITING, LogServer
from tests.unit.ledger import objects
from tests.unit.server import certificates

SIZE = 600


class Gate:
    """Lets the token `reader` read all, `looker` the checkpoint; the API server may be away."""

    def __init__(self) -> None:
        self.away = False
        self.asked: list[tuple[str, str]] = []

    async def check(self, token: str, subresource: str) -> None:
        self.asked.append((token, subresource))
        if self.away:
            raise ApiUnavailable("no answer")
        if token not in ("reader", "looker"):
            raise Unauthenticated("The token is of nobody")
        if token == "looker" and subresource:
            raise Forbidden("The right to get auditanchors/log 'taskpass' is missing")


class House:
    """A served log, and how to ask for it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "ledger.db"
        self.folder = folder
        self.gate = Gate()
        self.certificate = certificates.make(folder / "tls")

    def start(self, serve: Callable[[str], bytes | None] | None = None) -> LogServer:
        return LogServer(
            self.folder / "tls", self.gate.check, serve or partial(served, self.path), is_whole
        )


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("log")

    async def write() -> None:
        made = objects.opened(folder / "ledger.db")
        await objects.story(made)
        await objects.filled(made, SIZE)
        made.close()

    asyncio.run(write())
    export(folder / "ledger.db", folder / "export")
    return folder


@pytest.fixture
async def house(ledger: Path) -> House:
    return House(ledger)


@pytest.fixture
async def server(house: House) -> AsyncIterator[LogServer]:
    made = house.start()
    await made.start(0)
    yield made
    await made.stop()


@pytest.fixture
async def session(house: House) -> AsyncIterator[aiohttp.ClientSession]:
    tls = ssl.create_default_context(cafile=str(house.certificate))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls)) as made:
        yield made


def url(server: LogServer, name: str) -> str:
    return f"https://127.0.0.1:{server.port}/{name}"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def test_every_file_of_an_export_is_served_as_it_is(
    ledger: Path, server: LogServer, session: aiohttp.ClientSession
) -> None:
    for path in (ledger / "export").rglob("*"):
        name = str(path.relative_to(ledger / "export"))
        if not path.is_file() or name in ("VERIFY.md", "policy"):
            continue
        async with session.get(url(server, name), headers=bearer("reader")) as answer:
            assert (answer.status, await answer.read()) == (200, path.read_bytes()), name
            whole = name.startswith("tile/") and ".p/" not in name
            assert ("immutable" in answer.headers["Cache-Control"]) == whole


@pytest.mark.parametrize("name", ["tile/entries/000.p/7", "tile/0/001.p/255", "tile/1/000.p/1"])
async def test_a_tile_that_has_grown_is_served_as_it_was(
    ledger: Path, server: LogServer, session: aiohttp.ClientSession, name: str
) -> None:
    now = "tile/1/000.p/2" if name.startswith("tile/1") else name.partition(".p/")[0]
    async with session.get(url(server, name), headers=bearer("reader")) as answer:
        body = await answer.read()

    assert answer.status == 200
    assert (ledger / "export" / now).read_bytes().startswith(body)
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "name",
    [
        "", "nothing", "ledger.db", "../ledger.db", "%2e%2e/ledger.db", "tile/../checkpoint",
        "tile/entries/../../checkpoint", "tile/entries/002.p/89", "tile/entries/003",
        "tile/entries/000.p/0", "tile/entries/000.p/256", "tile/entries/000.p/07",
        "tile/entries/0", "tile/entries/x000/000", "tile/entries/x001/000", "tile/64/000",
        "tile/00/000", "tile/9/000", "tile/0/" + "x999/" * 30 + "999", "tile/entries/000?x=1",
        "checkpoint/", "//checkpoint", "kept/0", "handover/1", "metrics", "tile/0/%30%30%30",
    ],
)  # fmt: skip
async def test_nothing_else_is_served(
    server: LogServer, session: aiohttp.ClientSession, name: str
) -> None:
    target = aiohttp.client.URL(url(server, name), encoded=True)
    async with session.get(target, headers=bearer("reader")) as answer:
        assert answer.status == 404


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401), (bearer("stranger"), 401), ({"Authorization": "Basic cmVhZGVyOg=="}, 401),
        ({"Authorization": "Bearer "}, 401), ({"Authorization": "Bearer reader x"}, 401),
        ({"Authorization": "reader"}, 401), (bearer("a" * 20_000), None), (bearer("looker"), 403),
        (bearer("reader"), 200),
    ],
)  # fmt: skip
async def test_who_may_not_read_is_told_why_and_gets_nothing(
    server: LogServer, session: aiohttp.ClientSession, headers: dict[str, str], status: int | None
) -> None:
    async with session.get(url(server, "tile/entries/000"), headers=headers) as answer:
        body = await answer.read()

    if status is None:  # refused before us: a header of that size
        assert answer.status in (400, 401)
    else:
        assert answer.status == status
    if status == 403:
        assert b"The right to get auditanchors/log 'taskpass'" in body
    assert (b"dev.taskpass" in body) == (status == 200)


async def test_the_checkpoint_needs_less_than_the_entries(
    house: House, server: LogServer, session: aiohttp.ClientSession
) -> None:
    for name in ("checkpoint", "keys", "vkey"):
        async with session.get(url(server, name), headers=bearer("looker")) as answer:
            assert answer.status == 200
    async with session.get(url(server, "tile/0/000"), headers=bearer("looker")) as answer:
        assert answer.status == 403
    assert ("looker", "log") in house.gate.asked


async def test_an_api_server_that_is_away_is_no_yes(
    house: House, server: LogServer, session: aiohttp.ClientSession
) -> None:
    house.gate.away = True

    async with session.get(url(server, "checkpoint"), headers=bearer("reader")) as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (503, "5")


async def test_too_many_at_once_are_sent_away(house: House, session: aiohttp.ClientSession) -> None:
    going, go = [], asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow(name: str) -> bytes:
        going.append(name)
        asyncio.run_coroutine_threadsafe(go.wait(), loop).result()
        return b"x"

    server = house.start(slow)
    await server.start(0)

    async def read(name: str) -> tuple[int, str]:
        async with session.get(url(server, name), headers=bearer("reader")) as answer:
            return answer.status, answer.headers.get("Retry-After", "")

    work = [asyncio.create_task(read(f"tile/{n}")) for n in range(WAITING)]
    while len(going) < AT_ONCE or server.busy < WAITING:
        await asyncio.sleep(0.001)

    over = await read("one-more")
    go.set()
    done = await asyncio.gather(*work)
    await server.stop()

    assert over == (503, "1")
    assert {status for status, _ in done} == {200}


async def test_a_certificate_that_was_replaced_counts_for_new_connections(
    house: House, server: LogServer
) -> None:
    before = await peer(server)
    certificates.make(house.folder / "tls", "another")

    server.reload()

    assert await peer(server) != before


async def peer(server: LogServer) -> bytes:
    tls = ssl.create_default_context()
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    _, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=tls)
    found: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return found


@pytest.mark.parametrize("lacks", ["tls.crt", "tls.key", "both belong to others"])
async def test_a_start_without_a_certificate_ends_in_one_line(
    house: House, tmp_path: Path, lacks: str
) -> None:
    certificates.make(tmp_path)
    if lacks == "both belong to others":
        certificates.make(tmp_path / "other")
        (tmp_path / "tls.key").write_bytes((tmp_path / "other/tls.key").read_bytes())
    else:
        (tmp_path / lacks).unlink()

    with pytest.raises(UsageError) as refusal:
        LogServer(tmp_path, house.gate.check, partial(served, house.path), is_whole)

    assert "tls.crt and tls.key" in str(refusal.value)
    assert "\n" not in str(refusal.value)


async def verified(house: House, server: LogServer, token: str, *more: str) -> Result:
    file = house.folder / f"{token}.token"
    file.write_text(f"{token}\n")
    arguments = [
        "verify", "--url", f"https://127.0.0.1:{server.port}", "--token-file", str(file),
        "--ca-file", str(house.folder / "tls/tls.crt"), *more,
    ]  # fmt: skip
    return await asyncio.to_thread(CliRunner().invoke, audit, arguments)


async def test_an_auditor_verifies_from_afar(house: House, server: LogServer) -> None:
    done = await verified(house, server, "reader")

    assert done.exit_code == 0, done.output
    assert f"size  {SIZE} entries" in done.output


@pytest.mark.parametrize(
    ("token", "said"), [("stranger", "401 The token is of nobody"), ("looker", "403 The right to")]
)
async def test_an_auditor_without_the_right_is_told_so(
    house: House, server: LogServer, token: str, said: str
) -> None:
    done = await verified(house, server, token)

    assert done.exit_code == 3
    assert said in done.stderr
    assert "dev.taskpass" not in done.output


async def test_a_certificate_that_nobody_vouches_for_is_refused(
    house: House, server: LogServer, tmp_path: Path
) -> None:
    other = certificates.make(tmp_path)

    done = await verified(house, server, "reader", "--ca-file", str(other))

    assert (done.exit_code, "certificate" in done.stderr.lower()) == (3, True)


@pytest.mark.parametrize("address", ["http://127.0.0.1:1", "127.0.0.1", "file:///etc/passwd"])
def test_a_token_goes_to_no_address_in_clear(tmp_path: Path, address: str) -> None:
    (tmp_path / "token").write_text("t")
    command = ["verify", "--url", address, "--token-file", str(tmp_path / "token")]

    done = CliRunner().invoke(audit, command)

    assert (done.exit_code, "must begin with https://" in done.stderr) == (2, True)
