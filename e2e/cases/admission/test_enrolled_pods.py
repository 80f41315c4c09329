"""A pod with our label in a namespace that is not enrolled: refused with a sentence, not gated."""

import pytest

from e2e.admission import LABEL, TARGET, pod, remove, wait_for
from e2e.as_operator import RBAC_TENANT, taken_away
from e2e.impersonate import Api, Object, Refused, thing

SAID = "must be enrolled before it has pods with the label"


def elsewhere(each: Object) -> Object:
    each["metadata"]["namespace"] = TARGET
    return each


def test_a_pod_is_refused_where_nobody_would_lift_its_gate(api: Api, name: str) -> None:
    spec = {"serviceAccountName": "default"}

    with pytest.raises(Refused, match=f"the namespace '{TARGET}' {SAID}"):
        api.create(elsewhere(pod(name, spec=spec)))

    without = api.create(elsewhere(pod(name, labelled=False, spec=spec)))
    api.delete(without, gracePeriodSeconds="0")


def test_its_controller_posts_why(api: Api, name: str) -> None:
    template = pod(name, spec={"serviceAccountName": "default", "restartPolicy": "Never"})
    spec = {"metadata": {"labels": {LABEL: name}}, "spec": template["spec"]}
    job = elsewhere(thing("batch/v1", "Job", "", name, spec={"template": spec}))
    api.create(job)

    def said() -> str:
        path = f"/api/v1/namespaces/{TARGET}/events"
        found = api.call("GET", path, fieldSelector=f"involvedObject.name%3D{name}")["items"]
        return next((e["message"] for e in found if e["reason"] == "FailedCreate"), "")

    try:
        assert SAID in wait_for(said, 20)
    finally:
        api.delete(job, propagationPolicy="Background")


def test_a_listed_namespace_where_the_operator_has_no_rights_is_not_served(
    api: Api, alice: Api, name: str
) -> None:
    with taken_away(api, api, RBAC_TENANT):
        said = wait_for(lambda: _refusal(alice, name), 20)

    wait_for(lambda: not _refusal(alice, name), 20)
    assert SAID in said


def _refusal(who: Api, name: str) -> str | None:
    """Return what refuses a pod; None where it is let pass."""
    try:
        who.create(pod(name), dryRun="All")
    except Refused as refused:
        return refused.message
    return None


def test_a_pod_that_is_there_already_goes_on_when_its_namespace_is_no_longer_enrolled(
    api: Api, alice: Api, name: str
) -> None:
    made = alice.create(pod(name))

    with taken_away(api, api, RBAC_TENANT):
        wait_for(lambda: _refusal(alice, "another"), 20)
        after = api.merge(made, {"metadata": {"annotations": {"a": "b"}}})

    wait_for(lambda: not _refusal(alice, "another"), 20)
    assert after["metadata"]["annotations"]["a"] == "b"
    remove(api, made)
