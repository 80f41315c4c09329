"""What changes elsewhere decides again on what is held, and nobody needs to touch the task."""

from collections.abc import Iterator

import pytest

from e2e.admission import GRANTS, GROUP, TENANT, remove
from e2e.impersonate import Object, thing
from e2e.stage import Stage, condition, credential_class, policy, request, until

OTHER = [request("other", "other")]


@pytest.fixture
def label(stage: Stage) -> Iterator[None]:
    """Take the namespace's label away afterwards."""
    yield
    stage.api.merge(_tenant(), {"metadata": {"labels": {"example.com/tickets": None}}})


def _tenant() -> Object:
    return thing("v1", "Namespace", "", TENANT)


def test_a_policy_that_goes_takes_what_it_allowed_and_gives_it_back_with_itself(
    other: Stage, name: str
) -> None:
    other.begin_ready(name, credentials=OTHER)
    token = other.token(name, "other")
    old = other.task(name)["status"]["grants"][0]["id"]

    other.api.delete(policy("other", "other"))
    status = other.wait_condition(name, "Stalled", "True", "NoPolicy")
    held = status["grants"]
    gone = other.secret(name)
    other.api.apply(policy("other", "other"))
    again = other.wait_ready(name)

    assert held == []
    assert gone is None
    assert other.reads(token) != 200
    assert again["grants"][0]["id"] != old
    assert other.reads(other.token(name, "other")) == 200
    assert "Revoked 'other' because policy no longer allows it" in [
        step["message"] for step in again["trail"]
    ]


def test_a_deny_of_the_cluster_wins_at_once(other: Stage, name: str) -> None:
    other.begin_ready(name, credentials=OTHER)
    token = other.token(name, "other")
    spec = {"effect": "Deny", "classes": ["other"], "namespaceSelector": {}}
    deny = thing(GROUP, "ClusterAgentPolicy", "", "no-more", spec=spec)

    other.api.apply(deny)
    try:
        status = other.wait_condition(name, "Stalled", "True", "Denied")
        assert status["grants"] == []
        assert other.reads(token) != 200
        said = until(lambda: other.api.get("ClusterAgentPolicy", "", "no-more").get("status"))
        assert condition(said, "Ready")["status"] == "True"
    finally:
        other.api.delete(deny)
    other.wait_ready(name)


def test_a_shorter_limit_replaces_what_is_longer(other: Stage, name: str) -> None:
    other.begin_ready(name, credentials=OTHER)
    before = other.task(name)["status"]["grants"][0]

    other.api.apply(policy("other", "other", limits={"maxExpirationSeconds": 600}))
    until(lambda: other.task(name)["status"]["grants"] not in ([], [before]))

    after = other.wait_ready(name)["grants"][0]
    assert after["expirationTime"] < before["expirationTime"]
    other.assert_holds(**{name.replace("-", "_"): 1})


def test_a_class_that_changes_is_issued_anew(other: Stage, name: str) -> None:
    other.begin_ready(name, credentials=OTHER)
    before, token = other.task(name)["status"]["grants"], other.token(name, "other")

    other.api.apply(credential_class("other", kubernetes={"streams": "Allowed"}))
    until(lambda: other.task(name)["status"]["grants"] not in ([], before))
    other.wait_ready(name)

    assert other.reads(token) != 200
    assert other.reads(other.token(name, "other")) == 200


def test_a_class_that_is_deleted_takes_what_is_of_it_along_before_it_is_gone(
    other: Stage, name: str
) -> None:
    other.begin_ready(name, credentials=OTHER)
    token = other.token(name, "other")

    other.operator.kill()
    other.api.delete(credential_class("other"))
    meanwhile = other.api.get("CredentialClass", "", "other")["metadata"]
    reads = other.reads(token)
    other.operator.start()
    other.wait_gone(credential_class("other"))

    assert reads == 200
    assert "deletionTimestamp" in meanwhile
    assert other.reads(token) != 200
    assert other.secret(name) is None
    gone = "CredentialClass 'other' does not exist"
    status = other.wait_condition(name, "Authorized", "False", "Denied", saying=gone)
    assert status["grants"] == []
    other.api.apply(credential_class("other"))
    other.wait_ready(name)


@pytest.mark.usefixtures("label")
def test_a_namespace_that_loses_its_label_loses_the_class(stage: Stage, name: str) -> None:
    selector = {"matchLabels": {"example.com/tickets": "yes"}}
    stage.api.apply(credential_class("labelled", namespaceSelector=selector))
    stage.api.apply(policy("labelled", "labelled"))
    stage.api.merge(_tenant(), {"metadata": {"labels": {"example.com/tickets": "yes"}}})
    try:
        stage.begin_ready(name, credentials=[request("it", "labelled")])
        token = stage.token(name, "it")

        stage.api.merge(_tenant(), {"metadata": {"labels": {"example.com/tickets": None}}})
        status = stage.wait_condition(name, "Authorized", "False", "Denied")

        assert "is not for namespace 'support'" in condition(status, "Authorized")["message"]
        assert status["grants"] == []
        assert stage.reads(token) != 200
    finally:
        stage.api.delete(policy("labelled", "labelled"))
        remove(stage.api, credential_class("labelled"))


def test_a_credential_that_an_administrator_removed_is_taken_out_and_issued_anew(
    stage: Stage, name: str
) -> None:
    """The next two sweeps find it: its token opens nothing, and the agent would never know why."""
    stage.begin_ready(name)
    old = stage.task(name)["status"]["grants"][0]["id"]

    stage.api.delete(thing("v1", "ServiceAccount", GRANTS, old))
    until(lambda: [g["id"] for g in stage.task(name)["status"]["grants"]] not in ([], [old]))
    status = stage.wait_ready(name)

    assert stage.reads(stage.token(name)) == 200
    assert "Revoked 'tickets' as it was gone at its provider" in [
        step["message"] for step in status["trail"]
    ]
    stage.assert_holds(**{name.replace("-", "_"): 1})
