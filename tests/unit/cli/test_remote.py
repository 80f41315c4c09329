"""What comes over a connection that broke is not there: it is no evidence of anything."""

import socket
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from taskpass.cli.audit import audit, remote
from taskpass.ledger.export.files import Absent
from taskpass.ledger.log.reader import Incomplete

BROKEN = {
    "the body ends early": b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf of it",
    "there is no body": b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
    "a chunk ends early": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\nhalf of it",
    "the last chunk lacks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    "a chunk has no length": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nhalf",
    "nobody says where it ends": b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhalf of it",
    "its length is no number": b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\nhalf of it",
    "it is no HTTP": b"hello\r\n\r\n",
    "it is nothing": b"",
    "the head ends early": b"HTTP/1.1 200 OK\r\nContent-Le",
    "a refusal ends early": b"HTTP/1.1 503 Busy\r\nContent-Length: 1000\r\n\r\nwait",
    "a refusal breaks": b"HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
    "it leads elsewhere": b"HTTP/1.1 302 Go\r\nLocation: https://x/\r\nContent-Length: 0\r\n\r\n",
}
WHOLE = {
    "with its length": b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nall of it.",
    "in chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"a\r\nall of it.\r\n0\r\n\r\n",
}
ADDRESSES = [
    "https://[::1", "https://h:99999", "https://h:x", "https://", "https:///x", "https://h/a b",
    "https://h/\u2028", "https://h/\r\nX: y", "https://h/?x=", "https://h/#x", "https://me@h",
    "http://h", "h", "", "https://h/\x00",
]  # fmt: skip


@pytest.fixture
def address(request: pytest.FixtureRequest) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            client, _ = server.accept()
            with client:
                client.recv(65_536)
                client.sendall(request.param)

        answering = threading.Thread(target=answer, daemon=True)
        answering.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/tile/entries/000"
        answering.join(5)


def read(address: str) -> bytes:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), remote._NoRedirect())
    return remote._read(opener, address, {})


@pytest.mark.parametrize("address", BROKEN.values(), ids=BROKEN.keys(), indirect=True)
def test_an_answer_that_broke_off_is_not_taken_for_a_file(address: str) -> None:
    """A short bundle or tile is "TAMPER EVIDENCE: ... is damaged" to who verifies it."""
    with pytest.raises(Incomplete) as refused:
        read(address)

    assert not isinstance(refused.value, Absent)
    assert address in str(refused.value)


@pytest.mark.parametrize("address", WHOLE.values(), ids=WHOLE.keys(), indirect=True)
def test_an_answer_that_is_whole_is_the_file(address: str) -> None:
    assert read(address) == b"all of it."


@pytest.mark.parametrize("url", ADDRESSES)
def test_an_address_that_is_none_is_no_evidence_of_tampering(tmp_path: Path, url: str) -> None:
    (tmp_path / "token").write_text("canary")
    done = CliRunner().invoke(
        audit, ["verify", "--url", url, "--token-file", str(tmp_path / "token")]
    )

    assert done.exit_code == 2, repr(done.exception)
    assert done.stderr.startswith("Error: --url must begin with https:// and name a host")
    assert "canary" not in done.output


@pytest.mark.parametrize("url", ["https://127.0.0.1:1", "https://[::1]:1/x", f"https://{'x' * 70}"])
def test_where_nobody_answers_it_cannot_be_told(tmp_path: Path, url: str) -> None:
    (tmp_path / "token").write_text("canary")
    done = CliRunner().invoke(
        audit, ["verify", "--url", url, "--token-file", str(tmp_path / "token")]
    )

    assert (done.exit_code, done.stderr.count("\n")) == (3, 1), done.output
