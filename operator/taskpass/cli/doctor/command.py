"""`taskpass doctor`: is all there that taskpass stands on, and what to do where it is not.

In the operator's pod it asks with the operator's own rights. From outside it reads the settings
from the Deployment, and speaks as the operator by impersonation; the volume is then seen through
its claim only.
"""

import asyncio
import dataclasses
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from taskpass.cli.output import say, say_json
from taskpass.core.errors import UsageError
from taskpass.core.model.diagnosis import Diagnosis, Level


@click.command(
    short_help="Look whether all is there that taskpass needs.",
    epilog="Example: kubectl -n taskpass-system exec deploy/taskpass -- taskpass doctor",
)
@click.option("--kubeconfig", type=Path, help="Look from outside, as this kubeconfig's user.")
@click.option(
    "--namespace", envvar="TASKPASS_NAMESPACE", show_envvar=True, help="The operator's namespace."
)
@click.option("--operator", metavar="HOST:PORT", help="Where to ask /readyz of the operator.")
@click.option("--volume/--no-volume", default=True, help="Whether the ledger's volume is here.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def doctor(
    kubeconfig: Path | None,
    namespace: str | None,
    operator: str | None,
    volume: bool,
    as_json: bool,
) -> None:
    """Look at cluster, policies, rights, roles, signing key, volume, clock and the operator itself.

    Prints a line for each: ok, warning or failed, what was found, and what to do. From outside it
    needs a user who may read the Deployment and impersonate the operator.

    Exit codes: 0 nothing failed, 1 something did, 2 what was typed cannot be used, 3 the API server
    did not answer.
    """
    from taskpass.cli.doctor.examination import Examination

    if not namespace:
        raise UsageError("No namespace was named; use --namespace, or set TASKPASS_NAMESPACE")
    examination = Examination(
        namespace=namespace, kubeconfig=kubeconfig, operator=operator, volume=volume,
        environment=dict(os.environ),
    )  # fmt: skip
    said = asyncio.run(examination.run())
    if as_json:
        say_json([dataclasses.asdict(each) for each in said], indent=2)
    else:
        say(*as_text(said))
    if examination.unanswered:
        sys.exit(3)
    if any(each.level is Level.FAILED for each in said):
        sys.exit(1)


def as_text(said: Iterable[Diagnosis]) -> Iterator[str]:
    """Return a line for each: level, what, remedy."""
    return (f"{each.level:<7}  {each.about}: {each.what}{_remedy(each)}" for each in said)


def _remedy(said: Diagnosis) -> str:
    return f"  {said.remedy}" if said.remedy else ""
