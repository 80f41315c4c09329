"""Every Job whose pods name a template gets a task: CronJobs, and who tries to forge one."""

import pytest

from e2e.admission import GROUP, TENANT, operator, pod, remove, task
from e2e.impersonate import Api, Object, Refused, thing
from e2e.stage import Stage, condition, job, request, until

TEMPLATE = "taskpass.dev/task-template"
AGENT = {"serviceAccountName": "triage-agent"}


def template(name: str, **spec: object) -> Object:
    whole = {"agent": AGENT, "credentials": [request()], "intent": {"goal": "Nightly"}, **spec}
    return thing(GROUP, "AgentTaskTemplate", TENANT, name, spec=whole)


def job_of(name: str, of: str, **metadata: str) -> Object:
    """Return a Job whose pods name a template, and nothing else of ours."""
    made = job(name)
    made["spec"]["template"]["metadata"]["labels"] = {TEMPLATE: of}
    made["metadata"] |= metadata
    return made


def test_a_job_gets_a_task_of_its_own_and_its_pod_the_credentials(stage: Stage, name: str) -> None:
    made = stage.alice.create(template(name))
    stage.alice.create(job_of(name, name))

    status = stage.wait_ready(name)

    live = stage.task(name)
    assert made["spec"]["requester"]["username"] == "alice"
    assert live["spec"]["requester"] == made["spec"]["requester"]
    assert live["spec"]["changedBy"] == made["spec"]["changedBy"]
    assert live["spec"]["templateRef"] == {"name": name, "uid": made["metadata"]["uid"]}
    assert "taskpass.dev/revoke" in live["metadata"]["finalizers"]
    (found,) = stage.pods_of(name)
    assert found["metadata"]["name"] == status["podRef"]["name"]
    assert stage.reads(stage.token(name)) == 200
    stage.end(status["podRef"]["name"])
    stage.wait_finished(name, "Succeeded")


def test_a_job_whose_name_nobody_knows_in_advance_gets_one_too(stage: Stage, name: str) -> None:
    stage.alice.create(template(name))
    made = job_of("", name)
    del made["metadata"]["name"]
    made["metadata"]["generateName"] = f"{name}-"

    created = stage.alice.create(made)

    own = created["metadata"]["name"]
    stage.wait_ready(own)
    # With its Job it goes, and so does what it holds.
    token = stage.token(own)
    stage.alice.delete(created, propagationPolicy="Background")
    until(lambda: not stage.api.exists(task(own)), said=lambda: stage.told(own))
    assert stage.reads(token) != 200


def test_each_run_of_a_cron_job_gets_one(stage: Stage, name: str) -> None:
    stage.alice.create(template(name))
    spec = job_of(name, name)["spec"]
    made = thing(
        "batch/v1", "CronJob", TENANT, name,
        spec={"schedule": "* * * * *", "jobTemplate": {"spec": spec}},
    )  # fmt: skip
    stage.alice.create(made)
    try:
        path = f"/apis/taskpass.dev/v1alpha1/namespaces/{TENANT}/agenttasks"

        def ready() -> str:
            for each in stage.api.call("GET", path)["items"]:
                of = each["spec"].get("templateRef", {}).get("name")
                if (
                    of == name
                    and condition(each.get("status", {}), "Ready").get("status") == "True"
                ):
                    return str(each["metadata"]["name"])
            return ""

        own = until(ready, seconds=90)
        assert own.startswith(f"{name}-")
    finally:
        stage.alice.delete(made, propagationPolicy="Background")


def test_a_template_that_comes_later_is_waited_for(stage: Stage, name: str) -> None:
    stage.alice.create(job_of(name, name))
    found = until(lambda: stage.pods_of(name))[0]["metadata"]["name"]
    told = stage.wait_event(found, "TaskNotMade", kind="Pod")

    stage.alice.create(template(name))

    assert f"AgentTaskTemplate '{name}' does not exist" in told["note"]
    stage.wait_ready(name)


@pytest.mark.parametrize(
    "labels", [{TEMPLATE: "nightly"}, {TEMPLATE: "nightly", "taskpass.dev/task": "forged"}]
)
def test_a_pod_that_is_no_jobs_is_refused(stage: Stage, name: str, labels: Object) -> None:
    bare = pod(name)
    bare["metadata"]["labels"] = labels

    with pytest.raises(Refused, match="must be made by a Job, whose task gets the Job's name"):
        stage.alice.create(bare)


def test_a_pod_that_claims_to_be_a_jobs_gets_nothing(stage: Stage, name: str) -> None:
    stage.alice.create(template(name))
    made = stage.alice.create(job_of(name, name, **{}))
    forged = pod(f"{name}-forged")
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "controller": True,
             "uid": made["metadata"]["uid"]}  # fmt: skip
    forged["metadata"] |= {"labels": {TEMPLATE: name}, "ownerReferences": [owner]}
    stage.alice.create(forged)
    stage.wait_ready(name)

    assert stage.gated(f"{name}-forged")
    assert stage.task(name)["status"]["podRef"]["name"] != f"{name}-forged"


def test_a_forged_pod_chooses_no_template(stage: Stage, name: str) -> None:
    """It is there first and names the Job; the task is of the template that the Job's pods name."""
    stage.alice.create(template(name))
    stage.alice.create(template(f"{name}-forged", intent={"goal": "Mallory's"}))
    made = job_of(name, name)
    made["spec"]["suspend"] = True
    waits = stage.alice.create(made)
    forged = pod(f"{name}-forged")
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "controller": True,
             "uid": waits["metadata"]["uid"]}  # fmt: skip
    forged["metadata"] |= {"labels": {TEMPLATE: f"{name}-forged"}, "ownerReferences": [owner]}
    stage.alice.create(forged)

    stage.alice.merge(waits, {"spec": {"suspend": False}})
    status = stage.wait_ready(name)

    assert stage.task(name)["spec"]["templateRef"]["name"] == name
    assert status["podRef"]["name"] != f"{name}-forged"
    assert stage.gated(f"{name}-forged")


def test_nobody_but_the_operator_says_that_a_task_is_of_a_template(stage: Stage, name: str) -> None:
    """Or a task in somebody else's name could be passed off as one."""
    ref = {"name": "nightly", "uid": "0"}
    other = {"username": "boss", "groups": ["board"]}

    with pytest.raises(Refused, match=r"spec\.templateRef must be left to taskpass"):
        stage.alice.create(task(name, templateRef=ref, requester=other))
    made = stage.alice.create(task(name))
    with pytest.raises(Refused, match=r"spec\.templateRef must be left to taskpass"):
        stage.alice.merge(made, {"spec": {"templateRef": ref}})
    assert made["spec"]["requester"]["username"] == "alice"


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"templateRef": {"name": "t", "uid": "0"}},
        {"templateRef": {"name": "t", "uid": "0"}, "requester": {"username": "boss"},
         "changedBy": {"username": "boss"}},
    ],
)  # fmt: skip
def test_the_operator_makes_no_task_but_a_jobs(stage: Stage, name: str, spec: Object) -> None:
    with pytest.raises(Refused, match="and make none but from a template, for a Job"):
        operator(stage.api).create(task(name, **spec))


def test_who_may_not_use_a_class_writes_no_template_that_names_it(
    stage: Stage, api: Api, name: str
) -> None:
    with pytest.raises(Refused, match="must be allowed to use every CredentialClass"):
        stage.alice.create(template(name, credentials=[request("x", "secret-class")]))


def test_the_stamps_of_a_template_are_true(stage: Stage, name: str) -> None:
    forged = {"username": "boss", "groups": ["board"]}

    made = stage.alice.create(template(name, requester=forged, changedBy=forged))
    after = stage.api.merge(made, {"spec": {"sponsor": "another"}})

    assert made["spec"]["requester"]["username"] == "alice"
    assert after["spec"]["requester"]["username"] == "alice"
    assert after["spec"]["changedBy"]["username"] != "alice"
    assert len(after["spec"]["changers"]) == 2
    remove(stage.api, made)
