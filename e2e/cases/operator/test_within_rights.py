"""The chart's rights against the calls of all the cases before, in both directions.

It comes near the end of the session: what is granted must be used by some case.
"""

import pytest

from e2e.admission import SYSTEM
from e2e.audit_trail import Right, Trail, rights_of
from e2e.impersonate import Api

UNSEEN = {
    "bind": "asked by the API server of whoever makes a RoleBinding; never a call",
}
"""Verbs that no call shows."""
REFUSED = {
    ("delete", "rolebindings"): "the case of what stays pending takes this right away for a while",
    ("get", "clusterroles"): "a class that names a role which is not listed",
}
"""(verb, resource): calls that RBAC refused, and which case wants that."""
ELSEWHERE = {
    ("get", "rolebindings"): "a finalizer holds what was deleted: e2e/cases/provider",
    ("get", "serviceaccounts"): "a finalizer holds what was deleted: e2e/cases/provider",
}
"""(verb, resource): rights that only cases of other folders need, and why."""


@pytest.fixture
def rights(api: Api) -> set[Right]:
    return rights_of(api, SYSTEM, "taskpass")


@pytest.fixture
def whole(request: pytest.FixtureRequest) -> None:
    """Skip where not all the cases of this folder run in this session."""
    here = request.path.parent
    files = {item.path for item in request.session.items}
    if missing := {f.name for f in here.glob("test_*.py") if f not in files}:
        pytest.skip(f"NOT RUN: it looks at the calls of all cases, without {sorted(missing)}")


def test_every_call_is_covered_by_a_right_of_the_chart(trail: Trail, rights: set[Right]) -> None:
    allowed = [call for call in trail.calls() if call.allowed]

    assert allowed
    assert [str(call) for call in sorted(allowed) if not any(r.covers(call) for r in rights)] == []


def test_no_call_is_made_without_a_right(trail: Trail) -> None:
    refused = {(c.verb, c.resource) for c in trail.calls() if not c.allowed}

    assert refused <= set(REFUSED)


@pytest.mark.usefixtures("whole")
def test_every_right_of_the_chart_is_used(trail: Trail, rights: set[Right]) -> None:
    calls = trail.calls()
    idle = [
        str(right)
        for right in sorted(rights, key=str)
        if right.verb not in UNSEEN
        and (right.verb, right.resource) not in ELSEWHERE
        and not any(right.covers(call) for call in calls)
    ]

    assert idle == [], "\n".join(idle)
