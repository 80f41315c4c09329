"""The chart on a real node: the operator in its pod, its volume, and the hook that gives up all."""

import json
from dataclasses import dataclass

import pytest

from e2e.demo.documents import ROOT, commands
from e2e.demo.stage import EXAMPLES, GRANTS, SYSTEM, TARGET, TENANT, Stage
from e2e.impersonate import thing

CHART_README = ROOT / "charts/taskpass/README.md"
TICKET = f"/api/v1/namespaces/{TARGET}/configmaps/ticket-4711"


@pytest.fixture(scope="module")
def installed(stage: Stage) -> Stage:
    """Return the stage with the operator ready, and an example's class, policy and rights."""
    stage.install()
    provide(stage)
    return stage


def provide(stage: Stage) -> None:
    """Apply what an example's task stands on."""
    for name in ("01-class", "02-policy", "03-rights"):
        stage.apply(EXAMPLES / "01-first-task" / f"{name}.yaml")


def hold(stage: Stage, name: str) -> str:
    """Begin a task whose agent does nothing, and return the token that it holds."""
    asked = {
        "name": "tickets",
        "classRef": {"name": "tickets"},
        "actions": ["tickets.read"],
        "resources": [f"namespace/{TARGET}"],
    }
    task = {
        "agent": {"serviceAccountName": "triage-agent"},
        "sponsor": "support-platform",
        "intent": {"goal": "Hold on"},
        "credentials": [asked],
    }
    container = {"name": "agent", "image": "localhost/taskpass:dev", "command": ["sleep", "600"]}
    pod = {
        "serviceAccountName": "triage-agent",
        "terminationGracePeriodSeconds": 1,
        "containers": [container],
    }
    labels = {"taskpass.dev/task": name}
    stage.api.apply(thing("taskpass.dev/v1alpha1", "AgentTask", TENANT, name, spec=task))
    stage.api.create(thing("v1", "Pod", TENANT, name, labels=labels, spec=pod))
    given: dict[str, str] = stage.wait(
        "the credential", lambda: stage.credentials_or_why(name), seconds=30
    )
    return given["tickets.token"]


def log_of(stage: Stage) -> tuple[str, int]:
    """Return the audit log's origin and size, once it is verified."""
    lines = stage.taskpass("audit", "verify")
    assert lines[0].startswith("OK "), lines
    return lines[0].split()[1], int(lines[1].split()[1])


def test_the_operator_can_do_nothing_to_its_own_container(installed: Stage) -> None:
    script = "id -u; touch /usr/x 2>&1 || grep -E 'CapEff|NoNewPrivs' /proc/self/status"

    said = installed.lines("-n", SYSTEM, "exec", "deploy/taskpass", "--", "sh", "-c", script)

    assert said[0] == "65532"
    assert "Read-only file system" in said[1]
    assert [line.split()[1] for line in said[2:]] == ["0000000000000000", "1"]


def test_a_replaced_pod_goes_on_with_the_same_log_and_what_is_held(installed: Stage) -> None:
    token = hold(installed, "stays")
    origin, size = log_of(installed)

    installed.kubectl("-n", SYSTEM, "rollout", "restart", "deployment/taskpass")
    installed.kubectl("-n", SYSTEM, "rollout", "status", "deployment/taskpass", "--timeout=60s")

    after, larger = log_of(installed)
    assert after == origin
    assert larger > size
    assert installed.credentials("stays")["tickets.token"] == token
    assert installed.answer_to(token, TICKET)[0] == 200


@dataclass(frozen=True)
class Uninstalled:
    """What uninstalling found and said."""

    origin: str
    token: str
    said: str
    code: int


@pytest.fixture(scope="module")
def uninstalled(installed: Stage) -> Uninstalled:
    """Uninstall while a task holds something, another is denied, and a third is over."""
    token = hold(installed, "holds")
    installed.apply(EXAMPLES / "01-first-task")
    installed.apply(EXAMPLES / "02-phases" / "01-class.yaml")
    installed.apply(ROOT / "e2e/demo/denied.yaml")
    installed.wait(
        "the end of the first task",
        lambda: installed.conditions("ticket-4711").get("Finished", {}).get("status") == "True",
    )
    origin, _ = log_of(installed)
    (line,) = [each for each in commands(CHART_README) if each.startswith("helm uninstall")]
    done = installed.helm(*line.split()[1:])
    return Uninstalled(origin, token, done.stdout + done.stderr, done.returncode)


def test_uninstalling_revokes_everything_first_and_says_so(
    installed: Stage, uninstalled: Uninstalled
) -> None:
    assert uninstalled.code == 0, uninstalled.said
    assert "Nothing is owed." in uninstalled.said
    assert installed.answer_to(uninstalled.token, TICKET)[0] in (401, 403)
    accounts = installed.kubectl("-n", GRANTS, "get", "serviceaccounts", "--output", "name")
    assert accounts.split() == ["serviceaccount/default"]
    bindings = ("-n", TARGET, "get", "rolebindings", "--selector", "taskpass.dev/grant")
    assert installed.kubectl(*bindings, "--output", "name") == ""


@pytest.mark.usefixtures("uninstalled")
def test_no_task_is_left_with_a_finalizer(installed: Stage) -> None:
    tasks = json.loads(installed.kubectl("-n", TENANT, "get", "agenttasks", "--output", "json"))

    assert {task["metadata"]["name"] for task in tasks["items"]} >= {"holds", "ticket-4713"}
    assert [t for t in tasks["items"] if t["metadata"].get("finalizers")] == []


@pytest.mark.usefixtures("uninstalled")
def test_nothing_of_the_operator_is_left_but_what_is_to_be_kept(installed: Stage) -> None:
    kinds = "deployments,services,serviceaccounts,roles,rolebindings,jobs,configmaps,pvc"

    left = installed.kubectl("-n", SYSTEM, "get", kinds, "--output", "name").split()

    kept = {"persistentvolumeclaim/taskpass-ledger", "serviceaccount/default"}
    assert set(left) == kept | {"configmap/kube-root-ca.crt"}


def test_a_new_installation_goes_on_with_the_old_log(
    installed: Stage, uninstalled: Uninstalled
) -> None:
    installed.install()

    origin, _ = log_of(installed)
    assert origin == uninstalled.origin


def test_the_rendered_chart_can_be_applied_without_helm(installed: Stage) -> None:
    installed.remove()
    installed.apply(EXAMPLES / "01-first-task" / "00-namespaces.yaml")
    page = commands(CHART_README)
    (make, render) = [line for line in page if line.startswith(("kubectl create", "helm template"))]

    installed.shell(make)
    installed.shell(render)
    installed.kubectl("-n", SYSTEM, "rollout", "status", "deployment/taskpass", "--timeout=60s")
    provide(installed)
    token = hold(installed, "applied")

    assert installed.answer_to(token, TICKET)[0] == 200
    installed.kubectl("-n", TENANT, "delete", "agenttask,pod", "applied", "--wait")
    installed.shell(render.replace("kubectl apply", "kubectl delete --ignore-not-found --wait"))
