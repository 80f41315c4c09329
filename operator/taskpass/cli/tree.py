"""`taskpass tree`: a task, all that it delegates to, and what each holds."""

from collections.abc import Iterator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any

import click

from taskpass.cli.cluster import called, key_of, kubeconfig
from taskpass.cli.output import say
from taskpass.core.errors import UsageError
from taskpass.kube.api.client import KubeClient
from taskpass.kube.kinds import AGENT_TASK

Tasks = Mapping[str, Mapping[str, Any]]


@click.command(
    short_help="Draw a task and all that it delegates to.",
    epilog="Example: taskpass tree support/incident-17",
)
@click.argument("task", metavar="NAMESPACE/TASK")
@kubeconfig
def tree(task: str, kubeconfig: Path | None) -> None:
    """Draw the whole family of a task, from its root: who holds what, until when.

    The task itself is marked with `*`.
    """
    namespace, name = key_of(task, "Name the task as NAMESPACE/TASK")
    tasks = called(kubeconfig, lambda client: _tasks(client, namespace))
    if name not in tasks:
        raise UsageError(f"There is no AgentTask '{task}'")
    say(*drawn(tasks, name))


async def _tasks(client: KubeClient, namespace: str) -> Tasks:
    found: dict[str, Mapping[str, Any]] = {}
    path = AGENT_TASK.path(namespace)
    async with aclosing(client.pages(path)) as pages:
        async for items, _ in pages:
            found |= {item["metadata"]["name"]: item for item in items}
    return found


def drawn(tasks: Tasks, name: str) -> Iterator[str]:
    """Yield the lines of the family of a task."""
    root, seen = name, {name}
    while (above := _parent(tasks[root])) in tasks and above not in seen:
        root = above
        seen.add(above)
    missing = _parent(tasks[root])
    if missing and missing not in tasks:
        yield f"({missing} is not there)"
    yield from _branch(tasks, root, name, "", "", set())


def _branch(
    tasks: Tasks, at: str, marked: str, head: str, indent: str, drawn_before: set[str]
) -> Iterator[str]:
    mark = "*" if at == marked else ""
    yield f"{head}{at}{mark}  {_told(tasks[at])}"
    if at in drawn_before:
        return  # a circle, which holds nothing
    drawn_before.add(at)
    children = sorted(n for n, each in tasks.items() if _parent(each) == at)
    for child in children:
        last = child == children[-1]
        corner, bar = ("└─ ", "   ") if last else ("├─ ", "│  ")
        yield from _branch(tasks, child, marked, indent + corner, indent + bar, drawn_before)


def _parent(task: Mapping[str, Any]) -> str:
    return str(task["spec"].get("parentRef", {}).get("name", ""))


def _told(task: Mapping[str, Any]) -> str:
    status = task.get("status", {})
    ready = next((c for c in status.get("conditions", ()) if c["type"] == "Ready"), None)
    agent = task["spec"]["agent"]["serviceAccountName"]
    if ready is None:
        return f"{agent}, not looked at yet"
    held = sorted({grant["name"] for grant in status.get("grants", ())})
    if not held:
        return f"{agent}, {ready['reason']}: holds nothing"
    until = status.get("expirationTime", "?")
    return f"{agent}, {ready['reason']}: holds {', '.join(held)} until {until}"
