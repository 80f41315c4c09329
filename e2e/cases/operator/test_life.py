"""A task from its beginning to its end, as its owner and its agent see it."""

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from e2e.admission import TARGET, TENANT, pod, task
from e2e.cluster.interface import kubectl
from e2e.impersonate import Object, Refused
from e2e.stage import Stage, condition, request, until

PHASES = [
    {"name": "research", "next": ["reply"], "credentials": [request()]},
    {"name": "reply", "credentials": [request("answers")]},
    {"name": "publish", "credentials": [request()]},
]


def test_an_allowed_tasks_pod_starts_with_its_credentials_in_place(stage: Stage, name: str) -> None:
    stage.begin(name)

    until(lambda: not stage.gated(name), said=lambda: stage.told(name))

    content = stage.secret(name)
    assert content is not None
    assert sorted(content) == [
        "taskpass.json",
        "tickets.ca.crt",
        "tickets.kubeconfig",
        "tickets.namespace",
        "tickets.server",
        "tickets.token",
    ]
    live = stage.wait_ready(name)
    [grant] = live["grants"]
    index = json.loads(content["taskpass.json"])
    assert index["task"]["name"] == name
    assert index["credentials"] == [
        {
            "name": "tickets",
            "class": "tickets",
            "actions": ["read"],
            "resources": [f"namespace/{TARGET}"],
            "expires": grant["expirationTime"],
        }
    ]
    secret = stage.api.get("Secret", TENANT, f"taskpass-{name}")
    assert secret["type"] == "taskpass.dev/credentials"
    [owner] = secret["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"]) == ("AgentTask", stage.task(name)["metadata"]["uid"])
    stage.assert_holds(**{name.replace("-", "_"): 1})


def test_what_was_issued_reads_the_targets_configmaps_and_nothing_else(
    stage: Stage, name: str, tmp_path: Path
) -> None:
    stage.begin_ready(name)
    token = stage.token(name)
    content = stage.secret(name) or {}
    config = tmp_path / "kubeconfig"
    config.write_text(content["tickets.kubeconfig"])

    read = [str(kubectl()), "--kubeconfig", str(config), "get", "configmap", "read-me"]
    said = subprocess.run([*read, "-o", "jsonpath={.data.answer}"], capture_output=True, text=True)

    assert said.stdout == "42", said.stderr
    assert stage.reads(token) == 200
    assert stage.reads(token, f"/api/v1/namespaces/{TENANT}/configmaps/kube-root-ca.crt") == 403
    assert stage.reads(token, f"/api/v1/namespaces/{TARGET}/configmaps") == 403
    assert stage.reads(token, f"/api/v1/namespaces/{TARGET}/secrets") == 403


def test_a_task_whose_pod_ends_well_holds_nothing_and_is_finished(stage: Stage, name: str) -> None:
    stage.begin_ready(name)
    token = stage.token(name)

    stage.end(name)
    ended = time.monotonic()
    until(lambda: stage.reads(token) != 200)
    refused_after = time.monotonic() - ended
    status = stage.wait_finished(name, "Succeeded")

    assert refused_after < 1, f"the token was good for {refused_after:.3f} s after the pod's end"
    assert status["grants"] == []
    assert "expirationTime" not in status
    assert stage.secret(name) is None
    stage.assert_holds(**{name.replace("-", "_"): 0})
    until(lambda: not stage.known_to_token_review(token))
    assert time.monotonic() - ended < 15


def test_a_failed_pods_task_is_finished_as_failed(stage: Stage, name: str) -> None:
    stage.begin_ready(name)

    stage.end(name, "Failed")

    stage.wait_finished(name, "Failed")
    assert stage.secret(name) is None


def test_events_and_trail_tell_the_story_with_its_audit_indexes(stage: Stage, name: str) -> None:
    stage.begin_ready(name)
    stage.end(name)
    status = stage.wait_finished(name, "Succeeded")
    stage.wait_event(name, "TaskFinished")

    steps = ["Attested", "CredentialIssued", "CredentialRevoked", "TaskFinished"]
    events = {e["reason"]: e for e in stage.events(name)}
    assert [step["reason"] for step in status["trail"]] == steps
    assert set(events) == {"CredentialIssued", "TaskFinished"}, "the others come to these"
    for step in (status["trail"][1], status["trail"][3]):
        event = events[step["reason"]]
        assert event["note"] == f"{step['message']} (audit {step['auditIndex']})"
        assert event["reportingController"] == "taskpass.dev/operator"
        assert event["type"] == "Normal"
    indexes = [step["auditIndex"] for step in status["trail"]]
    assert indexes == sorted(indexes)


def test_a_restart_posts_no_event_twice(stage: Stage, name: str) -> None:
    stage.begin_ready(name)
    stage.wait_event(name, "CredentialIssued")
    before = [e["metadata"]["name"] for e in stage.events(name)]

    stage.operator.kill()
    stage.operator.start()
    stage.wait_ready(name)

    assert [e["metadata"]["name"] for e in stage.events(name)] == before


@pytest.fixture
def shown(kubeconfig: str) -> Callable[..., str]:
    """Return what kubectl prints of something in the tenant's namespace."""

    def run(*arguments: str) -> str:
        command = [str(kubectl()), "--kubeconfig", kubeconfig, "-n", TENANT, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    return run


def test_kubectl_shows_the_task_in_a_line_and_its_story_in_a_page(
    stage: Stage, name: str, shown: Callable[..., str]
) -> None:
    stage.begin_ready(name, sponsor="support-platform", phases=PHASES, credentials=None)
    header, line = shown("get", "atask", name).splitlines()
    wide = shown("get", "atask", name, "-o", "wide").splitlines()[0]
    stage.end(name)
    stage.wait_finished(name, "Succeeded")
    stage.wait_event(name, "TaskFinished")
    after = shown("get", "atask", name).splitlines()[1].split()
    page = shown("describe", "atask", name)

    assert header.split() == ["NAME", "READY", "REASON", "PHASE", "EXPIRES", "AGENT", "AGE"]
    assert line.split()[:4] == [name, "True", "Ready", "research"]
    assert line.split()[5] == "triage-agent"
    assert {"SPONSOR", "POD"} < set(wide.split())
    assert after[:3] == [name, "False", "Finished"]
    assert "The task is over, and nothing is held any more" in page
    assert f"Issued 'tickets' (read on namespace/{TARGET}) until" in page
    assert "Revoked 'tickets' because the pod ended" in page
    assert page.index("Attested") < page.index("CredentialRevoked")


def test_a_deleted_task_is_gone_once_what_it_held_is(stage: Stage, name: str) -> None:
    made = stage.begin_ready(name)
    token = stage.token(name)

    stage.alice.delete(task(name))
    stage.wait_gone(task(name))

    assert stage.reads(token) != 200
    assert stage.secret(name) is None
    stage.assert_holds()
    assert stage.api.exists(made)


def test_gates_and_finalizers_of_others_stay(stage: Stage, name: str) -> None:
    kept = task(name)
    kept["metadata"]["finalizers"] = ["example.com/keep"]
    stage.alice.create(kept)
    stage.alice.create(pod(name, spec={"schedulingGates": [{"name": "example.com/wait"}]}))
    stage.wait_ready(name)

    until(lambda: not stage.gated(name))
    gates = stage.api.get("Pod", TENANT, name)["spec"]["schedulingGates"]
    stage.alice.delete(task(name))
    until(lambda: "taskpass.dev/revoke" not in stage.task(name)["metadata"]["finalizers"])
    left = stage.task(name)["metadata"]["finalizers"]
    stage.alice.merge(task(name), {"metadata": {"finalizers": None}})

    assert gates == [{"name": "example.com/wait"}]
    assert left == ["example.com/keep"]
    assert stage.secret(name) is None


def test_a_task_that_moves_to_a_declared_phase_gets_that_phases_credentials(
    stage: Stage, name: str
) -> None:
    stage.begin_ready(name, phases=PHASES, phase="research", credentials=None)
    old = stage.token(name)

    stage.change(name, {"phase": "reply"})
    status = stage.wait_ready(name)
    new = stage.token(name, "answers")

    assert status["phaseName"] == "reply"
    assert stage.reads(old) != 200
    assert stage.reads(new) == 200
    assert "tickets.token" not in (stage.secret(name) or {})
    assert [s["reason"] for s in status["trail"]][2:] == [
        "CredentialRevoked",
        "PhaseEntered",
        "CredentialIssued",
    ]
    until(lambda: "taskpass.dev/credentials-version" in _annotations(stage, name))


def _annotations(stage: Stage, name: str) -> Object:
    found: Object = stage.api.get("Pod", TENANT, name)["metadata"].get("annotations", {})
    return found


def test_a_task_that_leaves_its_path_holds_nothing_until_it_goes_back(
    stage: Stage, name: str
) -> None:
    stage.begin_ready(name, phases=PHASES, phase="research", credentials=None)
    old = stage.token(name)

    stage.change(name, {"phase": "publish"})
    status = stage.wait_condition(name, "Stalled", "True", "UnapprovedBranch")

    assert status["grants"] == []
    assert condition(status, "Ready")["reason"] == "UnapprovedBranch"
    assert stage.reads(old) != 200
    assert stage.secret(name) is None
    assert stage.wait_event(name, "UnapprovedBranch")["type"] == "Warning"
    stage.change(name, {"phase": "research"})
    stage.wait_ready(name)
    assert stage.reads(stage.token(name)) == 200
    assert stage.reads(old) != 200
    assert stage.task(name)["status"]["phaseName"] == "research"


def test_a_container_that_restarts_in_its_pod_keeps_its_credential(stage: Stage, name: str) -> None:
    made = stage.begin_ready(name)
    before, token = stage.task(name)["status"]["grants"], stage.token(name)
    container = {
        "name": "agent", "image": "localhost/agent:1", "imageID": "", "ready": True,
        "restartCount": 3, "started": True,
    }  # fmt: skip

    status = {"phase": "Running", "containerStatuses": [container]}
    stage.api.merge(made, {"status": status}, "/status")
    stage.change(name, {"sponsor": "support-platform"})  # has it looked at
    stage.wait_ready(name)

    assert stage.task(name)["status"]["grants"] == before
    assert stage.reads(token) == 200


def test_a_gitops_controller_that_leaves_the_phase_out_does_not_reset_it(
    stage: Stage, name: str
) -> None:
    """What is in git is applied again and again; `phase` is the orchestrator's."""
    whole = task(name, phases=PHASES, credentials=None)
    stage.alice.apply(whole, fieldManager="argocd")
    stage.alice.create(pod(name))
    stage.wait_ready(name)
    stage.change(name, {"phase": "reply"})
    stage.wait_condition(name, "Ready", "True")
    held = stage.task(name)["status"]["grants"]

    stage.alice.apply(whole, fieldManager="argocd")

    live = stage.task(name)
    assert (live["spec"]["phase"], live["status"]["grants"]) == ("reply", held)


def test_a_gitops_controller_that_resets_the_phase_leads_the_task_off_its_path(
    stage: Stage, name: str
) -> None:
    """That is no declared step: it holds nothing until it is back where it had settled."""
    whole = task(name, phases=PHASES, phase="research", credentials=None)
    stage.alice.apply(whole, fieldManager="argocd")
    stage.alice.create(pod(name))
    stage.wait_ready(name)
    stage.change(name, {"phase": "reply"})
    stage.wait_ready(name)
    token = stage.token(name, "answers")

    stage.alice.apply(whole, fieldManager="argocd")
    status = stage.wait_condition(name, "Stalled", "True", "UnapprovedBranch")

    assert stage.reads(token) != 200
    assert status["grants"] == []
    stage.change(name, {"phase": status["phaseName"]})
    stage.wait_ready(name)
    assert stage.reads(stage.token(name, "answers")) == 200


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"intent": {"goal": "Something else"}}, id="another intent"),
        pytest.param({"credentials": [request(expirationSeconds=700)]}, id="another request"),
    ],
)
def test_a_change_of_what_was_declared_revokes_and_decides_anew(
    stage: Stage, name: str, change: Object
) -> None:
    stage.begin_ready(name, intent={"goal": "Answer ticket 4711"})
    old, before = stage.token(name), stage.task(name)["status"]

    stage.change(name, change)
    after = stage.wait_ready(name)

    assert stage.reads(old) != 200
    assert stage.reads(stage.token(name)) == 200
    assert after["grants"][0]["id"] != before["grants"][0]["id"]
    stage.assert_holds(**{name.replace("-", "_"): 1})


def test_a_request_that_is_added_comes_with_the_others_anew(stage: Stage, name: str) -> None:
    stage.begin_ready(name)

    stage.change(name, {"credentials": [request(), request("more", "notes")]})
    stage.wait_ready(name)

    content = stage.secret(name) or {}
    assert {"tickets.token", "more.token"} < set(content)
    assert stage.reads(content["tickets.token"]) == 200
    assert stage.reads(content["more.token"]) == 200
    stage.assert_holds(**{name.replace("-", "_"): 2})


def test_a_task_past_its_deadline_is_expired_and_holds_nothing(stage: Stage, name: str) -> None:
    stage.begin_ready(name, activeDeadlineSeconds=2)
    token = stage.token(name)

    status = stage.wait_finished(name, "Expired")

    assert status["grants"] == []
    assert stage.reads(token) != 200
    assert stage.secret(name) is None


def test_a_finished_task_is_deleted_after_its_time(stage: Stage, name: str) -> None:
    stage.begin_ready(name, ttlSecondsAfterFinished=1)
    stage.end(name)

    stage.wait_gone(task(name))

    assert stage.secret(name) is None


def test_a_task_made_anew_under_a_name_does_not_inherit_its_pod(stage: Stage, name: str) -> None:
    stage.begin_ready(name)
    stage.alice.delete(task(name))
    stage.wait_gone(task(name))

    stage.alice.create(task(name))
    status = stage.wait_condition(name, "Attested", "False", "PodReplaced")

    assert status["grants"] == []
    assert stage.secret(name) is None


def test_the_tenant_may_not_lift_the_gate(stage: Stage, name: str) -> None:
    stage.alice.create(pod(name))

    with pytest.raises(Refused, match="must be left to taskpass"):
        stage.alice.patch(pod(name), [{"op": "remove", "path": "/spec/schedulingGates/0"}])

    assert stage.gated(name)
