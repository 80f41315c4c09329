"""A log that is read over HTTPS (server/audit_log.py)."""

import http.client
import re
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from taskpass.cli.audit import options
from taskpass.core.errors import UsageError
from taskpass.ledger.export.files import Absent, FileReader
from taskpass.ledger.export.zip import MOST_BYTES
from taskpass.ledger.log.reader import Incomplete

SECONDS = 30.0
_TOKEN = re.compile(r"[!-~]+")
_ADDRESS = re.compile(r"https://[!-~]+")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A token is for the address that it was given for."""

    def redirect_request(self, *_: object) -> None:
        """Follow none."""


def at_url(url: str, token_file: Path | None, ca_file: Path | None) -> FileReader:
    """Return the log at an address; each file is read when it is needed.

    Raises:
        UsageError: Address, token or certificate cannot be used.
        Incomplete: It does not answer, or refuses; what it says is passed on.

    """
    if not _is_address(url):
        raise UsageError(
            "--url must begin with https:// and name a host; a port and a path may follow"
        )
    if token_file is None:
        raise UsageError("--url needs a token: --token-file FILE, or TASKPASS_TOKEN_FILE")
    token = options.text(token_file, "token").strip()
    if not _TOKEN.fullmatch(token):  # what is refused later is told in full, and this is secret
        raise UsageError(f"The token in {token_file} is empty, or none")
    try:
        tls = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
    except (OSError, ssl.SSLError) as error:
        raise UsageError(f"The certificates in {ca_file} cannot be read") from error
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=tls), _NoRedirect()
    )
    headers = {"Authorization": f"Bearer {token}"}
    return FileReader(lambda name: _read(opener, f"{url.rstrip('/')}/{name}", headers))


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return (
            _ADDRESS.fullmatch(url) is not None
            and parts.scheme == "https"
            and bool(parts.hostname)
            and parts.port != 0  # which raises for one that is none
            and not (parts.query or parts.fragment or parts.username)
        )
    except ValueError:
        return False


def _read(opener: urllib.request.OpenerDirector, url: str, headers: Mapping[str, str]) -> bytes:
    """Return a file, whole: a part of one would be evidence of tampering to who verifies it."""
    request = urllib.request.Request(url, headers=dict(headers))  # noqa: S310 (https: `at_url`)
    try:
        with opener.open(request, timeout=SECONDS) as answer:
            return _body(answer, url)
    except urllib.error.HTTPError as error:
        said = _said(error)
        if error.code == 404:
            raise Absent(f"{url} is not there") from error
        raise Incomplete(f"{url}: {error.code} {said}".strip()) from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        why = getattr(error, "reason", error)
        raise Incomplete(f"{url} cannot be read ({why or type(error).__name__})") from error


def _body(answer: http.client.HTTPResponse, url: str) -> bytes:
    length = answer.headers.get("Content-Length", "")
    chunked = answer.headers.get("Transfer-Encoding", "").lower() == "chunked"
    if not chunked and not length.isdecimal():
        raise Incomplete(f"{url} cannot be read (the answer does not say where it ends)")
    data: bytes = answer.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise Incomplete(f"{url} is larger than any file of a log")
    if not chunked and f"{len(data)}" != length.lstrip("0").rjust(1, "0"):
        raise Incomplete(f"{url} cannot be read (the connection ended after {len(data)} bytes)")
    return data


def _said(error: urllib.error.HTTPError) -> str:
    """Return the first line of what was answered with a status."""
    try:
        with error:
            lines = error.read(500).decode("utf-8", "replace").strip().splitlines()
    except (OSError, ValueError, http.client.HTTPException):
        return ""
    return lines[0] if lines else ""
