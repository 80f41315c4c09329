import itertools
from dataclasses import replace

import pytest

from taskpass.core.model.task import LabelSelector
from taskpass.core.policy.evaluate import DecisionReason, Policy, Question
from taskpass.core.policy.match import fits, not_selected
from tests.unit.core.policies import (
    ALLOW,
    CLASS,
    CONSTRAIN,
    DENY,
    EVERYTHING,
    QUESTION,
    TASK,
    asking,
    decide,
    demanding,
    of_cluster,
)

WRITES = ("tickets.read", "tickets.write")


def test_an_allow_that_covers_the_request_allows_it() -> None:
    decision = decide([ALLOW])

    assert (decision.allowed, decision.reason) == (True, DecisionReason.ALLOWED)
    assert decision.policy == "AgentPolicy/support/triage"
    assert decision.policy_digest == "sha256:triage"
    assert decision.lifetime_seconds == 900
    assert decision.message == "AgentPolicy 'support/triage' allows it for 900 s"


def test_nothing_is_allowed_without_a_policy() -> None:
    decision = decide([])

    assert (decision.allowed, decision.reason) == (False, DecisionReason.NO_POLICY)
    assert decision.message == (
        "No policy with effect Allow applies in namespace 'support'; an AgentPolicy there must "
        "cover the request"
    )
    assert (decision.policy, decision.policy_digest) == ("", "")


@pytest.mark.parametrize(
    "policies",
    [
        pytest.param([ALLOW, replace(DENY, name="zz")], id="a deny whose name comes last"),
        pytest.param([ALLOW, replace(DENY, name="aa")], id="a deny whose name comes first"),
        pytest.param([ALLOW, of_cluster(DENY)], id="a deny of the cluster"),
        pytest.param([of_cluster(ALLOW), DENY], id="a namespace's deny over the cluster's allow"),
        pytest.param([ALLOW, of_cluster(DENY, None)], id="a cluster's deny without a selector"),
        pytest.param([ALLOW, demanding(DENY, "true", "true")], id="a deny whose validations hold"),
        pytest.param([ALLOW, demanding(DENY, "fails"), DENY], id="a deny beside a broken one"),
    ],
)
def test_a_deny_wins_over_an_allow(policies: list[Policy]) -> None:
    for ordered in itertools.permutations(policies):
        decision = decide(ordered)

        assert (decision.allowed, decision.reason) == (False, DecisionReason.DENIED)


def test_a_deny_says_who_denies_and_what_its_validations_say() -> None:
    deny = replace(demanding(DENY, "true", "true"), digest="sha256:freeze")

    decision = decide([ALLOW, deny])

    assert decision.message == "AgentPolicy 'support/freeze' denies it: must be true; must be true"
    assert decision.policy == "AgentPolicy/support/freeze"
    assert decision.policy_digest == "sha256:freeze"


@pytest.mark.parametrize(
    "deny",
    [
        pytest.param(replace(DENY, namespace="sales"), id="of another namespace"),
        pytest.param(
            of_cluster(DENY, LabelSelector(match_labels={"team": "sales"})),
            id="of other namespaces",
        ),
        pytest.param(replace(DENY, actions=("tickets.write",)), id="of another action"),
        pytest.param(replace(DENY, resources=("ticket/1",)), id="of another resource"),
        pytest.param(replace(DENY, classes=("ticket",)), id="of a class that only begins alike"),
        pytest.param(replace(DENY, locations=("https://*",)), id="of locations, and none is asked"),
        pytest.param(demanding(DENY, "true", "false"), id="with a validation that is false"),
        pytest.param(demanding(DENY, "fails", "false"), id="with a false one beside a broken one"),
    ],
)
def test_a_deny_that_does_not_select_the_request_changes_nothing(deny: Policy) -> None:
    assert decide([ALLOW, deny]).allowed


def test_what_keeps_a_deny_from_a_request_is_said_in_one_piece() -> None:
    elsewhere = replace(DENY, classes=("wiki",), actions=("wiki.read",))

    assert not_selected(elsewhere, QUESTION) == ("nothing of it falls under the policy",)
    assert not_selected(DENY, QUESTION) == ()


BOTH = replace(ALLOW, actions=("tickets.*",), resources=("*",), locations=("*",))


@pytest.mark.parametrize(
    ("deny", "question"),
    [
        pytest.param(
            replace(DENY, actions=("tickets.write",)), asking(actions=WRITES), id="another action"
        ),
        pytest.param(
            replace(DENY, resources=("ticket/1",)),
            asking(resources=("ticket/2", "ticket/1")),
            id="another resource",
        ),
        pytest.param(
            replace(DENY, actions=("tickets.write",), resources=("ticket/1",)),
            asking(actions=WRITES, resources=("ticket/2", "ticket/1")),
            id="another action and another resource",
        ),
        pytest.param(replace(DENY, actions=("*",)), asking(), id="a star alone is every action"),
        pytest.param(
            replace(DENY, resources=("*",)),
            asking(resources=()),
            id="no resource at all, where all are denied",
        ),
        pytest.param(
            replace(DENY, locations=("*",)), asking(), id="no location, where all are denied"
        ),
    ],
)
def test_a_deny_is_not_evaded_by_adding_or_leaving_out(deny: Policy, question: Question) -> None:
    assert decide([BOTH], question).allowed
    assert decide([BOTH, deny], question).reason is DecisionReason.DENIED


def test_two_allows_do_not_add_up() -> None:
    reads = ALLOW
    writes = replace(ALLOW, name="writers", actions=("tickets.write",))

    decision = decide([reads, writes], asking(actions=WRITES))

    assert decision.reason is DecisionReason.NO_POLICY


def test_two_allows_do_not_add_up_over_resources_either() -> None:
    one = replace(ALLOW, resources=("ticket/1",))
    two = replace(ALLOW, name="two", resources=("ticket/2",))

    decision = decide([one, two], asking(resources=("ticket/1", "ticket/2")))

    assert decision.reason is DecisionReason.NO_POLICY


@pytest.mark.parametrize(
    ("allow", "question", "lacking"),
    [
        pytest.param(ALLOW, asking(actions=WRITES), "action 'tickets.write'", id="an action"),
        pytest.param(
            ALLOW, asking(resources=("ticket/1", "wiki/1")), "resource 'wiki/1'", id="a resource"
        ),
        pytest.param(
            replace(ALLOW, classes=("wiki",)), QUESTION, "class 'tickets'", id="the class"
        ),
        pytest.param(replace(ALLOW, classes=None), QUESTION, "class 'tickets'", id="any class"),
        pytest.param(
            replace(ALLOW, actions=None), QUESTION, "action 'tickets.read'", id="any action"
        ),
        pytest.param(
            replace(ALLOW, resources=None), QUESTION, "resource 'ticket/4711'", id="any resource"
        ),
        pytest.param(
            ALLOW,
            asking(location="https://tickets.internal"),
            "location 'https://tickets.internal'",
            id="any location",
        ),
        pytest.param(
            ALLOW, asking(resources=()), "a request without any resource", id="all resources"
        ),
        pytest.param(
            replace(ALLOW, locations=("https://tickets.internal",)),
            QUESTION,
            "a request without any location",
            id="all locations",
        ),
        pytest.param(
            demanding(ALLOW, "true", "false"), QUESTION, "must be false", id="a validation"
        ),
        pytest.param(
            ALLOW, asking(actions=()), "a request without any action", id="a request for nothing"
        ),
    ],
)
def test_an_allow_does_not_cover(allow: Policy, question: Question, lacking: str) -> None:
    decision = decide([allow], question)

    assert decision.reason is DecisionReason.NO_POLICY
    assert decision.message == (
        "No policy allows it; AgentPolicy 'support/triage' comes nearest but does not cover: "
        f"{lacking}"
    )


@pytest.mark.parametrize(
    ("allow", "question"),
    [
        pytest.param(replace(ALLOW, resources=None), asking(resources=()), id="no resource at all"),
        pytest.param(replace(ALLOW, resources=("*",)), asking(resources=()), id="a star and none"),
        pytest.param(replace(ALLOW, classes=("*",), actions=("*",)), QUESTION, id="stars"),
        pytest.param(
            replace(ALLOW, locations=("https://tickets.*",)),
            asking(location="https://tickets.internal"),
            id="a location with a star",
        ),
        pytest.param(
            of_cluster(ALLOW, LabelSelector(match_labels={"team": "support"})),
            QUESTION,
            id="a cluster's policy that selects the namespace",
        ),
    ],
)
def test_an_allow_covers(allow: Policy, question: Question) -> None:
    assert decide([allow], question).allowed


@pytest.mark.parametrize(
    "allow",
    [
        pytest.param(replace(ALLOW, namespace="sales"), id="of another namespace"),
        pytest.param(of_cluster(ALLOW, None), id="of the cluster without a namespace selector"),
        pytest.param(
            of_cluster(ALLOW, LabelSelector(match_labels={"team": "sales"})),
            id="of other namespaces",
        ),
    ],
)
def test_an_allow_elsewhere_is_not_even_near(allow: Policy) -> None:
    decision = decide([allow])

    assert (decision.reason, decision.nearest) == (DecisionReason.NO_POLICY, "")


def test_the_nearest_policy_lacks_least_and_ties_are_broken_by_name() -> None:
    far = replace(ALLOW, name="aa", classes=("wiki",), actions=("wiki.read",))
    near = replace(ALLOW, name="mm", classes=("wiki",))
    as_near = replace(ALLOW, name="zz", classes=("wiki",))

    for policies in itertools.permutations([far, near, as_near]):
        assert decide(policies).nearest == "AgentPolicy/support/mm"


@pytest.mark.parametrize(("lacking", "more"), [(4, ""), (5, " and 1 more"), (7, " and 3 more")])
def test_a_message_lists_only_four_of_what_is_lacking(lacking: int, more: str) -> None:
    question = asking(resources=tuple(f"wiki/{n}" for n in range(lacking)))

    decision = decide([ALLOW], question)

    assert decision.message.endswith(
        "does not cover: resource 'wiki/0', resource 'wiki/1', resource 'wiki/2', resource "
        f"'wiki/3'{more}"
    )


def test_of_several_allows_that_cover_the_first_by_name_is_named() -> None:
    other = replace(ALLOW, name="aa")

    assert decide([ALLOW, other]).policy == "AgentPolicy/support/aa"
    assert decide([other, ALLOW]).policy == "AgentPolicy/support/aa"


@pytest.mark.parametrize(
    ("question", "message"),
    [
        pytest.param(
            replace(QUESTION, credential_class=None),
            "CredentialClass 'tickets' does not exist; create it, or name another in classRef",
            id="the class does not exist",
        ),
        pytest.param(
            replace(QUESTION, may_use=False),
            "User 'jane', who last changed the task, may not use CredentialClass 'tickets'; grant "
            "the verb 'use' on it by RBAC",
            id="who changed the task may not use it",
        ),
        pytest.param(
            replace(QUESTION, credential_class=replace(CLASS, namespace_selector=None)),
            "CredentialClass 'tickets' is not for namespace 'support'; its namespaceSelector must "
            "select the namespace",
            id="the class is for no namespace",
        ),
        pytest.param(
            replace(
                QUESTION,
                credential_class=replace(
                    CLASS, namespace_selector=LabelSelector(match_labels={"team": "sales"})
                ),
            ),
            "CredentialClass 'tickets' is not for namespace 'support'; its namespaceSelector must "
            "select the namespace",
            id="the class is for another namespace",
        ),
        pytest.param(
            asking(actions=("tickets.delete",)),
            "CredentialClass 'tickets' has no action 'tickets.delete'; it has 'tickets.read', "
            "'tickets.write'",
            id="the class has no such action",
        ),
        pytest.param(
            asking(location="https://evil.example"),
            "CredentialClass 'tickets' has no location 'https://evil.example'; it has "
            "'https://tickets.internal'",
            id="the class has no such location",
        ),
        pytest.param(
            replace(
                asking(location="https://evil.example"),
                credential_class=replace(CLASS, locations=()),
            ),
            "CredentialClass 'tickets' has no location 'https://evil.example'; it has none, so "
            "leave location unset",
            id="the class has no location",
        ),
    ],
)
def test_what_the_class_does_not_give_no_policy_allows(question: Question, message: str) -> None:
    everything = replace(ALLOW, classes=("*",), actions=("*",), resources=("*",), locations=("*",))

    decision = decide([everything], question)

    assert decision.allowed is False
    assert (decision.reason, decision.message) == (DecisionReason.DENIED, message)


def test_a_star_in_a_class_is_no_pattern() -> None:
    question = replace(QUESTION, credential_class=replace(CLASS, actions=("tickets.*",)))

    assert decide([ALLOW], question).reason is DecisionReason.DENIED


@pytest.mark.parametrize(
    ("pattern", "text", "is_one"),
    [
        ("tickets.read", "tickets.read", True),
        ("tickets.read", "tickets.readall", False),
        ("tickets.*", "tickets.read", True),
        ("tickets.*", "tickets.", True),
        ("tickets.*", "tickets", False),
        ("tickets.*", "ticketsXread", False),
        ("*", "anything", True),
        ("*", "", True),
        (".*", "tickets", False),
        ("tickets?", "tickets1", False),
        ("[a-z]*", "tickets", False),
        ("*.read", "tickets.read", False),
        ("tickets", "tickets\n", False),
    ],
)
def test_a_pattern_is_exact_or_ends_in_one_star(pattern: str, text: str, is_one: bool) -> None:
    assert fits(pattern, text) is is_one


def test_the_same_answer_comes_whatever_the_order_of_policies() -> None:
    policies = [
        ALLOW,
        replace(ALLOW, name="aa", max_expiration_seconds=700),
        CONSTRAIN,
        of_cluster(replace(CONSTRAIN, max_expiration_seconds=650), EVERYTHING),
        replace(DENY, classes=("wiki",)),
    ]

    answers = {decide(ordered) for ordered in itertools.permutations(policies)}

    assert len(answers) == 1


def test_a_task_of_another_namespace_is_judged_by_the_policies_there() -> None:
    question = replace(QUESTION, task=replace(TASK, namespace="sales"))

    assert decide([ALLOW], question).reason is DecisionReason.NO_POLICY
