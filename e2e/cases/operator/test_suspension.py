"""A task that is suspended holds nothing, and goes on with what is issued anew."""

from e2e.admission import binding, cluster_role, pod, task
from e2e.impersonate import thing
from e2e.stage import Stage, condition, until

SUSPENDED, RUNNING = {"operatingMode": "Suspended"}, {"operatingMode": "Running"}


def test_a_suspended_task_holds_nothing_and_its_old_token_never_works_again(
    stage: Stage, name: str
) -> None:
    made = stage.begin_ready(name)
    old = stage.token(name)

    stage.change(name, SUSPENDED)
    status = stage.wait_condition(name, "Suspended", "True", "Requested", saying="nothing is held")
    refused, gone = stage.reads(old), stage.secret(name)
    stage.change(name, RUNNING)
    again = stage.wait_ready(name)
    new = stage.token(name)

    assert status["grants"] == []
    assert condition(status, "Ready")["reason"] == "Suspended"
    assert condition(again, "Suspended")["reason"] == "Running"
    assert (refused != 200, gone) == (True, None)
    assert (stage.reads(old) != 200, stage.reads(new)) == (True, 200)
    assert not stage.known_to_token_review(old)
    assert again["podRef"]["uid"] == made["metadata"]["uid"]  # it was left alone
    told = [step["reason"] for step in again["trail"]]
    assert told[-4:] == ["CredentialRevoked", "TaskSuspended", "TaskResumed", "CredentialIssued"]
    assert stage.wait_event(name, "TaskSuspended", kind="Pod")
    stage.assert_holds(**{name.replace("-", "_"): 1})


def test_a_pod_that_is_deleted_meanwhile_is_followed_by_the_next(stage: Stage, name: str) -> None:
    made = stage.begin_ready(name)
    stage.change(name, SUSPENDED)
    stage.wait_condition(name, "Suspended", "True")

    stage.alice.delete(made, gracePeriodSeconds="0")
    until(lambda: "podRef" not in stage.task(name)["status"], said=lambda: stage.told(name))
    following = pod(name)
    following["metadata"]["name"] = f"{name}-next"
    stage.alice.create(following)
    stage.change(name, RUNNING)
    status = stage.wait_ready(name)

    assert status["podRef"]["name"] == f"{name}-next"
    assert not stage.gated(f"{name}-next")


def test_who_resumes_must_be_allowed_to_use_the_class(stage: Stage, name: str) -> None:
    """Carol may change the tenant's tasks, and use no class: what was alice's is not hers."""
    writes = {"apiGroups": ["taskpass.dev"], "resources": ["agenttasks"], "verbs": ["get", "patch"]}
    role = cluster_role("task-writer", writes)
    bound = binding("ClusterRoleBinding", "", "carol", "ClusterRole/task-writer", "User/carol")
    stage.api.apply(role)
    stage.api.apply(bound)
    carol = stage.api.as_user("carol", "team-a")
    try:
        stage.begin_ready(name)
        carol.merge(task(name), {"spec": SUSPENDED})
        stage.wait_condition(name, "Suspended", "True")

        carol.merge(task(name), {"spec": RUNNING})
        status = stage.wait_condition(name, "Stalled", "True", "Denied")

        assert "User 'carol', who last changed the task" in condition(status, "Stalled")["message"]
        assert status["grants"] == []
        stage.change(name, {"operatingMode": None})
        stage.wait_ready(name)
    finally:
        stage.api.delete(bound)
        stage.api.delete(role)


def test_a_kill_while_it_is_suspended_brings_nothing_back(stage: Stage, name: str) -> None:
    stage.begin_ready(name)
    old = stage.token(name)
    stage.operator.kill()
    stage.change(name, SUSPENDED)

    stage.operator.start()

    stage.wait_condition(name, "Suspended", "True", saying="nothing is held")
    assert stage.reads(old) != 200
    assert stage.secret(name) is None
    assert stage.api.exists(thing("v1", "Pod", "support", name))


def test_a_task_for_which_no_pod_comes_ends_and_a_later_pod_stays_gated(
    stage: Stage, name: str
) -> None:
    stage.alice.create(task(name, startDeadlineSeconds=1))

    stage.wait_finished(name, "Expired")
    stage.alice.create(pod(name))

    stage.wait_event(name, "TaskFinished")
    assert stage.gated(name)
    stage.assert_holds()
