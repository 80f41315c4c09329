"""A log that is read over HTTPS (server/audit_log.py)."""

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
    if urlsplit(url).scheme != "https" or not urlsplit(url).hostname:
        raise UsageError("--url must begin with https:// and name a host")
    if token_file is None:
        raise UsageError("--url needs a token: --token-file FILE, or TASKPASS_TOKEN_FILE")
    token = options.text(token_file, "token").strip()
    try:
        tls = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
    except (OSError, ssl.SSLError) as error:
        raise UsageError(f"The certificates in {ca_file} cannot be read") from error
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=tls), _NoRedirect()
    )
    headers = {"Authorization": f"Bearer {token}"}
    return FileReader(lambda name: _read(opener, f"{url.rstrip('/')}/{name}", headers))


def _read(opener: urllib.request.OpenerDirector, url: str, headers: Mapping[str, str]) -> bytes:
    request = urllib.request.Request(url, headers=dict(headers))  # noqa: S310 (https: `at_url`)
    try:
        with opener.open(request, timeout=SECONDS) as answer:
            data: bytes = answer.read(MOST_BYTES + 1)
    except urllib.error.HTTPError as error:
        said = error.read(500).decode("utf-8", "replace").strip().splitlines()
        if error.code == 404:
            raise Absent(f"{url} is not there") from error
        raise Incomplete(f"{url}: {error.code} {said[0] if said else ''}".strip()) from error
    except (OSError, ValueError) as error:
        why = getattr(error, "reason", error)
        raise Incomplete(f"{url} cannot be read ({why})") from error
    if len(data) > MOST_BYTES:
        raise Incomplete(f"{url} is larger than any file of a log")
    return data
