"""What the API server's answers mean: statuses to errors of ours, paths to resources.

The text of a body is passed on only when the body is a Kubernetes `Status`: anything else (a
proxy's page, an object that was echoed) may hold what must not be shown.
"""

import re
from typing import Any

import orjson

from taskpass.core import errors

LONGEST = 512
"""Characters of the API server's own words that are passed on."""
POLICY = re.compile(r"ValidatingAdmissionPolicy '([^']+)' with binding '[^']+' denied request: ")
SECRET_LIKE = re.compile(
    r"eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]+)*"  # a JSON Web Token, whole or its beginning
    r"|(?=[A-Za-z0-9+/=_-]*[A-Z])(?=[A-Za-z0-9+/=_-]*[a-z])(?=[A-Za-z0-9+/=_-]*[0-9])"
    r"[A-Za-z0-9+/=_-]{64,}"  # base64; names have no capital letters
)
"""What the API server should never send back in its own words, and is not passed on if it does."""
NO_SUCH_PATH = "404 page not found"
"""What the API server says, in plain text, of a group or kind that it does not serve."""
BY_STATUS: dict[int, type[errors.ApiError]] = {
    400: errors.Invalid,
    401: errors.Unauthenticated,
    403: errors.Forbidden,
    404: errors.NotFound,
    409: errors.Conflict,
    410: errors.Gone,
    422: errors.Invalid,
    429: errors.ApiUnavailable,
}


def error_of(status: int, body: object, verb: str, resource: str) -> errors.ApiError:
    """Return what to raise for an answer. `body` is the parsed answer, or None."""
    said = message_of(body)
    text = f"The API server answered {status} to {verb} of {resource}" + (
        f": {said}" if said else ""
    )
    denied = POLICY.search(said) if status in (403, 422) else None
    if denied:
        refusal = errors.AdmissionDenied(text)
        refusal.policy = denied[1]
        return refusal
    if status >= 500:
        return errors.ApiUnavailable(text)
    error = BY_STATUS.get(status, errors.ApiError)(text)
    if isinstance(error, errors.NotFound) and (is_status(body) or body == NO_SUCH_PATH):
        error.named = body != NO_SUCH_PATH
        return error
    if not is_status(body):
        # Its own refusals are a Status: this is a word of whatever stands between.
        return errors.ApiUnavailable(f"{text}, in words that are not the API server's")
    return error


def is_status(body: object) -> bool:
    """Tell whether an answer is the API server's own word on a call."""
    return isinstance(body, dict) and (body.get("kind"), body.get("apiVersion")) == ("Status", "v1")


def message_of(body: object) -> str:
    """Return the message of a `Status` in one line; '' for anything else."""
    message = body.get("message") if isinstance(body, dict) and is_status(body) else None
    if not isinstance(message, str):
        return ""
    return SECRET_LIKE.sub("(left out)", " ".join(message.split()))[:LONGEST]


def parsed(raw: bytes) -> object:
    """Return the JSON value, or None where it is none; that no such path is served is text."""
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return NO_SUCH_PATH if raw.strip() == NO_SUCH_PATH.encode() else None


def resource_of(path: str) -> str:
    """Return what a path is of: `pods`, `agenttasks/status`; for counters and messages."""
    parts = path.partition("?")[0].strip("/").split("/")
    rest = parts[2:] if parts[0] == "api" else parts[3:]
    if len(rest) >= 3 and rest[0] == "namespaces" and rest[2] not in ("status", "finalize"):
        rest = rest[2:]
    if not rest:
        return parts[0] if len(parts) == 1 else "unknown"
    return rest[0] + (f"/{rest[2]}" if len(rest) > 2 else "")


def plain(value: Any) -> Any:
    """Make JSON of the read-only mappings that core values hold."""
    if hasattr(value, "keys"):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is no JSON value")
