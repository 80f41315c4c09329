"""A server that hangs, and many tasks that hold roles of it, keep nobody else's access alive."""

import time

from e2e.postgresql.databases import ROLE, Databases
from e2e.stage import request, until

MANY = 60
SECONDS = 0.5
"""From the end of a pod until its token is refused, whatever the others do."""


def test_the_end_of_a_token_does_not_wait_for_a_server_that_hangs(
    stage: Databases, name: str
) -> None:
    held = [f"{name}-{number}" for number in range(MANY)]
    for each in held:
        stage.begin(each, credentials=[ROLE])
    for each in held:
        stage.wait_ready(each, seconds=60)
    stage.begin_ready(name, credentials=[request()])
    token = stage.token(name)
    stage.server.freeze()
    try:
        for each in held:
            stage.end(each)
        until(lambda: stage.operator.metric("taskpass_pending_revocations") >= MANY)

        stage.end(name)
        ended = time.monotonic()
        until(lambda: stage.reads(token) in (401, 403), seconds=5)
        took = time.monotonic() - ended
    finally:
        stage.server.thaw()

    assert took < SECONDS
    until(lambda: stage.roles() == set(), seconds=60)
