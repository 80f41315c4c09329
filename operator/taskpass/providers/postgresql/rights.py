"""What group roles may do, as the server's catalogs say; what of it is too much; in words.

Anybody who may connect to a database can read all this there: no right beyond that is needed.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass

from taskpass.core.model.task import digest
from taskpass.core.model.text import word
from taskpass.providers.postgresql.session import Session

EVERYBODY = "PUBLIC"
MOST_SCHEMAS = 5
"""How many schemas are said in words; the rest is counted."""
POWERFUL = frozenset(
    {
        "pg_execute_server_program",
        "pg_write_server_files",
        "pg_read_server_files",
        "pg_signal_backend",
        "pg_create_subscription",
        "pg_write_all_data",
    }
)
"""Roles of the server's own whose members reach beyond what can be taken back."""
CHANGES = ("INSERT", "UPDATE", "DELETE", "TRUNCATE")


@dataclass(frozen=True, slots=True, order=True)
class Right:
    """One thing that somebody may do."""

    kind: str
    """Of what it is a privilege: `table`, `column`, `sequence`, `schema`, `function`, `database`,
    `parameter`, `large object`, `server` (a foreign one), `default` (of what is made later),
    `policy` (of rows). Others are `owner` of anything, `member` and `admin` of a role, and
    `attribute` of a role; `group` is one of those that were asked for."""
    schema: str
    name: str
    privilege: str
    holder: str
    further: bool
    """Whether the holder may give it to others."""


# Members of members count as well: on 16 and later where the membership is inherited.
_HOLDERS = """
WITH RECURSIVE holder(oid) AS (
  SELECT oid FROM pg_roles WHERE rolname = ANY(%(groups)s)
  UNION
  SELECT m.roleid FROM pg_auth_members m JOIN holder h ON m.member = h.oid {inherits}
), acl(kind, schema, name, item, own) AS (
  SELECT 'database', '', datname::text, coalesce(datacl, acldefault('d', datdba)),
         datname <> current_database()
    FROM pg_database
  UNION ALL
  SELECT 'schema', nspname, nspname, coalesce(nspacl, acldefault('n', nspowner)),
         nspname ~ '^(pg_|information_schema)' FROM pg_namespace
  UNION ALL
  SELECT CASE relkind WHEN 'S' THEN 'sequence' ELSE 'table' END, nspname, relname, relacl,
         nspname ~ '^(pg_|information_schema)'
    FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
   WHERE relacl IS NOT NULL
  UNION ALL
  SELECT 'column', nspname, relname::text || '.' || attname::text, attacl,
         nspname ~ '^(pg_|information_schema)'
    FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
    JOIN pg_namespace n ON n.oid = relnamespace WHERE attacl IS NOT NULL
  UNION ALL
  SELECT 'function', nspname, p.oid::regprocedure::text,
         coalesce(proacl, acldefault('f', proowner)), nspname ~ '^(pg_|information_schema)'
    FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace
   WHERE proacl IS NOT NULL OR nspname !~ '^(pg_|information_schema)'
  UNION ALL
  SELECT 'parameter', '', parname, paracl, false FROM pg_parameter_acl
  UNION ALL
  SELECT 'large object', '', oid::text, lomacl, false FROM pg_largeobject_metadata
   WHERE lomacl IS NOT NULL
  UNION ALL
  SELECT 'server', '', srvname, srvacl, false FROM pg_foreign_server WHERE srvacl IS NOT NULL
  UNION ALL
  SELECT 'default', coalesce(defaclnamespace::regnamespace::text, ''),
         defaclobjtype::text || ' of ' || pg_get_userbyid(defaclrole), defaclacl, false
    FROM pg_default_acl
)
SELECT kind, schema, name, privilege_type,
       CASE grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(grantee) END, is_grantable
  FROM acl, aclexplode(item)
 WHERE grantee IN (SELECT oid FROM holder) OR (grantee = 0 AND NOT own)
UNION ALL
SELECT 'owner', coalesce(d.datname, ''), s.classid::regclass::text, '', pg_get_userbyid(s.refobjid),
       false
  FROM pg_shdepend s LEFT JOIN pg_database d ON d.oid = s.dbid
 WHERE s.deptype = 'o' AND s.refclassid = 'pg_authid'::regclass
   AND s.refobjid IN (SELECT oid FROM holder)
UNION ALL
SELECT CASE WHEN admin_option THEN 'admin' ELSE 'member' END, '', pg_get_userbyid(roleid), '',
       pg_get_userbyid(member), admin_option
  FROM pg_auth_members WHERE member IN (SELECT oid FROM holder)
UNION ALL
SELECT 'group', '', rolname, '', rolname, false FROM pg_roles WHERE rolname = ANY(%(groups)s)
UNION ALL
SELECT 'attribute', '', a, '', rolname, false
  FROM pg_roles, unnest(ARRAY[
         CASE WHEN rolsuper THEN 'SUPERUSER' END, CASE WHEN rolcreaterole THEN 'CREATEROLE' END,
         CASE WHEN rolcreatedb THEN 'CREATEDB' END, CASE WHEN rolbypassrls THEN 'BYPASSRLS' END,
         CASE WHEN rolreplication THEN 'REPLICATION' END, CASE WHEN rolcanlogin THEN 'LOGIN' END]) a
 WHERE oid IN (SELECT oid FROM holder) AND a IS NOT NULL
UNION ALL
SELECT 'policy', nspname, relname::text || ' ' || polname::text,
       polcmd::text || polpermissive::text
         || md5(coalesce(polqual::text, '') || coalesce(polwithcheck::text, '')),
       CASE WHEN r = 0 THEN 'PUBLIC' ELSE pg_get_userbyid(r) END, false
  FROM pg_policy JOIN pg_class c ON c.oid = polrelid JOIN pg_namespace n ON n.oid = relnamespace,
       unnest(polroles) r
 WHERE r = 0 OR r IN (SELECT oid FROM holder)
UNION ALL
SELECT 'policy', nspname, relname, 'ENFORCED', 'PUBLIC', relforcerowsecurity
  FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE relrowsecurity
"""


async def read_rights(session: Session, groups: Sequence[str]) -> frozenset[Right]:
    """Return all that members of the groups may do in the session's database, and everybody."""
    inherits = "WHERE m.inherit_option" if session.has_membership_options else ""
    rows = await session.ask(_HOLDERS.replace("{inherits}", inherits), {"groups": list(groups)})
    return frozenset(Right(*row) for row in rows)


def exists(rights: Iterable[Right], group: str) -> bool:
    """Tell whether there is a group role of that name."""
    return any((right.kind, right.name) == ("group", group) for right in rights)


def digest_of(rights: Iterable[Right]) -> str:
    """Return a digest that changes with any of them."""
    return digest([asdict(right) for right in sorted(rights)])


def connects_to(rights: Iterable[Right], database: str) -> bool:
    """Tell whether they have a right to connect to the database."""
    wanted = ("database", database, "CONNECT")
    return any((right.kind, right.name, right.privilege) == wanted for right in rights)


def privilege_escalation(rights: Iterable[Right], apart: bool) -> str | None:
    """Return what would outlive a credential, for people; None where nothing does.

    `apart`: a member is kept from becoming the group (16 and later).
    """
    for right in sorted(rights):
        if said := _escalates(right, apart):
            return said
    return None


def describe_access(
    groups: Iterable[str], database: str, server: str, tls: str, rights: Iterable[Right]
) -> str:
    """Return what a member of the groups gets, for people: which roles where, and what they may.

    Names are others': in quotes where they could be read as our words.
    """
    roles = ", ".join(map(word, groups))
    where = f"{roles} on database {word(database)} of server {server} ({describe_rights(rights)})"
    return where + ("" if tls == "VerifyFull" else f", with TLS {tls}")


def describe_rights(rights: Iterable[Right]) -> str:
    """Return what members may do in words: `read tables of schema tickets`.

    What the groups have themselves comes before what everybody has there.
    """
    rights = list(rights)
    own = [right for right in rights if right.holder != EVERYBODY]
    theirs = [right for right in rights if right.holder == EVERYBODY]
    members = sorted({f"member of {word(r.name)}" for r in own if r.kind == "member"})
    powers = sorted({r.name for r in own if r.kind == "attribute" and r.name != "LOGIN"})
    parts = [*members, *powers, *_by_schema(own)]
    if everybody := list(_by_schema(theirs)):
        parts.append(f"as everybody there: {'; '.join(everybody)}")
    return "; ".join(parts) or "nothing yet"


def _by_schema(rights: Iterable[Right]) -> Iterator[str]:
    by_schema: dict[str, set[str]] = {}
    for right in rights:
        if right.kind in ("table", "column", "sequence", "function", "schema"):
            if said := _word_of(right):
                by_schema.setdefault(right.schema, set()).add(said)
    for schema, words in sorted(by_schema.items())[:MOST_SCHEMAS]:
        yield f"{', '.join(sorted(words))} of schema {word(schema)}"
    if (more := len(by_schema) - MOST_SCHEMAS) > 0:
        yield f"and of {more} more schemas"


def _escalates(right: Right, apart: bool) -> str | None:
    who = f"'{right.holder}'"
    match right.kind:
        case "owner":
            where = f" in database '{right.schema}'" if right.schema else ""
            return f"{who} owns something{where} ({right.name}), and an owner gives to others"
        case "admin":
            return f"{who} may make others members of '{right.name}'"
        case "member" if right.name in POWERFUL:
            return f"{who} is a member of '{right.name}'"
        case "attribute" if right.name == "SUPERUSER" or (not apart and right.name != "LOGIN"):
            return f"{who} is {right.name}"
        case "policy":
            return None
    if right.further and right.holder != EVERYBODY:
        return f"{who} may grant {right.privilege} on {right.kind} '{right.name}' to others"
    if right.privilege == "TRIGGER":
        return f"{who} may put a trigger on {right.kind} '{right.name}', which others then run"
    if right.privilege == "ALTER SYSTEM":
        return f"{who} may set {right.kind} '{right.name}' for good"
    if right.privilege == "CREATE" and not apart:
        return (
            f"{who} may CREATE in {right.kind} '{right.name}': before version 16 a member can "
            "become the group, and make what stays the group's"
        )
    return None


def _word_of(right: Right) -> str | None:
    if right.kind == "function":
        return "call functions"
    if right.kind == "schema":
        return "create objects" if right.privilege == "CREATE" else None
    if right.kind == "sequence":
        return "use sequences"
    if right.privilege == "SELECT":
        return "read tables"
    return "change tables" if right.privilege in CHANGES else None
