"""TaskApprovals: in whose name, what never changes of one, and who is kept from approving."""

from collections.abc import Iterator

import pytest

from e2e.admission import GROUP, TENANT, binding, operator, remove, task
from e2e.impersonate import Api, Object, Refused, thing
from e2e.stage import until

LEA = {"username": "lea", "uid": "", "groups": ["support-leads", "system:authenticated"]}
SPEC = {"taskRef": {"name": "no-task", "uid": "0"}, "digest": f"sha256:{64 * '0'}",
        "decision": "Approved"}  # fmt: skip


@pytest.fixture
def lea(api: Api) -> Iterator[Api]:
    """Return who may approve in the tenant's namespace."""
    bound = binding("RoleBinding", TENANT, "leads", "ClusterRole/taskpass-approver",
                    "Group/support-leads")  # fmt: skip
    api.apply(bound)
    lea = api.as_user("lea", "support-leads")
    until(lambda: may_create(lea))
    yield lea
    api.delete(bound)


def may_create(who: Api) -> bool:
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview"}
    asked = {"group": "taskpass.dev", "resource": "taskapprovals", "verb": "create",
             "namespace": TENANT}  # fmt: skip
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    answer = who.call("POST", path, {**review, "spec": {"resourceAttributes": asked}})
    return bool(answer["status"]["allowed"])


def approval(name: str, **spec: object) -> Object:
    return thing(GROUP, "TaskApproval", TENANT, name, spec={**SPEC, **spec})


@pytest.fixture
def made(api: Api, lea: Api, name: str) -> Iterator[Object]:
    """Return lea's word; it is about nothing."""
    given = lea.create(approval(name))
    yield given
    remove(api, given)


def test_it_is_stamped_with_whose_word_it_is_whatever_it_claims(
    api: Api, lea: Api, name: str
) -> None:
    forged = {"username": "boss", "groups": ["board", "support-leads"]}

    made = lea.create(approval(name, approver=forged))

    assert made["spec"]["approver"] == LEA
    remove(api, made)


@pytest.mark.parametrize(
    "change",
    [
        {"decision": "Denied"},
        {"digest": f"sha256:{64 * '1'}"},
        {"taskRef": {"uid": "1"}},
        {"approver": {"username": "mallory"}},
        {"approver": None},
        {"validSeconds": 86400},
    ],
)
def test_nothing_of_it_changes(api: Api, made: Object, change: Object) -> None:
    with pytest.raises(Refused, match="must not be changed; make another TaskApproval"):
        api.merge(made, {"spec": change})


def test_who_edits_the_namespace_gives_none_and_takes_none_back(alice: Api, made: Object) -> None:
    """Who writes tasks does not approve them; nor does the namespace's administrator."""
    with pytest.raises(Refused, match='cannot create resource "taskapprovals"'):
        alice.create(approval("mine"))
    with pytest.raises(Refused, match='cannot delete resource "taskapprovals"'):
        alice.delete(made)


def test_the_operator_approves_nothing(api: Api, made: Object) -> None:
    """Whoever has its token cannot speak for people."""
    ours = operator(api)
    with pytest.raises(Refused, match='cannot create resource "taskapprovals"'):
        ours.create(approval("ours"))
    with pytest.raises(Refused, match='cannot patch resource "taskapprovals"'):
        ours.merge(made, {"metadata": {"labels": {"a": "b"}}})


def test_nobody_but_the_operator_says_what_has_become_of_it(api: Api, made: Object) -> None:
    with pytest.raises(Refused, match=r"status must be left to taskpass"):
        api.merge(made, {"status": {"observedGeneration": 1}}, "/status")
    operator(api).merge(made, {"status": {"observedGeneration": 1}}, "/status")


def test_nobody_but_the_operator_says_what_people_are_asked(alice: Api, name: str) -> None:
    made = alice.create(task(name))
    asked = {"digest": f"sha256:{64 * '0'}", "request": "{}", "sinceTime": "2027-01-01T00:00:00Z"}

    with pytest.raises(Refused, match=r"status must be left to taskpass|cannot patch resource"):
        alice.merge(made, {"status": {"pendingApprovals": [asked]}}, "/status")
    remove(alice, made)


class TestWhoChangedATask:
    """`spec.changers`, by which whoever ever changed a task is kept from approving it."""

    def test_it_holds_everybody_who_ever_changed_it(self, api: Api, alice: Api, name: str) -> None:
        made = alice.create(task(name, changers=["nobody"]))
        assert made["spec"]["changers"] == ["alice"]

        after = api.merge(made, {"spec": {"sponsor": "another"}})
        again = alice.merge(made, {"spec": {"sponsor": "a third"}})

        admin = after["spec"]["changedBy"]["username"]
        assert after["spec"]["changers"] == ["alice", admin]
        assert again["spec"]["changers"] == ["alice", admin]
        assert again["spec"]["changedBy"]["username"] == "alice"
        remove(api, made)

    def test_it_holds_whoever_moves_the_phase(self, api: Api, alice: Api, name: str) -> None:
        """Or one could lead a task off its path and then approve that."""
        phases = [{"name": "a", "next": ["b"]}, {"name": "b"}]
        made = alice.create(task(name, phases=phases, phase="a"))
        operator(api).merge(made, {"status": {"phaseName": "a"}}, "/status")

        moved = api.merge(made, {"spec": {"phase": "b"}})

        assert moved["spec"]["changedBy"]["username"] == "alice"
        assert moved["spec"]["changers"] == ["alice", api_user(api)]
        remove(api, made)

    @pytest.mark.parametrize("forged", [[], ["bob"], ["alice", "bob"], None])
    def test_nobody_takes_themselves_off_it(
        self, api: Api, alice: Api, name: str, forged: list[str] | None
    ) -> None:
        made = alice.create(task(name))

        after = alice.merge(made, {"spec": {"changers": forged}})

        assert after["spec"]["changers"] == ["alice"]
        remove(api, made)

    def test_it_does_not_grow_without_end(self, api: Api, alice: Api, name: str) -> None:
        made = alice.create(task(name))
        for number in range(31):
            user = api.as_user(f"user-{number}", "system:masters")
            user.merge(made, {"spec": {"sponsor": f"team-{number}"}})

        with pytest.raises(Refused, match=r"at most 32 items|more than 32 different users"):
            api.as_user("one-more", "system:masters").merge(made, {"spec": {"sponsor": "x"}})
        remove(api, made)


def api_user(api: Api) -> str:
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    answer = api.call("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", review)
    return str(answer["status"]["userInfo"]["username"])
