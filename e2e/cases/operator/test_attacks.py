"""Attacks on tasks that hold something, with the operator running, or away: nothing is left over.

What admission refuses without any operator is in `e2e/cases/admission` and `e2e/cases/attacks`.
"""

import contextlib
import subprocess
import sys
from uuid import uuid4

import pytest

from e2e.admission import GRANTS, ROLE, ROOT, SYSTEM, TARGET, TENANT, binding, collector, pod, task
from e2e.as_operator import without
from e2e.cases.operator.conftest import NOTES
from e2e.impersonate import Api, Object, Refused, path_of, thing
from e2e.stage import Stage, condition, job, request, until

NO_FINALIZER = {"metadata": {"finalizers": None}}


def holds_nothing(stage: Stage, token: str) -> bool:
    """Tell whether nothing of a grant is left in any namespace, and its token opens nothing."""
    left = [stage.accounts(), stage.bindings(), stage.secrets()]
    return not any(left) and stage.reads(token) != 200


def timeline(stage: Stage, name: str) -> str:
    """Return what the log says of a task."""
    ledger = ["--db", str(stage.operator.ledger)]
    command = [sys.executable, "-m", "taskpass", "audit", "timeline", *ledger, f"{TENANT}/{name}"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT / "operator")
    assert done.returncode == 0, done.stderr
    return done.stdout


# The task taken away


def test_a_task_without_its_finalizer_is_gone_at_once_and_so_is_what_it_held(
    stage: Stage, name: str
) -> None:
    stage.begin_ready(name)
    token = stage.token(name)

    stage.alice.merge(task(name), NO_FINALIZER)
    stage.alice.delete(task(name))

    until(lambda: holds_nothing(stage, token))
    assert not stage.api.exists(task(name))
    until(lambda: stage.operator.metric("taskpass_grants_held") == 0)
    # Nobody is left to be told by an Event; the log has it.
    assert {"CredentialRevoked", "TaskFinished"}.isdisjoint(e["reason"] for e in stage.events(name))
    assert "revoke   success" in timeline(stage, name)


def test_a_finalizer_that_was_taken_off_is_not_put_back(stage: Stage, name: str) -> None:
    """It is the tenant's to take: what is held stands in the ledger, and the end is seen anyway."""
    stage.begin_ready(name)

    stage.alice.merge(task(name), NO_FINALIZER)
    stage.change(name, {"sponsor": "look-again"})
    stage.wait_ready(name)

    assert "finalizers" not in stage.task(name)["metadata"]
    token = stage.token(name)
    stage.end(name)
    stage.wait_finished(name, "Succeeded")
    assert stage.reads(token) != 200


def test_a_task_that_goes_without_its_finalizer_while_nobody_looks_leaves_nothing(
    stage: Stage, name: str
) -> None:
    stage.begin_ready(name)
    token = stage.token(name)
    stage.operator.kill()

    stage.alice.merge(task(name), NO_FINALIZER)
    stage.alice.delete(task(name))
    assert not stage.api.exists(task(name))
    assert stage.reads(token) == 200  # nobody is there to revoke it
    stage.operator.start()

    until(lambda: holds_nothing(stage, token))


def test_a_task_made_anew_while_nobody_looks_inherits_nothing(stage: Stage, name: str) -> None:
    stage.begin_ready(name)
    token = stage.token(name)
    stage.operator.kill()

    stage.alice.merge(task(name), NO_FINALIZER)
    stage.alice.delete(task(name))
    stage.alice.create(task(name))
    stage.operator.start()
    status = stage.wait_condition(name, "Attested", "False", "PodReplaced")

    assert status["grants"] == []
    until(lambda: holds_nothing(stage, token))


@pytest.mark.parametrize("how", ["Background", "Foreground", "Orphan"])
def test_however_a_task_is_deleted_nothing_is_left(stage: Stage, name: str, how: str) -> None:
    stage.begin_ready(name)
    token = stage.token(name)

    stage.alice.delete(task(name), propagationPolicy=how)
    stage.wait_gone(task(name))

    until(lambda: holds_nothing(stage, token))


def test_a_task_that_is_deleted_and_made_anew_in_a_loop_never_gets_its_old_pod(
    stage: Stage, name: str
) -> None:
    stage.begin_ready(name)
    token = stage.token(name)

    for _ in range(10):
        stage.alice.delete(task(name))
        until(lambda: _made(stage.alice, name))
    status = stage.wait_condition(name, "Attested", "False", "PodReplaced")

    assert status["grants"] == []
    assert holds_nothing(stage, token)


def _made(alice: Api, name: str) -> bool:
    try:
        alice.create(task(name))
    except Refused as refused:
        if refused.status != 409:  # the one before waits for its revocation
            raise
        return False
    return True


def test_a_loop_of_tasks_with_new_pods_holds_one_credential_at_a_time(
    stage: Stage, name: str
) -> None:
    tokens = []
    for _ in range(5):
        stage.begin_ready(name)
        tokens.append(stage.token(name))
        stage.alice.delete(task(name))
        stage.alice.delete(pod(name), gracePeriodSeconds="0")
        stage.wait_gone(task(name))
        stage.wait_gone(pod(name))

    assert len(set(tokens)) == 5
    assert [stage.reads(token) for token in tokens].count(200) == 0
    stage.assert_holds()


# What it holds, touched


def test_a_secret_whose_owner_was_taken_off_goes_with_the_task(stage: Stage, name: str) -> None:
    stage.begin_ready(name)
    token = stage.token(name)
    secret = thing("v1", "Secret", TENANT, f"taskpass-{name}")

    collector(stage.api).merge(secret, {"metadata": {"ownerReferences": None}})
    stage.alice.delete(task(name))
    stage.wait_gone(task(name))

    until(lambda: holds_nothing(stage, token))


def test_a_secret_that_cannot_be_replaced_stalls_the_task_and_goes_at_its_end(
    stage: Stage, name: str
) -> None:
    stage.begin_ready(name)
    secret = thing("v1", "Secret", TENANT, f"taskpass-{name}")

    collector(stage.api).merge(secret, {"metadata": {"ownerReferences": None}})
    stage.change(name, {"credentials": [request(), request("more", "notes")]})
    status = stage.wait_condition(name, "Stalled", "True", "SecretNameTaken")
    token = stage.token(name)
    stage.end(name)
    stage.wait_finished(name, "Succeeded")

    assert f"taskpass-{name}" in condition(status, "Stalled")["message"]
    until(lambda: holds_nothing(stage, token))


def test_a_secret_that_is_deleted_past_admission_is_missed_by_nobody_at_the_end(
    stage: Stage, name: str
) -> None:
    stage.begin_ready(name)
    token = stage.token(name)

    collector(stage.api).delete(thing("v1", "Secret", TENANT, f"taskpass-{name}"))
    stage.end(name)
    stage.wait_finished(name, "Succeeded")

    until(lambda: holds_nothing(stage, token))


def test_a_binding_that_a_target_takes_away_is_missed_by_nobody_at_the_end(
    stage: Stage, name: str
) -> None:
    stage.begin_ready(name)
    token = stage.token(name)
    [taken] = stage.bindings()

    stage.api.delete(thing("rbac.authorization.k8s.io/v1", "RoleBinding", TARGET, taken))
    until(lambda: stage.reads(token) == 403)
    stage.end(name)
    stage.wait_finished(name, "Succeeded")

    until(lambda: holds_nothing(stage, token))


def test_what_looks_like_a_grant_and_is_none_is_taken_away(stage: Stage) -> None:
    """As a lost ledger, or somebody with the operator's token, would leave it."""
    grant = f"g-{uuid4().hex}"
    labels = {"taskpass.dev/grant": grant}
    operator = stage.api.as_service_account(SYSTEM, "taskpass")
    operator.create(thing("v1", "ServiceAccount", GRANTS, grant, labels=labels))
    bound = binding(
        "RoleBinding",
        TARGET,
        f"taskpass-{grant}-0",
        f"ClusterRole/{ROLE}",
        f"ServiceAccount/{GRANTS}/{grant}",
    )
    bound["metadata"]["labels"] = labels
    operator.create(bound)
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    path = f"/api/v1/namespaces/{GRANTS}/serviceaccounts/{grant}/token"
    token = operator.call("POST", path, body)["status"]["token"]
    stage.tokens.add(token)

    until(lambda: holds_nothing(stage, token), seconds=30)


def test_a_role_that_is_bound_once_more_to_a_live_grant_is_taken_away(
    stage: Stage, name: str
) -> None:
    """As somebody with the operator's token would widen what another task holds."""
    stage.begin_ready(name)
    token = stage.token(name)
    [grant] = stage.accounts()
    operator = stage.api.as_service_account(SYSTEM, "taskpass")
    more = binding(
        "RoleBinding", TARGET, f"taskpass-{grant}-7", f"Role/{NOTES}",
        f"ServiceAccount/{GRANTS}/{grant}",
    )  # fmt: skip
    more["metadata"]["labels"] = {"taskpass.dev/grant": grant}

    operator.create(more)

    stage.wait_gone(more)
    assert stage.bindings() == {f"taskpass-{grant}-0"}
    assert stage.reads(token) == 200


# The agent's pod


def test_an_evicted_pod_loses_what_it_held(stage: Stage, name: str) -> None:
    stage.begin_ready(name)
    token = stage.token(name)
    body = thing("policy/v1", "Eviction", TENANT, name)

    stage.alice.call("POST", f"{path_of('Pod', TENANT)}/{name}/eviction", body)
    stage.wait_finished(name, "Failed")

    until(lambda: holds_nothing(stage, token))


def test_an_image_that_was_patched_past_admission_takes_the_credential_back(
    stage: Stage, name: str
) -> None:
    stage.begin_ready(name)
    token = stage.token(name)
    step = {"op": "replace", "path": "/spec/containers/0/image", "value": "localhost/evil:1"}

    with without(stage.api, "validatingadmissionpolicybindings", "taskpass-pods"):
        until(lambda: _patched(stage, name, step))
        status = stage.wait_condition(name, "Attested", "False", "ImageNotAllowed")
        until(lambda: holds_nothing(stage, token))

    assert "are no longer those that were attested" in condition(status, "Attested")["message"]
    assert stage.wait_event(name, "AttestationFailed")["type"] == "Warning"
    stage.operator.wait_ready()


def _patched(stage: Stage, name: str, step: Object) -> bool:
    try:
        stage.api.patch(pod(name), [step])
    except Refused as refused:
        if "taskpass-pods" not in refused.message:
            raise
        return False  # the policy counts for a moment longer
    return True


def test_a_pod_that_runs_as_somebody_else_gets_nothing(stage: Stage, name: str) -> None:
    other = f"other-{name}"
    stage.api.create(thing("v1", "ServiceAccount", TENANT, other))
    stage.alice.create(task(name))

    stage.alice.create(pod(name, spec={"serviceAccountName": other}))
    status = stage.wait_condition(name, "Attested", "False", "ServiceAccountMismatch")
    told = stage.wait_event(name, "AttestationFailed", kind="Pod")

    said = f"Pod '{name}' runs as ServiceAccount '{other}'; it must run as 'triage-agent'"
    assert condition(status, "Attested")["message"].startswith(said)
    assert told["note"].startswith(said)
    assert stage.gated(name)
    stage.assert_holds(**{name.replace("-", "_"): 0})
    stage.api.delete(thing("v1", "ServiceAccount", TENANT, other))


def test_a_pod_of_another_job_is_not_the_tasks(stage: Stage, name: str) -> None:
    """Made by the right controller, for a live Job: only not for the one that the task names."""
    reference = {"apiGroup": "batch", "kind": "Job", "name": f"{name}-real"}
    agent = {"serviceAccountName": "triage-agent", "workloadRef": reference}
    real = job(f"{name}-real", task_name=name, suspend=True)
    stage.alice.create(real)
    stage.alice.create(task(name, agent=agent))

    stage.alice.create(job(f"{name}-other", task_name=name))
    status = stage.wait_condition(name, "Attested", "False", "WorkloadMismatch")

    said = condition(status, "Attested")["message"]
    assert f"does not belong to Job '{name}-real'" in said
    stage.assert_holds(**{name.replace("-", "_"): 0})


def test_a_pod_whose_owners_kind_is_not_served_keeps_no_other_from_being_attested(
    stage: Stage, name: str
) -> None:
    reference = {"apiGroup": "batch", "kind": "Job", "name": name}
    agent = {"serviceAccountName": "triage-agent", "workloadRef": reference}
    bogus = pod(name)
    bogus["metadata"]["name"] = f"{name}-bogus"
    bogus["metadata"]["ownerReferences"] = [
        {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "nowhere",
         "uid": "0b8e4f6a-3f0a-4d52-9a53-6f6f2b0c9f11", "controller": True}
    ]  # fmt: skip
    stage.alice.create(task(name, agent=agent))
    stage.alice.create(job(name, suspend=True))
    stage.alice.create(bogus)
    status = stage.wait_condition(name, "Attested", "Unknown", "CheckFailed")

    stage.api.merge(job(name), {"spec": {"suspend": False}})
    ready = stage.wait_ready(name)

    said = condition(status, "Attested")["message"]
    assert said.startswith(f"Whose pod '{name}-bogus' is could not be found out: ")
    assert ready["podRef"]["name"] != f"{name}-bogus"
    assert stage.gated(f"{name}-bogus")


def test_of_a_deployments_pods_with_one_label_one_is_the_agent(stage: Stage, name: str) -> None:
    template = pod(name, labels={"app": name})
    spec = {
        "replicas": 2,
        "selector": {"matchLabels": {"app": name}},
        "template": {
            "metadata": {"labels": template["metadata"]["labels"]},
            "spec": template["spec"],
        },
    }
    path = f"/apis/apps/v1/namespaces/{TENANT}/deployments"
    stage.alice.create(task(name))

    stage.alice.call("POST", path, thing("apps/v1", "Deployment", TENANT, name, spec=spec))
    try:
        stage.wait_ready(name)
        until(lambda: len(stage.pods_of(name)) == 2)
        chosen = stage.task(name)["status"]["podRef"]["name"]
        [second] = [n for p in stage.pods_of(name) if (n := p["metadata"]["name"]) != chosen]
        stage.wait_event(second, "PodWaits")
        waits = stage.gated(second)
        stage.token(name)
        stage.assert_holds(**{name.replace("-", "_"): 1})
    finally:
        stage.alice.call("DELETE", f"{path}/{name}", propagationPolicy="Foreground")
        with contextlib.suppress(AssertionError):
            until(lambda: not stage.pods_of(name))

    assert waits


# Somebody who may edit, and may not use the class


def test_an_editor_who_widens_somebodys_request_ends_what_it_held(stage: Stage, name: str) -> None:
    given = binding("RoleBinding", TENANT, "bob", "ClusterRole/edit", "User/bob")
    stage.api.apply(given)
    bob = stage.api.as_user("bob")
    stage.begin_ready(name)
    token = stage.token(name)
    wider = {"spec": {"credentials": [request(expirationSeconds=3600)]}}
    try:
        until(lambda: _merged(bob, name, wider))
        status = stage.wait_condition(name, "Authorized", "False", "Denied")
    finally:
        stage.api.delete(given)

    said = condition(status, "Authorized")["message"]
    assert "User 'bob', who last changed the task, may not use CredentialClass 'tickets'" in said
    assert status["grants"] == []
    until(lambda: holds_nothing(stage, token))


def _merged(who: Api, name: str, patch: Object) -> bool:
    try:
        who.merge(task(name), patch)
    except Refused as refused:
        if "cannot patch resource" not in refused.message:
            raise
        return False  # a new RoleBinding takes a moment
    return True
