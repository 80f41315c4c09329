"""Whose owners are read first, where more pods carry the label than are looked at at once."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from taskpass.core.lifecycle.attestation import PodView
from taskpass.core.lifecycle.pod import MOST_OWNERS, pods_to_resolve
from taskpass.core.lifecycle.snapshot import Owners, Snapshot
from tests.simulation.builders import T0, job, pod, request, task
from tests.unit.core.snapshots import NEW

OF_A_JOB = task(request("tickets"), job="ticket-4711")
CONTROLLER = pod(job=job()).created_by


def claim(number: int, of: str = "ticket-4711", **changes: Any) -> PodView:
    """Return a pod that somebody made, and that only says whose it is: of a Job of its own."""
    said = pod(f"p-{number}", job=job(of, uid=f"job-{number}"))
    return replace(said, created_by="mallory", **changes)


def claims(count: int, of: str = "ticket-4711", **changes: Any) -> list[PodView]:
    return [claim(number, of, **changes) for number in range(count)]


def seeing(pods: Sequence[PodView], **changes: Any) -> Snapshot:
    return replace(NEW, task=OF_A_JOB, pods=tuple(pods), **changes)


def test_the_owners_of_64_are_read_at_once() -> None:
    assert MOST_OWNERS == 64
    assert pods_to_resolve(seeing(claims(64)), T0) == tuple(claims(64))
    assert len(pods_to_resolve(seeing(claims(65)), T0)) == 64


def test_pods_of_one_owner_count_once() -> None:
    shared = [pod(f"s-{number}", job=job()) for number in range(100)]

    assert pods_to_resolve(seeing(shared), T0) == tuple(shared)


@pytest.mark.parametrize("controllers", [None, {"Job": (CONTROLLER, "another")}])
def test_what_a_controller_made_comes_before_what_only_says_so(controllers: Any) -> None:
    made = pod("made", job=job("above", uid="job-made"))
    seen = seeing([*claims(200), made], **({"controllers": controllers} if controllers else {}))

    for second in range(0, 100, 10):
        assert made in pods_to_resolve(seen, T0 + timedelta(seconds=second))


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"created_by": "mallory"}, id="another made it"),
        pytest.param({"created_by": "replicas"}, id="another kind's controller made it"),
        pytest.param({"created_for": "Job/job-0"}, id="it was made for another"),
        pytest.param({"created_for": None}, id="it is not stamped"),
        pytest.param({"gated": False}, id="it runs already"),
    ],
)
def test_a_pod_that_cannot_be_the_agent_does_not_come_first(changes: dict[str, Any]) -> None:
    """The 64 that are as they must be take all places, whenever it is."""
    right = [pod(f"right-{n}", job=job(uid=f"right-{n}")) for n in range(64)]
    wrong = replace(pod("wrong", job=job(uid="job-wrong")), **changes)
    seen = seeing([wrong, *right], controllers={"Job": (CONTROLLER,), "ReplicaSet": ("replicas",)})

    for second in range(0, 100, 10):
        assert pods_to_resolve(seen, T0 + timedelta(seconds=second)) == tuple(right)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(claim(99, of="another"), id="a Job of another name"),
        pytest.param(
            replace(
                claim(99),
                owner=replace(claim(99).owner, kind="ReplicaSet"),  # type: ignore[type-var]
            ),
            id="another kind of this name",
        ),
        pytest.param(
            replace(
                claim(99),
                owner=replace(claim(99).owner, kind="Robot"),  # type: ignore[type-var]
            ),
            id="a kind whose controller is not known",
        ),
        pytest.param(replace(claim(99), owner=None), id="nobody's"),
        pytest.param(claim(99, gated=False), id="one that runs already"),
    ],
)
def test_of_those_that_only_say_so_the_ones_that_could_be_come_first(other: PodView) -> None:
    seen = seeing([other, *claims(64)])

    for second in range(0, 100, 10):
        assert pods_to_resolve(seen, T0 + timedelta(seconds=second)) == tuple(claims(64))


def test_whose_it_says_it_is_counts_for_more_than_that_it_waits() -> None:
    running, waiting = claims(64, gated=False), claim(99, of="another")

    assert pods_to_resolve(seeing([waiting, *running]), T0) == tuple(running)


def test_of_the_rest_others_have_their_turn_every_ten_seconds() -> None:
    seen = seeing(claims(200))
    looks = [pods_to_resolve(seen, T0 + timedelta(seconds=second)) for second in range(0, 400, 10)]

    assert pods_to_resolve(seen, T0 + timedelta(seconds=9.9)) == looks[0]
    assert looks[1] != looks[0]
    assert len({each.uid for look in looks for each in look}) == 200


def test_where_the_task_names_no_workload_all_owners_are_alike() -> None:
    nobodys = replace(pod("nobodys"), owner=None)
    seen = replace(NEW, pods=(nobodys, claim(0), claim(1, of="another")))

    assert pods_to_resolve(seen, T0) == (claim(0), claim(1, of="another"))
    crowd = replace(NEW, pods=(*claims(100, of="another"), claim(200)))
    turns = [pods_to_resolve(crowd, T0 + timedelta(seconds=s)) for s in range(0, 400, 10)]
    assert {claim(200) in turn for turn in turns} == {True, False}


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"ended": "Failed"}, id="it has ended"),
        pytest.param({"deleting_since": T0 + timedelta(hours=1)}, id="it is being deleted"),
        pytest.param({"service_account": "other"}, id="it runs as another ServiceAccount"),
    ],
)
def test_what_is_refused_without_its_owners_is_not_looked_at(changes: dict[str, Any]) -> None:
    assert pods_to_resolve(seeing([claim(0, **changes), claim(1)]), T0) == (claim(1),)


def test_what_was_looked_at_in_this_run_is_not_looked_at_again() -> None:
    looked = Owners(
        workload=job(), by_pod={claim(0).uid: ()}, unanswered={claim(1).uid: "not served"}
    )

    assert pods_to_resolve(seeing(claims(3), owners=looked), T0) == (claim(2),)
