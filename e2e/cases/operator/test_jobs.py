"""Tasks whose agent is a workload: Kubernetes' own controllers make the pods."""

import pytest

from e2e.admission import TENANT, pod, task
from e2e.impersonate import Object
from e2e.stage import Stage, condition, job, until


def test_a_jobs_next_pod_is_a_new_attempt_with_new_credentials(stage: Stage, name: str) -> None:
    reference = {"apiGroup": "batch", "kind": "Job", "name": name}
    agent = {"serviceAccountName": "triage-agent", "workloadRef": reference}
    stage.alice.create(task(name, agent=agent))
    stage.alice.create(job(name, completions=2, parallelism=1))
    first = stage.wait_ready(name)
    old = stage.token(name)

    stage.end(first["podRef"]["name"])
    until(lambda: stage.reads(old) != 200)
    second = until(lambda: _ready_with_another_pod(stage, name, first))
    new = stage.token(name)

    assert stage.reads(new) == 200
    assert second["grants"][0]["id"] != first["grants"][0]["id"]
    stage.assert_holds(**{name.replace("-", "_"): 1})
    stage.end(second["podRef"]["name"])
    stage.wait_finished(name, "Succeeded")
    stage.assert_holds(**{name.replace("-", "_"): 0})


def test_a_task_that_ends_explicitly_outlives_its_pods(stage: Stage, name: str) -> None:
    stage.begin_ready(name, completionPolicy="Explicit")
    old = stage.token(name)

    stage.end(name)
    until(lambda: "podRef" not in stage.task(name)["status"], said=lambda: stage.told(name))
    refused = stage.reads(old)
    following = pod(name)
    following["metadata"]["name"] = f"{name}-next"
    stage.alice.create(following)
    status = stage.wait_ready(name)

    assert refused != 200
    assert status["podRef"]["name"] == f"{name}-next"
    assert condition(status, "Finished")["status"] == "False"
    stage.alice.delete(task(name))
    stage.wait_gone(task(name))


def test_a_failed_pod_of_a_job_is_not_the_tasks_end_and_the_jobs_failure_is(
    stage: Stage, name: str
) -> None:
    reference = {"apiGroup": "batch", "kind": "Job", "name": name}
    agent = {"serviceAccountName": "triage-agent", "workloadRef": reference}
    stage.alice.create(task(name, agent=agent))
    stage.alice.create(job(name, backoffLimit=1))
    first = stage.wait_ready(name)
    old = stage.token(name)

    stage.end(first["podRef"]["name"], "Failed")
    waiting = stage.wait_condition(name, "Attested", "False", "PodMissing")
    # The Job's controller waits 10 s before it tries again.
    second = until(lambda: _ready_with_another_pod(stage, name, first), seconds=30)

    assert condition(waiting, "Finished")["status"] == "False"
    assert waiting["grants"] == []
    assert stage.reads(old) != 200
    assert stage.reads(stage.token(name)) == 200
    stage.end(second["podRef"]["name"], "Failed")
    stage.wait_finished(name, "Failed")


@pytest.mark.parametrize("first", ["task", "Job"])
def test_a_job_that_fails_before_it_has_a_pod_ends_the_task_that_was_there_before_it(
    stage: Stage, name: str, first: str
) -> None:
    """What is applied again applies the task first: the Job that is there ran for another."""
    reference = {"apiGroup": "batch", "kind": "Job", "name": name}
    agent = {"serviceAccountName": "triage-agent", "workloadRef": reference}
    fails = job(name, parallelism=0, activeDeadlineSeconds=1)
    if first == "Job":
        made = stage.alice.create(fails)
        until(lambda: condition(stage.api.get("Job", TENANT, name)["status"], "Failed"))
        # The time of creation has whole seconds: the task must be made in a later one.
        until(lambda: _seconds_of(stage.api.create(pod("clock"), dryRun="All")) > _seconds_of(made))
    stage.alice.create(task(name, agent=agent))
    if first == "task":
        stage.alice.create(fails)

        status = stage.wait_condition(name, "Finished", "True", "Failed", seconds=40)

        assert status["grants"] == []
        return
    said = f"Job '{name}' ended before this task had a pod"
    stage.wait_condition(name, "Attested", "False", "PodMissing", saying=said)
    stage.alice.delete(fails, propagationPolicy="Background")
    stage.wait_gone(fails)
    stage.alice.create(job(name))
    stage.wait_ready(name, 40)


def _seconds_of(made: Object) -> str:
    return str(made["metadata"]["creationTimestamp"])


def _ready_with_another_pod(stage: Stage, name: str, first: Object) -> Object | None:
    status: Object = stage.task(name)["status"]
    another = status.get("podRef", first["podRef"]) != first["podRef"]
    return status if another and condition(status, "Ready")["status"] == "True" else None


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet"])
def test_pods_of_a_workload_are_attested_by_their_owners(
    stage: Stage, name: str, kind: str
) -> None:
    reference = {"apiGroup": "apps", "kind": kind, "name": name}
    agent = {"serviceAccountName": "triage-agent", "workloadRef": reference}
    stage.alice.create(task(name, agent=agent))
    template = pod(name)
    body = {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": TENANT},
        "spec": {
            "selector": {"matchLabels": template["metadata"]["labels"]},
            "template": {
                "metadata": {"labels": template["metadata"]["labels"]},
                "spec": template["spec"],
            },
        },
    }
    path = f"/apis/apps/v1/namespaces/{TENANT}/{kind.lower()}s"
    stage.api.call("POST", path, body)
    try:
        stage.wait_ready(name)
        assert stage.reads(stage.token(name)) == 200
    finally:
        stage.api.call("DELETE", f"{path}/{name}", propagationPolicy="Background")
    stage.wait_finished(name, "Cancelled")
