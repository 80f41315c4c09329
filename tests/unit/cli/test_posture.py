"""What the doctor says of Pod Security, and of what is named like a grant's."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from taskpass.cli.doctor.posture import LEVEL, grants, pod_security
from taskpass.core.model.diagnosis import Diagnosis, Level
from tests.unit.kube.scripted_server import Answer, Script, scripted, status_body

ACCOUNTS = "GET /api/v1/namespaces/taskpass-grants/serviceaccounts"
BINDINGS = "GET /apis/rbac.authorization.k8s.io/v1/namespaces/tickets/rolebindings"
GRANT = "g-" + 32 * "a"
OURS = {"taskpass.dev/grant": GRANT}


@pytest.fixture
async def script() -> AsyncIterator[Script]:
    async with scripted() as running:
        yield running


def namespace(script: Script, name: str, labels: dict[str, str]) -> None:
    live = {"metadata": {"name": name, "labels": labels}}
    script.on(f"GET /api/v1/namespaces/{name}", Answer(live))


@pytest.mark.parametrize(
    ("level", "said"),
    [
        ("restricted", Level.OK),
        ("baseline", Level.OK),
        ("privileged", Level.WARNING),
        ("", Level.WARNING),
    ],
)
async def test_an_enrolled_namespace_should_enforce_something(
    script: Script, level: str, said: Level
) -> None:
    namespace(script, "support", {LEVEL: level} if level else {})

    async with script.client() as client:
        [line] = await pod_security(client, ["support"])

    assert line.level is said


async def test_only_namespaces_that_enforce_nothing_are_named(script: Script) -> None:
    namespace(script, "support", {LEVEL: "baseline"})
    namespace(script, "sales", {})
    script.on("GET /api/v1/namespaces/gone", Answer(status_body(404, "no"), 404))

    async with script.client() as client:
        said = await pod_security(client, ["support", "sales", "gone"])

    assert ["'sales'" in line.what for line in said] == [True]


async def look(script: Script, accounts: list[Any], bindings: list[Any]) -> list[Diagnosis]:
    for path, items in ((ACCOUNTS, accounts), (BINDINGS, bindings)):
        script.on(path, Answer({"items": [{"metadata": m} for m in items], "metadata": {}}))
    async with script.client() as client:
        return await grants(client, ["tickets"])


async def test_grants_with_their_labels_and_what_is_others_are_well(script: Script) -> None:
    others = {"name": "default", "labels": {}}
    bound = {"name": f"taskpass-{GRANT}-0", "labels": OURS}

    [line] = await look(script, [{"name": GRANT, "labels": OURS}, others], [bound, others])

    assert line.level is Level.OK


@pytest.mark.parametrize("labels", [{}, {"taskpass.dev/grant": "g-" + 32 * "b"}])
async def test_one_without_its_label_was_made_by_somebody_else(
    script: Script, labels: dict[str, str]
) -> None:
    said = await look(
        script,
        [{"name": GRANT, "labels": labels}],
        [{"name": f"taskpass-{GRANT}-3", "labels": labels}],
    )

    assert [line.level for line in said] == [Level.FAILED, Level.FAILED]
    assert said[0].what.startswith(f"ServiceAccount '{GRANT}' in namespace 'taskpass-grants' has")
    assert said[1].what.startswith(f"RoleBinding 'taskpass-{GRANT}-3' in namespace 'tickets' has")


async def test_one_that_a_finalizer_keeps_is_a_warning(script: Script) -> None:
    kept = {
        "name": f"taskpass-{GRANT}-0",
        "labels": OURS,
        "deletionTimestamp": "2027-03-01T12:00:00Z",
        "finalizers": ["example.com/keep"],
    }

    [line] = await look(script, [], [kept])

    assert line.level is Level.WARNING
    assert "is deleted, and kept by example.com/keep" in line.what
