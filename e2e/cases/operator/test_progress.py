"""What a task says of its progress, for real: annotations, and who may write what into them."""

import pytest

from e2e.admission import pod, task
from e2e.impersonate import Refused
from e2e.stage import Stage, condition, until

SAVED = f"sorted sha256:{64 * 'a'}"


def annotate(stage: Stage, name: str, **annotations: str | None) -> None:
    """Write annotations of ours, as the tenant's administrator."""
    whole = {f"taskpass.dev/{key}": text for key, text in annotations.items()}
    stage.alice.merge(task(name), {"metadata": {"annotations": whole}})


def test_a_savepoint_outlives_a_pause_and_is_in_front_of_the_next_pod(
    stage: Stage, name: str
) -> None:
    made = stage.begin_ready(name)
    annotate(stage, name, savepoint=SAVED)
    saved = until(lambda: stage.task(name)["status"].get("savepoint"))
    stage.change(name, {"operatingMode": "Suspended"})
    stage.wait_condition(name, "Suspended", "True", "Requested")
    stage.alice.delete(made, gracePeriodSeconds="0")
    until(lambda: "podRef" not in stage.task(name)["status"])

    following = pod(name)
    following["metadata"]["name"] = f"{name}-next"
    stage.alice.create(following)
    stage.change(name, {"operatingMode": "Running"})
    status = stage.wait_ready(name)

    assert (saved["step"], saved["sha256"]) == ("sorted", 64 * "a")
    assert status["savepoint"] == saved
    content = stage.secret(name)
    assert content is not None
    assert '"savepoint"' in content["taskpass.json"]
    assert "Saved" in [step["reason"] for step in status["trail"]]


def test_a_changed_intent_leaves_nothing_of_it(stage: Stage, name: str) -> None:
    stage.begin_ready(name, intent={"goal": "Sort the tickets"})
    annotate(stage, name, savepoint=SAVED)
    until(lambda: stage.task(name)["status"].get("savepoint"))

    stage.change(name, {"intent": {"goal": "Something else"}})
    status = stage.wait_ready(name)

    assert "savepoint" not in status


@pytest.mark.parametrize(
    ("annotations", "message"),
    [
        ({"savepoint": "sorted"}, "must be a step's name and a digest"),
        ({"savepoint": f"two words sha256:{64 * 'a'}"}, "must be a step's name and a digest"),
        ({"savepoint": f"sorted sha256:{64 * 'a'}\nmore"}, "must be a step's name and a digest"),
        ({"active": "x" * 65}, "must have at most 64 characters"),
    ],
)
def test_what_is_no_savepoint_is_refused(
    stage: Stage, name: str, annotations: dict[str, str], message: str
) -> None:
    stage.alice.create(task(name))

    with pytest.raises(Refused, match=message):
        annotate(stage, name, **annotations)


def test_a_task_of_which_nothing_is_heard_loses_what_it_holds_until_something_is(
    stage: Stage, name: str
) -> None:
    stage.begin_ready(name, idleTimeoutSeconds=60)
    token = stage.token(name)

    status = until(
        lambda: (
            found
            if condition(found := stage.task(name)["status"], "Suspended")["reason"] == "Idle"
            else None
        ),
        seconds=75,
    )
    until(lambda: stage.secret(name) is None)
    refused = stage.reads(token)
    annotate(stage, name, active="again")
    stage.wait_ready(name)

    assert "Nothing was heard of it for 60 s" in condition(status, "Suspended")["message"]
    assert refused != 200
    assert stage.reads(stage.token(name)) == 200
    assert stage.reads(token) != 200
