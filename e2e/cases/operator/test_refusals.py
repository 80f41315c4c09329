"""What is refused, and what its owner reads about it. Several are what an attacker would try."""

import subprocess

import pytest

from e2e.admission import TARGET, TENANT, binding, pod, remove, secret, task
from e2e.cluster.interface import kubectl
from e2e.impersonate import Object, thing
from e2e.operator_process import OperatorProcess
from e2e.stage import Stage, condition, credential_class, deny, job, policy, request, until

OTHER = [request("other", "other")]


def text(status: Object, kind: str) -> str:
    return str(condition(status, kind)["message"])


def test_without_a_policy_the_nearest_one_is_named_and_what_it_lacks(
    other: Stage, name: str
) -> None:
    other.api.delete(policy("other", "other"))

    other.begin(name, credentials=OTHER)
    status = other.wait_condition(name, "Authorized", "False", "NoPolicy")

    assert text(status, "Authorized").startswith("Credential 'other': No policy allows it; ")
    assert "comes nearest but does not cover: " in text(status, "Authorized")
    assert condition(status, "Stalled")["reason"] == "NoPolicy"
    assert other.gated(name)
    assert other.secret(name) is None
    other.assert_holds(**{name.replace("-", "_"): 0})


def test_a_denied_tasks_pod_says_why_it_waits(other: Stage, name: str, kubeconfig: str) -> None:
    freeze = deny("freeze", "other")
    other.api.apply(freeze)
    try:
        other.begin(name, credentials=OTHER)
        status = other.wait_condition(name, "Authorized", "False", "Denied")
        other.wait_event(name, "PolicyDenied", kind="Pod")
        command = [str(kubectl()), "--kubeconfig", kubeconfig, "-n", TENANT, "describe", "pod"]
        page = subprocess.run([*command, name], capture_output=True, text=True, check=True).stdout
    finally:
        other.api.delete(freeze)

    assert "freeze' denies it" in text(status, "Authorized")
    [line] = [each for each in page.splitlines() if "PolicyDenied" in each]
    assert line.split()[0] == "Warning"
    assert "Credential 'other': AgentPolicy" in line
    assert "freeze' denies it" in line
    other.wait_ready(name)  # the policy is gone, and nobody touched the task


def test_a_user_who_lost_the_right_to_use_the_class_is_refused(other: Stage, name: str) -> None:
    may = binding("ClusterRoleBinding", "", "use-others", "ClusterRole/use-others", "User/alice")
    other.alice.create(task(name, credentials=OTHER))
    other.api.delete(may)
    try:
        other.alice.create(pod(name))
        status = other.wait_condition(name, "Authorized", "False", "Denied")
    finally:
        other.api.apply(may)

    assert "User 'alice', who last changed the task, may not use" in text(status, "Authorized")
    assert other.gated(name)
    until(lambda: _may_use_again(other, name))


def _may_use_again(stage: Stage, name: str) -> bool:
    """Touch the task, so that the operator looks: rights have no events of their own."""
    stage.alice.merge(task(name), {"metadata": {"annotations": {"example.com/look": "now"}}})
    stage.alice.merge(task(name), {"metadata": {"annotations": {"example.com/look": None}}})
    return condition(stage.task(name)["status"], "Ready")["status"] == "True"


def test_a_class_that_does_not_exist_is_said_and_waited_for(stage: Stage, name: str) -> None:
    stage.api.apply(policy("other", "other"))
    try:
        stage.begin(name, credentials=OTHER)
        status = stage.wait_condition(name, "Authorized", "False", "Denied")
        assert "CredentialClass 'other' does not exist" in text(status, "Authorized")

        stage.api.apply(credential_class("other"))

        stage.wait_ready(name)
    finally:
        for each in (policy("other", "other"), credential_class("other")):
            remove(stage.api, each)


def test_a_service_account_that_is_made_anew_is_another(stage: Stage, name: str) -> None:
    account = thing("v1", "ServiceAccount", TENANT, f"agent-{name}")
    stage.api.create(account)
    agent = {"serviceAccountName": f"agent-{name}"}
    stage.alice.create(task(name, agent=agent))
    stage.alice.create(pod(name, spec=agent))
    stage.wait_ready(name)
    token = stage.token(name)

    stage.api.delete(account)
    gone = stage.wait_condition(name, "Attested", "False", "ServiceAccountMismatch")
    stage.api.create(account)
    until(lambda: "was made anew" in text(stage.task(name)["status"], "Attested"))

    assert "is gone since pod" in text(gone, "Attested")
    assert stage.reads(token) != 200
    assert stage.secret(name) is None
    stage.assert_holds(**{name.replace("-", "_"): 0})
    stage.api.delete(account)


@pytest.mark.parametrize("claim", ["nothing", "an invented Job", "the Job"])
def test_a_pod_that_a_person_made_is_not_the_jobs(stage: Stage, name: str, claim: str) -> None:
    reference = {"apiGroup": "batch", "kind": "Job", "name": name}
    agent = {"serviceAccountName": "triage-agent", "workloadRef": reference}
    # Its own pods do not carry the label: what comes is the person's.
    body = job(name)
    del body["spec"]["template"]["metadata"]
    made = stage.alice.create(body)
    uid = {"an invented Job": "7d9f1d4e-0000-4000-8000-000000000000"}
    owner = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "name": name,
        "uid": uid.get(claim, made["metadata"]["uid"]),
        "controller": True,
    }
    stage.alice.create(task(name, agent=agent))

    stage.alice.create(pod(name, owners=[] if claim == "nothing" else [owner]))

    if claim == "an invented Job":
        # The garbage collector may be first: an owner that is not there is one that went.
        until(lambda: stage.events(name) or not stage.api.exists(pod(name)))
    else:
        event = stage.wait_event(name, "AttestationFailed", kind="AgentTask")
        assert event["type"] == "Warning"
        assert f"Pod '{name}'" in event["note"]
    status = stage.task(name).get("status", {})
    assert status.get("grants", []) == []
    assert stage.secret(name) is None
    stage.assert_holds()


def test_a_second_pod_waits_and_is_told(stage: Stage, name: str) -> None:
    stage.begin_ready(name)
    second = f"{name}-2"

    stage.alice.create(thing("v1", "Pod", TENANT, second, **_rest(pod(name))))
    told = stage.wait_event(second, "PodWaits")

    assert told["note"].startswith(f"Pod '{second}' waits: task '{name}' has one live pod")
    assert stage.wait_event(name, "PodWaits")["type"] == "Warning"
    assert stage.gated(second)
    assert stage.task(name)["status"]["podRef"]["name"] == name


def _rest(of: Object) -> Object:
    return {"labels": of["metadata"]["labels"], "spec": of["spec"]}


def test_a_foreign_secret_of_the_tasks_name_is_left_alone(stage: Stage, name: str) -> None:
    stranger = {"metadata": {"name": name, "uid": "7d9f1d4e-0000-4000-8000-000000000000"}}
    # The finalizer keeps the garbage collector from it.
    foreign = secret(f"taskpass-{name}", owner=stranger, finalizers=["example.com/keep"])
    stage.api.as_service_account("taskpass-system", "taskpass").create(foreign)

    stage.begin(name)
    status = stage.wait_condition(name, "Stalled", "True", "SecretNameTaken")

    assert f"Secret 'taskpass-{name}' in namespace '{TENANT}' exists" in text(status, "Stalled")
    assert stage.gated(name)
    assert set(stage.secret(name) or {}) == {"tickets.token"}
    stage.tokens.discard("x")
    stage.api.merge(foreign, {"metadata": {"finalizers": None}})
    if stage.api.exists(foreign):
        stage.api.delete(foreign)
    stage.wait_ready(name)


def test_a_deny_that_does_not_compile_blocks_what_it_selects(other: Stage, name: str) -> None:
    validations = [{"expression": "task.name ==", "message": "never"}]
    broken = deny("broken", "other", validations=validations)
    other.api.apply(broken)
    try:
        told = other.wait_event("broken", "InvalidExpression")
        other.begin(name, credentials=OTHER)
        status = other.wait_condition(name, "Authorized", "Unknown", "EvaluationFailed")
        live = until(lambda: other.api.get("AgentPolicy", TENANT, "broken").get("status"))
    finally:
        other.api.delete(broken)

    assert told["type"] == "Warning"
    assert condition(live, "Ready")["reason"] == "InvalidExpression"
    assert "broken' cannot be evaluated" in text(status, "Authorized")
    assert condition(status, "Stalled")["status"] == "False"
    assert other.secret(name) is None
    other.wait_ready(name)


def test_a_broken_deny_leaves_what_is_held(other: Stage, name: str) -> None:
    other.begin_ready(name, credentials=OTHER)
    before = other.task(name)["status"]["grants"]
    validations = [{"expression": "nobody.knows == 1", "message": "never"}]
    broken = deny("broken", "other", validations=validations)

    other.api.apply(broken)
    try:
        other.wait_event("broken", "InvalidExpression")
        assert other.task(name)["status"]["grants"] == before
        assert other.reads(other.token(name, "other")) == 200
    finally:
        other.api.delete(broken)


@pytest.mark.parametrize(
    ("class_name", "role", "said"),
    [
        pytest.param("absent", "tickets-absent", "does not exist", id="a role that is not there"),
        pytest.param(
            "streams", "tickets-watcher", "grants the verb 'watch'", id="one that watches"
        ),
        pytest.param("unlisted", "view", "may not be bound", id="one that is not listed"),
    ],
)
def test_a_class_that_cannot_be_issued_says_why(
    stage: Stage, name: str, class_name: str, role: str, said: str
) -> None:
    stage.api.apply(credential_class(class_name, role))
    stage.api.apply(policy(class_name, class_name))
    try:
        stage.begin(name, credentials=[request("it", class_name)])
        status = stage.wait_condition(name, "CredentialsIssued", "False", "ProviderRefused")
        stage.wait_event(name, "ProviderRefused", kind="Pod")
        stage.clear(name)
    finally:
        stage.api.delete(policy(class_name, class_name))
        remove(stage.api, credential_class(class_name))

    assert said in text(status, "CredentialsIssued")
    assert role in text(status, "CredentialsIssued")
    stage.assert_holds()


def test_a_class_whose_role_may_not_be_bound_is_not_ready(stage: Stage) -> None:
    stage.api.apply(credential_class("unlisted", "view"))
    try:
        live = until(lambda: stage.api.get("CredentialClass", "", "unlisted").get("status"))
        told = stage.wait_event("unlisted", "ProviderRefused", "default")
    finally:
        remove(stage.api, credential_class("unlisted"))

    assert condition(live, "Ready")["status"] == "False"
    assert f"may not be bound in namespace '{TARGET}'" in told["note"]


def test_a_task_in_a_namespace_that_is_not_enrolled_is_told_so(stage: Stage) -> None:
    stage.api.apply(thing("v1", "Namespace", "", "elsewhere"))
    body = task("lost")
    body["metadata"]["namespace"] = "elsewhere"
    stage.api.create(body)

    def seen() -> Object:
        return condition(
            stage.api.get("AgentTask", "elsewhere", "lost").get("status", {}), "Attested"
        )

    found = until(seen)
    assert (found["status"], found["reason"]) == ("Unknown", "NotEnrolled")
    assert "'elsewhere'" in found["message"]
    stage.api.delete(body)
    stage.wait_gone(body)
    stage.api.delete(thing("v1", "Namespace", "", "elsewhere"))


def test_an_unknown_setting_ends_the_start_with_one_line(process: OperatorProcess) -> None:
    process.stop()
    before = len(process.log.read_text()) if process.log.exists() else 0

    process.start(ready=False, TASKPASS_TENNANTS="[]")

    assert process.wait_end() == 2
    said = process.log.read_text()[before:]
    assert said.startswith("taskpass: TASKPASS_TENNANTS is not a setting; there are TASKPASS_")
    assert len(said.splitlines()) == 1


def test_one_task_more_than_may_hold_something_waits_and_goes_on_when_one_ends(
    other: Stage, name: str
) -> None:
    asked = [request("other", "other")]
    other.api.apply(policy("other", "other", limits={"maxActiveTasks": 1}))
    first, second = f"{name}-1", f"{name}-2"
    try:
        other.begin_ready(first, credentials=asked)
        other.begin(second, credentials=asked)
        status = other.wait_condition(second, "Authorized", "False", "LimitReached")

        assert "lets one task of agent 'triage-agent'" in condition(status, "Authorized")["message"]
        assert condition(status, "Stalled")["status"] == "False"
        assert other.gated(second)
        other.end(first)
        other.wait_ready(second)
    finally:
        other.api.apply(policy("other", "other"))
