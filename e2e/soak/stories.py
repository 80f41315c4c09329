"""What may become of a task with a database credential: one short story each, from pod to nothing.

Whoever tells one may find the operator dead at any moment, and another one started.
"""

import contextlib
from collections.abc import Callable, Mapping

import psycopg

from e2e.admission import GROUP, TENANT, task
from e2e.impersonate import thing
from e2e.postgresql.databases import ROLE, Databases
from e2e.stage import request, until

PATIENCE = 60.0
"""Seconds for one step, with a death and a start in it."""
ASKED = "asked-db"
"""A class whose credentials a lead approves."""
REFUSED = "nobodys-db"
"""A class whose group role is not there: half of what is asked for is issued, and taken back."""
Story = Callable[[Databases, str], None]


def _until_ready(stage: Databases, name: str) -> None:
    stage.wait_ready(name, PATIENCE)


def _finished(stage: Databases, name: str) -> None:
    stage.wait_condition(name, "Finished", "True", "Succeeded", seconds=PATIENCE)


def _in_use(stage: Databases, name: str) -> None:
    """Open a session, and a transaction in it; the credential may be another one a moment later."""
    with contextlib.suppress(psycopg.Error, KeyError):
        stage.login(name).execute("BEGIN")


def ended(stage: Databases, name: str) -> None:
    """The pod comes to its end while a transaction is open."""
    stage.begin(name, credentials=[ROLE, request()])
    _until_ready(stage, name)
    _in_use(stage, name)
    stage.end(name)
    _finished(stage, name)


def moved(stage: Databases, name: str) -> None:
    """It goes to a phase with other credentials, and then off its path."""
    phases = [
        {"name": "one", "next": ["two"], "credentials": [ROLE]},
        {"name": "two", "credentials": [request(), ROLE | {"name": "again"}]},
        {"name": "three", "credentials": [ROLE]},
    ]
    stage.begin(name, credentials=None, phases=phases, phase="one")
    _until_ready(stage, name)
    stage.change(name, {"phase": "two"})
    _until_ready(stage, name)
    stage.change(name, {"phase": "three"})
    until(lambda: not stage.roles() and not stage.accounts(), PATIENCE, lambda: stage.told(name))


def suspended(stage: Databases, name: str) -> None:
    """It is suspended, goes on, and is deleted."""
    stage.begin(name, credentials=[ROLE])
    _until_ready(stage, name)
    stage.change(name, {"operatingMode": "Suspended"})
    stage.wait_condition(name, "Suspended", "True", seconds=PATIENCE)
    until(lambda: not stage.roles(), PATIENCE, lambda: stage.told(name))
    stage.change(name, {"operatingMode": "Running"})
    _until_ready(stage, name)
    stage.alice.delete(task(name))
    until(lambda: not stage.api.exists(task(name)), PATIENCE)


def refused(stage: Databases, name: str) -> None:
    """One of its credentials cannot be issued, so the others are taken back."""
    asked = ROLE | {"name": "no", "classRef": {"name": REFUSED}}
    stage.begin(name, credentials=[ROLE, request(), asked])
    stage.wait_condition(name, "CredentialsIssued", "False", "ProviderRefused", seconds=PATIENCE)
    stage.alice.delete(task(name))
    until(lambda: not stage.api.exists(task(name)), PATIENCE)


def approved(stage: Databases, name: str) -> None:
    """A lead approves it, and the pod is deleted."""
    stage.begin(name, credentials=[ROLE | {"classRef": {"name": ASKED}}])

    def pending() -> list[dict[str, str]]:
        return list(stage.task(name).get("status", {}).get("pendingApprovals", []))

    [asked] = until(pending, PATIENCE, lambda: stage.told(name))
    ref = {"name": name, "uid": stage.task(name)["metadata"]["uid"]}
    spec = {"taskRef": ref, "digest": asked["digest"], "decision": "Approved"}
    lead = stage.api.as_user("lea", "support-leads")
    lead.create(thing(GROUP, "TaskApproval", TENANT, f"{name}-yes", spec=spec))
    _until_ready(stage, name)
    stage.alice.delete(thing("v1", "Pod", TENANT, name), gracePeriodSeconds="0")
    until(lambda: not stage.roles(), PATIENCE, lambda: stage.told(name))


STORIES: Mapping[str, Story] = {
    story.__name__: story for story in (ended, moved, suspended, refused, approved)
}
