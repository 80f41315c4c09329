"""What taskpass is told of the demo's PostgreSQL server, and the end of that, whatever happens.

A server that goes while a task holds something on it would be owed a revocation for ever.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from e2e.demo.server import Database
from e2e.demo.stage import EXAMPLES, SYSTEM, Stage
from e2e.demo.story import ready
from e2e.demo.telling import DidNotComeOut, Telling

SECRET = "support-db-operator"
HELM = (
    f"helm upgrade --install taskpass charts/taskpass --namespace {SYSTEM} "
    "--values examples/values.yaml"
)


@contextmanager
def listed(stage: Stage, telling: Telling, db: Database) -> Iterator[None]:
    """Have taskpass know the server while the block runs; end all of it before the server does."""
    server = db.server
    telling.say(
        f"PostgreSQL {server.version // 10_000} runs at {server.host}:{server.port} on this "
        "machine, with TLS, set up as docs/providers/postgresql.md says"
    )
    stage.kubectl("create", "namespace", SYSTEM, check=False)
    put_away(stage)
    try:
        furnish(stage, telling, db)
        yield
    except BaseException:
        with suppress(DidNotComeOut):  # why it ends is what is to be told
            unlist(stage, telling)
        raise
    unlist(stage, telling)


def furnish(stage: Stage, telling: Telling, db: Database) -> None:
    """Give taskpass its own credential for the server, and list it."""
    line = f"kubectl -n {SYSTEM} create secret generic {SECRET}"
    line += " --from-file=ca.crt --from-file=password"
    telling.say(line)
    stage.shell(line, db.server.directory)
    telling.say(f"{HELM} --values examples/values-databases.yaml --wait  (host and port by --set)")
    stage.install(*db.values())
    ready(stage, telling)
    stage.apply(EXAMPLES / "01-first-task/03-rights.yaml")


def unlist(stage: Stage, telling: Telling) -> None:
    """Have taskpass forget the server, which is about to end."""
    put_away(stage)
    telling.say(f"{HELM} --wait  (without the server)")
    stage.install()


def put_away(stage: Stage) -> None:
    """Delete what the example made, and the operator's own credential."""
    gone = ("--ignore-not-found", "--timeout=90s")
    if "credentialclasses" in stage.kubectl("get", "crd", "--output", "name", check=False):
        stage.kubectl("delete", "-f", str(EXAMPLES / "05-databases"), *gone, check=False)
    stage.kubectl("-n", SYSTEM, "delete", "secret", SECRET, *gone, check=False)
