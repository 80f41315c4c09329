"""The log's memory, attacked by who has the operator's token, by a tenant, and by the careless."""

from collections.abc import Iterator
from typing import Any

import pytest

from e2e.admission import GROUP, operator
from e2e.impersonate import Api, Refused, thing

ANCHOR = thing(GROUP, "AuditAnchor", "", "taskpass")
ROOT, OTHER = 43 * "A" + "=", 43 * "B" + "="


def head(size: int = 10, root: str = ROOT, origin: str = "audit.example/log-1") -> dict[str, Any]:
    return {"origin": origin, "size": size, "root": root, "note": "a checkpoint"}


@pytest.fixture
def anchor(api: Api) -> Iterator[Api]:
    """Return the API server, with an anchor that remembers ten entries."""
    if api.exists(ANCHOR):
        api.delete(ANCHOR)
    api.create(ANCHOR)
    operator(api).merge(ANCHOR, {"status": head()}, "/status")
    yield api
    api.delete(ANCHOR)
    api.create(ANCHOR)


@pytest.mark.parametrize(
    "grown", [head(11, OTHER), head(10), {"openOperations": 3}, {"conditions": []}]
)
def test_the_operator_makes_it_grow(anchor: Api, grown: dict[str, Any]) -> None:
    operator(anchor).merge(ANCHOR, {"status": grown}, "/status")


@pytest.mark.parametrize(
    ("written", "said"),
    [
        pytest.param(head(9), "must only grow", id="a smaller size"),
        pytest.param(head(10, OTHER), "must only grow", id="another root of the same size"),
        pytest.param(
            head(99, ROOT, "audit.example/log-2"), "must stay the log that is remembered",
            id="another log",
        ),
        pytest.param(None, "must stay the log that is remembered", id="nothing any more"),
        pytest.param(
            {"origin": None, "size": None, "root": None, "note": None},
            "must stay the log that is remembered", id="each part of it removed",
        ),
        pytest.param({"root": None}, "together", id="one part of it removed"),
        pytest.param(head(11, "AAAA"), "root", id="a root that is none"),
    ],
)  # fmt: skip
def test_whoever_has_the_operators_token_cannot_make_it_forget(
    anchor: Api, written: dict[str, Any] | None, said: str
) -> None:
    before = anchor.get("AuditAnchor", "", "taskpass")["status"]

    with pytest.raises(Refused, match=said) as refused:
        operator(anchor).merge(ANCHOR, {"status": written}, "/status")

    assert refused.value.status == 422
    assert anchor.get("AuditAnchor", "", "taskpass")["status"] == before


def test_the_same_rules_hold_for_an_administrator_who_only_writes(anchor: Api) -> None:
    with pytest.raises(Refused, match="status must be left to taskpass"):
        anchor.merge(ANCHOR, {"status": head(11, OTHER)}, "/status")


def test_the_operator_can_neither_delete_it_nor_make_one(anchor: Api) -> None:
    ours = operator(anchor)
    for attempt in (
        lambda: ours.delete(ANCHOR),
        lambda: ours.create(thing(GROUP, "AuditAnchor", "", "another")),
        lambda: ours.merge(ANCHOR, {"metadata": {"labels": {"a": "b"}}}),
    ):
        with pytest.raises(Refused) as refused:
            attempt()
        assert refused.value.status == 403


def test_there_is_one_of_a_fixed_name(anchor: Api) -> None:
    with pytest.raises(Refused, match="must be named 'taskpass'; there is one anchor"):
        anchor.create(thing(GROUP, "AuditAnchor", "", "another"))


def test_a_status_that_comes_with_the_object_is_not_taken(anchor: Api) -> None:
    """Whoever makes it anew cannot choose what it remembers."""
    anchor.delete(ANCHOR)
    made = anchor.create({**ANCHOR, "status": head(1)})

    assert "status" not in made


def test_a_tenant_can_do_nothing_with_it(anchor: Api) -> None:
    alice = anchor.as_user("alice", "team-a")
    for attempt in (
        lambda: alice.delete(ANCHOR),
        lambda: alice.merge(ANCHOR, {"status": head(11, OTHER)}, "/status"),
        lambda: alice.get("AuditAnchor", "", "taskpass"),
    ):
        with pytest.raises(Refused) as refused:
            attempt()
        assert refused.value.status == 403
