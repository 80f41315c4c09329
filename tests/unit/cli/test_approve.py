"""`taskpass approve` and `approvals`: what is shown, and who speaks; on a real cluster: e2e."""

import hashlib

import pytest

from taskpass.cli.approvals_client import Waiting
from taskpass.cli.approve import _speaking_as
from taskpass.core.errors import UsageError

TASK = {"metadata": {"namespace": "support", "name": "ticket", "uid": "u-1"}}
NEEDS = [
    {"policy": "AgentPolicy/support/a", "approvals": 2, "given": 1, "groups": ["leads"],
     "usernames": ["ona"]},
    {"policy": "ClusterAgentPolicy/b", "approvals": 1, "given": 1, "groups": ["security"]},
]  # fmt: skip


def waiting(**asked: object) -> Waiting:
    text = "{}"
    digest = "sha256:" + hashlib.sha256(text.encode()).hexdigest()
    return Waiting(TASK, {"digest": digest, "request": text, "name": "t", "needs": NEEDS, **asked})


def test_whose_approvals_are_missing_is_said() -> None:
    assert waiting().whose == "1 of group leads or user ona (AgentPolicy/support/a)"


def test_a_group_that_is_named_like_a_sentence_is_quoted() -> None:
    needs = [{"policy": "p", "approvals": 1, "given": 0, "groups": ["a (p), nobody's   more"]}]

    assert waiting(needs=needs).whose == '1 of group "a (p), nobody\'s more" (p)'


def test_what_waits_is_a_credential_or_a_move() -> None:
    assert (waiting().where, waiting().what) == ("support/ticket", "credential t")
    assert waiting(name="", branch="close").what == "move to close"


def test_what_is_not_what_its_digest_says_is_never_approved() -> None:
    waiting().check()
    with pytest.raises(UsageError, match="is not what its digest says"):
        waiting(request='{"changed": true}').check()


def test_somebody_speaks_as_another_with_their_groups() -> None:
    assert _speaking_as(None, ()) == []
    assert _speaking_as("lea", ("leads", "staff")) == [
        ("Impersonate-User", "lea"),
        ("Impersonate-Group", "leads"),
        ("Impersonate-Group", "staff"),
    ]
    with pytest.raises(UsageError, match="--as-group needs --as"):
        _speaking_as(None, ("leads",))
