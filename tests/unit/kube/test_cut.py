"""Objects are cut to what decisions need: nobody fills our memory with what we never look at."""

import json
from typing import Any

import pytest

from taskpass.core.lifecycle.progress import ACTIVE, SAVEPOINT
from taskpass.core.model.task import CREATED_BY, FINALIZER
from taskpass.kube.cache.convert import task_from
from taskpass.kube.cache.trim import LONGEST_VALUE, MOST_ANNOTATIONS, cut, cut_event, cut_list
from tests.unit.kube.objects import a_task

FOREIGN = {"notes": "x" * 250_000}


def filled() -> dict[str, Any]:
    """Return a task with all that anybody may put into its metadata."""
    made = a_task("ticket", 10)
    made["metadata"] |= {
        "annotations": {**FOREIGN, SAVEPOINT: "step sha256:0", ACTIVE: "1", CREATED_BY: "{}"},
        "labels": {f"l{n}": "x" * 63 for n in range(1000)},
        "managedFields": [{"manager": "kubectl", "fieldsV1": {"f:spec": {}}}] * 100,
        "ownerReferences": [{"name": "x" * 253}] * 100,
        "finalizers": [FINALIZER, *(f"example.com/{n}" for n in range(100))],
    }
    return made


def test_a_task_says_the_same_once_it_is_cut() -> None:
    assert task_from(cut(filled())) == task_from(filled())


def test_nothing_that_is_not_looked_at_is_left() -> None:
    assert len(json.dumps(cut(filled())["metadata"])) < 1000


def test_nobody_fills_annotations_in_our_name_either() -> None:
    made = a_task("ticket", 10)
    long = {f"taskpass.dev/a{n}": "x" * (LONGEST_VALUE + 1) for n in range(100)}
    many = {f"taskpass.dev/b{n}": "x" for n in range(1000)}
    made["metadata"]["annotations"] = {SAVEPOINT: "step", **long, **many}

    kept = cut(made)["metadata"]["annotations"]

    assert len(kept) == MOST_ANNOTATIONS
    assert kept[SAVEPOINT] == "step"
    assert not kept.keys() & long.keys()


def test_what_was_read_is_not_changed() -> None:
    made = filled()

    cut(made)

    assert made == filled()


@pytest.mark.parametrize(
    "event",
    [
        {"type": "ERROR", "object": {"kind": "Status", "code": 410, "metadata": {}}},
        {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "7"}}},
        {"type": "ADDED", "object": None},
    ],
)
def test_what_is_no_object_passes_as_it_is(event: dict[str, Any]) -> None:
    assert cut_event(event) == event


def test_every_item_of_a_list_is_cut_and_an_answer_without_items_is_none() -> None:
    page = cut_list({"kind": "AgentTaskList", "items": [filled()], "metadata": {"continue": "c"}})

    assert page["items"] == [cut(filled())]
    assert page["metadata"] == {"continue": "c"}
    assert cut_list({"kind": "Status"}) == {"kind": "Status"}
