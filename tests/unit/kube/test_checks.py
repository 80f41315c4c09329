"""What `taskpass doctor` says of an API server, which here answers as a test says."""

import base64
from datetime import UTC, datetime
from typing import Any

import pytest

from taskpass.cli.doctor import checks
from taskpass.core.model.diagnosis import Level
from taskpass.kube import guardrails as guard
from tests.unit.kube.scripted_server import Answer, Script, status_body
from tests.unit.kube.test_guard import everything_holds

T0 = datetime(2027, 3, 1, 12, 0, 0, 500_000, tzinfo=UTC)
DATES = {0: "Mon, 01 Mar 2027 12:00:00 GMT", 20: "Mon, 01 Mar 2027 11:59:40 GMT",
         -20: "Mon, 01 Mar 2027 12:00:20 GMT", 3600: "Mon, 01 Mar 2027 11:00:00 GMT"}  # fmt: skip
CRD = "GET /apis/apiextensions.k8s.io/v1/customresourcedefinitions/"
KEY = "GET /api/v1/namespaces/home/secrets/taskpass-signing-key"


@pytest.mark.parametrize(
    ("answer", "level"),
    [
        pytest.param({"major": "1", "minor": "36"}, Level.OK, id="the oldest"),
        pytest.param({"major": "1", "minor": "37+"}, Level.OK, id="a vendor's"),
        pytest.param({"major": "2", "minor": "0"}, Level.OK, id="one to come"),
        pytest.param({"major": "1", "minor": "35"}, Level.FAILED, id="one too old"),
        pytest.param({}, Level.FAILED, id="one that does not say"),
    ],
)
async def test_kubernetes_must_be_new_enough(
    script: Script, answer: dict[str, str], level: Level
) -> None:
    script.on("GET /version", Answer({**answer, "gitVersion": "v1.x"}))

    async with script.client() as client:
        said = await checks.version(client)

    assert (said.level, said.what) == (level, "the API server is of version v1.x")
    assert ("1.36 or later" in said.remedy) == (level is Level.FAILED)


@pytest.mark.parametrize(
    ("ahead", "level", "what"),
    [
        (0, Level.OK, "within 5 s of the API server's"),
        (20, Level.WARNING, "20 s ahead of the API server's"),
        (-20, Level.WARNING, "20 s behind the API server's"),
        (3600, Level.FAILED, "3600 s ahead of the API server's"),
    ],
)
async def test_clocks_are_compared(script: Script, ahead: int, level: Level, what: str) -> None:
    script.on("GET /version", Answer({}, headers={"Date": DATES[ahead]}))

    async with script.client() as client:
        said = await checks.clock(client, lambda: T0)

    assert (said.level, said.what) == (level, what)


def crd(established: str = "True", served: bool = True) -> Answer:
    return Answer(
        {
            "spec": {"versions": [{"name": "v1alpha1", "served": served}]},
            "status": {"conditions": [{"type": "Established", "status": established}]},
        }
    )


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        (Answer(status_body(404, "no"), 404), "cannot be read (not found)"),
        (Answer(status_body(403, "no"), 403), "cannot be read (not allowed)"),
        (crd(established="False"), "is not established"),
        (crd(served=False), "does not serve v1alpha1"),
    ],
    ids=["gone", "hidden", "not established", "of another version"],
)
async def test_each_crd_must_be_there_and_served(script: Script, answer: Answer, what: str) -> None:
    for name in guard.CRDS:
        script.on(f"{CRD}{name}", crd())
    async with script.client() as client:
        [before] = await checks.kinds(client)
        script.on(f"{CRD}agenttasks.taskpass.dev", answer)
        [said] = await checks.kinds(client)

    assert before.level is Level.OK
    assert (said.level, said.what) == (Level.FAILED, f"'agenttasks.taskpass.dev' {what}")


async def limits(script: Script) -> list[tuple[Level, str, str]]:
    async with script.client() as client:
        said = await checks.limits(client, home="taskpass-system", tenants=["support"], targets={})
    return [(each.level, each.about, each.what) for each in said]


async def test_every_limit_that_does_not_hold_is_named_and_not_the_first_only(
    script: Script,
) -> None:
    everything_holds(script)
    gone = Answer(status_body(404, "no"), 404)
    script.on(f"GET {guard.ADMISSION}/validatingadmissionpolicies/taskpass-pods", gone)
    script.on(f"GET {guard.ADMISSION}/mutatingadmissionpolicies/taskpass-inject", gone)

    assert await limits(script) == [
        (
            Level.FAILED,
            "limits",
            "MutatingAdmissionPolicy 'taskpass-inject' is missing",
        ),
        (
            Level.FAILED,
            "limits",
            "ValidatingAdmissionPolicy 'taskpass-pods' is missing",
        ),
    ]


async def test_a_policy_that_somebody_edited_is_a_warning(script: Script) -> None:
    everything_holds(script)
    helm = wrote("helm", "2027-03-01T12:00:00Z")
    for kind, names in (("mutating", guard.MUTATING), ("validating", guard.VALIDATING)):
        for name in names:
            policy: dict[str, Any] = {"spec": {"failurePolicy": "Fail"}, "metadata": helm}
            script.on(f"GET {guard.ADMISSION}/{kind}admissionpolicies/{name}", Answer(policy))
    edited = wrote("helm", "2027-03-01T12:00:00Z", "kubectl-edit", "2027-03-02T09:00:00Z")
    policy = {"spec": {"failurePolicy": "Fail"}, "metadata": edited}
    script.on(f"GET {guard.ADMISSION}/validatingadmissionpolicies/taskpass-use", Answer(policy))

    count = len(guard.MUTATING) + len(guard.VALIDATING)
    assert await limits(script) == [
        (Level.OK, "limits", f"all {count} policies are there, and refuse what they must"),
        (
            Level.WARNING,
            "policies",
            "ValidatingAdmissionPolicy 'taskpass-use' was changed by 'kubectl-edit' at "
            "2027-03-02T09:00:00Z after it was installed",
        ),
    ]


def wrote(*pairs: str) -> dict[str, Any]:
    spec = {"f:spec": {"f:validations": {}}}
    whole = [
        {"manager": who, "time": when, "fieldsV1": spec}
        for who, when in zip(pairs[::2], pairs[1::2], strict=True)
    ]
    checker = {"manager": "checker", "subresource": "status", "time": "x", "fieldsV1": spec}
    return {"managedFields": [*whole, checker]}


async def test_namespaces_that_are_not_there_or_going_are_named_with_their_value(
    script: Script,
) -> None:
    def there(phase: str) -> Answer:
        return Answer({"status": {"phase": phase}})

    path = "GET /api/v1/namespaces/"
    script.on(f"{path}support", there("Active"))
    script.on(f"{path}sales", Answer(status_body(404, "no"), 404))
    script.on(f"{path}tickets", there("Terminating"))
    async with script.client() as client:
        said = await checks.namespaces(client, ["support", "sales"], ["tickets"])
        nobody = await checks.namespaces(client, [], [])

    assert [(each.level, each.what) for each in said] == [
        (Level.FAILED, "'sales', which the value `tenants` names, cannot be read (not found)"),
        (Level.WARNING, "'tickets', which the value `targets` names, is being deleted"),
    ]
    assert [(each.level, each.what) for each in nobody] == [(Level.WARNING, "none is enrolled")]


def secret(raw: bytes, of_type: str = "taskpass.dev/signing-key") -> Answer:
    return Answer({"type": of_type, "data": {"seed": base64.b64encode(raw).decode()}})


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        (Answer(status_body(404, "no"), 404), "there is no Secret 'taskpass-signing-key'"),
        (Answer(status_body(403, "no"), 403), "'taskpass-signing-key' in namespace 'home' may not"),
        (secret(b"s3cr3t-short"), "must be of type taskpass.dev/signing-key and hold 32 bytes"),
        (secret(bytes(32), "Opaque"), "must be of type taskpass.dev/signing-key and hold 32 bytes"),
    ],
    ids=["gone", "hidden", "too short", "of another type"],
)
async def test_the_key_must_be_there_and_is_never_shown(
    script: Script, answer: Answer, what: str
) -> None:
    script.on(KEY, answer)

    async with script.client() as client:
        said, seed = await checks.key(client, "home")

    assert said.level is Level.FAILED
    assert what in said.what
    assert seed == b""
    assert "s3cr3t" not in f"{said}"


async def test_a_key_is_returned_beside_what_is_said(script: Script) -> None:
    script.on(KEY, secret(bytes(range(32))))

    async with script.client() as client:
        said, seed = await checks.key(client, "home")

    assert said.level is Level.OK
    assert seed == bytes(range(32))
