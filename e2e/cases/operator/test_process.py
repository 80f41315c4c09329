"""The operator's own beginning and end, and what it does without."""

from collections.abc import Callable
from pathlib import Path

from e2e.admission import GRANTS, SYSTEM, TARGET, task
from e2e.impersonate import Api
from e2e.operator_process import OperatorProcess
from e2e.stage import Stage, condition, until

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
KINDS = (
    "agenttasks", "agentpolicies", "clusteragentpolicies", "credentialclasses", "killswitches",
    "taskapprovals", "agenttasktemplates",
)  # fmt: skip


def test_a_stop_under_load_finishes_what_is_in_flight(stage: Stage, name: str) -> None:
    names = [f"{name}-{n}" for n in range(20)]
    for each in names:
        stage.begin(each)

    code = stage.operator.stop()

    held = {n: stage.task(n).get("status", {}).get("grants", []) for n in names}
    assert code == 0, stage.operator.tail()
    assert stage.secrets() == {f"taskpass-{n}" for n, grants in held.items() if grants}
    assert stage.accounts() == {g["id"] for grants in held.values() for g in grants}
    stage.operator.start()
    for each in names:
        stage.wait_ready(each)
        assert held[each] in ([], stage.task(each)["status"]["grants"])
    stage.clear(name)
    stage.assert_holds()


def test_a_second_operator_on_the_same_ledger_ends_with_one_clear_line(
    stage: Stage, kubeconfig: str, tmp_path: Path
) -> None:
    second = OperatorProcess(kubeconfig, tmp_path, targets=stage.operator.targets)

    second.start(ready=False, TASKPASS_LEDGER_PATH=str(stage.operator.ledger))

    assert second.wait_end() == 3
    said = second.log.read_text()
    assert said.splitlines()[-1] == (
        f"taskpass: Another process holds the ledger {stage.operator.ledger}; wait until it has "
        "ended"
    )
    assert "Traceback" not in said
    stage.operator.wait_ready()


def test_a_lease_that_was_deleted_is_made_anew(stage: Stage, name: str) -> None:
    path = f"/apis/coordination.k8s.io/v1/namespaces/{GRANTS}/leases/taskpass-operator"
    stage.api.call("DELETE", path)

    live = until(lambda: stage.api.call("GET", path))

    assert live["spec"]["holderIdentity"].startswith("audit.taskpass.dev/")
    stage.begin_ready(name)


def test_a_request_for_release_gives_up_everything(stage: Stage, name: str) -> None:
    stage.begin_ready(name)
    token = stage.token(name)
    path = f"/api/v1/namespaces/{SYSTEM}/configmaps"
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "taskpass-release"}}

    stage.api.call("POST", path, body)
    try:
        done = until(lambda: stage.api.call("GET", f"{path}/taskpass-release").get("data"))
        held = stage.accounts(), stage.secrets()
    finally:
        stage.api.call("DELETE", f"{path}/taskpass-release")
        stage.operator.stop()  # it issues nothing any more until it is started again

    assert (done["state"], done["owed"], done["stuck"]) == ("done", "", "")
    assert "taskpass.dev/revoke" not in stage.task(name)["metadata"].get("finalizers", [])
    assert stage.reads(token) != 200
    assert held == (set(), set())


def test_it_issues_nothing_while_a_limit_on_itself_does_not_hold(stage: Stage, name: str) -> None:
    held = f"{name}-held"
    stage.begin_ready(held)
    path = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"
    policy = stage.api.call("GET", f"{path}/taskpass-operator-secrets")

    stage.api.call("DELETE", f"{path}/taskpass-operator-secrets")
    try:
        said = until(lambda: _not_ready(stage.operator))
        stage.begin(name)
        stage.wait_condition(name, "Attested", "True")
        issued = condition(stage.task(name)["status"], "CredentialsIssued")
        token = stage.token(held)
        stage.end(held)
        stage.wait_finished(held, "Succeeded")
    finally:
        kept = ("name", "labels", "annotations")
        policy["metadata"] = {k: v for k, v in policy["metadata"].items() if k in kept}
        policy.pop("status", None)
        stage.api.call("POST", path, policy)

    assert "ValidatingAdmissionPolicy 'taskpass-operator-secrets' is missing" in said
    assert issued["reason"] == "Pending"
    assert "taskpass-operator-secrets" in issued["message"]
    assert stage.gated(name)
    assert stage.reads(token) != 200
    assert stage.secret(held) is None
    stage.operator.wait_ready()
    stage.wait_ready(name)


def _not_ready(operator: OperatorProcess) -> str:
    status, said = operator.http("/readyz")
    return said if status == 503 else ""


def test_a_debt_holds_up_a_deletion_for_30_s_and_is_paid_in_the_end(
    stage: Stage, name: str
) -> None:
    stage.begin_ready(name)
    token = stage.token(name)
    role = stage.api.get("Role", TARGET, "taskpass-target")
    verbs = [{**r, "verbs": [v for v in r["verbs"] if v != "delete"]} for r in role["rules"]]
    stage.api.merge(role, {"rules": verbs})
    try:
        stage.alice.delete(task(name))
        told = stage.wait_event(name, "RevocationFailed")
        waiting = stage.wait_condition(name, "CredentialsIssued", "False", "Revoking")
        quick = f"{name}-quick"
        stage.begin_ready(quick)  # nobody else waits
        until(lambda: not stage.api.exists(task(name)), seconds=40)
        owed = stage.operator.metric("taskpass_pending_revocations")
        left = stage.bindings()
        stage.operator.kill()
        stage.operator.start()
        remembered = stage.operator.metric("taskpass_pending_revocations")
    finally:
        stage.api.merge(role, {"rules": role["rules"]})
    stage.operator.kill()
    stage.operator.start()
    until(lambda: stage.operator.metric("taskpass_pending_revocations") == 0)

    assert told["type"] == "Warning"
    assert told["note"].startswith("'tickets' could not be revoked yet, it is tried again")
    assert condition(waiting, "CredentialsIssued")["reason"] == "Revoking"
    assert (owed, remembered, len(left)) == (1, 1, 2)
    assert stage.reads(token) != 200  # its ServiceAccount went at once
    stage.assert_holds(**{quick.replace("-", "_"): 1})


def test_without_our_kinds_the_start_ends_in_one_clear_line(
    stage: Stage, furnish: Callable[[], Api]
) -> None:
    # Deleting a CRD waits for its objects, and tasks wait for the operator.
    stage.clear("")
    stage.operator.stop()
    before = len(stage.operator.log.read_text())
    ours = {f"{plural}.taskpass.dev" for plural in KINDS}
    try:
        for each in ours:
            stage.api.call("DELETE", f"{CRDS}/{each}")
        until(lambda: not ours & _crds(stage.api))
        stage.operator.start(ready=False)
        code = stage.operator.wait_end()
    finally:
        stage.operator.kill()
        furnish()

    said = stage.operator.log.read_text()[before:]
    assert code == 2
    assert said.splitlines()[-1].startswith("taskpass: Could not list our kinds")
    assert said.splitlines()[-1].endswith("Install the chart, which brings the CRDs")
    assert "Traceback" not in said


def _crds(api: Api) -> set[str]:
    return {str(i["metadata"]["name"]) for i in api.call("GET", CRDS)["items"]}
