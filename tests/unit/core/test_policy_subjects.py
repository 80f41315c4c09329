"""Who asks, and which agent: requesters, ServiceAccounts, pod labels, images."""

from dataclasses import replace

import pytest

from taskpass.core.model.task import LabelSelector, User
from taskpass.core.policy.evaluate import Agents, DecisionReason, Policy, Requesters
from tests.unit.core.policies import AGENT, ALLOW, DENY, DIGEST, IMAGE, QUESTION, TASK, decide

JANE = Requesters(usernames=("jane",))
SUPPORT = Requesters(groups=("support-platform",))
PINNED = Agents(image_digests=(DIGEST,))
OTHER_IMAGE = "registry.example/agent@sha256:" + "b" * 64


def for_requesters(requesters: Requesters) -> Policy:
    return replace(ALLOW, requesters=requesters)


def for_agents(agents: Agents) -> Policy:
    return replace(ALLOW, agents=agents)


@pytest.mark.parametrize(
    "requesters",
    [
        pytest.param(JANE, id="the user"),
        pytest.param(SUPPORT, id="a group of the user"),
        pytest.param(Requesters(usernames=("joe",), groups=("support-platform",)), id="either"),
    ],
)
def test_requesters_are_met_by_a_name_or_a_group(requesters: Requesters) -> None:
    assert decide([for_requesters(requesters)]).allowed


@pytest.mark.parametrize(
    ("requesters", "changed_by"),
    [
        pytest.param(
            Requesters(usernames=("argocd",), groups=("pipelines",)),
            TASK.changed_by,
            id="who created the task, but did not change it last",
        ),
        pytest.param(JANE, User(username="JANE"), id="a name in another case"),
        pytest.param(JANE, User(username="jane "), id="a name with a space"),
        pytest.param(JANE, User(username="joe", groups=("jane",)), id="a group of the user's name"),
        pytest.param(SUPPORT, User(username="support-platform"), id="a user of the group's name"),
        pytest.param(Requesters(usernames=("jan*",)), TASK.changed_by, id="a star is no pattern"),
        pytest.param(JANE, User(), id="nobody: a task without a stamp"),
        pytest.param(Requesters(), TASK.changed_by, id="requesters without anybody"),
    ],
)
def test_requesters_are_not_met_by(requesters: Requesters, changed_by: User) -> None:
    question = replace(QUESTION, task=replace(TASK, changed_by=changed_by))

    decision = decide([for_requesters(requesters)], question)

    assert decision.reason is DecisionReason.NO_POLICY
    lacking = (
        f"requester '{changed_by.username}'" if changed_by.username else "an unknown requester"
    )
    assert decision.message.endswith(f"does not cover: {lacking}")


def test_a_deny_for_some_requesters_leaves_others_alone() -> None:
    assert decide([ALLOW, replace(DENY, requesters=JANE)]).reason is DecisionReason.DENIED
    assert decide([ALLOW, replace(DENY, requesters=Requesters(usernames=("joe",)))]).allowed


@pytest.mark.parametrize(
    "agents",
    [
        pytest.param(Agents(service_account_names=("other", "triage-agent")), id="ServiceAccount"),
        pytest.param(
            Agents(pod_selector=LabelSelector(match_labels={"app": "triage"})), id="label"
        ),
        pytest.param(Agents(pod_selector=LabelSelector()), id="an empty selector"),
        pytest.param(PINNED, id="image"),
    ],
)
def test_an_allow_is_for_this_agent(agents: Agents) -> None:
    assert decide([for_agents(agents)]).allowed


@pytest.mark.parametrize(
    ("agents", "lacking"),
    [
        pytest.param(
            Agents(service_account_names=("triage",)),
            "ServiceAccount 'triage-agent'",
            id="another ServiceAccount",
        ),
        pytest.param(
            Agents(pod_selector=LabelSelector(match_labels={"app": "other"})),
            "the labels of the pod (podSelector)",
            id="another label",
        ),
        pytest.param(
            Agents(service_account_names=("triage",), image_digests=(DIGEST,)),
            "ServiceAccount 'triage-agent'",
            id="only one of two demands",
        ),
    ],
)
def test_an_allow_is_not_for_this_agent(agents: Agents, lacking: str) -> None:
    assert decide([for_agents(agents)]).message.endswith(f"does not cover: {lacking}")


@pytest.mark.parametrize(
    "images",
    [
        pytest.param((IMAGE, OTHER_IMAGE), id="one container of another image"),
        pytest.param((IMAGE, "registry.example/agent:1.0"), id="one container by tag"),
        pytest.param((f"registry.example/{DIGEST}",), id="a repository named like the digest"),
        pytest.param((f"registry.example/agent:{DIGEST[7:]}",), id="a tag like the digest"),
        pytest.param((f"{IMAGE}@sha256:{'b' * 64}",), id="two digests"),
        pytest.param((f"@{DIGEST}",), id="a digest of nothing"),
        pytest.param((), id="no image"),
    ],
)
def test_every_image_must_be_pinned_to_a_listed_digest(images: tuple[str, ...]) -> None:
    question = replace(QUESTION, agent=replace(AGENT, images=images))

    assert decide([for_agents(PINNED)], question).reason is DecisionReason.NO_POLICY


@pytest.mark.parametrize(
    "images",
    [
        pytest.param((OTHER_IMAGE, IMAGE), id="beside another container"),
        pytest.param(("registry.example/agent:1.0",), id="perhaps, behind a tag"),
    ],
)
def test_a_denied_image_is_not_hidden(images: tuple[str, ...]) -> None:
    question = replace(QUESTION, agent=replace(AGENT, images=images))

    decision = decide([ALLOW, replace(DENY, agents=PINNED)], question)

    assert decision.reason is DecisionReason.DENIED


def test_a_denied_image_leaves_other_images_alone() -> None:
    question = replace(QUESTION, agent=replace(AGENT, images=(OTHER_IMAGE,)))

    assert decide([ALLOW, replace(DENY, agents=PINNED)], question).allowed


def test_a_deny_for_an_agent_needs_all_that_it_says_of_it() -> None:
    both = Agents(service_account_names=("triage-agent",), image_digests=("sha256:" + "c" * 64,))

    assert decide([ALLOW, replace(DENY, agents=both)]).allowed


@pytest.mark.parametrize(
    ("agents", "denied"),
    [
        pytest.param(Agents(service_account_names=("other", "triage-agent")), True, id="account"),
        pytest.param(Agents(service_account_names=("other",)), False, id="another account"),
        pytest.param(
            Agents(pod_selector=LabelSelector(match_labels={"app": "triage"})), True, id="label"
        ),
        pytest.param(
            Agents(pod_selector=LabelSelector(match_labels={"app": "other"})),
            False,
            id="another label",
        ),
        pytest.param(Agents(), True, id="any agent"),
    ],
)
def test_a_deny_is_for_the_agents_that_it_names_and_for_no_other(
    agents: Agents, denied: bool
) -> None:
    assert decide([ALLOW, replace(DENY, agents=agents)]).allowed is not denied


def test_an_allow_says_all_that_is_not_as_it_must_be_in_the_agent() -> None:
    strict = Agents(
        service_account_names=("other",),
        pod_selector=LabelSelector(match_labels={"app": "other"}),
        image_digests=(DIGEST,),
    )
    question = replace(QUESTION, agent=replace(AGENT, images=(IMAGE, OTHER_IMAGE)))

    assert decide([for_agents(strict)], question).message.endswith(
        "does not cover: ServiceAccount 'triage-agent', the labels of the pod (podSelector), "
        f"image '{OTHER_IMAGE}' (imageDigests)"
    )


def test_a_pod_without_any_image_is_pinned_to_none() -> None:
    question = replace(QUESTION, agent=replace(AGENT, images=()))

    assert decide([for_agents(PINNED)], question).message.endswith(
        "does not cover: a pod without any image (imageDigests)"
    )
