"""`taskpass audit anchor` and `re-origin`: the memory of the log in the cluster."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import click

from taskpass.cli.audit import options
from taskpass.cli.cluster import called, kubeconfig
from taskpass.cli.output import say, say_json
from taskpass.core.audit.anchor import PROVEN
from taskpass.core.errors import ApiError, NotFound, UsageError
from taskpass.kube.api.client import KubeClient
from taskpass.kube.writers.audit_anchor import KubeAnchor, begin_anew
from taskpass.ledger.log.reader import Incomplete
from taskpass.ledger.query.history import History

T = TypeVar("T")
MOST_REASON = 200


@click.command(epilog="Example: taskpass audit anchor --db ledger.db --kubeconfig admin.kubeconfig")
@options.database
@kubeconfig
@options.as_json
def anchor(db: Path | None, kubeconfig: Path | None, as_json: bool) -> None:
    """Hold a ledger's file against what the cluster's AuditAnchor remembers of it.

    Exit code 1 means that the log was rolled back, or is another one; 3 that it cannot be told.
    """
    with options.exit_on_error():
        history = History(options.chosen(db))
        seen = _called(kubeconfig, lambda client: KubeAnchor(client).read())
        head, reason, said = history.compared(seen.head)
    found = {
        "remembered": None if seen.head is None else seen.head.size, "size": head.size,
        "level": seen.status.get("level", 0), "reason": reason.value, "message": said,
    }  # fmt: skip
    if as_json:
        say_json(found)
    else:
        say(f"{reason.value}: {said}")
        say(f"log {head.origin}, {head.size} entries; remembered {found['remembered']}")
    if reason in PROVEN:
        raise options.FoundTampering(f"{reason.value}: nothing is issued until a person decides")


@click.command(
    "re-origin",
    epilog="Example: taskpass audit re-origin --reason 'volume lost on 2026-11-20, see INC-42'",
)
@click.option("--reason", required=True, help=f"Why, for the log; up to {MOST_REASON} characters.")
@kubeconfig
@click.option("--yes", is_flag=True, help="Do not ask.")
def re_origin(reason: str, kubeconfig: Path | None, yes: bool) -> None:
    """Have the cluster forget what it remembers of the log, and believe the log as it is now.

    For after a rollback or fork that cannot be undone. Compare with what witnesses and you have
    kept first: what is forgotten here is what showed that something is wrong. It needs the right
    to delete and create AuditAnchors. The operator writes what was forgotten, and why, into the log
    before it goes on.
    """
    with options.exit_on_error():
        if not reason.strip() or len(reason) > MOST_REASON or not reason.isprintable():
            raise UsageError(
                f"--reason must be one line of text, of at most {MOST_REASON} characters"
            )
        seen = _called(kubeconfig, lambda client: KubeAnchor(client).read())
        if seen.head is None:
            raise UsageError("Nothing is remembered, so there is nothing to forget")
        head = seen.head
    what = f"log {head.origin} at size {head.size}"
    if not yes:
        click.confirm(f"Forget {what}?", abort=True, err=True)
    with options.exit_on_error():
        _called(kubeconfig, lambda client: begin_anew(client, seen, reason))
    say(f"Forgot {what}. The operator goes on with the log as it is, and records why")


def remembered(kubeconfig: Path | None) -> str:
    """Return the checkpoint that the cluster remembers; `Incomplete` where there is none."""
    seen = _called(kubeconfig, lambda client: KubeAnchor(client).read())
    note = seen.status.get("note", "")
    if not note:
        raise Incomplete("The AuditAnchor remembers nothing yet")
    return str(note)


def _called(kubeconfig: Path | None, call: Callable[[KubeClient], Awaitable[T]]) -> T:
    try:
        return called(kubeconfig, call)
    except NotFound as error:
        raise Incomplete("There is no AuditAnchor 'taskpass'; install the chart") from error
    except ApiError as error:
        raise Incomplete(f"The AuditAnchor could not be used: {error}") from error
