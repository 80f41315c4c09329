"""What the webhook that runs after our policies does to an object that asks for it."""

from e2e.mutations.forger import FINALIZERS, forged, forged_spec, steps_for


def test_a_stamp_in_an_annotation_becomes_another() -> None:
    each = {"metadata": {"annotations": forged(created_by="x")}}

    (step,) = steps_for(each)

    path = "/metadata/annotations/taskpass.dev~1created-by"
    assert step == {"op": "add", "path": path, "value": "x"}


def test_a_stamp_in_the_spec_becomes_somebody_elses() -> None:
    first, second = steps_for({"metadata": {"annotations": forged_spec("requester", "changers")}})

    assert (first["path"], first["value"]["username"]) == ("/spec/requester", "root")
    assert (second["path"], second["value"]) == ("/spec/changers", ["root"])


def test_finalizers_go_where_there_are_any() -> None:
    asking = {"annotations": {FINALIZERS: ""}}

    assert steps_for({"metadata": asking}) == []
    assert steps_for({"metadata": {**asking, "finalizers": ["a"]}}) == [
        {"op": "remove", "path": "/metadata/finalizers"}
    ]


def test_an_object_that_does_not_ask_is_left_alone() -> None:
    assert steps_for({"metadata": {"annotations": {"a": "b"}}}) == []
    assert steps_for({"metadata": {}}) == []
