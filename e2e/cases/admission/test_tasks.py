"""Tasks: whose they are, who may ask for what, and who may say how they are."""

from collections.abc import Iterator

import pytest

from e2e.admission import GROUP, TARGET, TENANT, remove, task
from e2e.impersonate import Api, Object, Refused, thing
from e2e.stage import credential_class

ALICE = {"username": "alice", "uid": "", "groups": ["team-a", "system:authenticated"]}
ADMIN = "admin"
FINALIZER = "taskpass.dev/revoke"
PHASES = [
    {"name": "research", "next": ["reply"], "credentials": task("x")["spec"]["credentials"]},
    {"name": "reply"},
]


@pytest.fixture
def other(api: Api) -> Iterator[str]:
    """A class that alice may not use."""
    spec = {
        "provider": "Kubernetes",
        "actions": ["read"],
        "kubernetes": {
            "roles": [{"action": "read", "kind": "ClusterRole", "name": "r"}],
            "namespaces": [TARGET],
        },
    }
    made = thing(GROUP, "CredentialClass", "", "other", spec=spec)
    api.apply(made)
    yield "other"
    remove(api, made)


# Stamps


def test_a_task_is_stamped_with_its_creator_whatever_it_claims(alice: Api, name: str) -> None:
    forged = {"username": "root", "uid": "0", "groups": ["system:masters"]}

    made = alice.create(task(name, requester=forged, changedBy=forged))

    assert made["spec"]["requester"] == ALICE
    assert made["spec"]["changedBy"] == ALICE


def test_the_requester_stays_and_the_changer_is_noted(api: Api, alice: Api, name: str) -> None:
    made = alice.create(task(name))

    after = api.merge(
        made,
        {
            "spec": {
                "sponsor": "b",
                "requester": {"username": "mallory"},
                "changedBy": {"username": "mallory"},
            }
        },
    )

    assert after["spec"]["requester"] == ALICE
    assert after["spec"]["changedBy"]["username"] == ADMIN


@pytest.mark.parametrize(
    "patch",
    [
        pytest.param({"metadata": {"labels": {"a": "b"}}}, id="a label"),
        pytest.param({"spec": {"changedBy": {"username": "mallory"}}}, id="the stamp itself"),
        pytest.param({"spec": {"changedBy": None, "requester": None}}, id="the stamps taken off"),
        pytest.param({"spec": {"phase": "research"}}, id="the phase"),
    ],
)
def test_what_changes_nothing_of_the_task_changes_no_stamp(
    api: Api, alice: Api, name: str, patch: Object
) -> None:
    made = alice.create(
        task(
            name,
            credentials=[{**task("x")["spec"]["credentials"][0], "name": "other"}],
            phases=PHASES,
        )
    )

    after = api.merge(made, patch)

    assert after["spec"]["requester"] == ALICE
    assert after["spec"]["changedBy"] == ALICE


@pytest.mark.parametrize(
    "patch",
    [
        {"sponsor": "b"},
        {"sponsor": None},
        {"intent": {"goal": "another"}},
        {"credentials": None},
        {"activeDeadlineSeconds": 5},
        {"ttlSecondsAfterFinished": 5},
        {"phases": [{"name": "research", "next": ["reply", "research"]}, {"name": "reply"}]},
    ],
    ids=lambda p: f"{next(iter(p))} {'goes' if next(iter(p.values())) is None else 'changes'}",
)
def test_whatever_else_changes_names_its_changer(
    api: Api, alice: Api, name: str, patch: Object
) -> None:
    credentials = [{**task("x")["spec"]["credentials"][0], "name": "other"}]
    made = alice.create(
        task(name, credentials=credentials, phases=PHASES, sponsor="a", intent={"goal": "one"})
    )

    after = api.merge(made, {"spec": patch})

    assert after["spec"]["changedBy"]["username"] == ADMIN


def test_stamps_and_finalizer_survive_being_applied_again(alice: Api, name: str) -> None:
    alice.apply(task(name))

    after = alice.apply(task(name, sponsor="a"))

    assert after["metadata"]["finalizers"] == [FINALIZER]
    assert after["spec"]["requester"] == ALICE


def test_a_replaced_task_keeps_its_requester(api: Api, alice: Api, name: str) -> None:
    made = alice.create(task(name))
    del made["spec"]["requester"], made["spec"]["changedBy"]

    after = api.replace(made)

    assert after["spec"]["requester"] == ALICE


def test_a_task_is_never_without_the_finalizer(alice: Api, name: str) -> None:
    body = task(name)
    body["metadata"]["finalizers"] = ["example.com/mine"]

    assert alice.create(body)["metadata"]["finalizers"] == ["example.com/mine", FINALIZER]


# The right to use a class


def asks(class_name: str, name: str = "second") -> Object:
    return {"name": name, "classRef": {"name": class_name}, "actions": ["read"]}


def test_a_class_that_the_user_may_not_use_is_refused(alice: Api, name: str, other: str) -> None:
    with pytest.raises(Refused, match="user 'alice' is not allowed to use 'other'") as refused:
        alice.create(task(name, credentials=[asks(other)]))

    assert refused.value.status == 403


def test_a_class_in_a_phase_counts_as_well(alice: Api, name: str, other: str) -> None:
    with pytest.raises(Refused, match="not allowed to use 'other'"):
        alice.create(task(name, phases=[{"name": "p", "credentials": [asks(other)]}]))


def test_a_class_that_does_not_exist_needs_the_right_too(alice: Api, name: str) -> None:
    with pytest.raises(Refused, match="not allowed to use 'no-such'"):
        alice.create(task(name, credentials=[asks("no-such")]))


def test_a_change_of_class_is_asked_again(alice: Api, name: str, other: str) -> None:
    made = alice.create(task(name))

    for credentials in ([asks("other", "tickets")], [*made["spec"]["credentials"], asks("other")]):
        with pytest.raises(Refused, match="not allowed to use 'other'"):
            alice.merge(made, {"spec": {"credentials": credentials}})


def test_the_last_of_sixteen_classes_is_asked_as_the_first(alice: Api, name: str) -> None:
    credentials = [asks("tickets", f"c{i}") for i in range(15)] + [asks("sixteenth", "last")]

    with pytest.raises(Refused, match="not allowed to use 'sixteenth'"):
        alice.create(task(name, credentials=credentials))


def test_the_largest_task_stays_within_the_cost_limits(api: Api, name: str) -> None:
    """The API server's cost limits must not refuse what the schema allows."""
    phases = [
        {"name": f"p{j}", "credentials": [asks(f"k{i}", f"d{i}") for i in range(16)]}
        for j in range(16)
    ]

    made = api.create(
        task(name, credentials=[asks(f"k{i}", f"c{i}") for i in range(16)], phases=phases)
    )

    assert api.merge(made, {"spec": {"sponsor": "x"}})["spec"]["sponsor"] == "x"


def test_more_than_sixteen_classes_are_refused(api: Api, name: str) -> None:
    phases = [{"name": "p", "credentials": [asks("seventeenth")]}]

    with pytest.raises(Refused, match="at most 16 different CredentialClasses"):
        api.create(
            task(name, credentials=[asks(f"k{i}", f"c{i}") for i in range(16)], phases=phases)
        )


@pytest.mark.parametrize(
    "patch",
    [
        pytest.param({"metadata": {"labels": {"a": "b"}}}, id="a label"),
        pytest.param({"metadata": {"finalizers": None}}, id="the finalizer"),
        pytest.param({"spec": {"sponsor": "b"}}, id="the sponsor"),
        pytest.param({"spec": {"phases": None}}, id="a reference that goes"),
    ],
)
def test_no_right_is_asked_where_no_class_is_added(
    api: Api, name: str, other: str, patch: Object
) -> None:
    made = api.create(
        task(
            name,
            credentials=[asks(other)],
            phases=[{"name": "p", "credentials": [asks(other, "third")]}],
        )
    )
    editor = api.as_user("alice", "team-a")

    editor.merge(made, patch)


# Status, and the operator


@pytest.mark.parametrize(
    "kind", ["AgentTask", "AgentPolicy", "CredentialClass", "ClusterAgentPolicy"]
)
def test_nobody_writes_status_but_the_operator(
    api: Api, taskpass: Api, alice: Api, name: str, other: str, kind: str
) -> None:
    status = {"status": {"observedGeneration": 1}}
    made = {
        "AgentTask": task(name),
        "AgentPolicy": thing(GROUP, "AgentPolicy", TENANT, name, spec={"effect": "Deny"}),
        "ClusterAgentPolicy": thing(GROUP, "ClusterAgentPolicy", "", name, spec={"effect": "Deny"}),
        "CredentialClass": thing(GROUP, "CredentialClass", "", other),
    }[kind]
    if kind != "CredentialClass":
        api.create(made)

    try:
        with pytest.raises(Refused, match="status must be left to taskpass"):
            api.merge(made, status, "/status")
        assert taskpass.merge(made, status, "/status")["status"]["observedGeneration"] == 1
    finally:
        if kind in ("AgentPolicy", "ClusterAgentPolicy"):
            api.delete(made)


def test_a_status_that_comes_with_a_new_task_is_dropped(alice: Api, name: str) -> None:
    made = alice.create({**task(name), "status": {"phaseName": "reply"}})

    assert "status" not in made


@pytest.mark.parametrize("others", [None, ["example.com/keep"]], ids=["alone", "beside another"])
def test_a_class_is_made_with_our_finalizer_and_the_operator_takes_it_off(
    api: Api, taskpass: Api, name: str, others: list[str] | None
) -> None:
    wish = credential_class(name)
    wish["metadata"]["finalizers"] = others or []

    made = api.create(wish)
    index = len(others or [])
    after = taskpass.patch(made, [{"op": "remove", "path": f"/metadata/finalizers/{index}"}])
    changed = api.merge(made, {"spec": {"sensitivity": "Restricted"}})
    remove(api, made)

    assert made["metadata"]["finalizers"] == [*(others or []), FINALIZER]
    assert after["metadata"].get("finalizers", []) == (others or [])
    assert changed["metadata"]["finalizers"] == [*(others or []), FINALIZER]


def test_applying_a_class_again_leaves_its_finalizer(api: Api, name: str) -> None:
    """GitOps applies for ever, and what it applies names no finalizer."""
    for _ in range(2):
        api.apply(credential_class(name), fieldManager="gitops")
    live = api.apply(credential_class(name, sensitivity="Restricted"), fieldManager="gitops")
    again = api.apply(credential_class(name, sensitivity="Restricted"), fieldManager="gitops")
    remove(api, live)

    assert live["metadata"]["finalizers"] == [FINALIZER]
    assert again["metadata"]["finalizers"] == [FINALIZER]


def test_whoever_may_change_a_class_can_take_the_finalizer_off(api: Api, name: str) -> None:
    """While no operator runs, nothing but that would let it be deleted."""
    made = api.create(credential_class(name))

    after = api.merge(made, {"metadata": {"finalizers": None}})
    api.delete(made)

    assert "finalizers" not in after["metadata"]
    assert not api.exists(made)


def test_the_operator_takes_its_finalizer_off(alice: Api, taskpass: Api, name: str) -> None:
    made = alice.create(task(name))

    after = taskpass.patch(
        made,
        [
            {"op": "test", "path": "/metadata/finalizers/0", "value": FINALIZER},
            {"op": "remove", "path": "/metadata/finalizers/0"},
        ],
    )

    assert "finalizers" not in after["metadata"]
    assert after["spec"] == made["spec"]


@pytest.mark.parametrize(
    "patch",
    [
        {"spec": {"sponsor": "b"}},
        {"spec": {"phase": "reply"}},
        {"metadata": {"labels": {"a": "b"}}},
        {"metadata": {"annotations": {"a": "b"}}},
        {"metadata": {"finalizers": ["example.com/x", FINALIZER]}},
        {"metadata": {"finalizers": None}},
    ],
    ids=str,
)
def test_the_operator_changes_nothing_else_of_a_task(
    alice: Api, taskpass: Api, name: str, patch: Object
) -> None:
    body = task(name, phases=[{"name": "reply"}, {"name": "research"}])
    body["metadata"]["finalizers"] = ["example.com/mine"]
    made = alice.create(body)

    with pytest.raises(
        Refused, match="the operator must change nothing of an AgentTask but its finalizer"
    ):
        taskpass.merge(made, patch)


def test_the_operator_deletes_finished_tasks_only(alice: Api, taskpass: Api, name: str) -> None:
    made = alice.create(task(name))
    with pytest.raises(Refused, match="must delete finished AgentTasks only"):
        taskpass.delete(made)
    finished = {
        "type": "Finished",
        "status": "True",
        "reason": "Succeeded",
        "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    taskpass.merge(made, {"status": {"conditions": [finished]}}, "/status")

    assert "deletionTimestamp" in taskpass.delete(made)["metadata"]


# Phases


def settle(taskpass: Api, made: Object, phase: str) -> None:
    taskpass.merge(made, {"status": {"phaseName": phase}}, "/status")


def test_a_phase_moves_once_the_last_one_has_settled(alice: Api, taskpass: Api, name: str) -> None:
    made = alice.create(
        task(name, credentials=None, phases=[*PHASES, {"name": "last"}], phase="research")
    )

    with pytest.raises(
        Refused, match=r"spec.phase: Forbidden: must stay as it is until the last move has settled"
    ):
        alice.merge(made, {"spec": {"phase": "reply"}})
    settle(taskpass, made, "research")
    alice.merge(made, {"spec": {"phase": "reply"}})
    with pytest.raises(Refused, match="must stay as it is until the last move has settled"):
        alice.merge(made, {"spec": {"phase": "last"}})

    assert alice.merge(made, {"spec": {"phase": "research"}})["spec"]["phase"] == "research"


def test_an_unset_phase_is_the_first_one(alice: Api, taskpass: Api, name: str) -> None:
    made = alice.create(task(name, credentials=None, phases=PHASES))

    with pytest.raises(
        Refused, match="must name the first of `phases` until the task has settled there"
    ):
        alice.merge(made, {"spec": {"phase": "reply"}})
    settle(taskpass, made, "research")

    assert alice.merge(made, {"spec": {"phase": "reply"}})["spec"]["phase"] == "reply"
