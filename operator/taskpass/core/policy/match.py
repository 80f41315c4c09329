"""Which requests a policy selects, before its validations are asked.

An Allow must **cover** a request: all of it. A Deny or Constrain **touches** a request when any
part of it falls under the policy. So a request gets out of a Deny neither by adding an action, a
resource or a container that the Deny does not name, nor by being split.

1. Patterns are exact, or end in one `*`, which stands for any text, also none. Nothing else is
   special: no regular expression, no other wildcard.
2. A selector that is absent selects all in a Deny or Constrain. In an Allow `requesters` and
   `agents` select all when absent, `classes` and `actions` nothing, and `resources` and
   `locations` only requests that name none.
3. `resources` and `locations` that are present speak of requests that name some. Only the pattern
   `*` alone is also for requests that name none: an Allow for `ticket/1` never covers a credential
   that is not narrowed to any resource.
4. `requesters` are judged for `changedBy`: who last said what the task is.
5. `imageDigests`: in an Allow every container's image must be pinned to a listed digest. In a Deny
   or Constrain one such image is enough, and an image without a digest counts as one of them:
   nobody can say that it is not.
"""

from collections.abc import Iterator, Sequence

from taskpass.core.model.task import LabelSelector, User
from taskpass.core.policy.types import Agents, Effect, Policy, Question, Requesters


def in_scope(policy: Policy, question: Question) -> bool:
    """Tell whether the policy is for the task's namespace at all."""
    if policy.kind == "AgentPolicy":
        return policy.namespace == question.task.namespace
    selector = policy.namespace_selector
    if selector is None:
        return policy.effect is not Effect.ALLOW
    return selector.matches(question.namespace_labels)


def not_selected(policy: Policy, question: Question) -> tuple[str, ...]:
    """Return what keeps the policy from selecting the request, in words; empty when it selects it.

    For an Allow that is all that it lacks to cover the request.
    """
    if policy.effect is Effect.ALLOW:
        return tuple(_uncovered(policy, question))
    return () if _touched(policy, question) else ("nothing of it falls under the policy",)


def fits(pattern: str, text: str) -> bool:
    """Tell whether the text is the pattern, or begins with what precedes its trailing `*`."""
    if pattern.endswith("*"):
        return text.startswith(pattern[:-1])
    return text == pattern


def _uncovered(policy: Policy, question: Question) -> Iterator[str]:
    request, user = question.request, question.task.changed_by
    if not _asked_by(policy.requesters, user):
        yield f"requester '{user.username}'" if user.username else "an unknown requester"
    yield from _agent_uncovered(policy.agents, question)
    if not _any_fits(policy.classes or (), request.class_name):
        yield f"class '{request.class_name}'"
    if not request.actions:
        yield "a request without any action"
    for action in request.actions:
        if not _any_fits(policy.actions or (), action):
            yield f"action '{action}'"
    yield from _part_uncovered("resource", policy.resources, request.resources)
    yield from _part_uncovered("location", policy.locations, _location(question))


def _part_uncovered(
    word: str, patterns: Sequence[str] | None, named: Sequence[str]
) -> Iterator[str]:
    for text in named:
        if not _any_fits(patterns or (), text):
            yield f"{word} '{text}'"
    if not named and patterns is not None and "*" not in patterns:
        yield f"a request without any {word}"


def _agent_uncovered(agents: Agents | None, question: Question) -> Iterator[str]:
    if agents is None:
        return
    agent = question.agent
    if not _runs_as(agents.service_account_names, agent.service_account):
        yield f"ServiceAccount '{agent.service_account}'"
    if not _labelled(agents.pod_selector, question):
        yield "the labels of the pod (podSelector)"
    if agents.image_digests:
        listed = frozenset(agents.image_digests)
        for image in agent.images:
            if _digest(image) not in listed:
                yield f"image '{image}' (imageDigests)"
        if not agent.images:
            yield "a pod without any image (imageDigests)"


def _touched(policy: Policy, question: Question) -> bool:
    request = question.request
    return (
        _asked_by(policy.requesters, question.task.changed_by)
        and _agent_touched(policy.agents, question)
        and _part_touched(policy.classes, (request.class_name,))
        and _part_touched(policy.actions, request.actions)
        and _part_touched(policy.resources, request.resources)
        and _part_touched(policy.locations, _location(question))
    )


def _part_touched(patterns: Sequence[str] | None, named: Sequence[str]) -> bool:
    if patterns is None or "*" in patterns:
        return True
    return any(_any_fits(patterns, text) for text in named)


def _agent_touched(agents: Agents | None, question: Question) -> bool:
    if agents is None:
        return True
    listed = frozenset(agents.image_digests)
    digests = [_digest(image) for image in question.agent.images]
    return (
        _runs_as(agents.service_account_names, question.agent.service_account)
        and _labelled(agents.pod_selector, question)
        and (not listed or any(digest in listed or not digest for digest in digests))
    )


def _asked_by(requesters: Requesters | None, user: User) -> bool:
    if requesters is None:
        return True
    return user.username in requesters.usernames or not set(user.groups).isdisjoint(
        requesters.groups
    )


def _runs_as(names: Sequence[str], service_account: str) -> bool:
    return not names or service_account in names


def _labelled(selector: LabelSelector | None, question: Question) -> bool:
    return selector is None or selector.matches(question.agent.pod_labels)


def _any_fits(patterns: Sequence[str], text: str) -> bool:
    return any(fits(pattern, text) for pattern in patterns)


def _location(question: Question) -> tuple[str, ...]:
    return (question.request.location,) if question.request.location else ()


def _digest(image: str) -> str:
    """Return the digest that an image reference is pinned to; '' for one that is not."""
    name, _, digest = image.rpartition("@")
    return digest if name and digest.startswith("sha256:") else ""
