"""The chart on a real node: the operator in its pod, its volume, and the hook that gives up all."""

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from e2e.cases.install.holding import TICKET, hold, provide
from e2e.demo.documents import ROOT, commands
from e2e.demo.stage import EXAMPLES, GRANTS, SYSTEM, TARGET, TENANT, Stage

CHART_README = ROOT / "charts/taskpass/README.md"


@pytest.fixture(scope="module")
def installed(stage: Stage) -> Stage:
    """Return the stage with the operator ready, and an example's class, policy and rights."""
    stage.install()
    provide(stage)
    return stage


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


def test_the_doctor_in_the_operators_pod_finds_nothing_wrong(installed: Stage) -> None:
    lines = installed.taskpass("doctor")

    assert [line for line in lines if not line.startswith("ok ")] == []
    about = {line.removeprefix("ok ").strip().partition(":")[0] for line in lines}
    assert {"ledger volume", "signing key", "operator", "classes", "limits", "clock"} <= about


def test_helm_test_passes_and_shows_what_it_looked_at(installed: Stage) -> None:
    done = installed.helm("test", "taskpass", "--namespace", SYSTEM, "--logs", "--timeout", "60s")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "ok       operator: it is ready" in done.stdout
    assert "failed " not in done.stdout
    installed.kubectl("-n", SYSTEM, "delete", "pod", "taskpass-test")


def older(directory: Path) -> Path:
    """Return a copy of the chart that says that it is of an older version."""
    chart = directory / "taskpass"
    shutil.copytree(ROOT / "charts/taskpass", chart)
    about = (chart / "Chart.yaml").read_text()
    (chart / "Chart.yaml").write_text(re.sub(r"ersion: \"?0\.1\.0\"?", "ersion: 0.0.9", about))
    return chart


def upgrade(stage: Stage, chart: Path) -> str:
    """Upgrade to a chart with the values at hand; return the version that it says afterwards."""
    wait = ("--reuse-values", "--wait", "--timeout", "120s")
    done = stage.helm("upgrade", "taskpass", str(chart), "--namespace", SYSTEM, *wait)
    assert done.returncode == 0, done.stderr
    label = r"jsonpath={.spec.template.metadata.labels.app\.kubernetes\.io/version}"
    return stage.kubectl("-n", SYSTEM, "get", "deployment", "taskpass", "--output", label)


def test_an_upgrade_keeps_what_is_held_and_goes_on_with_the_log(
    installed: Stage, tmp_path: Path
) -> None:
    before = upgrade(installed, older(tmp_path))
    token = hold(installed, "upgraded")
    origin, size = log_of(installed)
    held = grants_of(installed, "upgraded")

    after = upgrade(installed, ROOT / "charts/taskpass")

    assert (before, after) == ("0.0.9", "0.1.0")
    assert held
    assert grants_of(installed, "upgraded") == held
    assert installed.credentials("upgraded")["tickets.token"] == token
    assert installed.answer_to(token, TICKET)[0] == 200
    same, larger = log_of(installed)
    assert same == origin
    assert larger > size
    assert [x for x in installed.taskpass("doctor") if not x.startswith("ok ")] == []


def grants_of(stage: Stage, name: str) -> list[str]:
    """Return the ids of what a task holds."""
    live = stage.api.get("AgentTask", TENANT, name)
    return [grant["id"] for grant in live["status"]["grants"]]


def test_without_an_operator_uninstalling_fails_and_removes_nothing(installed: Stage) -> None:
    token = hold(installed, "kept")
    done = installed.helm(
        *("upgrade", "taskpass", "charts/taskpass", "--namespace", SYSTEM, "--reuse-values"),
        *("--set", "releaseHook.timeoutSeconds=30", "--wait", "--timeout", "120s"),
    )
    assert done.returncode == 0, done.stderr
    scale = ("-n", SYSTEM, "scale", "deployment/taskpass")
    installed.kubectl(*scale, "--replicas=0")

    done = installed.helm("uninstall", "taskpass", "--namespace", SYSTEM)
    still = installed.answer_to(token, TICKET)[0]
    finalizers = installed.api.get("AgentTask", TENANT, "kept")["metadata"]["finalizers"]
    left = installed.kubectl("-n", SYSTEM, "get", "deployments", "--output", "name")

    installed.kubectl(*scale, "--replicas=1")
    installed.kubectl("-n", SYSTEM, "rollout", "status", "deployment/taskpass", "--timeout=60s")
    assert done.returncode != 0
    assert "taskpass: The operator did not answer within 20 s" in done.stdout + done.stderr
    assert still == 200
    assert installed.answer_to(token, TICKET)[0] == 200  # nor afterwards
    assert finalizers == ["taskpass.dev/revoke"]
    assert left.split() == ["deployment.apps/taskpass"]


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
    assert "Nothing is pending." in uninstalled.said
    assert installed.answer_to(uninstalled.token, TICKET)[0] in (401, 403)
    accounts = installed.kubectl("-n", GRANTS, "get", "serviceaccounts", "--output", "name")
    assert accounts.split() == ["serviceaccount/default"]
    bindings = ("-n", TARGET, "get", "rolebindings", "--selector", "taskpass.dev/grant")
    assert installed.kubectl(*bindings, "--output", "name") == ""


@pytest.mark.usefixtures("uninstalled")
@pytest.mark.parametrize(
    ("kind", "names"),
    [("agenttasks", {"holds", "ticket-4713"}), ("credentialclasses", {"tickets"})],
)
def test_nothing_is_left_with_a_finalizer(installed: Stage, kind: str, names: set[str]) -> None:
    found = json.loads(installed.kubectl("-n", TENANT, "get", kind, "--output", "json"))

    assert {each["metadata"]["name"] for each in found["items"]} >= names
    assert [each for each in found["items"] if each["metadata"].get("finalizers")] == []


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
    starts = ("kubectl create", "helm template", "kubectl apply -f charts/", "kubectl delete")
    (make, render, anchor, *let_go) = [line for line in page if line.startswith(starts)]

    installed.shell(make)
    installed.shell(render)
    installed.kubectl("wait", "--for=condition=Established", "crd/auditanchors.taskpass.dev")
    installed.shell(anchor)
    installed.kubectl("-n", SYSTEM, "rollout", "status", "deployment/taskpass", "--timeout=60s")
    provide(installed)
    token = hold(installed, "applied")

    assert installed.answer_to(token, TICKET)[0] == 200
    assert len(let_go) == 2
    for line in let_go:
        installed.shell(line)
    assert installed.answer_to(token, TICKET)[0] in (401, 403)
    installed.kubectl("-n", TENANT, "delete", "pod", "applied", "--wait")
    installed.shell(render.replace("kubectl apply", "kubectl delete --ignore-not-found --wait"))
