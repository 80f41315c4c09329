"""Names of roles, the mark that says whose a role is, and what PostgreSQL takes for a name. Pure.

A name leaves this package as `psycopg.sql.Identifier` only, so none of it needs to be harmless;
what is refused here would be another name on the server, or none.
"""

import re
from dataclasses import dataclass

MOST_BYTES = 63
"""PostgreSQL cuts longer names without a word: two of them could become one."""
PREFIX = "taskpass-"
GRANT_ID = re.compile(r"g-[0-9a-f]{32}")
MARK = re.compile(r"taskpass grant (g-[0-9a-f]{32}) of (\S+) for (\S+)")


@dataclass(frozen=True, slots=True)
class Mark:
    """What the comment on a role says: of which grant it is, and of whose operator.

    Only who may make roles can comment on one; a role cannot on itself.
    """

    grant_id: str
    installation: str


def refusal_of_name(name: str) -> str | None:
    """Return why PostgreSQL would not take the name as it is; None where it would."""
    if not name:
        return "a name must not be empty"
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return "a name must be Unicode text"
    if size > MOST_BYTES:
        return f"a name must be at most {MOST_BYTES} bytes: '{name[:20]}…' has {size}"
    if not name.isprintable():
        return "a name must hold no control characters"
    if name != name.strip():
        return f"a name must not begin or end with a space: '{name}'"
    return None


def role_of(grant_id: str) -> str:
    """Return the name of a grant's role."""
    return PREFIX + grant_id


def grant_of_role(name: str) -> str | None:
    """Return the grant id in a role's name; None where it is none of ours."""
    grant_id = name.removeprefix(PREFIX)
    ours = name.startswith(PREFIX) and GRANT_ID.fullmatch(grant_id)
    return grant_id if ours else None


def comment_of(grant_id: str, installation: str, task: str) -> str:
    """Return the comment that marks a grant's role. The task is for people who find it."""
    return f"taskpass grant {grant_id} of {installation} for {task}"


def mark_of(comment: str | None) -> Mark | None:
    """Return what a role's comment says of it; None where it is not one of ours."""
    match = MARK.fullmatch(comment or "")
    return Mark(match[1], match[2]) if match else None
