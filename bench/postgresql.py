"""The provider PostgreSQL alone: `python -m bench.postgresql`. Figures on standard output.

On a server that waits for its disk, with the operator's rights. Beside each figure is its floor, of
the same run: the server's own bare statements for as much, on a connection that is open.
"""

import argparse
import asyncio
import contextlib
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
from psycopg import sql

from bench.figures import beside, say, spread, tell
from bench.postgresql_live import measure_live
from e2e.postgresql.server import PostgresServer, running
from e2e.postgresql.stage import DATABASE, GROUP, OPERATOR, SERVER, furnish, settings
from taskpass.core.model.grant import Grant, GrantState, Issued, TaskRef
from taskpass.core.model.task import CredentialClass, CredentialRequest
from taskpass.providers.postgresql.provider import PostgresProvider
from taskpass.providers.postgresql.session import Session
from taskpass.providers.postgresql.state import resource_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)
READ = "SELECT text FROM tickets.ticket LIMIT 1"
CLASS = CredentialClass(
    name="tickets", uid="c", generation=1, provider="PostgreSQL", actions=("tickets.read",),
    config={
        "server": SERVER, "database": DATABASE, "connectionLimit": 4,
        "roles": [{"action": "tickets.read", "name": GROUP}],
    },
)  # fmt: skip
REQUEST = CredentialRequest(
    name="tickets", class_name="tickets", actions=("tickets.read",),
    resources=(resource_of(SERVER, DATABASE),),
)  # fmt: skip
TEXT = TaskRef(namespace="support", name="ticket-4711", uid=36 * "0")


class Clock:
    """The time."""

    def now(self) -> datetime:
        """Return a time; nothing here depends on it."""
        return NOW

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return time.monotonic()


def main(arguments: list[str]) -> int:
    """Run the benchmark; return the exit code: 1 where something was left."""
    parser = argparse.ArgumentParser(prog="python -m bench.postgresql", description=__doc__)
    parser.add_argument("--count", type=int, default=200, help="credentials, and roles at a time")
    parser.add_argument(
        "--live", type=int, default=1000, help="live credentials of a whole operator; 0 for none"
    )
    chosen = parser.parse_args(arguments)
    with (
        running(durable=True, max_connections=str(2 * chosen.count + 100)) as server,
        tempfile.TemporaryDirectory() as directory,
    ):
        furnish(server)
        left = asyncio.run(_run(server, Path(directory), chosen.count)) if chosen.count else 0
        if chosen.live:
            measure_live(server, chosen.live)
    tell("result", ok=not left, failures=[f"{left} roles are left"] if left else [])
    return 1 if left else 0


async def _run(server: PostgresServer, directory: Path, count: int) -> int:
    listed = settings(server, directory)
    provider = PostgresProvider({SERVER: listed}, clock=Clock(), installation="bench")
    say(f"PostgreSQL {server.version}: {count} one after the other")
    asked = _count_statements()
    held, took = [], []
    for _ in range(count):
        grant = _grant(provider)
        began = time.monotonic()
        issued = await provider.issue(grant, "")
        took.append(time.monotonic() - began)
        held.append((replace(grant, provider_state=issued.provider_state), issued))
    exchanges = len(asked) / count
    bare_made, bare_dropped = _bare(server, count)
    tell(
        "postgresql-issue", exchanges=exchanges, **spread(took), **beside(spread(bare_made), "bare")
    )
    asked.clear()
    refused, done = [], []
    for grant, issued in held:
        with _reading(server, issued) as last:
            began = time.monotonic()
            await provider.revoke(grant)
            done.append(time.monotonic() - began)
        refused.append(last[0] - began)
    tell("postgresql-refused", **spread(refused))
    tell(
        "postgresql-gone", exchanges=len(asked) / count, **spread(done),
        **beside(spread(bare_dropped), "bare"),
    )  # fmt: skip
    say(f"{count} at a time")
    await _together(server, provider, count)
    await provider.close()
    with server.admin() as admin:
        found = "SELECT count(*) FROM pg_roles WHERE starts_with(rolname, 'taskpass-g-')"
        [(left,)] = admin.execute(found).fetchall()
    return int(left)


async def _together(server: PostgresServer, provider: PostgresProvider, count: int) -> None:
    """End many at once, each with a session that is open, and see when each session is dead."""
    held = []
    began = time.monotonic()
    grants = [_grant(provider) for _ in range(count)]
    for grant, issued in zip(
        grants, await asyncio.gather(*(provider.issue(g, "") for g in grants)), strict=True
    ):
        held.append((replace(grant, provider_state=issued.provider_state), issued))
    issued_all = time.monotonic() - began
    dead: dict[int, float] = {}
    with contextlib.ExitStack() as stack:
        for _, issued in held:
            stack.enter_context(contextlib.closing(_login(server, issued)))
        over = threading.Event()
        watching = threading.Thread(target=_watch, args=(server, held, dead, over))
        watching.start()
        began, used = time.monotonic(), time.process_time()
        await asyncio.gather(*(provider.revoke(grant) for grant, _ in held))
        gone, used = time.monotonic() - began, time.process_time() - used
        over.set()
        watching.join()
    tell(
        "postgresql-together", roles=count, issued_all_ms=round(1000 * issued_all),
        gone_all_ms=round(1000 * gone), cpu_ms_per_role=round(1000 * used / count, 1),
        **beside(spread([at - began for at in dead.values()]), "dead"),
    )  # fmt: skip


def _watch(
    server: PostgresServer, held: list[tuple[Grant, Issued]], dead: dict[int, float],
    over: threading.Event,
) -> None:  # fmt: skip
    oids = [grant.provider_state["oid"] for grant, _ in held]
    with server.admin() as admin:
        while len(dead) < len(oids) and not over.is_set():
            rows = admin.execute(
                "SELECT usesysid FROM pg_stat_activity WHERE usesysid = ANY(%s::oid[])", (oids,)
            )
            alive = {oid for (oid,) in rows}
            now = time.monotonic()
            for oid in oids:
                if oid not in alive:
                    dead.setdefault(oid, now)
            time.sleep(0.01)


@contextlib.contextmanager
def _reading(server: PostgresServer, issued: Issued) -> Iterator[list[float]]:
    """Have a task read without end; yield when it last could."""
    last = [0.0]
    ready = threading.Event()

    def read() -> None:
        with contextlib.suppress(psycopg.Error), _login(server, issued) as task:
            while task.execute(READ).fetchall():
                last[0] = time.monotonic()
                ready.set()

    reader = threading.Thread(target=read)
    reader.start()
    ready.wait(10)
    try:
        yield last
    finally:
        reader.join()


def _bare(server: PostgresServer, count: int) -> tuple[list[float], list[float]]:
    """Return what the server's own statements take to make and to drop a role of the group."""
    made, dropped = [], []
    with server.admin(user=OPERATOR) as operator:
        for number in range(count):
            name = sql.Identifier(f"bare-{number}")
            began = time.monotonic()
            operator.execute(
                sql.SQL("CREATE ROLE {0} LOGIN; GRANT {1} TO {0}").format(
                    name, sql.Identifier(GROUP)
                )
            )
            made.append(time.monotonic() - began)
            began = time.monotonic()
            operator.execute(sql.SQL("DROP ROLE {}").format(name))
            dropped.append(time.monotonic() - began)
    return made, dropped


def _count_statements() -> list[Any]:
    """Return a list that grows by one for each exchange with a server."""
    asked: list[Any] = []
    bounded = Session._bounded

    async def counted(self: Session, work: Any) -> Any:
        asked.append(None)
        return await bounded(self, work)

    Session._bounded = counted  # type: ignore[method-assign]
    return asked


def _grant(provider: PostgresProvider) -> Grant:
    grant_id = f"g-{uuid4().hex}"
    return Grant(
        id=grant_id, task=TEXT, generation=1, attempt=1, phase="", name="tickets",
        class_name="tickets", provider="PostgreSQL", actions=REQUEST.actions,
        resources=REQUEST.resources, location="", request_digest="", intent_digest="",
        class_digest="", policy="", policy_digest="", pod_name="", pod_uid="",
        service_account="", service_account_uid="", lifetime_seconds=900,
        state=GrantState.INTENT, intent_at=NOW,
        provider_state=provider.prepare(REQUEST, CLASS, grant_id),
    )  # fmt: skip


def _login(server: PostgresServer, issued: Issued) -> psycopg.Connection:
    text = {name: value.reveal().decode() for name, value in issued.fields.items()}
    return psycopg.connect(
        text["uri"], sslrootcert=str(server.directory / "ca.crt"), autocommit=True
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
