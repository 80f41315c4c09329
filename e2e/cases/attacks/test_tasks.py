"""A tenant's ways to be somebody else, to decide for itself, or to look as if all were well."""

from collections.abc import Iterator

import pytest

from e2e.admission import GROUP, TENANT, binding, collector, secret, task, wait_for
from e2e.impersonate import JSON_PATCH, Api, Object, Refused, path_of, thing

ROOT_USER = {"username": "root", "uid": "0", "groups": ["system:masters"]}
FORGED = {"requester": ROOT_USER, "changedBy": ROOT_USER}
TASKS = path_of("AgentTask", TENANT)


@pytest.fixture
def bob(api: Api) -> Iterator[Api]:
    """Return somebody with the role `edit` in the tenant's namespace, and no right on a class."""
    given = binding("RoleBinding", TENANT, "bob", "ClusterRole/edit", "User/bob")
    api.apply(given)
    bob = api.as_user("bob")
    path = path_of("ConfigMap", TENANT)
    wait_for(lambda: not _refused(bob, path), 10)
    yield bob
    api.delete(given)


def _refused(who: Api, path: str) -> bool:
    try:
        who.call("GET", path)
    except Refused:
        return True
    return False


# Whose it is


def claimed(name: str) -> Object:
    """Return a task whose metadata claims that the operator wrote the stamps."""
    body = task(name, **FORGED)
    fields = {"f:spec": {"f:requester": {}, "f:changedBy": {}}}
    body["metadata"] |= {
        "uid": "00000000-0000-4000-8000-000000000000",
        "creationTimestamp": "2020-01-01T00:00:00Z",
        "generation": 7,
        "managedFields": [
            {
                "manager": "taskpass",
                "operation": "Apply",
                "apiVersion": GROUP,
                "fieldsType": "FieldsV1",
                "fieldsV1": fields,
            }
        ],
    }
    return body


def test_what_metadata_claims_is_not_believed(alice: Api, name: str) -> None:
    made = alice.create(claimed(name))

    assert made["spec"]["requester"]["username"] == "alice"
    assert made["spec"]["changedBy"]["username"] == "alice"
    assert made["metadata"]["uid"] != claimed(name)["metadata"]["uid"]
    assert made["metadata"]["creationTimestamp"] > "2020-01-01T00:00:00Z"
    assert made["metadata"]["generation"] == 1


@pytest.mark.parametrize("manager", ["test", "taskpass", "kopf"])
def test_the_name_of_a_field_manager_makes_nobody_the_requester(
    alice: Api, name: str, manager: str
) -> None:
    made = alice.apply(task(name, **FORGED), fieldManager=manager)
    again = alice.apply(task(name, sponsor="s", **FORGED), fieldManager=manager)

    for each in (made, again):
        assert each["spec"]["requester"]["username"] == "alice"
        assert each["spec"]["changedBy"]["username"] == "alice"


@pytest.mark.parametrize(
    "how", ["a replacement", "a merge patch", "a JSON patch", "an apply", "a dry run"]
)
def test_no_kind_of_write_forges_who_asked(api: Api, alice: Api, name: str, how: str) -> None:
    made = alice.create(task(name))
    step = {"op": "replace", "path": "/spec/requester", "value": ROOT_USER}
    match how:
        case "a replacement":
            after = api.replace({**made, "spec": {**made["spec"], **FORGED}})
        case "a merge patch":
            after = api.merge(made, {"spec": FORGED})
        case "a JSON patch":
            after = api.call("PATCH", f"{TASKS}/{name}", [step], content=JSON_PATCH)
        case "an apply":
            applied = thing(GROUP, "AgentTask", TENANT, name, spec=FORGED)
            after = api.apply(applied, fieldManager="taskpass")
        case _:
            after = api.merge(made, {"spec": FORGED}, dryRun="All")

    assert after["spec"]["requester"] == made["spec"]["requester"]
    assert after["spec"]["changedBy"] == made["spec"]["changedBy"]


def test_a_status_that_is_applied_is_refused(alice: Api, api: Api, name: str) -> None:
    alice.create(task(name))
    body = thing(GROUP, "AgentTask", TENANT, name, status={"phaseName": "last"})

    for anybody in (alice, api):
        with pytest.raises(Refused, match=r"status must be left to taskpass|cannot patch resource"):
            anybody.call(
                "PATCH",
                f"{TASKS}/{name}/status",
                body,
                content="application/apply-patch+yaml",
                fieldManager="taskpass",
                force="true",
            )


# Who decides


@pytest.mark.parametrize("verb", ["create", "delete"])
def test_who_may_edit_writes_no_policy(api: Api, bob: Api, verb: str) -> None:
    allow = thing(GROUP, "AgentPolicy", TENANT, "own", spec={"effect": "Deny"})

    with pytest.raises(Refused, match=f'cannot {verb} resource "agentpolicies"'):
        (bob.create if verb == "create" else bob.delete)(allow)


@pytest.mark.parametrize("kind", ["ClusterAgentPolicy", "CredentialClass"])
def test_a_namespaces_administrator_writes_nothing_of_the_cluster(alice: Api, kind: str) -> None:
    with pytest.raises(Refused, match="at the cluster scope"):
        alice.create(thing(GROUP, kind, "", "own", spec={}))


def test_who_may_edit_makes_no_task_of_a_class_that_they_may_not_use(bob: Api, name: str) -> None:
    with pytest.raises(Refused, match="user 'bob' is not allowed to use 'tickets'"):
        bob.create(task(name))


def test_an_editor_who_widens_somebodys_request_answers_for_it(
    alice: Api, bob: Api, name: str
) -> None:
    """Its class is the same, so `use` is not asked here: the operator asks it for the changer."""
    made = alice.create(task(name))
    wider = [{**made["spec"]["credentials"][0], "actions": ["read", "write"]}]

    after = bob.merge(made, {"spec": {"credentials": wider}})

    assert after["spec"]["requester"]["username"] == "alice"
    assert after["spec"]["changedBy"]["username"] == "bob"


# What is said


def test_events_are_anybodys_words_and_status_is_not(bob: Api, alice: Api, name: str) -> None:
    """Not defended: whoever may edit posts Events in any name. `status.trail` cannot be forged."""
    alice.create(task(name))
    regarding = {"apiVersion": GROUP, "kind": "AgentTask", "namespace": TENANT, "name": name}
    event = {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": TENANT},
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "reportingController": "taskpass.dev/operator",
        "reportingInstance": "x",
        "action": "Revoke",
        "reason": "CredentialRevoked",
        "type": "Normal",
        "note": "Revoked (audit 7)",
        "regarding": regarding,
    }

    posted = bob.call("POST", f"/apis/events.k8s.io/v1/namespaces/{TENANT}/events", event)

    assert posted["note"] == "Revoked (audit 7)"
    with pytest.raises(Refused):
        bob.merge(task(name), {"status": {"trail": []}}, "/status")


def test_who_may_edit_reads_a_tasks_secret(bob: Api, alice: Api, taskpass: Api, name: str) -> None:
    """Not defended: `get` on Secrets is RBAC's, and Kubernetes' role `edit` has it."""
    taskpass.create(secret(f"taskpass-{name}", owner=alice.create(task(name))))

    assert "tickets.token" in bob.get("Secret", TENANT, f"taskpass-{name}")["data"]


# What is taken away


def test_a_tenant_may_take_the_finalizer_off(alice: Api, api: Api, name: str) -> None:
    """It delays nothing but the deletion: what is held stands in the ledger, not in the task."""
    made = alice.create(task(name))

    alice.merge(made, {"metadata": {"finalizers": None}})
    alice.delete(made)

    assert not api.exists(made)


def test_a_secret_whose_owner_was_taken_off_is_deleted_all_the_same(
    alice: Api, api: Api, taskpass: Api, name: str
) -> None:
    owner = alice.create(task(name))
    made = taskpass.create(secret(f"taskpass-{name}", owner=owner))
    collector(api).merge(made, {"metadata": {"ownerReferences": None}})

    with pytest.raises(Refused, match="the one that is there belongs to another"):
        taskpass.replace(secret(f"taskpass-{name}", owner=owner))
    taskpass.delete(made)

    assert not api.exists(made)
