"""`taskpass revoke` and `taskpass lift`: take back what somebody holds, now, and keep it back."""

import secrets
import sys
import time
from pathlib import Path

import click

from taskpass.cli import kill_switch_client
from taskpass.cli.cluster import called, key_of, kubeconfig
from taskpass.cli.output import say
from taskpass.core.errors import UsageError
from taskpass.kube.api.client import KubeClient


@click.command(
    short_help="Take back what a task, agent, class or namespace holds, and keep it back.",
    epilog="Example: taskpass revoke --agent support/triage-agent --reason 'INC-42, token leaked'",
)
@click.option("--task", metavar="NAMESPACE/NAME", help="One task.")
@click.option("--agent", metavar="NAMESPACE/NAME", help="Every task of a ServiceAccount.")
@click.option("--class", "of_class", metavar="NAME", help="Every credential of a CredentialClass.")
@click.option("--namespace", metavar="NAME", help="Every task of a namespace.")
@click.option("--all", "everything", is_flag=True, help="Everything.")
@click.option("--reason", required=True, help="Why, for the audit log and whoever waits.")
@click.option("--name", help="Of the KillSwitch; one is drawn otherwise.")
@click.option(
    "--within", type=click.IntRange(0, 3600), default=60, show_default=True,
    help="Seconds to wait until nothing of it is held; it goes on afterwards all the same.",
)  # fmt: skip
@click.option("--yes", is_flag=True, help="Do not ask, where --all is said.")
@kubeconfig
def revoke(
    task: str | None,
    agent: str | None,
    of_class: str | None,
    namespace: str | None,
    everything: bool,
    reason: str,
    name: str | None,
    within: int,
    yes: bool,
    kubeconfig: Path | None,
) -> None:
    """Throw a KillSwitch, and wait until nothing that it matches is held.

    What it matches stays back until `taskpass lift NAME`, whatever else is changed meanwhile. It
    needs the right to create KillSwitches (ClusterRole taskpass-responder). An API server that is
    slow is asked again; what could not be taken back yet is named, and is tried again for ever.

    Exit codes: 0 nothing of it is held, 1 something still is, or the operator does not answer,
    2 what was typed cannot be used, 3 the KillSwitch could not be made, 130 you would rather
    not.
    """
    spec = {**_target(task, agent, of_class, namespace, everything), "reason": reason}
    if everything and not yes:
        click.confirm("Take back everything that every task holds?", abort=True, err=True)
    chosen = name or f"revoke-{secrets.token_hex(4)}"
    began = time.monotonic()

    async def activate(client: KubeClient) -> tuple[bool, str]:
        def say_why(said: str) -> None:
            say(f"Trying again: {said}", err=True)

        await kill_switch_client.activate(client, chosen, spec, within, say_why)
        what = " ".join(filter(None, (spec["target"], _of(spec))))
        say(f"KillSwitch '{chosen}' is active: {what}")
        return await kill_switch_client.wait(client, chosen, within)

    done, said = called(kubeconfig, activate)
    if done:
        say(f"{said} ({time.monotonic() - began:.1f} s)")
    else:
        say(f"Not yet: {said or SILENT}")
    say(f"Lift it with: taskpass lift {chosen}")
    if not done:
        sys.exit(1)


@click.command(
    short_help="Lift a KillSwitch.", epilog="Example: taskpass lift revoke-1a2b3c4d"
)  # fmt: skip
@click.argument("name")
@kubeconfig
def lift(name: str, kubeconfig: Path | None) -> None:
    """Delete a KillSwitch: what it held back is attested, decided and issued anew.

    `kubectl get killswitches` lists them. Exit code 1 means that there is none of that name.
    """
    if not called(kubeconfig, lambda client: kill_switch_client.lift(client, name)):
        say(f"There is no KillSwitch '{name}'")
        sys.exit(1)
    say(f"KillSwitch '{name}' is lifted")


SILENT = (
    "the operator has said nothing of it yet; is it running? Credentials end by themselves when "
    "they expire"
)


def _target(
    task: str | None,
    agent: str | None,
    of_class: str | None,
    namespace: str | None,
    everything: bool,
) -> dict[str, str]:
    """Return the part of the spec that says what to stop."""
    chosen = [
        *([("Task", task)] if task is not None else []),
        *([("Agent", agent)] if agent is not None else []),
        *([("Class", of_class)] if of_class is not None else []),
        *([("Namespace", namespace)] if namespace is not None else []),
        *([("All", "")] if everything else []),
    ]
    if len(chosen) != 1:
        raise UsageError("Say exactly one of --task, --agent, --class, --namespace and --all")
    (target, words), spec = chosen[0], {"target": chosen[0][0]}
    if target in ("Task", "Agent"):
        where, of = key_of(words, f"--{target.lower()} must be NAMESPACE/NAME")
        return spec | {"namespace": where, "of": of}
    if target == "All":
        return spec
    return spec | {"namespace" if target == "Namespace" else "of": words}


def _of(spec: dict[str, str]) -> str:
    return "/".join(spec[key] for key in ("namespace", "of") if key in spec)
