from dataclasses import replace

import pytest

from taskpass.core.model.task import LabelSelector
from taskpass.core.policy.evaluate import DecisionReason, Policy
from taskpass.core.policy.limits import Lifetime, lifetime_of
from tests.unit.core.policies import (
    ALLOW,
    CLASS,
    CONSTRAIN,
    DENY,
    QUESTION,
    asking,
    decide,
    demanding,
    of_cluster,
)


def limited(policy: Policy, seconds: int) -> Policy:
    return replace(policy, max_expiration_seconds=seconds)


@pytest.mark.parametrize(
    ("policies", "seconds"),
    [
        pytest.param([ALLOW], 900, id="the class's default without any limit"),
        pytest.param([limited(ALLOW, 700)], 700, id="the limit of the allow"),
        pytest.param([limited(ALLOW, 2000)], 900, id="the default below the limit"),
        pytest.param([ALLOW, CONSTRAIN], 600, id="a constrain of the namespace"),
        pytest.param([ALLOW, of_cluster(CONSTRAIN)], 600, id="a constrain of the cluster"),
        pytest.param([ALLOW, of_cluster(CONSTRAIN, None)], 600, id="one for every namespace"),
        pytest.param(
            [limited(ALLOW, 700), limited(CONSTRAIN, 800)], 700, id="the least of an allow's limit"
        ),
        pytest.param(
            [limited(ALLOW, 800), limited(CONSTRAIN, 700)], 700, id="the least of a constrain's"
        ),
        pytest.param(
            [limited(ALLOW, 700), replace(limited(ALLOW, 2000), name="aa")],
            700,
            id="the least of two allows that cover",
        ),
        pytest.param(
            [ALLOW, replace(CONSTRAIN, actions=("tickets.write",))], 900, id="one for other actions"
        ),
        pytest.param([ALLOW, demanding(CONSTRAIN, "false")], 900, id="one that does not apply"),
        pytest.param(
            [ALLOW, of_cluster(CONSTRAIN, LabelSelector(match_labels={"team": "sales"}))],
            900,
            id="one for other namespaces",
        ),
        pytest.param(
            [ALLOW, replace(limited(ALLOW, 600), name="aa", classes=("wiki",))],
            900,
            id="an allow that does not cover has no limits",
        ),
    ],
)
def test_the_lifetime_is_the_least_of_default_and_limits(
    policies: list[Policy], seconds: int
) -> None:
    decision = decide(policies)

    assert (decision.allowed, decision.lifetime_seconds) == (True, seconds)


def test_a_constrain_allows_nothing() -> None:
    assert decide([CONSTRAIN]).reason is DecisionReason.NO_POLICY


def test_a_constrain_is_not_evaded_by_adding_an_action() -> None:
    allow = replace(ALLOW, actions=("tickets.*",))
    short = replace(CONSTRAIN, actions=("tickets.write",))

    decision = decide([allow, short], asking(actions=("tickets.read", "tickets.write")))

    assert decision.lifetime_seconds == 600


def test_a_request_gets_what_it_asks_for() -> None:
    assert decide([limited(ALLOW, 2000)], asking(expiration_seconds=1800)).lifetime_seconds == 1800


@pytest.mark.parametrize(
    ("policies", "asked", "message"),
    [
        pytest.param(
            [limited(ALLOW, 600)],
            601,
            "expirationSeconds must be less than or equal to 600 under AgentPolicy "
            "'support/triage'",
            id="than an allow's limit",
        ),
        pytest.param(
            [limited(ALLOW, 3000), of_cluster(CONSTRAIN)],
            900,
            "expirationSeconds must be less than or equal to 600 under ClusterAgentPolicy 'short'",
            id="than a constrain's limit",
        ),
        pytest.param(
            [limited(ALLOW, 86400)],
            3601,
            "expirationSeconds must be less than or equal to 3600 under CredentialClass 'tickets'",
            id="than the class's longest",
        ),
    ],
)
def test_a_request_for_longer_is_refused_and_not_shortened(
    policies: list[Policy], asked: int, message: str
) -> None:
    decision = decide(policies, asking(expiration_seconds=asked))

    assert (decision.reason, decision.message) == (DecisionReason.DENIED, message)
    assert (decision.allowed, decision.lifetime_seconds) == (False, 0)


@pytest.mark.parametrize(
    ("policies", "asked", "default", "message"),
    [
        pytest.param(
            [ALLOW],
            599,
            900,
            "expirationSeconds of request 'tickets' must be greater than or equal to 600, the "
            "shortest that provider Kubernetes can issue",
            id="a request",
        ),
        pytest.param(
            [ALLOW, limited(CONSTRAIN, 300)],
            None,
            900,
            "limits.maxExpirationSeconds of AgentPolicy 'support/short' must be greater than or "
            "equal to 600, the shortest that provider Kubernetes can issue",
            id="a limit",
        ),
        pytest.param(
            [ALLOW],
            None,
            300,
            "defaultExpirationSeconds of CredentialClass 'tickets' must be greater than or equal "
            "to 600, the shortest that provider Kubernetes can issue",
            id="a default",
        ),
    ],
)
def test_what_the_provider_cannot_go_as_low_as_is_refused(
    policies: list[Policy], asked: int | None, default: int, message: str
) -> None:
    question = replace(
        asking(expiration_seconds=asked),
        credential_class=replace(CLASS, default_expiration_seconds=default),
    )

    decision = decide(policies, question)

    assert (decision.reason, decision.message) == (DecisionReason.DENIED, message)


def test_what_is_just_long_enough_is_issued() -> None:
    assert decide([ALLOW], asking(expiration_seconds=600)).lifetime_seconds == 600


def test_a_limit_does_not_save_from_a_deny() -> None:
    assert decide([limited(ALLOW, 600), DENY], QUESTION).message == (
        "AgentPolicy 'support/freeze' denies it"
    )


def test_a_default_above_the_class_maximum_is_cut_to_it() -> None:
    question = replace(
        QUESTION,
        credential_class=replace(
            CLASS, default_expiration_seconds=5000, max_expiration_seconds=3600
        ),
    )

    assert decide([ALLOW], question).lifetime_seconds == 3600


def test_a_lifetime_that_is_refused_is_no_lifetime_and_names_its_policy() -> None:
    refused = lifetime_of(asking(expiration_seconds=601), CLASS, [limited(ALLOW, 600)])

    assert refused == Lifetime(
        seconds=0,
        field="limits.maxExpirationSeconds",
        owner="AgentPolicy 'support/triage'",
        policy=limited(ALLOW, 600),
        refusal="expirationSeconds must be less than or equal to 600 under AgentPolicy "
        "'support/triage'",
    )


def test_a_lifetime_that_the_class_refuses_names_the_class_and_no_policy() -> None:
    refused = lifetime_of(asking(expiration_seconds=3601), CLASS, [ALLOW])

    assert (refused.field, refused.owner, refused.policy) == (
        "maxExpirationSeconds", "CredentialClass 'tickets'", None,
    )  # fmt: skip


def test_of_two_policies_with_the_same_limit_the_first_by_name_is_named() -> None:
    for policies in (
        [limited(ALLOW, 600), replace(CONSTRAIN, name="zz")],
        [replace(CONSTRAIN, name="zz"), limited(ALLOW, 600)],
    ):
        decision = decide(policies, asking(expiration_seconds=601))

        assert decision.policy == "AgentPolicy/support/triage"
        assert decision.policy_digest == "sha256:triage"


def test_of_a_provider_that_is_not_configured_no_lifetime_is_too_short() -> None:
    question = replace(asking(expiration_seconds=0), capabilities=None)

    assert lifetime_of(question, CLASS, ()).refusal is None
