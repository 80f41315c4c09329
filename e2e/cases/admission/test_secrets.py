"""Secrets of tasks: nobody reads or writes them by another way, and the operator reads none."""

from uuid import uuid4

import pytest

from e2e.admission import (
    SYSTEM,
    TENANT,
    collector,
    container,
    pod,
    remove,
    secret,
    task,
    wait_for,
)
from e2e.as_operator import RBAC_TENANT, taken_away
from e2e.impersonate import Api, Object, Refused, path_of, thing

STOLEN = "taskpass-another"
REF = {"name": STOLEN}

# References from pods: every way that the API server's VisitPodSecretNames knows.

VOLUMES = {
    "secret": {"secretName": STOLEN},
    "projected": {"sources": [{"secret": {"name": STOLEN}}]},
    "csi": {"driver": "secrets.example.com", "nodePublishSecretRef": REF},
    "azureFile": {"secretName": STOLEN, "shareName": "s"},
    "cephfs": {"monitors": ["m"], "secretRef": REF},
    "cinder": {"volumeID": "v", "secretRef": REF},
    "flexVolume": {"driver": "example.com/d", "secretRef": REF},
    "iscsi": {
        "targetPortal": "10.0.0.1",
        "iqn": "iqn.2001-04.com.example:s",
        "lun": 0,
        "secretRef": REF,
    },
    "rbd": {"monitors": ["m"], "image": "i", "secretRef": REF},
    "scaleIO": {"gateway": "https://g", "system": "s", "volumeName": "v", "secretRef": REF},
    "storageos": {"volumeName": "v", "volumeNamespace": "n", "secretRef": REF},
}
FROM_ENV = {
    "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": STOLEN, "key": "tickets.token"}}}]
}
FROM_ALL = {"envFrom": [{"secretRef": REF}]}
REFERENCES: dict[str, Object] = {
    **{f"a volume of kind {k}": {"volumes": [{"name": "v", k: v}]} for k, v in VOLUMES.items()},
    "env": {"containers": [container("agent", **FROM_ENV)]},
    "envFrom": {"containers": [container("agent", **FROM_ALL)]},
    "env of an init container": {"initContainers": [container("first", **FROM_ENV)]},
    "envFrom of an init container": {"initContainers": [container("first", **FROM_ALL)]},
    "imagePullSecrets": {"imagePullSecrets": [REF]},
}


@pytest.mark.parametrize("labelled", [True, False], ids=["with the label", "without"])
@pytest.mark.parametrize("spec", REFERENCES.values(), ids=REFERENCES)
def test_no_pod_refers_to_another_tasks_secret(
    api: Api, name: str, spec: Object, labelled: bool
) -> None:
    with pytest.raises(Refused, match=f"must not refer to the Secret '{STOLEN}'"):
        api.create(pod(name, labelled=labelled, spec=spec))


def test_a_pod_does_not_refer_to_its_own_tasks_secret_by_another_volume(
    alice: Api, name: str
) -> None:
    again = {"name": "again", "projected": {"sources": [{"secret": {"name": f"taskpass-{name}"}}]}}

    with pytest.raises(Refused, match="must not refer to the Secret"):
        alice.create(pod(name, spec={"volumes": [again]}))


def test_a_volume_under_our_name_does_not_help_without_the_label(alice: Api, name: str) -> None:
    ours = {"name": "taskpass", "projected": {"sources": [{"secret": {"name": STOLEN}}]}}

    with pytest.raises(Refused, match="must not refer to the Secret"):
        alice.create(pod(name, labelled=False, spec={"volumes": [ours]}))


def test_a_service_accounts_pull_secrets_count_as_the_pods(api: Api, alice: Api, name: str) -> None:
    account = thing("v1", "ServiceAccount", TENANT, name, imagePullSecrets=[REF])
    api.create(account)

    try:
        with pytest.raises(Refused, match="must not refer to the Secret"):
            alice.create(pod(name, labelled=False, spec={"serviceAccountName": name}))
    finally:
        api.delete(account)


@pytest.mark.parametrize("source", [FROM_ENV, FROM_ALL], ids=["env", "envFrom"])
def test_a_debug_container_does_not_refer_to_it(
    api: Api, alice: Api, name: str, source: Object
) -> None:
    made = alice.create(pod(name, labelled=False))
    step = {
        "op": "add",
        "path": "/spec/ephemeralContainers",
        "value": [container("debug", **source)],
    }

    with pytest.raises(Refused, match="must not refer to the Secret"):
        api.patch(made, [step], "/ephemeralcontainers")


def test_other_secrets_and_debug_containers_are_nobodys_business(
    api: Api, alice: Api, name: str
) -> None:
    volume = {"name": "v", "secret": {"secretName": "mine"}}
    made = alice.create(
        pod(
            name, labelled=False, spec={"volumes": [volume], "imagePullSecrets": [{"name": "pull"}]}
        )
    )
    step = {"op": "add", "path": "/spec/ephemeralContainers", "value": [container("debug")]}

    after = api.patch(made, [step], "/ephemeralcontainers")

    assert after["spec"]["ephemeralContainers"][0]["name"] == "debug"


# Everybody else


@pytest.mark.parametrize("kind", ["taskpass.dev/credentials", "Opaque"])
def test_nobody_makes_a_secret_in_a_tasks_name(api: Api, alice: Api, name: str, kind: str) -> None:
    for anybody in (alice, api):
        with pytest.raises(Refused, match="taskpass-credentials"):
            anybody.create(secret(f"taskpass-{name}", type=kind))


def test_nobody_makes_a_secret_of_our_type_under_another_name(alice: Api, name: str) -> None:
    with pytest.raises(Refused, match="must be made by taskpass"):
        alice.create(secret(name))


def test_a_generated_name_is_no_way_around(alice: Api) -> None:
    body = secret("")
    body["metadata"] = {"generateName": "taskpass-", "namespace": TENANT}

    with pytest.raises(Refused, match=r"must be made by taskpass|must not begin with 'taskpass-'"):
        alice.create(body | {"type": "Opaque"})


@pytest.mark.parametrize(
    "patch",
    [
        pytest.param({"stringData": {"tickets.token": "mine"}}, id="other data"),
        pytest.param({"data": None}, id="no data"),
        pytest.param({"immutable": True}, id="immutable, so that nobody can replace it"),
        pytest.param({"metadata": {"labels": {"a": "b"}}}, id="a label"),
        pytest.param(
            {"metadata": {"finalizers": ["example.com/keep"]}}, id="a finalizer that keeps it"
        ),
        pytest.param(
            {
                "metadata": {
                    "ownerReferences": [
                        {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u"}
                    ]
                }
            },
            id="another owner",
        ),
    ],
)
def test_nobody_changes_a_tasks_secret(
    api: Api, alice: Api, taskpass: Api, name: str, patch: Object
) -> None:
    made = taskpass.create(secret(f"taskpass-{name}", owner=alice.create(task(name))))

    for anybody in (alice, api):
        with pytest.raises(Refused, match="taskpass-credentials"):
            anybody.merge(made, patch)


@pytest.mark.parametrize("dry", [{}, {"dryRun": "All"}], ids=["really", "as a dry run"])
def test_nobody_deletes_a_tasks_secret_and_is_told_what_takes_a_credential_back(
    api: Api, alice: Api, taskpass: Api, name: str, dry: dict[str, str]
) -> None:
    made = taskpass.create(secret(f"taskpass-{name}", owner=alice.create(task(name))))

    for anybody in (alice, api):
        for how in ("Background", "Foreground", "Orphan"):
            with pytest.raises(Refused, match="taskpass-secret-deletion") as refused:
                anybody.delete(made, propagationPolicy=how, **dry)
            assert f"delete the AgentTask '{name}', or set its" in refused.value.message
            assert "or stop it with a KillSwitch" in refused.value.message
    assert api.exists(made)


def test_nobody_deletes_it_with_all_others_and_the_others_go(
    api: Api, alice: Api, taskpass: Api, name: str
) -> None:
    made = taskpass.create(secret(f"taskpass-{name}", owner=alice.create(task(name))))
    others = [secret(f"{name}-{n}", type="Opaque", labels={"of": name}) for n in range(3)]
    for each in others:
        alice.create(each)
    path = path_of("Secret", TENANT)

    with pytest.raises(Refused, match="taskpass-secret-deletion"):
        alice.call("DELETE", path, fieldSelector=f"metadata.name%3Dtaskpass-{name}")
    alice.call("DELETE", path, labelSelector=f"of%3D{name}")

    assert api.exists(made)
    assert not any(api.exists(each) for each in others)


def test_where_the_operator_may_not_delete_it_who_may_is_rbacs(
    api: Api, alice: Api, taskpass: Api, name: str
) -> None:
    """A namespace that was forgotten is not left with Secrets that nobody can delete."""
    made = taskpass.create(secret(f"taskpass-{name}", owner=alice.create(task(name))))

    with taken_away(api, api, RBAC_TENANT):
        gone = wait_for(lambda: _deleted(alice, made), 20)

    wait_for(lambda: _may_write(taskpass), 20)
    assert gone


def _deleted(who: Api, made: Object) -> bool:
    try:
        who.delete(made)
    except Refused as refused:
        if "taskpass-secret-deletion" not in refused.message:
            raise
        return False  # what RBAC says takes a moment
    return True


def _may_write(taskpass: Api) -> bool:
    try:
        taskpass.create(secret("not-ours"), dryRun="All")
    except Refused as refused:
        return "cannot create resource" not in refused.message
    return True


def test_nobody_but_the_garbage_collector_takes_its_owner_off(
    api: Api, alice: Api, taskpass: Api, name: str
) -> None:
    """Without its owner it would stay where the task goes without its finalizer."""
    made = taskpass.create(secret(f"taskpass-{name}", owner=alice.create(task(name))))
    nobodys = {"metadata": {"ownerReferences": None}}
    half = {"metadata": {"ownerReferences": [
        {**made["metadata"]["ownerReferences"][0], "controller": False},
    ]}}  # fmt: skip

    for anybody in (alice, api):
        for patch in (nobodys, half):
            with pytest.raises(Refused, match=r"owners of a Secret .* must not be changed"):
                anybody.merge(made, patch)

    assert "ownerReferences" not in collector(api).merge(made, nobodys)["metadata"]


def test_other_secrets_are_nobodys_business_but_their_owners(alice: Api, name: str) -> None:
    alice.create(secret(name, type="Opaque"))

    after = alice.merge(
        secret(name), {"stringData": {"a": "b"}, "metadata": {"labels": {"a": "b"}}}
    )

    assert set(after["data"]) == {"a", "tickets.token"}


# The operator


def test_the_operator_writes_replaces_and_deletes_a_tasks_secret(
    alice: Api, taskpass: Api, name: str
) -> None:
    body = secret(f"taskpass-{name}", owner=alice.create(task(name)))

    made = taskpass.create(body)
    again = taskpass.replace(body)
    gone = taskpass.delete(made)

    assert again["metadata"]["uid"] == made["metadata"]["uid"]
    assert gone["status"] == "Success"


def test_a_put_onto_a_foreign_secret_is_refused(alice: Api, taskpass: Api, name: str) -> None:
    made = alice.create(task(name))
    taskpass.create(secret(f"taskpass-{name}", owner=made))
    successor = {"metadata": {"name": name, "uid": str(uuid4())}}

    with pytest.raises(
        Refused, match="must replace a Secret of the same AgentTask only"
    ) as refused:
        taskpass.replace(secret(f"taskpass-{name}", owner=successor))

    assert refused.value.status == 403


@pytest.mark.parametrize("dry", [{}, {"dryRun": "All"}], ids=["really", "as a dry run"])
class TestOperatorIsHeldToItsOwnKindOfSecret:
    def test_it_deletes_no_other(
        self, api: Api, taskpass: Api, name: str, dry: dict[str, str]
    ) -> None:
        api.create(secret(name, type="Opaque"))

        with pytest.raises(Refused, match="must write Secrets of type") as refused:
            taskpass.delete(secret(name), **dry)

        assert "tickets.token" not in refused.value.message

    def test_it_replaces_no_other(
        self, api: Api, taskpass: Api, name: str, dry: dict[str, str]
    ) -> None:
        api.create(secret(name, type="Opaque"))

        with pytest.raises(Refused, match="must write Secrets of type"):
            taskpass.replace(secret(name, type="Opaque"), **dry)

    @pytest.mark.parametrize("kind", ["Opaque", "kubernetes.io/service-account-token"])
    def test_it_makes_none_of_another_type(
        self, taskpass: Api, name: str, kind: str, dry: dict[str, str]
    ) -> None:
        body = secret(
            f"taskpass-{name}",
            type=kind,
            annotations={"kubernetes.io/service-account.name": "default"},
        )

        with pytest.raises(Refused, match="must write Secrets of type"):
            taskpass.create(body, **dry)

    def test_it_makes_none_under_another_name(
        self, alice: Api, taskpass: Api, name: str, dry: dict[str, str]
    ) -> None:
        with pytest.raises(Refused, match="must write Secrets of type"):
            taskpass.create(secret(name, owner=alice.create(task(name))), **dry)

    def test_it_makes_none_without_its_task_as_owner(
        self, taskpass: Api, name: str, dry: dict[str, str]
    ) -> None:
        with pytest.raises(Refused, match="with the AgentTask NAME as its one owner"):
            taskpass.create(secret(f"taskpass-{name}"), **dry)


@pytest.mark.parametrize("verb", ["get", "list", "watch"])
def test_the_operator_reads_no_secrets(taskpass: Api, verb: str) -> None:
    path = f"/api/v1/namespaces/{TENANT}/secrets" + ("/taskpass-any" if verb == "get" else "")
    query = {"watch": "true"} if verb == "watch" else {}

    with pytest.raises(Refused, match=r"cannot (get|list|watch) resource"):
        taskpass.call("GET", path, **query)


def test_the_operator_makes_its_signing_key_once(api: Api, taskpass: Api) -> None:
    key = secret("taskpass-signing-key", namespace=SYSTEM, type="taskpass.dev/signing-key")
    remove(api, key)
    taskpass.create(key)

    try:
        assert (
            taskpass.get("Secret", SYSTEM, "taskpass-signing-key")["type"]
            == "taskpass.dev/signing-key"
        )
        with pytest.raises(Refused, match="already exists"):
            taskpass.create(key)
        for forbidden in (taskpass.replace, taskpass.delete):
            with pytest.raises(Refused, match=r"cannot (update|delete) resource"):
                forbidden(key)
    finally:
        api.delete(key)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("other", "taskpass.dev/signing-key"),
        ("taskpass-signing-key", "Opaque"),
        ("taskpass-signing-key-2", "taskpass.dev/signing-key"),
        ("taskpass-x", "taskpass.dev/credentials"),
    ],
)
def test_the_operator_makes_nothing_else_at_home(taskpass: Api, name: str, kind: str) -> None:
    with pytest.raises(Refused, match="in its own namespace only create its signing key"):
        taskpass.create(secret(name, namespace=SYSTEM, type=kind))
