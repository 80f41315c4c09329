"""What kubectl prints, and its exit code, for what somebody typed.

Where `taskpass policy explain` reads the same file, it must say of it what kubectl would.
"""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from e2e.admission import GROUP, ROOT, TARGET, TENANT, remove
from e2e.impersonate import Api, Refused, thing
from taskpass.cli.policy.command import policy as explaining
from taskpass.core.errors import UsageError

Kubectl = Callable[..., subprocess.CompletedProcess[str]]
TASK = """
apiVersion: taskpass.dev/v1alpha1
kind: AgentTask
metadata: {name: typed, namespace: support}
spec:
  agent: {serviceAccountName: triage-agent}
  sponsor: support-platform
  credentials:
  - {name: tickets, classRef: {name: tickets}, actions: [read], resources: [namespace/tickets]}
"""
OTHER = TASK.replace("classRef: {name: tickets}", "classRef: {name: secret-class}")
DENIED = (
    "must be allowed to use every CredentialClass that the task names: user 'alice' is not "
    "allowed to use 'secret-class'; a ClusterRole with the verb 'use' on credentialclasses of that "
    "name allows it"
)


@pytest.fixture(autouse=True)
def secret_class(api: Api) -> Iterator[None]:
    """A class that alice may not use, and nothing of the task afterwards."""
    spec = {
        "provider": "Kubernetes",
        "actions": ["read"],
        "kubernetes": {
            "roles": [{"action": "read", "kind": "ClusterRole", "name": "r"}],
            "namespaces": [TARGET],
        },
    }
    made = thing(GROUP, "CredentialClass", "", "secret-class", spec=spec)
    api.apply(made)
    yield
    remove(api, made)
    left = thing(GROUP, "AgentTask", TENANT, "typed")
    if api.exists(left):
        api.merge(left, {"metadata": {"finalizers": None}})
        api.delete(left)


# A class that the user may not use


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        pytest.param(("create",), OTHER, id="create"),
        pytest.param(("apply",), OTHER, id="apply"),
        pytest.param(("apply", "--server-side"), OTHER, id="apply on the server's side"),
        pytest.param(
            ("apply", "--server-side", "--force-conflicts", "--field-manager=taskpass"),
            OTHER,
            id="apply by force, under the operator's name",
        ),
        pytest.param(("create", "--dry-run=server"), OTHER, id="create as a dry run"),
        pytest.param(
            ("apply", "--server-side", "--dry-run=server"), OTHER, id="apply as a dry run"
        ),
        pytest.param(
            ("create",),
            OTHER.replace("name: typed", "generateName: typed-"),
            id="create under a generated name",
        ),
    ],
)
def test_a_class_that_one_may_not_use_is_refused(
    as_alice: Kubectl, arguments: tuple[str, ...], text: str
) -> None:
    done = as_alice(text, *arguments)

    assert done.returncode == 1
    assert DENIED in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(("apply",), id="apply"),
        pytest.param(("apply", "--server-side", "--force-conflicts"), id="on the server's side"),
        pytest.param(("replace",), id="replace"),
        pytest.param(("replace", "--dry-run=server"), id="replace as a dry run"),
    ],
)
def test_an_update_to_a_class_that_one_may_not_use_is_refused(
    as_alice: Kubectl, api: Api, arguments: tuple[str, ...]
) -> None:
    first = as_alice(TASK, "apply")
    assert first.returncode == 0, first.stderr

    done = as_alice(OTHER, *arguments)

    assert done.returncode == 1
    assert DENIED in done.stderr
    live = api.get("AgentTask", TENANT, "typed")
    assert live["spec"]["credentials"][0]["classRef"]["name"] == "tickets"


def test_a_class_that_one_may_use_is_accepted_in_each_way(as_alice: Kubectl) -> None:
    for arguments in (("apply", "--dry-run=server"), ("create",), ("apply", "--server-side")):
        extra = ("--force-conflicts",) if "--server-side" in arguments else ()
        done = as_alice(TASK, *arguments, *extra)

        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("agenttask.taskpass.dev/typed ")


# What kubectl says, and what `taskpass policy explain` says of the same file


@pytest.mark.parametrize(
    ("old", "new", "field", "says", "explains"),
    [
        pytest.param(
            "classRef: {name: tickets}",
            "classRef: {name: y}",
            "spec.credentials[0].classRef.name",
            'must be of type string: "boolean"',
            "must be a string, not the boolean true",
            id="a class named y, unquoted",
        ),
        pytest.param(
            "classRef: {name: tickets}",
            "classRef: {name: on}",
            "spec.credentials[0].classRef.name",
            'must be of type string: "boolean"',
            "must be a string, not the boolean true",
            id="a class named on, unquoted",
        ),
        pytest.param(
            "sponsor: support-platform",
            "sponsor: 4711",
            "spec.sponsor",
            'must be of type string: "integer"',
            "must be a string, not a number",
            id="a sponsor that is a number",
        ),
        pytest.param(
            "[read]",
            "read",
            "spec.credentials[0].actions",
            'must be of type array: "string"',
            "must be a list, not a string",
            id="one action that is no list",
        ),
        pytest.param(
            "sponsor: support-platform",
            "sponser: support-platform",
            "spec.sponser",
            'unknown field "spec.sponser"',
            "is no field of this kind",
            id="a field that does not exist",
        ),
        pytest.param(
            "agent: {serviceAccountName: triage-agent}",
            "agent: {}",
            "spec.agent.serviceAccountName",
            "Required value",
            "must be set",
            id="a field that is missing",
        ),
    ],
)
def test_kubectl_and_explain_name_the_same_field(
    as_alice: Kubectl, tmp_path: Path, old: str, new: str, field: str, says: str, explains: str
) -> None:
    text = TASK.replace(old, new)
    assert text != TASK

    done = as_alice(text, "create")
    explained = CliRunner().invoke(explaining, ["explain", "-f", str(tmp_path / "typed.yaml")])

    assert done.returncode == 1
    assert field in done.stderr
    assert says in done.stderr
    assert isinstance(explained.exception, UsageError)
    assert f"{field} {explains}" in str(explained.exception)


def test_explain_ends_with_2_and_one_line(tmp_path: Path) -> None:
    typed = tmp_path / "typed.yaml"
    typed.write_text(TASK.replace("classRef: {name: tickets}", "classRef: {name: y}"))

    done = subprocess.run(
        [sys.executable, "-m", "taskpass", "policy", "explain", "-f", str(typed)],
        capture_output=True,
        text=True,
        cwd=ROOT / "operator",
    )

    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("taskpass: ")
    assert done.stderr.endswith(
        "classRef.name must be a string, not the boolean true (YAML reads y, yes, on, n, no and "
        "off as one); put it in quotes\n"
    )


@pytest.mark.parametrize("word", ["y", "Y", "yes", "n", "no", "on", "off", "true"])
def test_what_yaml_takes_for_a_boolean_is_one_for_kubectl_and_for_explain(
    as_alice: Kubectl, tmp_path: Path, word: str
) -> None:
    text = TASK.replace("sponsor: support-platform", f"sponsor: {word}")

    done = as_alice(text, "create", "--dry-run=server")
    explained = CliRunner().invoke(explaining, ["explain", "-f", str(tmp_path / "typed.yaml")])

    assert done.returncode == 1
    assert "spec.sponsor" in done.stderr
    assert "boolean" in done.stderr
    assert isinstance(explained.exception, UsageError)
    assert "spec.sponsor must be a string, not the boolean" in str(explained.exception)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        pytest.param(
            "serviceAccountName: triage-agent",
            "serviceAccountName: default",
            "must not be 'default', which every pod without a ServiceAccount of its own runs as",
            id="the ServiceAccount default",
        ),
        pytest.param(
            "namespace/tickets",
            "namespace/*",
            "must not hold '*'; a request says exactly what it asks for",
            id="a star at the end",
        ),
        pytest.param(
            "actions: [read]",
            "actions: ['re*d']",
            "must not hold '*'; a request says exactly what it asks for",
            id="a star in the middle",
        ),
        pytest.param(
            "name: typed,", f"name: {'t' * 64},", "at most 63 characters", id="a long name"
        ),
        pytest.param(
            "resources: [namespace/tickets]",
            "resources: [namespace/tickets], expirationSeconds: 59",
            "should be greater than or equal to 60",
            id="an expiry below a minute",
        ),
    ],
)
def test_kubectl_says_what_must_be_otherwise(
    as_alice: Kubectl, old: str, new: str, says: str
) -> None:
    text = TASK.replace(old, new)
    assert text != TASK

    done = as_alice(text, "apply")

    assert done.returncode == 1
    assert says in done.stderr


# Expressions


@pytest.mark.parametrize(
    ("pattern", "says"),
    [("re*d", "last character only"), ("*", ""), ("read*", ""), ("**", "last character only")],
)
def test_a_policys_star_is_the_last_character(api: Api, pattern: str, says: str) -> None:
    spec = {"effect": "Deny", "actions": [pattern]}
    body = thing(GROUP, "AgentPolicy", TENANT, "starred", spec=spec)

    if says:
        with pytest.raises(Refused, match=says):
            api.create(body, dryRun="All")
    else:
        assert api.create(body, dryRun="All")["spec"] == spec
