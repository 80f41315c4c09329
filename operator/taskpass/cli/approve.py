"""`taskpass approvals` and `taskpass approve`: what waits for people, and their word on it."""

import json
import sys
from pathlib import Path

import click

from taskpass.cli import approvals_client
from taskpass.cli.approvals_client import Waiting
from taskpass.cli.cluster import called, key_of, kubeconfig
from taskpass.cli.output import say
from taskpass.core.errors import NotFound, UsageError
from taskpass.kube.api.client import KubeClient


@click.command(
    short_help="List what waits for approval, for whom, and since when.",
    epilog="Example: taskpass approvals --namespace support",
)
@click.option("--namespace", default="", help="Of the tasks; everywhere otherwise.")
@kubeconfig
def approvals(namespace: str, kubeconfig: Path | None) -> None:
    """List what tasks have people asked for, longest first.

    What is asked in full: taskpass approve NAMESPACE/TASK, or `status.pendingApprovals`.
    """
    found = called(kubeconfig, lambda client: approvals_client.waiting(client, namespace))
    if not found:
        say("Nothing waits for approval")
        return
    rows = [("TASK", "WHAT", "SINCE", "NEEDS")]
    rows += [(w.where, w.what, str(w.asked["sinceTime"]), w.whose) for w in found]
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    for row in rows:
        head = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False))
        say(f"{head}  {row[3]}")


@click.command(
    short_help="Approve what a task asks for, or deny it.",
    epilog="Example: taskpass approve support/ticket-4711 --reason 'talked to the customer'",
)
@click.argument("task", metavar="NAMESPACE/TASK")
@click.option("--credential", multiple=True, metavar="NAME", help="Only this one; may be repeated.")
@click.option("--deny", is_flag=True, help="Say no instead.")
@click.option("--reason", required=True, help="Why, for the audit log and whoever sees the task.")
@click.option(
    "--for", "seconds", type=click.IntRange(60, 86400),
    help="Seconds that it is good for; as long as policy lets it be otherwise.",
)  # fmt: skip
@click.option(
    "--within", type=click.IntRange(0, 3600), default=30, show_default=True,
    help="Seconds to wait until the operator says whether it counts.",
)  # fmt: skip
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--as", "user", metavar="USER", help="Speak as this user, where you may impersonate.")
@click.option("--as-group", "groups", multiple=True, metavar="GROUP", help="In this group.")
@kubeconfig
def approve(
    task: str,
    credential: tuple[str, ...],
    deny: bool,
    reason: str,
    seconds: int | None,
    within: int,
    yes: bool,
    user: str | None,
    groups: tuple[str, ...],
    kubeconfig: Path | None,
) -> None:
    """Show what a task asks for in full, and give your word on exactly that.

    It makes a TaskApproval for each thing, in your name, which the API server proves; it needs the
    right to create them (ClusterRole taskpass-approver). Deleting it takes your word back, and what
    it let be issued. Whoever made or changed the task may not approve it.

    Exit codes: 0 it counts, 1 nothing waits or it does not count, 2 what was typed cannot be used,
    3 it could not be made, 130 you would rather not.
    """
    namespace, name = key_of(task, "Name the task as NAMESPACE/TASK")
    chosen = _chosen(kubeconfig, namespace, name, credential)
    if not chosen:
        say(f"Nothing of {task} waits for approval")
        sys.exit(1)
    verb = "deny" if deny else "approve"
    say(f"AgentTask {task}, {chosen[0].people}")
    for each in chosen:
        each.check()
        say(f"{each.what}, asked {each.asked['sinceTime']}, needs {each.whose}:")
        # Escaped, as a goal may hold what would move the reader's cursor.
        shown = json.dumps(json.loads(each.asked["request"]), indent=2, sort_keys=True)
        say(*shown.split("\n"), each.asked["digest"])
    if not yes:
        click.confirm(f"{verb.capitalize()} this?", abort=True, err=True)

    async def speak(client: KubeClient) -> bool:
        counts = True
        for each in chosen:
            decision = "Denied" if deny else "Approved"
            made = await approvals_client.give(client, each, decision, reason, seconds)
            say(f"TaskApproval '{made}' is made")
            well, said = await approvals_client.heard(client, namespace, made, within)
            say(said)
            counts = counts and well
        return counts

    if not called(kubeconfig, speak, _speaking_as(user, groups)):
        sys.exit(1)


def _speaking_as(user: str | None, groups: tuple[str, ...]) -> list[tuple[str, str]]:
    if user is None:
        if groups:
            raise UsageError("--as-group needs --as")
        return []
    return [("Impersonate-User", user), *(("Impersonate-Group", group) for group in groups)]


def _chosen(
    kubeconfig: Path | None, namespace: str, name: str, credential: tuple[str, ...]
) -> list[Waiting]:
    try:
        found = called(kubeconfig, lambda client: approvals_client.of_task(client, namespace, name))
    except NotFound:
        raise UsageError(f"There is no AgentTask '{namespace}/{name}'") from None
    if not credential:
        return found
    unknown = sorted(set(credential) - {str(w.asked.get("name", "")) for w in found})
    if unknown:
        raise UsageError(f"Credential '{unknown[0]}' of {namespace}/{name} waits for no approval")
    return [w for w in found if w.asked.get("name") in credential]
