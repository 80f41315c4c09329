"""The command `taskpass`. Each command imports what it needs, so that reading a log starts fast.

Exit codes are in `cli/exits.py`.
"""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import click

from taskpass import __version__
from taskpass.cli.approve import approvals, approve
from taskpass.cli.audit import audit
from taskpass.cli.audit.stats import pending
from taskpass.cli.doctor.command import doctor
from taskpass.cli.exits import TELL_WHERE, Aborted, Commands, ending_of
from taskpass.cli.output import say
from taskpass.cli.policy.command import policy
from taskpass.cli.revoke import lift, revoke
from taskpass.cli.tree import tree
from taskpass.core.errors import UsageError
from taskpass.runtime.settings import Settings, flag_of, load, variable_of


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="taskpass", message="%(prog)s %(version)s")
def cli() -> None:
    """Credentials for one task of an AI agent: given when it starts, taken back when it ends."""


cli.add_command(audit)
cli.add_command(doctor)
cli.add_command(policy)
cli.add_command(approvals)
cli.add_command(approve)
cli.add_command(tree)
cli.add_command(revoke)
cli.add_command(lift)
cli.add_command(pending)


def setting_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give the command a flag for each setting."""
    for name, field in reversed(Settings.model_fields.items()):
        text = f"{' '.join((field.description or '').split())} [{variable_of(name)}]"
        command = click.option(flag_of(name), help=text)(command)
    return command


@cli.command()
@setting_options
@click.option("--kubeconfig", type=Path, help="Run outside the cluster, as this kubeconfig's user.")
def operator(kubeconfig: Path | None, **flags: str | None) -> None:
    """Run the operator until it is told to stop (SIGTERM).

    Each setting is a flag and an environment variable; docs/settings.md says what they mean.

    Example: TASKPASS_NAMESPACE=taskpass-system taskpass operator --log-level debug
    """
    from taskpass.kube.api import connection
    from taskpass.runtime import log_format
    from taskpass.runtime.app import operate

    click.get_current_context().meta[TELL_WHERE] = True
    chosen = load(flags)
    log_format.configure(chosen.log_level)
    if kubeconfig is not None:
        where = connection.from_kubeconfig(str(kubeconfig))
        ca = connection.authority_of(str(kubeconfig))
    elif connection.MOUNT.exists():
        where, ca = connection.in_cluster(), (connection.MOUNT / "ca.crt").read_text()
    else:
        raise UsageError("No cluster: run it in a pod, or say --kubeconfig FILE")
    _run(operate(chosen, where, ca))


@cli.command(short_help="Give up everything, before an uninstall.")
@click.option("--via-operator", is_flag=True, required=True, help="Ask the running operator.")
@click.option("--namespace", envvar="TASKPASS_NAMESPACE", required=True, help="The operator's.")
@click.option(
    "--within", type=click.IntRange(1, 86400), default=300, show_default=True,
    help="Seconds to wait for the operator; it heeds the request no longer either.",
)  # fmt: skip
def release(via_operator: bool, namespace: str, within: int) -> None:
    """Revoke everything and release every task: what `helm uninstall` does first.

    Prints what was given up and what is still to be taken back. Nothing is issued any more
    afterwards, until the operator starts again.

    Example: taskpass release --via-operator --namespace taskpass-system
    """
    from taskpass.kube.api.client import KubeClient
    from taskpass.kube.writers.uninstall_hook import request_release

    async def ask() -> None:
        async with KubeClient.in_cluster() as client:
            answer = await request_release(client, namespace, within)
        say(f"Released {answer.get('tasks', '?')} tasks.")
        if stuck := answer.get("stuck"):
            say("Still with our finalizer:", *stuck.split("\n"))
        owed = answer.get("owed")
        say(*(("Still to be taken back:", *owed.split("\n")) if owed else ("Nothing is pending.",)))

    _run(ask())


def _run(work: Coroutine[Any, Any, None]) -> None:
    from taskpass.kube.api.event_loop import new_event_loop

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(work)


def main() -> None:
    """Run the command line; an error is one line on standard error."""
    end: click.ClickException
    try:
        cli(standalone_mode=False)
    except click.exceptions.Abort:
        end = Aborted("taskpass: aborted")
    except click.ClickException as error:
        end = error
    except (Exception, BaseExceptionGroup) as error:
        end = ending_of(error)
    else:
        return
    end.show()
    sys.exit(end.exit_code)
