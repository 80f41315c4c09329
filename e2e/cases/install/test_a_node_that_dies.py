"""A node that says nothing any more: its kubelet stands still, and its containers run on.

That is the worst of it: nobody can end the agent, and what it holds must be worth nothing.
"""

from dataclasses import dataclass, field
from typing import Any

import pytest

from e2e.cases.install.holding import (
    TICKET,
    begun,
    hold,
    pod_spec,
    provide,
    task_spec,
    token_of,
)  # fmt: skip
from e2e.demo.stage import TENANT, Stage
from e2e.impersonate import Object, thing
from e2e.spare_node import GIVEN_UP, spare_node

GIVE_UP = 120.0
"""Seconds; by default a node is not ready after 50 s of silence."""
REFUSED = (401, 403)


@dataclass
class Outage:
    """What was seen while the kubelet stood still, and after it went on."""

    tokens: dict[str, str] = field(default_factory=dict)
    stranded: Object = field(default_factory=dict)
    """The single pod, once its token was worth nothing."""
    finished: Object = field(default_factory=dict)
    """The condition of its task."""
    secrets: dict[str, dict[str, str]] = field(default_factory=dict)
    """Of each task, then."""
    pods_of_job: list[Object] = field(default_factory=list)
    waits: str = ""
    """What the Job's task says of its next pod."""
    renewed: str = ""
    """The Job's token after the kubelet went on."""


@pytest.fixture(scope="module")
def outage(stage: Stage) -> Outage:
    """Have two agents run, and stop the kubelet until what they held is worth nothing."""
    stage.install()
    provide(stage)
    seen = Outage()
    seen.tokens["single"] = hold(stage, "single", tolerations=GIVEN_UP)
    seen.tokens["of-job"] = _hold_by_job(stage)
    for name in seen.tokens:
        stage.wait(f"the agent of {name} runs", lambda name=name: _running(stage, name))
    with spare_node(stage.api), stage.cluster.stopped("kubelet"):
        for name, token in seen.tokens.items():
            stage.wait(
                f"the token of {name} is refused",
                lambda token=token: stage.answer_to(token, TICKET)[0] in REFUSED,
                GIVE_UP,
            )
        stage.wait("the single task is over", lambda: _over(stage, "single"))
        seen.finished = stage.conditions("single")["Finished"]
        (seen.stranded,) = stage.pods_of("single")
        seen.secrets = {name: stage.credentials(name) for name in seen.tokens}
        stage.wait("the Job's next pod", lambda: len(stage.pods_of("of-job")) == 2)
        seen.waits = stage.wait("it is said why it waits", lambda: _waits(stage))
        seen.pods_of_job = stage.pods_of("of-job")
    stage.wait("the Job's old pod is gone", lambda: len(stage.pods_of("of-job")) == 1, GIVE_UP)
    seen.renewed = token_of(stage, "of-job")
    return seen


def _hold_by_job(stage: Stage) -> str:
    workload = {"apiGroup": "batch", "kind": "Job", "name": "of-job"}
    spec = task_spec(agent={"serviceAccountName": "triage-agent", "workloadRef": workload})
    stage.wait("the task is taken", lambda: begun(stage, "of-job", spec), seconds=30)
    pod = pod_spec(tolerations=GIVEN_UP, restartPolicy="Never")
    template = {"metadata": {"labels": {"taskpass.dev/task": "of-job"}}, "spec": pod}
    stage.api.create(thing("batch/v1", "Job", TENANT, "of-job", spec={"template": template}))
    return token_of(stage, "of-job")


def _running(stage: Stage, name: str) -> bool:
    return [each["status"]["phase"] for each in stage.pods_of(name)] == ["Running"]


def _over(stage: Stage, name: str) -> bool:
    return bool(stage.conditions(name).get("Finished", {}).get("status") == "True")


def _waits(stage: Stage) -> str:
    said: str = stage.conditions("of-job")["Ready"]["message"]
    return said if "still runs" in said else ""


def test_what_its_agents_held_is_refused_although_they_still_run(
    stage: Stage, outage: Outage
) -> None:
    assert {stage.answer_to(token, TICKET)[0] for token in outage.tokens.values()} <= set(REFUSED)
    assert outage.stranded["status"]["phase"] == "Running"
    assert "deletionTimestamp" in outage.stranded["metadata"]


def test_their_secrets_are_gone(outage: Outage) -> None:
    assert outage.secrets == {"single": {}, "of-job": {}}


def test_a_single_pods_task_has_failed(outage: Outage) -> None:
    assert (outage.finished["status"], outage.finished["reason"]) == ("True", "Failed")


def test_the_jobs_next_pod_waits_until_the_old_one_is_known_to_have_ended(outage: Outage) -> None:
    """It would read what is written for the next one: the Secret has the same name."""
    gates: list[Any] = [each["spec"].get("schedulingGates", []) for each in outage.pods_of_job]

    assert sorted(map(bool, gates)) == [False, True]
    assert "still runs and refers to the same Secret" in outage.waits


def test_once_the_node_is_back_the_jobs_next_pod_gets_a_credential_of_its_own(
    stage: Stage, outage: Outage
) -> None:
    assert outage.renewed != outage.tokens["of-job"]
    assert stage.answer_to(outage.renewed, TICKET)[0] == 200
    assert stage.answer_to(outage.tokens["of-job"], TICKET)[0] in REFUSED
