"""The cluster that a command is about: a kubeconfig's, or the one that its pod is in."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TypeVar

import click

from taskpass.core.errors import UsageError
from taskpass.kube.api.client import KubeClient

T = TypeVar("T")
kubeconfig = click.option(
    "--kubeconfig",
    type=click.Path(path_type=Path),
    envvar="KUBECONFIG",
    show_envvar=True,
    help="Where the cluster is; in a pod, the cluster it is in.",
)


def key_of(words: str, what: str) -> tuple[str, str]:
    """Return what NAMESPACE/NAME names; `what` says in an error where that belongs.

    Raises:
        UsageError: It is not of that form.

    """
    namespace, _, name = words.partition("/")
    if not (namespace and name) or "/" in name:
        raise UsageError(f"{what}, such as support/ticket-4711")
    return namespace, name


def called(
    path: Path | None, call: Callable[[KubeClient], Awaitable[T]],
    impersonate: Sequence[tuple[str, str]] = (),
) -> T:  # fmt: skip
    """Return what a call answers, made as the user of a kubeconfig; None is the pod's own.

    `impersonate` are headers `Impersonate-…`: as whom that user speaks.

    Raises:
        UsageError: No cluster was named.

    """

    async def run() -> T:
        if path is not None:
            client = KubeClient.from_kubeconfig(str(path), impersonate=impersonate)
        elif "KUBERNETES_SERVICE_HOST" in os.environ:
            client = KubeClient.in_cluster(impersonate=impersonate)
        else:
            raise UsageError("No cluster was named; use --kubeconfig FILE, or set KUBECONFIG")
        async with client:
            return await call(client)

    return asyncio.run(run())
