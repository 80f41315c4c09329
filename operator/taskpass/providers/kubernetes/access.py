"""Ask the API server what a grant's ServiceAccount may do: before its bindings, and after."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from taskpass.core.errors import ProviderRefused, ProviderUnavailable
from taskpass.core.model.task import digest
from taskpass.ports.cluster import ApiClient
from taskpass.providers.kubernetes.calls import together
from taskpass.providers.kubernetes.objects import role_path
from taskpass.providers.kubernetes.recent import RecentAnswers
from taskpass.providers.kubernetes.roles import Rule, access_review, representative
from taskpass.providers.kubernetes.state import State

PATH = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
EFFECTIVE_SECONDS = 2.0
"""How long a new binding may take to count; 90 ms were seen."""
FIRST_PAUSE = 0.005
LONGEST_PAUSE = 0.1
Review = Mapping[str, Any]


def reviews_of(state: State, rules: Mapping[str, Sequence[Rule]]) -> list[Review]:
    """Return for each binding a question that is yes only once it counts, if there is one.

    `rules` are those of each role by its path.
    """
    reviews: list[Review] = []
    for each in state.bindings:
        others = [
            rules[role_path(other)]
            for other in state.bindings
            if other is not each and other["namespace"] == each["namespace"]
        ]
        attributes = representative(rules[role_path(each)], others)
        asked = {**attributes, "namespace": each["namespace"]}
        reviews.append(access_review(state.grants_namespace, state.service_account, asked))
    return reviews


async def must_be_new(
    client: ApiClient, namespace: str, state: State, reviews: Sequence[Review],
    recent: RecentAnswers[bool],
) -> None:  # fmt: skip
    """Raise `ProviderRefused` where the ServiceAccount has a right before it is bound.

    It may have one as every ServiceAccount has it: that depends on no name, and is asked of one
    for all that are made in the same moment for tasks of `namespace`.

    Raises:
        ProviderUnavailable: The API server could not tell; that is neither a yes nor a no.

    """
    answers = await together(
        *(
            recent.get(namespace, _right(review), partial(_has_right, client, review))
            for review in reviews
        )
    )
    for each, allowed in zip(state.bindings, answers, strict=True):
        if allowed:
            raise ProviderRefused(
                f"What {each['role_kind']} '{each['role_name']}' grants in namespace "
                f"'{each['namespace']}' is granted to every ServiceAccount already, by a binding "
                "to a group, and could not be taken back; remove that binding"
            )


async def wait_until_effective(
    client: ApiClient, reviews: Sequence[Review], monotonic: Callable[[], float]
) -> None:
    """Return once every answer is yes; `ProviderUnavailable` after 2 s."""
    deadline = monotonic() + EFFECTIVE_SECONDS
    pause = FIRST_PAUSE
    waiting = list(reviews)
    while True:
        answers = await together(*(_says_yes(client, review) for review in waiting))
        waiting = [review for review, yes in zip(waiting, answers, strict=True) if not yes]
        if not waiting:
            return
        if monotonic() >= deadline:
            raise ProviderUnavailable(
                f"The API server did not honour a new RoleBinding within {EFFECTIVE_SECONDS:g} s; "
                "it is tried again"
            )
        await asyncio.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


def _right(review: Review) -> str:
    return digest(review["spec"]["resourceAttributes"])


async def _has_right(client: ApiClient, review: Review) -> bool:
    status = (await client.create(PATH, review))["status"]
    if not status.get("allowed") and status.get("evaluationError") and not status.get("denied"):
        raise ProviderUnavailable(
            "The API server could not tell what every ServiceAccount may do already; it is asked "
            "again"
        )
    return bool(status.get("allowed"))


async def _says_yes(client: ApiClient, review: Review) -> bool:
    answer = await client.create(PATH, review)
    return bool(answer["status"].get("allowed"))
