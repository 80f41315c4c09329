"""Kill switches: who may activate and lift one, in whose name, and what never changes of it."""

from collections.abc import Iterator

import pytest

from e2e.admission import GROUP, binding, operator, remove
from e2e.impersonate import Api, Object, Refused, thing
from e2e.stage import until

ONA = {"username": "ona", "uid": "", "groups": ["on-call", "system:authenticated"]}
SPEC = {"target": "Task", "namespace": "nowhere", "of": "no-task", "reason": "INC-42"}


@pytest.fixture
def ona(api: Api) -> Iterator[Api]:
    """Return who is on call."""
    role = "ClusterRole/taskpass-responder"
    bound = binding("ClusterRoleBinding", "", "on-call", role, "Group/on-call")
    api.apply(bound)
    ona = api.as_user("ona", "on-call")
    until(lambda: may_create(ona))  # a binding takes a moment to count
    yield ona
    api.delete(bound)


def may_create(who: Api) -> bool:
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview"}
    asked = {"group": "taskpass.dev", "resource": "killswitches", "verb": "create"}
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    answer = who.call("POST", path, {**review, "spec": {"resourceAttributes": asked}})
    return bool(answer["status"]["allowed"])


@pytest.fixture
def activated(api: Api, ona: Api, name: str) -> Iterator[Object]:
    """Return a KillSwitch that ona activated; it matches nothing."""
    made = ona.create(thing(GROUP, "KillSwitch", "", name, spec=SPEC))
    yield made
    remove(api, made)


def test_it_is_stamped_with_who_threw_it_whatever_it_claims(api: Api, ona: Api, name: str) -> None:
    forged = {"username": "root", "uid": "0", "groups": ["system:masters"]}

    made = ona.create(thing(GROUP, "KillSwitch", "", name, spec={**SPEC, "requester": forged}))

    assert made["spec"]["requester"] == ONA
    remove(api, made)


@pytest.mark.parametrize(
    "change",
    [
        {"reason": "another"},
        {"of": "another"},
        {"requester": {"username": "mallory"}},
        {"requester": None},
    ],
)
def test_nothing_of_it_changes(api: Api, activated: Object, change: Object) -> None:
    with pytest.raises(Refused, match="must not be changed; make another KillSwitch"):
        api.merge(activated, {"spec": change})


def test_who_is_on_call_lifts_it(api: Api, ona: Api, activated: Object) -> None:
    ona.delete(activated)

    assert not api.exists(activated)


def test_a_tenants_administrator_throws_none_and_lifts_none(alice: Api, activated: Object) -> None:
    with pytest.raises(Refused, match='cannot create resource "killswitches"'):
        alice.create(thing(GROUP, "KillSwitch", "", "mine", spec=SPEC))
    with pytest.raises(Refused, match='cannot delete resource "killswitches"'):
        alice.delete(activated)
    with pytest.raises(Refused, match='cannot patch resource "killswitches"'):
        alice.merge(activated, {"spec": {"target": "All"}})


@pytest.mark.parametrize("verb", ["create", "delete", "patch"])
def test_the_operator_throws_none_and_lifts_none(api: Api, activated: Object, verb: str) -> None:
    """Whoever has its token cannot stop others, nor let go on what was stopped."""
    ours = operator(api)
    attempts = {
        "create": lambda: ours.create(thing(GROUP, "KillSwitch", "", "ours", spec=SPEC)),
        "delete": lambda: ours.delete(activated),
        "patch": lambda: ours.merge(activated, {"metadata": {"labels": {"a": "b"}}}),
    }

    with pytest.raises(Refused, match=f'cannot {verb} resource "killswitches"'):
        attempts[verb]()


def test_nobody_but_the_operator_says_that_it_has_taken_effect(api: Api, activated: Object) -> None:
    with pytest.raises(Refused, match="status must be left to taskpass"):
        api.merge(activated, {"status": {"observedGeneration": 1}}, "/status")
    operator(api).merge(activated, {"status": {"observedGeneration": 1}}, "/status")
