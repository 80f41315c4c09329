"""What somebody asked for and does not get: the condition, the Event, and the pod that waits.

What the API server refuses before the operator sees it is in `e2e/cases/input`.
"""

import time
from collections.abc import Iterator

import pytest

from e2e.admission import GROUP, TARGET, TENANT, pod, task
from e2e.impersonate import Object, thing
from e2e.operator_process import OperatorProcess
from e2e.stage import Stage, condition, credential_class, deny, policy, request, until


def text(status: Object, kind: str) -> str:
    return str(condition(status, kind)["message"])


def asks(**rest: object) -> list[Object]:
    return [request("other", "other", **rest)]


# Outside the class or the policy


@pytest.fixture
def wide(other: Stage) -> Iterator[Stage]:
    """Return the stage with a class of two actions and locations, and a policy on one of each."""
    both = [
        {"action": a, "kind": "ClusterRole", "name": "tickets-reader"} for a in ("read", "list")
    ]
    spec = {
        "actions": ["read", "list"],
        "locations": ["https://a.example", "https://b.example"],
        "maxExpirationSeconds": 1800,
        "kubernetes": {"roles": both, "namespaces": [TARGET, "kb"]},
    }
    other.api.apply(credential_class("other", **spec))
    other.api.apply(
        policy(
            "other",
            "other",
            resources=[f"namespace/{TARGET}"],
            locations=["https://a.example"],
            limits={"maxExpirationSeconds": 1200},
        )
    )
    return other


AT = {"location": "https://a.example"}


@pytest.mark.parametrize(
    ("asked", "reason", "said"),
    [
        pytest.param(
            asks(actions=["write"], **AT),
            "Denied",
            "CredentialClass 'other' has no action 'write'; it has 'read', 'list'",
            id="an action that the class does not have",
        ),
        pytest.param(
            asks(location="https://c.example"),
            "Denied",
            "CredentialClass 'other' has no location 'https://c.example'; it has "
            "'https://a.example', 'https://b.example'",
            id="a location that the class does not have",
        ),
        pytest.param(
            asks(actions=["list"], **AT),
            "NoPolicy",
            "AgentPolicy 'support/other' comes nearest but does not cover: action 'list'",
            id="an action that no policy covers",
        ),
        pytest.param(
            asks(resources=["namespace/kb"], **AT),
            "NoPolicy",
            "does not cover: resource 'namespace/kb'",
            id="a resource that no policy covers",
        ),
        pytest.param(
            asks(location="https://b.example"),
            "NoPolicy",
            "does not cover: location 'https://b.example'",
            id="a location that no policy covers",
        ),
        pytest.param(
            asks(expirationSeconds=599, **AT),
            "Denied",
            "expirationSeconds of request 'other' must be greater than or equal to 600, the "
            "shortest that provider Kubernetes",
            id="an expiry below what the provider can do",
        ),
        pytest.param(
            asks(expirationSeconds=1801, **AT),
            "Denied",
            "expirationSeconds must be less than or equal to 1200 under AgentPolicy",
            id="an expiry above policy and class",
        ),
    ],
)
def test_what_is_outside_class_or_policy_is_said_in_task_and_pod(
    wide: Stage, name: str, asked: list[Object], reason: str, said: str
) -> None:
    wide.begin(name, credentials=asked)
    status = wide.wait_condition(name, "Authorized", "False", reason)
    told = wide.wait_event(name, "PolicyDenied", kind="Pod")

    assert said in text(status, "Authorized")
    assert said in told["note"]
    assert told["type"] == "Warning"
    assert condition(status, "Stalled")["reason"] == reason
    assert condition(status, "Ready")["reason"] == reason
    assert wide.gated(name)
    assert wide.secret(name) is None
    wide.assert_holds(**{name.replace("-", "_"): 0})


def test_a_resource_that_the_class_does_not_have_is_refused_by_its_provider(
    other: Stage, name: str
) -> None:
    other.begin(name, credentials=asks(resources=["namespace/elsewhere"]))
    status = other.wait_condition(name, "CredentialsIssued", "False", "ProviderRefused")

    assert (
        f"resources must each be a namespace of CredentialClass 'other' ('namespace/{TARGET}'): "
        "'namespace/elsewhere' is none"
    ) in text(status, "CredentialsIssued")
    assert other.gated(name)
    other.assert_holds(**{name.replace("-", "_"): 0})


def test_without_any_policy_the_namespace_is_named(stage: Stage, name: str) -> None:
    stage.api.delete(policy("triage"))
    try:
        stage.begin(name)
        status = stage.wait_condition(name, "Authorized", "False", "NoPolicy")
    finally:
        stage.api.apply(policy("triage", "tickets", "notes"))

    said = text(status, "Authorized")
    assert "No policy with effect Allow applies in namespace 'support'; an AgentPolicy" in said
    assert stage.gated(name)
    stage.wait_ready(name)


def test_a_class_that_does_not_exist_in_a_later_phase_is_said_when_it_begins(
    stage: Stage, name: str
) -> None:
    phases = [{"name": "one", "next": ["two"]}, {"name": "two", "credentials": asks()}]
    stage.begin_ready(name, phases=phases, phase="one")

    stage.change(name, {"phase": "two"})
    status = stage.wait_condition(name, "Authorized", "False", "Denied")

    assert "CredentialClass 'other' does not exist" in text(status, "Authorized")
    stage.assert_holds(**{name.replace("-", "_"): 0})


# Expressions

LOOPS = "agent.podLabels.all(k, agent.podLabels.all(l, k == l))"


@pytest.mark.parametrize(
    ("expression", "error"),
    [
        pytest.param("task.name ==", "line 1, column", id="that is no expression"),
        pytest.param("task.nmae == 'x'", "undeclared reference", id="of a field that is none"),
        pytest.param(
            "task.name", "must be true or false, but is of type string", id="that is a string"
        ),
        pytest.param(LOOPS, "could take too long", id="that loops in loops"),
    ],
)
def test_an_expression_that_cannot_be_used_is_told_at_once(
    stage: Stage, expression: str, error: str
) -> None:
    body = deny("broken", "nobodys", validations=[{"expression": expression, "message": "m"}])

    stage.api.apply(body)
    try:
        told = stage.wait_event("broken", "InvalidExpression")
        live = until(lambda: stage.api.get("AgentPolicy", TENANT, "broken").get("status"))
    finally:
        stage.api.delete(body)
        _forget_events(stage, "broken")

    said = text(live, "Ready")
    assert condition(live, "Ready")["status"] == "False"
    assert condition(live, "Ready")["reason"] == "InvalidExpression"
    assert said.startswith("spec.validations[0].expression: ")
    assert error in said
    assert said[:100] in told["note"]
    assert told["type"] == "Warning"


def _forget_events(stage: Stage, name: str) -> None:
    for event in stage.events(name):
        path = f"/apis/events.k8s.io/v1/namespaces/{TENANT}/events/{event['metadata']['name']}"
        stage.api.call("DELETE", path)


def test_an_expression_that_fails_when_it_is_asked_is_neither_yes_nor_no(
    other: Stage, name: str
) -> None:
    validations = [{"expression": "intent.tools[3] == 'x'", "message": "m"}]
    broken = deny("broken", "other", validations=validations)
    other.api.apply(broken)
    try:
        other.begin(name, credentials=asks())
        status = other.wait_condition(name, "Authorized", "Unknown", "EvaluationFailed")
        live = until(lambda: _not_ready(other))
    finally:
        other.api.delete(broken)

    assert "AgentPolicy 'support/broken' cannot be evaluated" in text(status, "Authorized")
    assert condition(status, "Stalled")["status"] == "False"
    assert condition(live, "Ready")["reason"] == "EvaluationFailed"
    assert "index=3 size=0" in text(live, "Ready")
    assert other.gated(name)
    other.wait_ready(name)


def _not_ready(stage: Stage) -> Object | None:
    status: Object = stage.api.get("AgentPolicy", TENANT, "broken").get("status", {})
    return status if condition(status, "Ready").get("status") == "False" else None


# Names


def test_the_longest_names_live_a_whole_life(stage: Stage, name: str) -> None:
    longest = f"{name}-{'x' * 63}"[:63]
    credential = "c" * 63
    body = task(longest, credentials=[request(credential)], phases=[{"name": "p" * 63}])
    stage.alice.create(body)
    stage.alice.create(pod(longest))

    status = stage.wait_ready(longest)
    token = stage.token(longest, credential)
    stage.wait_event(longest, "CredentialIssued")
    stage.end(longest)
    stage.wait_finished(longest, "Succeeded")

    assert len(longest) == 63
    assert status["phaseName"] == "p" * 63
    assert stage.reads(token) != 200
    assert stage.secret(longest) is None


def test_a_pod_that_is_older_than_its_task_gets_nothing(stage: Stage, name: str) -> None:
    made = stage.alice.create(pod(name))
    born = made["metadata"]["creationTimestamp"]
    until(lambda: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()) > born)  # whole seconds

    stage.alice.create(task(name))
    status = stage.wait_condition(name, "Attested", "False", "PodReplaced")
    told = stage.wait_event(name, "AttestationFailed", kind="Pod")

    said = f"Pod '{name}' was made before this task and may be another's; delete the pod"
    assert text(status, "Attested").startswith(said)
    assert told["note"].startswith(said)
    assert stage.gated(name)
    stage.assert_holds(**{name.replace("-", "_"): 0})


# Settings


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        pytest.param({"TASKPASS_NAMESPACE": ""}, "TASKPASS_NAMESPACE: ", id="an empty one"),
        pytest.param(
            {"TASKPASS_TENANTS": '["support", "taskpass-system"]'},
            "TASKPASS_TENANTS must not hold taskpass-system",
            id="two that contradict each other",
        ),
        pytest.param(
            {"TASKPASS_TARGETS": '{"tickets": {"clusterrole": ["x"]}}'},
            "TASKPASS_TARGETS (tickets.clusterrole): ",
            id="an unknown key within one",
        ),
        pytest.param(
            {"TASKPASS_WORKERS": "many"}, "TASKPASS_WORKERS: ", id="text where a number belongs"
        ),
    ],
)
def test_settings_that_cannot_be_used_end_the_start_with_one_line(
    process: OperatorProcess, settings: dict[str, str], said: str
) -> None:
    process.stop()
    before = len(process.log.read_text()) if process.log.exists() else 0

    process.start(ready=False, **settings)

    assert process.wait_end() == 2
    lines = process.log.read_text()[before:].splitlines()
    assert lines[-1].startswith("taskpass: ")
    assert said in lines[-1]
    assert not [line for line in lines if "Traceback" in line]


def test_a_ledger_on_a_volume_that_is_not_there_ends_the_start_with_one_line(
    process: OperatorProcess,
) -> None:
    process.stop()
    before = len(process.log.read_text()) if process.log.exists() else 0

    process.start(ready=False, TASKPASS_LEDGER_PATH="/nowhere/at/all/ledger.db")

    assert process.wait_end() == 3
    lines = process.log.read_text()[before:].splitlines()
    assert lines[-1].startswith("taskpass: ")
    assert "/nowhere/at/all" in lines[-1]


def test_nothing_was_made_of_all_this(stage: Stage) -> None:
    kinds = ("AgentPolicy", "CredentialClass")
    left = {
        k: stage.api.exists(thing(GROUP, k, TENANT if "P" in k else "", "other")) for k in kinds
    }

    assert left == {"AgentPolicy": False, "CredentialClass": False}
    stage.assert_holds()
