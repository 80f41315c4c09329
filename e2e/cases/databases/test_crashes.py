"""kill -9 around the provider's effect: after the next start the server has what the task holds."""

import signal
from pathlib import Path

import pytest

from e2e.postgresql.databases import ROLE, Databases
from e2e.stage import request, until


def die(stage: Databases, folder: Path, step: str) -> None:
    """Have the running operator replaced by one that dies at a step."""
    stage.operator.stop()
    mark = folder / step
    stage.operator.start(ready=False, FAILPOINT=step, FAILPOINT_ONCE=str(mark))


def died(stage: Databases, folder: Path, step: str) -> None:
    """Wait for the death, and start another."""
    code = stage.operator.wait_end()
    assert (code, (folder / step).exists()) == (-signal.SIGKILL, True), stage.operator.tail()
    stage.operator.start()


@pytest.mark.parametrize(
    "step", ["issue.after-intent", "issue.after-provider", "postgresql.after-change"]
)
def test_a_death_while_issuing_leaves_the_role_that_the_task_holds(
    stage: Databases, name: str, folder: Path, step: str
) -> None:
    die(stage, folder, step)
    stage.begin(name, credentials=[ROLE, request()])
    died(stage, folder, step)
    stage.wait_ready(name)

    until(lambda: len(stage.roles()) == 1)
    with stage.login(name) as session:
        assert session.execute("SELECT session_user").fetchone() == (stage.roles().pop(),)
    stage.assert_holds_databases(name, 2)


@pytest.mark.parametrize(
    "step", ["revoke.after-intent", "revoke.after-provider", "postgresql.before-change"]
)
def test_a_death_while_revoking_leaves_nothing(
    stage: Databases, name: str, folder: Path, step: str
) -> None:
    stage.begin_ready(name, credentials=[ROLE, request()])
    session = stage.login(name)
    die(stage, folder, step)
    stage.end(name)
    died(stage, folder, step)

    stage.wait_finished(name, "Succeeded")
    stage.wait_nothing_left()
    assert session.broken or session.closed or stage.sessions() == 0


def test_a_role_that_nobody_answers_for_is_found_and_removed(
    stage: Databases, name: str, folder: Path
) -> None:
    """The ledger is lost together with what it knew; the role has our mark and no grant."""
    stage.begin_ready(name, credentials=[ROLE])
    [held] = stage.roles()
    with stage.server.admin() as admin:
        [comment] = admin.execute(
            "SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = %s", (held,)
        ).fetchone() or [None]
        other = held[:-4] + ("0000" if not held.endswith("0000") else "1111")
        admin.execute(f'CREATE ROLE "{other}" LOGIN'.encode())
        mark = comment.replace(held.removeprefix("taskpass-"), other.removeprefix("taskpass-"))
        admin.execute(f"COMMENT ON ROLE \"{other}\" IS '{mark}'".encode())
        admin.execute(f'GRANT "{other}" TO taskpass_op WITH ADMIN OPTION'.encode())

    until(lambda: stage.roles() == {held}, seconds=30)
