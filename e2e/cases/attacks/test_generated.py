"""Sequences of requests that nobody thought of: nobody comes to hold what they may not.

TASKPASS_ATTACKS says how many sequences; `make soak PART=admission` asks for thousands.
"""

import itertools
import json
import os
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from e2e.admission import GRANTS, SYSTEM, TARGET, TENANT, binding, operator, pod, secret, task
from e2e.cases.attacks.moves import GRANT, WHO, Move, made, moves
from e2e.cases.attacks.oracle import Actor, Oracle
from e2e.impersonate import Api, Object, Refused, path_of, thing

SEQUENCES = int(os.environ.get("TASKPASS_ATTACKS", "12"))
LONGEST = 14
MADE = (
    ("Pod", TENANT), ("Secret", TENANT), ("RoleBinding", TARGET), ("RoleBinding", TENANT),
    ("AgentTask", TENANT), ("TaskApproval", TENANT),
)  # fmt: skip
numbers = itertools.count(1)
ACTORS = {
    "alice": Actor("alice", "alice", may_use=True),
    "mallory": Actor("mallory", "mallory"),
    "root": Actor("root", "root", may_use=True),
    "controller": Actor(
        "controller", "system:serviceaccount:kube-system:job-controller", may_use=True
    ),
    "node": Actor("node", "system:node:n1", may_use=True, is_node=True),
    "operator": Actor(
        "operator", f"system:serviceaccount:{SYSTEM}:taskpass", may_use=True, is_operator=True
    ),
}


@pytest.fixture(scope="session")
def voices(api: Api) -> dict[str, Api]:
    """Return everybody who asks: a tenant's administrator, and one who may use no class; some for
    whom RBAC is no limit; and the operator, with the rights that it has.
    """
    everything = binding(
        "ClusterRoleBinding", "", "generated", "ClusterRole/cluster-admin", "User/root",
        "ServiceAccount/kube-system/job-controller", "User/system:node:n1",
    )  # fmt: skip
    api.apply(everything)
    api.apply(binding("RoleBinding", TENANT, "mallory", "ClusterRole/admin", "User/mallory"))
    make_grant(operator(api))
    return {
        "alice": api.as_user("alice", "team-a"),
        "mallory": api.as_user("mallory"),
        "root": api.as_user("root"),
        "controller": api.as_service_account("kube-system", "job-controller"),
        "node": api.as_user("system:node:n1", "system:nodes"),
        "operator": operator(api),
    }


def test_no_sequence_of_requests_gives_anybody_what_they_may_not_hold(
    api: Api, voices: dict[str, Api]
) -> None:
    accepted: set[tuple[str, str]] = set()

    @settings(
        max_examples=SEQUENCES, deadline=None, derandomize=SEQUENCES <= 100, database=None,
        suppress_health_check=list(HealthCheck), phases=(Phase.generate, Phase.shrink),
        print_blob=True,
    )  # fmt: skip
    @given(st.lists(moves(), min_size=LONGEST // 2, max_size=LONGEST))
    def attack(sequence: Sequence[Move]) -> None:
        name, oracle = f"s{next(numbers)}", Oracle()
        try:
            for move in (*BEFORE, *sequence):
                who = ACTORS[move.who]
                answer = ask(voices[move.who], move, name)
                if answer is None:
                    continue
                accepted.add((move.who, answer.get("kind", "")))
                objections = oracle.objections(who, move.path, answer)
                objections += what_came_of_it(api, oracle, who, name)
                assert not objections
        finally:
            clean(api, name)

    assert set(WHO) == set(ACTORS)
    attack()
    assert {"Pod", "Secret", "AgentTask", "RoleBinding"} <= {kind for _, kind in accepted}


BEFORE = (
    made("alice", task("{name}-a")), made("alice", pod("{name}-a")),
    made("alice", pod("{name}-b", labelled=False)),
    made("root", binding("RoleBinding", TARGET, "{name}-a", "ClusterRole/view", "User/eve")),
    made("alice", secret("{name}-a", type="Opaque")),
)  # fmt: skip
"""What is there when a sequence begins."""


def make_grant(taskpass: Api) -> None:
    """Make the ServiceAccount of a grant, if it is not there."""
    try:
        labels = {"taskpass.dev/grant": GRANT}
        taskpass.create(thing("v1", "ServiceAccount", GRANTS, GRANT, labels=labels))
    except Refused as refused:
        if refused.status != 409:
            raise


def ask(voice: Api, move: Move, name: str) -> Object | None:
    """Return what was answered; None for a refusal."""
    body = json.loads(json.dumps(move.body).replace("{name}", name))
    path = move.path.replace("{name}", name)
    if isinstance(body, dict) and move.content == "application/apply-patch+yaml":
        body["metadata"] = {**body.get("metadata", {}), "name": path.split("?")[0].split("/")[-1]}
    try:
        return voice.call(move.method, path, body, content=move.content)
    except Refused as refused:
        if refused.status >= 500:
            raise
        return None


def what_came_of_it(api: Api, oracle: Oracle, who: Actor, name: str) -> list[str]:
    """Hold the pods and tasks that are there against the oracle: subresources answer otherwise."""
    found: list[str] = []
    for kind in ("Pod", "AgentTask"):
        path = path_of(kind, TENANT)
        for each in api.call("GET", path)["items"]:
            if each["metadata"]["name"].startswith(f"{name}-"):
                found += oracle.objections(who, path, {**each, "kind": kind})
    return found


def clean(api: Api, name: str) -> None:
    """Delete what the sequence made."""
    for kind, where in (*MADE, ("ClusterRoleBinding", ""), ("KillSwitch", "")):
        for each in api.call("GET", path_of(kind, where))["items"]:
            if name in each["metadata"]["name"].split("-") or each["metadata"]["name"].startswith(
                f"taskpass-{GRANT}"
            ):
                drop(api, {**each, "kind": kind})


def drop(api: Api, each: Object) -> None:
    """Delete an object, finalizers or not."""
    try:
        if each["metadata"].get("finalizers"):
            api.merge(each, {"metadata": {"finalizers": None}})
        api.delete(each, gracePeriodSeconds="0")
    except Refused as refused:
        if refused.status != 404:
            raise
