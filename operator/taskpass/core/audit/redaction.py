"""The last gate before the log: what looks like a secret, or is one, is not written.

Constructors of entries take no secret and no provider's text; what a tenant wrote (names, actions,
resources) they do take, and somebody may have put a token there. A log is kept for years and shown
to many, and nothing can be taken out of it.

Two things are looked for: the shapes that well-known tokens have, in every entry; and the very
values that were just issued, in the forms in which they travel, in the entries that tell of it.
"""

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote_from_bytes

INSTEAD = "[redacted]"
MOST_TIMES = 8
SHORTEST = 8
"""Bytes; shorter values would be found in words."""
KEYS = frozenset(
    {
        "vkey", "prev_vkey", "op", "uid", "pod_uid", "object_uid", "service_account_uid",
        "workload_uid", "ref", "c", "notice", "record", "digest",
    }
)  # fmt: skip
"""What things are known by, and what they are held against: keys, UIDs, references and digests.
None is a tenant's word, and each must stay as it is."""
_MARKS = re.compile(
    rb"eyJ|PRIVATE KEY|hv[sb]\.|gh[pousr]_|github_pat_|glpat-|AKIA|ASIA|xox[bp]-|earer |asic |://"
)
_RARE = (b" ", b"J", b"I", b"hv", b"gh", b"glpat-", b"xox", b"://", b"github_pat_")
"""Each mark has one of them within it, and most entries have none: to look for each is cheap."""
_SHAPES = re.compile(
    r"eyJ[\w-]{8,}\.[\w-]{8,}(\.[\w-]*)?"  # JSON Web Token (RFC 7519)
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*"  # RFC 7468
    r"|\bhv[sb]\.[\w-]{20,}"  # Vault, OpenBao
    r"|\b(gh[pousr]_|github_pat_)\w{20,}"
    r"|\bglpat-[\w-]{20,}"
    r"|\b(AKIA|ASIA)[A-Z0-9]{16}\b"
    r"|\bxox[bp]-[\w-]{10,}"
    r"|\b([Bb]earer|[Bb]asic) [\w.~+/=-]{8,}"  # RFC 6750, 7617
    r"|(?<=://)[^/\s@]+:[^/\s@]+(?=@)",  # RFC 3986, userinfo
    re.DOTALL | re.ASCII,
)


def forms(secret: bytes) -> tuple[str, ...]:
    """Return the texts in which a value may turn up; none for one that is very short."""
    return tuple(dict.fromkeys(_forms(secret))) if len(secret) >= SHORTEST else ()


def _forms(secret: bytes) -> Iterator[str]:
    yield secret.decode("utf-8", "replace")
    yield secret.hex()
    yield secret.hex().upper()
    yield quote_from_bytes(secret)
    for shift in range(3):  # it may begin at any of three places within what base64 encodes
        whole = base64.b64encode(bytes(shift) + secret).decode()
        # Characters that hold bits of what stands before or after it are left out.
        end = len(whole) - (0, 3, 2)[(shift + len(secret)) % 3]
        inner = whole[-(-shift * 8 // 6) : end]
        yield inner
        yield inner.translate(str.maketrans("+/", "-_"))


def as_logged(value: Any) -> Any:
    """Return what an entry says of a value in whose place something may have been redacted.

    That is by its shape alone: what is issued at the same moment is told of in entries of grants.
    """
    return _clean(value, (), [0])


def could_be(told: object, said: object) -> bool:
    """Tell whether an entry of a grant says what a value is; any may have been a live secret."""
    if isinstance(told, str) and isinstance(said, str) and INSTEAD in told:
        return True
    if isinstance(told, list | tuple) and isinstance(said, list | tuple):
        return len(told) == len(said) and all(map(could_be, told, said))
    return told == said


def suspicious(body: bytes) -> bool:
    """Tell whether an entry's bytes are to be looked at closely; cheap, and right when False."""
    for each in _RARE:
        if each in body:
            return _MARKS.search(body) is not None
    return False


def redacted(data: Mapping[str, Any], live: Sequence[str]) -> tuple[dict[str, Any], int]:
    """Return the same data without secrets, and how many strings were changed.

    `live` are the forms of values that are in use.
    """
    counted = [0]
    return _clean(data, live, counted), counted[0]


def _settled(text: str) -> str:
    """Replace what has a shape until nothing has: what is left may have one together with it."""
    for _ in range(MOST_TIMES):
        clean = _SHAPES.sub(INSTEAD, text)
        if clean == text:
            return text
        text = clean
    return INSTEAD


def _clean(value: Any, live: Sequence[str], counted: list[int]) -> Any:
    if isinstance(value, str):
        clean = _settled(value)
        if any(each in clean for each in live):
            clean = INSTEAD
        counted[0] += clean != value
        return clean
    if isinstance(value, Mapping):
        return {k: v if k in KEYS else _clean(v, live, counted) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(each, live, counted) for each in value]
    return value
