"""What was quiet while a role could still log in counts for nothing."""

import asyncio
import contextlib
import threading
from typing import Any

import psycopg

from tests.contract.postgresql.stage import Bench
from tests.contract.postgresql.test_attacks import ALLOWED, HIDDEN, beside


async def test_a_login_that_hides_from_just_before_it_is_forbidden_never_opens(
    bench: Bench,
) -> None:
    grant, issued = await bench.issued(ALLOWED)
    role = grant.provider_state["role"]
    opened: list[Any] = []
    ended = threading.Event()
    watching = asyncio.Event()
    watcher = bench.provider._watcher
    until_quiet = watcher.until_quiet

    async def noted(server: str, oid: int) -> None:
        watching.set()
        await until_quiet(server, oid)

    watcher.until_quiet = noted  # type: ignore[method-assign]

    def hide(over: threading.Event) -> None:
        with contextlib.suppress(psycopg.Error):
            with bench.login(issued, options="-c post_auth_delay=3", connect_timeout=60) as task:
                opened.append(task.execute("SELECT count(*) FROM pg_class").fetchone())
        ended.set()

    with bench.server.admin() as admin:
        admin.execute("BEGIN")
        admin.execute(f'ALTER ROLE "{role}" CONNECTION LIMIT 10'.encode())
        revoking = bench.begin(bench.provider.revoke(grant))
        await watching.wait()
        await asyncio.sleep(0.12)  # half of the quiet time has passed, and a login begins
        with beside(hide):
            while not bench.ask(HIDDEN):
                await asyncio.sleep(0.002)
            admin.execute("ROLLBACK")
            await revoking
            left = bench.ask(HIDDEN)
            await bench.until(ended.is_set)
    assert (left, opened) == ([], [])
